/// Generated tables for tests: every Arrow type, nulls, NaN, -0.0, few or many distinct values, slices, uneven chunks.
#pragma once

#include <arrow/api.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/float16.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cylon/kernels/testing/row_texts.h"
#include "cylon/table/table.h"

namespace cylon::testing {

/// One column to generate.
struct RandomColumn {
  std::string name;
  std::shared_ptr<arrow::DataType> type;
  int distinct = 20;         ///< distinct values, the same ones whatever the seed, so that tables match each other
  double null_share = 0.15;  ///< 0: a column without nulls, whose field is not nullable
  bool skewed = false;       ///< half of the rows have one value
};

struct RandomSpec {
  std::vector<RandomColumn> columns;
  int64_t largest_chunk = 1000;  ///< rows; chunks are of random sizes up to this, some empty
  bool sliced = true;            ///< chunks are slices with an offset
};

namespace detail {

using Rng = std::mt19937_64;

/// Value number `k` of a fixed-width type, as an integer within its range.
inline int64_t IntegerOf(const arrow::DataType& type, int64_t k, int distinct) {
  constexpr int64_t kDayMs = 86400000;
  switch (type.id()) {
    case arrow::Type::INT8:
      return k % 128 - 60;
    case arrow::Type::UINT8:
      return 255 - k % 256;
    case arrow::Type::UINT16:
    case arrow::Type::UINT32:
    case arrow::Type::UINT64:
      return k == 0 ? -1 : k;  // the largest value, cut to the width
    case arrow::Type::DATE64:
      return (k - distinct / 2) * kDayMs;
    case arrow::Type::TIME32:
    case arrow::Type::TIME64:
      return k * 3 % 86400;
    case arrow::Type::INT64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
      return k == 1 ? (int64_t{1} << 53) + 1 : k - distinct / 2;
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
      return (k - distinct / 2) * 3;
    default:
      return k - distinct / 2;
  }
}

inline double DoubleOf(int64_t k, int distinct) {
  const int64_t halves = k - distinct / 2;
  switch (k) {
    case 0:
      return std::numeric_limits<double>::quiet_NaN();
    case 1:
      return -0.0;
    case 2:
      return 0.0;
    case 3:
      return std::numeric_limits<double>::infinity();
    default:
      return static_cast<double>(halves) * 0.5;
  }
}

inline std::string TextOf(int64_t k) {
  switch (k % 7) {
    case 0:
      return k == 0 ? "" : "\xC3\xA9" + std::to_string(k);
    case 1:
      return std::string("a\0b", 3) + std::to_string(k);
    case 2:
      return "a rather long text that does not fit into a view, number " + std::to_string(k);
    default:
      return "t" + std::to_string(k);
  }
}

class ArrayMaker {
 public:
  ArrayMaker(Rng& rng, const RandomColumn& column) : rng_(rng), column_(column) {}

  std::shared_ptr<arrow::Array> Make(const std::shared_ptr<arrow::DataType>& type, int64_t count) {
    using arrow::Type;
    switch (type->id()) {
      case Type::NA:
        return std::make_shared<arrow::NullArray>(count);
      case Type::STRING:
      case Type::BINARY:
      case Type::LARGE_STRING:
      case Type::LARGE_BINARY:
      case Type::STRING_VIEW:
      case Type::BINARY_VIEW:
      case Type::BOOL:
        return Built(type, count);
      case Type::DICTIONARY:
        return Dictionary(static_cast<const arrow::DictionaryType&>(*type), type, count);
      case Type::RUN_END_ENCODED:
        return RunEndEncoded(static_cast<const arrow::RunEndEncodedType&>(*type), count);
      case Type::EXTENSION:
        return arrow::ExtensionType::WrapArray(
            type, Make(static_cast<const arrow::ExtensionType&>(*type).storage_type(), count));
      case Type::STRUCT:
      case Type::SPARSE_UNION:
      case Type::DENSE_UNION:
      case Type::FIXED_SIZE_LIST:
      case Type::LIST:
      case Type::LARGE_LIST:
      case Type::MAP:
      case Type::LIST_VIEW:
      case Type::LARGE_LIST_VIEW:
        return Nested(type, count);
      default:
        return Fixed(type, count);
    }
  }

 private:
  int64_t Draw() {
    if (column_.skewed && rng_() % 2 == 0) {
      return 4 % column_.distinct;
    }
    return static_cast<int64_t>(rng_() % static_cast<uint64_t>(column_.distinct));
  }
  bool DrawNull() { return static_cast<double>(rng_() % 10000) < column_.null_share * 10000; }

