// Key columns in plain form.
#include "cylon/kernels/key_column.h"

#include <arrow/util/float16.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "cylon/kernels/gather.h"

namespace cylon {

namespace {

struct KindOfType {
  KeyKind kind;
  int64_t width;
};

/// The table: a type that gets a row here can be a key everywhere.
arrow::Result<KindOfType> LookUp(const arrow::DataType& type, std::string_view name) {
  using arrow::Type;
  switch (type.id()) {
    case Type::NA:
      return KindOfType{KeyKind::kNull, 0};
    case Type::BOOL:
      return KindOfType{KeyKind::kBool, 1};
    case Type::INT8:
    case Type::INT16:
    case Type::INT32:
    case Type::INT64:
    case Type::DATE32:
    case Type::DATE64:
    case Type::TIME32:
    case Type::TIME64:
    case Type::TIMESTAMP:
    case Type::DURATION:
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::INTERVAL_MONTHS:
      return KindOfType{KeyKind::kSigned, type.byte_width()};
    case Type::UINT8:
    case Type::UINT16:
    case Type::UINT32:
    case Type::UINT64:
      return KindOfType{KeyKind::kUnsigned, type.byte_width()};
    case Type::HALF_FLOAT:
      return KindOfType{KeyKind::kHalf, 2};
    case Type::FLOAT:
      return KindOfType{KeyKind::kFloat, 4};
    case Type::DOUBLE:
      return KindOfType{KeyKind::kDouble, 8};
    case Type::DECIMAL128:
    case Type::DECIMAL256:
      return KindOfType{KeyKind::kDecimal, type.byte_width()};
    case Type::FIXED_SIZE_BINARY:
    case Type::INTERVAL_DAY_TIME:
    case Type::INTERVAL_MONTH_DAY_NANO:
      return KindOfType{KeyKind::kBytes, type.byte_width()};
    case Type::STRING:
    case Type::BINARY:
      return KindOfType{KeyKind::kBinary, 0};
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY:
      return KindOfType{KeyKind::kLargeBinary, 0};
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return KindOfType{KeyKind::kView, 0};
    default:
      return arrow::Status::NotImplemented("column '", name, "' of type ", type.ToString(),
                                           " cannot be a key; keys are numbers, booleans, strings, binaries, dates and "
                                           "times; take the parts of a nested column as columns of their own");
  }
}

template <typename Index>
std::vector<int64_t> DictionaryRows(const arrow::ArrayData& data) {
  std::vector<int64_t> rows(data.length);
  const auto* indices = data.GetValues<Index>(1);
  const bool nullable = data.MayHaveNulls();
  for (int64_t i = 0; i < data.length; ++i) {
    rows[i] = nullable && data.IsNull(i) ? -1 : static_cast<int64_t>(indices[i]);
  }
  return rows;
}

std::vector<int64_t> DictionaryRows(const arrow::DataType& index_type, const arrow::ArrayData& data) {
  switch (index_type.id()) {
    case arrow::Type::INT8:
      return DictionaryRows<int8_t>(data);
    case arrow::Type::UINT8:
      return DictionaryRows<uint8_t>(data);
    case arrow::Type::INT16:
      return DictionaryRows<int16_t>(data);
    case arrow::Type::UINT16:
      return DictionaryRows<uint16_t>(data);
    case arrow::Type::INT32:
      return DictionaryRows<int32_t>(data);
    case arrow::Type::UINT32:
      return DictionaryRows<uint32_t>(data);
    case arrow::Type::INT64:
      return DictionaryRows<int64_t>(data);
    default:
      return DictionaryRows<uint64_t>(data);
  }
}

template <typename RunEnd>
std::vector<int64_t> RunRows(const arrow::ArrayData& data) {
  std::vector<int64_t> rows(data.length);
  const auto* ends = data.child_data[0]->GetValues<RunEnd>(1);
  int64_t run = 0;
  for (int64_t i = 0; i < data.length; ++i) {
    while (ends[run] <= data.offset + i) {
      ++run;
    }
    rows[i] = run;
  }
  return rows;
}

std::vector<int64_t> RunRows(const arrow::ArrayData& data) {
  switch (data.child_data[0]->type->id()) {
    case arrow::Type::INT16:
      return RunRows<int16_t>(data);
    case arrow::Type::INT32:
      return RunRows<int32_t>(data);
    default:
      return RunRows<int64_t>(data);
  }
}

template <typename T>
void Widen(const arrow::ArrayData& data, uint64_t* out) {
  const T* values = data.GetValues<T>(1);
  for (int64_t i = 0; i < data.length; ++i) {
    out[i] = static_cast<uint64_t>(static_cast<int64_t>(values[i]));
  }
}

uint64_t DoubleWord(double value) {
  if (std::isnan(value)) {
    return 0x7FF8000000000000u;
  }
  return std::bit_cast<uint64_t>(value == 0 ? 0.0 : value);
}

template <typename T>
void FloatWords(const arrow::ArrayData& data, uint64_t* out) {
  const T* values = data.GetValues<T>(1);
  for (int64_t i = 0; i < data.length; ++i) {
    out[i] = DoubleWord(static_cast<double>(values[i]));
  }
}

}  // namespace

arrow::Result<KeyColumn> KeyColumn::OfType(const std::shared_ptr<arrow::DataType>& type, std::string_view name) {
  const arrow::DataType* plain = type.get();
  while (true) {
    if (plain->id() == arrow::Type::EXTENSION) {
      plain = static_cast<const arrow::ExtensionType&>(*plain).storage_type().get();
    } else if (plain->id() == arrow::Type::DICTIONARY) {
      plain = static_cast<const arrow::DictionaryType&>(*plain).value_type().get();
    } else if (plain->id() == arrow::Type::RUN_END_ENCODED) {
      plain = static_cast<const arrow::RunEndEncodedType&>(*plain).value_type().get();
    } else {
      break;
    }
  }
  ARROW_ASSIGN_OR_RAISE(const auto entry, LookUp(*plain, name));
  KeyColumn result;
  result.kind_ = entry.kind;
  result.width_ = entry.width;
  return result;
}

arrow::Result<KeyColumn> KeyColumn::Make(arrow::MemoryPool* pool, std::shared_ptr<arrow::ArrayData> data,
                                         std::string_view name) {
  ARROW_ASSIGN_OR_RAISE(KeyColumn result, OfType(data->type, name));
  while (true) {
    if (data->type->id() == arrow::Type::EXTENSION) {
      auto storage = data->Copy();
      storage->type = static_cast<const arrow::ExtensionType&>(*data->type).storage_type();
      data = std::move(storage);
    } else if (data->type->id() == arrow::Type::DICTIONARY) {
      const auto& type = static_cast<const arrow::DictionaryType&>(*data->type);
      const auto rows = DictionaryRows(*type.index_type(), *data);
      ARROW_ASSIGN_OR_RAISE(data, GatherArray(pool, type.value_type(), std::span(&data->dictionary, 1),
                                              RowRefs{rows, nullptr, data->MayHaveNulls()}));
    } else if (data->type->id() == arrow::Type::RUN_END_ENCODED) {
      const auto rows = RunRows(*data);
      const auto values = data->child_data[1];
      ARROW_ASSIGN_OR_RAISE(data,
                            GatherArray(pool, values->type, std::span(&values, 1), RowRefs{rows, nullptr, false}));
    } else {
      break;
    }
  }
  result.data_ = std::move(data);
  return result;
}

arrow::Result<std::vector<KeyColumn>> KeyColumn::MakeAll(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                                         const std::vector<int>& keys) {
  std::vector<KeyColumn> columns;
  columns.reserve(keys.size());
  for (int key : keys) {
    if (key < 0 || key >= batch.num_columns()) {
      return arrow::Status::IndexError("key column ", key, " was asked for of a table of ", batch.num_columns(),
                                       " columns; columns are numbered from 0");
    }
    ARROW_ASSIGN_OR_RAISE(auto column, Make(pool, batch.column_data(key), batch.column_name(key)));
    columns.push_back(std::move(column));
  }
  return columns;
}

void KeyColumn::LoadWords(uint64_t* out) const {
  if (length() == 0) {
    return;
  }
  switch (kind_) {
    case KeyKind::kBool: {
      const uint8_t* bits = data_->buffers[1]->data();
      for (int64_t i = 0; i < length(); ++i) {
        out[i] = static_cast<uint64_t>(arrow::bit_util::GetBit(bits, data_->offset + i));
      }
      break;
    }
    case KeyKind::kSigned:
      width_ == 8   ? Widen<int64_t>(*data_, out)
      : width_ == 4 ? Widen<int32_t>(*data_, out)
      : width_ == 2 ? Widen<int16_t>(*data_, out)
                    : Widen<int8_t>(*data_, out);
      break;
    case KeyKind::kUnsigned:
      width_ == 8   ? Widen<uint64_t>(*data_, out)
      : width_ == 4 ? Widen<uint32_t>(*data_, out)
      : width_ == 2 ? Widen<uint16_t>(*data_, out)
                    : Widen<uint8_t>(*data_, out);
      break;
    case KeyKind::kHalf: {
      const auto* values = data_->GetValues<uint16_t>(1);
      for (int64_t i = 0; i < length(); ++i) {
        out[i] = DoubleWord(arrow::util::Float16::FromBits(values[i]).ToDouble());
      }
      break;
    }
    case KeyKind::kFloat:
      FloatWords<float>(*data_, out);
      break;
    case KeyKind::kDouble:
      FloatWords<double>(*data_, out);
      break;
    default:
      break;
  }
}

const uint64_t* KeyColumn::Words(int64_t offset, int64_t count, std::vector<uint64_t>* scratch) const {
  if (words_are_values()) {
    return data_->GetValues<uint64_t>(1) + offset;
  }
  scratch->resize(count);
  Slice(offset, count).LoadWords(scratch->data());
  return scratch->data();
}

std::string_view KeyColumn::Bytes(int64_t i) const {
  const auto text = [](const uint8_t* begin, int64_t size) {
    return std::string_view(reinterpret_cast<const char*>(begin), static_cast<size_t>(size));
  };
  switch (kind_) {
    case KeyKind::kBinary: {
      const auto* offsets = data_->GetValues<int32_t>(1) + i;
      return offsets[0] == offsets[1] ? std::string_view()
                                      : text(data_->buffers[2]->data() + offsets[0], offsets[1] - offsets[0]);
    }
    case KeyKind::kLargeBinary: {
      const auto* offsets = data_->GetValues<int64_t>(1) + i;
      return offsets[0] == offsets[1] ? std::string_view()
                                      : text(data_->buffers[2]->data() + offsets[0], offsets[1] - offsets[0]);
    }
    case KeyKind::kView: {
      const auto& view = data_->GetValues<arrow::BinaryViewType::c_type>(1)[i];
      return text(
          view.is_inline() ? view.inline_data() : data_->buffers[2 + view.ref.buffer_index]->data() + view.ref.offset,
          view.size());
    }
    default:
      return text(data_->buffers[1]->data() + (data_->offset + i) * width_, width_);
  }
}

}  // namespace cylon