  std::shared_ptr<arrow::Buffer> Bitmap(int64_t count) {
    if (column_.null_share <= 0) {
      return nullptr;
    }
    auto bitmap = arrow::AllocateEmptyBitmap(count).ValueOrDie();
    for (int64_t i = 0; i < count; ++i) {
      arrow::bit_util::SetBitTo(bitmap->mutable_data(), i, !DrawNull());
    }
    return bitmap;
  }

  /// Values lie under nulls too, so that code that looks at them is found out.
  std::shared_ptr<arrow::Array> Fixed(const std::shared_ptr<arrow::DataType>& type, int64_t count) {
    const int width = type->byte_width();
    std::shared_ptr<arrow::Buffer> values = arrow::AllocateBuffer(count * width).ValueOrDie();
    for (int64_t i = 0; i < count; ++i) {
      uint8_t* out = values->mutable_data() + i * width;
      const int64_t k = Draw();
      if (type->id() == arrow::Type::DOUBLE) {
        const double value = DoubleOf(k, column_.distinct);
        std::memcpy(out, &value, 8);
      } else if (type->id() == arrow::Type::FLOAT) {
        const auto value = static_cast<float>(DoubleOf(k, column_.distinct));
        std::memcpy(out, &value, 4);
      } else if (type->id() == arrow::Type::HALF_FLOAT) {
        const uint16_t value = arrow::util::Float16::FromDouble(DoubleOf(k, column_.distinct)).bits();
        std::memcpy(out, &value, 2);
      } else {
        const int64_t value = IntegerOf(*type, k, column_.distinct);
        std::memset(out, value < 0 ? 0xFF : 0, width);
        std::memcpy(out, &value, std::min(width, 8));
      }
    }
    return arrow::MakeArray(arrow::ArrayData::Make(type, count, {Bitmap(count), values}));
  }

  std::shared_ptr<arrow::Array> Built(const std::shared_ptr<arrow::DataType>& type, int64_t count) {
    auto builder = arrow::MakeBuilder(type).ValueOrDie();
    for (int64_t i = 0; i < count; ++i) {
      const int64_t k = Draw();
      if (DrawNull()) {
        Check(builder->AppendNull());
        continue;
      }
      const std::string text = TextOf(k);
      switch (type->id()) {
        case arrow::Type::BOOL:
          Check(static_cast<arrow::BooleanBuilder&>(*builder).Append(k % 2 == 0));
          break;
        case arrow::Type::STRING:
        case arrow::Type::BINARY:
          Check(static_cast<arrow::BinaryBuilder&>(*builder).Append(text));
          break;
        case arrow::Type::LARGE_STRING:
        case arrow::Type::LARGE_BINARY:
          Check(static_cast<arrow::LargeBinaryBuilder&>(*builder).Append(text));
          break;
        default:
          Check(static_cast<arrow::BinaryViewBuilder&>(*builder).Append(text));
      }
    }
    return builder->Finish().ValueOrDie();
  }

  /// Every array has a dictionary of its own, in its own order.
  std::shared_ptr<arrow::Array> Dictionary(const arrow::DictionaryType& dictionary_type,
                                           const std::shared_ptr<arrow::DataType>& type, int64_t count) {
    RandomColumn values = column_;
    values.null_share = 0;
    auto dictionary = ArrayMaker(rng_, values).Make(dictionary_type.value_type(), 1 + rng_() % 30);
    const auto& index_type = dictionary_type.index_type();
    const int width = index_type->byte_width();
    std::shared_ptr<arrow::Buffer> indices = arrow::AllocateBuffer(count * width).ValueOrDie();
    for (int64_t i = 0; i < count; ++i) {
      const auto index = static_cast<int64_t>(rng_() % static_cast<uint64_t>(dictionary->length()));
      std::memcpy(indices->mutable_data() + i * width, &index, width);
    }
    auto index_array = arrow::MakeArray(arrow::ArrayData::Make(index_type, count, {Bitmap(count), indices}));
    return arrow::DictionaryArray::FromArrays(type, index_array, dictionary).ValueOrDie();
  }

  std::shared_ptr<arrow::Array> RunEndEncoded(const arrow::RunEndEncodedType& type, int64_t count) {
    std::vector<int64_t> ends;
    int64_t position = 0;
    while (position < count) {
      position = std::min<int64_t>(count, position + 1 + static_cast<int64_t>(rng_() % 5));
      ends.push_back(position);
    }
    const int width = type.run_end_type()->byte_width();
    std::shared_ptr<arrow::Buffer> buffer =
        arrow::AllocateBuffer(static_cast<int64_t>(ends.size()) * width).ValueOrDie();
    for (size_t i = 0; i < ends.size(); ++i) {
      std::memcpy(buffer->mutable_data() + i * width, &ends[i], width);
    }
    const auto runs = static_cast<int64_t>(ends.size());
    auto end_array = arrow::MakeArray(arrow::ArrayData::Make(type.run_end_type(), runs, {nullptr, buffer}, 0));
    return arrow::RunEndEncodedArray::Make(count, end_array, Make(type.value_type(), runs)).ValueOrDie();
  }

  std::shared_ptr<arrow::Array> Nested(const std::shared_ptr<arrow::DataType>& type, int64_t count) {
    using arrow::Type;
    auto data = arrow::ArrayData::Make(type, count, {nullptr}, arrow::kUnknownNullCount);
    if (type->id() == Type::SPARSE_UNION || type->id() == Type::DENSE_UNION) {
      const auto& union_type = static_cast<const arrow::UnionType&>(*type);
      const bool dense = type->id() == Type::DENSE_UNION;
      std::shared_ptr<arrow::Buffer> codes = arrow::AllocateBuffer(count).ValueOrDie();
      std::shared_ptr<arrow::Buffer> offsets = arrow::AllocateBuffer(count * 4).ValueOrDie();
      std::vector<int32_t> used(type->num_fields(), 0);
      for (int64_t i = 0; i < count; ++i) {
        const auto child = static_cast<int>(rng_() % static_cast<uint64_t>(type->num_fields()));
        codes->mutable_data_as<int8_t>()[i] = union_type.type_codes()[child];
        offsets->mutable_data_as<int32_t>()[i] = used[child]++;
      }
      data->buffers = {nullptr, codes};
      if (dense) {
        data->buffers.push_back(offsets);
      }
      data->null_count = 0;
      for (int k = 0; k < type->num_fields(); ++k) {
        data->child_data.push_back(Make(type->field(k)->type(), dense ? used[k] : count)->data());
      }
      return arrow::MakeArray(data);
    }
    data->buffers[0] = Bitmap(count);
    data->null_count = data->buffers[0] == nullptr ? 0 : arrow::kUnknownNullCount;
    if (type->id() == Type::STRUCT) {
      for (int k = 0; k < type->num_fields(); ++k) {
        data->child_data.push_back(Make(type->field(k)->type(), count)->data());
      }
    } else if (type->id() == Type::FIXED_SIZE_LIST) {
      const int size = static_cast<const arrow::FixedSizeListType&>(*type).list_size();
      data->child_data.push_back(Make(type->field(0)->type(), count * size)->data());
    } else {
      Lists(count, data.get());
    }
    return arrow::MakeArray(data);
  }

  void Lists(int64_t count, arrow::ArrayData* data) {
    using arrow::Type;
    const Type::type id = data->type->id();
    const bool view = id == Type::LIST_VIEW || id == Type::LARGE_LIST_VIEW;
    const int width = id == Type::LARGE_LIST || id == Type::LARGE_LIST_VIEW ? 8 : 4;
    std::shared_ptr<arrow::Buffer> offsets = arrow::AllocateBuffer((count + 1) * width).ValueOrDie();
    std::shared_ptr<arrow::Buffer> sizes = arrow::AllocateBuffer((count + 1) * width).ValueOrDie();
    int64_t total = 0;
    for (int64_t i = 0; i < count; ++i) {
      // Views lie in reverse order of their rows with holes between them.
      const auto size = static_cast<int64_t>(rng_() % 4);
      std::memcpy(sizes->mutable_data() + i * width, &size, width);
      std::memcpy(offsets->mutable_data() + (view ? count - 1 - i : i) * width, &total, width);
      total += view ? 3 : size;
    }
    if (!view) {
      std::memcpy(offsets->mutable_data() + count * width, &total, width);
    }
    data->buffers.push_back(offsets);
    if (view) {
      data->buffers.push_back(sizes);
    }
    if (id == Type::MAP) {
      RandomColumn keys = column_;
      keys.null_share = 0;
      const auto& map = static_cast<const arrow::MapType&>(*data->type);
      auto entries = arrow::ArrayData::Make(map.value_type(), total, {nullptr}, 0);
      entries->child_data = {ArrayMaker(rng_, keys).Make(map.key_type(), total)->data(),
                             Make(map.item_type(), total)->data()};
      data->child_data.push_back(entries);
    } else {
      data->child_data.push_back(Make(data->type->field(0)->type(), total)->data());
    }
  }

  static void Check(const arrow::Status& status) {
    if (!status.ok()) {
      status.Abort("building a test array");
    }
  }

  Rng& rng_;
  const RandomColumn& column_;
};

}  // namespace detail

inline std::shared_ptr<arrow::Array> RandomArray(std::mt19937_64& rng, const RandomColumn& column, int64_t count,
                                                 bool sliced = true) {
  if (!sliced) {
    return detail::ArrayMaker(rng, column).Make(column.type, count);
  }
  const auto before = static_cast<int64_t>(rng() % 11);
  const auto after = static_cast<int64_t>(rng() % 5);
  return detail::ArrayMaker(rng, column).Make(column.type, before + count + after)->Slice(before, count);
}

inline std::shared_ptr<arrow::Schema> RandomSchema(const RandomSpec& spec) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  for (const auto& column : spec.columns) {
    const bool nullable = column.null_share > 0 || column.type->id() == arrow::Type::NA;
    fields.push_back(arrow::field(column.name, column.type, nullable));
  }
  return arrow::schema(std::move(fields));
}

inline std::shared_ptr<arrow::RecordBatch> RandomBatch(std::mt19937_64& rng, const RandomSpec& spec, int64_t rows) {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (const auto& column : spec.columns) {
    arrays.push_back(RandomArray(rng, column, rows, spec.sliced));
  }
  return arrow::RecordBatch::Make(RandomSchema(spec), rows, std::move(arrays));
}

/// `rows` rows in chunks of random sizes. The same for the same arguments.
inline std::vector<std::shared_ptr<arrow::RecordBatch>> RandomBatches(uint64_t seed, int64_t rows,
                                                                      const RandomSpec& spec) {
  std::mt19937_64 rng(seed);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  while (rows > 0) {
    const auto size = std::min<int64_t>(
        rows, rng() % 8 == 0 ? 0 : 1 + static_cast<int64_t>(rng() % static_cast<uint64_t>(spec.largest_chunk)));
    batches.push_back(RandomBatch(rng, spec, size));
    rows -= size;
  }
  return batches;
}

inline Table RandomTable(const std::shared_ptr<Resources>& resources, uint64_t seed, int64_t rows,
                         const RandomSpec& spec) {
  return Table::FromBatches(resources, RandomSchema(spec), RandomBatches(seed, rows, spec)).ValueOrDie();
}

/// Every type that can be a key of a join or group.
inline std::vector<std::shared_ptr<arrow::DataType>> KeyTypes() {
  using namespace arrow;  // NOLINT: a list of type factories
  return {boolean(),
          int8(),
          int16(),
          int32(),
          int64(),
          uint8(),
          uint16(),
          uint32(),
          uint64(),
          float16(),
          float32(),
          float64(),
          decimal32(7, 2),
          decimal64(15, 2),
          decimal128(30, 2),
          decimal256(60, 2),
          date32(),
          date64(),
          time32(TimeUnit::SECOND),
          time64(TimeUnit::MICRO),
          timestamp(TimeUnit::NANO),
          timestamp(TimeUnit::SECOND, "Europe/Zurich"),
          duration(TimeUnit::MILLI),
          utf8(),
          large_utf8(),
          utf8_view(),
          binary(),
          large_binary(),
          binary_view(),
          fixed_size_binary(5),
          fixed_size_binary(24),
          dictionary(int8(), utf8()),
          dictionary(uint32(), float64()),
          run_end_encoded(int32(), utf8()),
          run_end_encoded(int16(), int64()),
          null()};
}

/// Types that can only be carried along.
inline std::vector<std::shared_ptr<arrow::DataType>> PayloadTypes() {
  using namespace arrow;  // NOLINT: a list of type factories
  return {list(int32()),
          list(utf8_view()),
          large_list(dictionary(int8(), utf8())),
          list_view(utf8()),
          large_list_view(binary_view()),
          list(list_view(int64())),
          fixed_size_list(int16(), 3),
          fixed_size_list(utf8_view(), 2),
          struct_({field("a", int32()), field("b", utf8_view()), field("c", list(boolean()))}),
          map(utf8(), int64()),
          sparse_union({field("i", int32()), field("s", utf8())}, {3, 7}),
          dense_union({field("i", int32()), field("s", utf8_view()), field("n", null())}, {2, 5, 9}),
          run_end_encoded(int64(), utf8_view()),
          dictionary(int16(), list(int32())),
          month_interval(),
          day_time_interval(),
          month_day_nano_interval(),
          struct_({}),
          list(null())};
}

}  // namespace cylon::testing
