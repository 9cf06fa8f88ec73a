/// For tests: a batch with one column of each Arrow type, nested, encoded and extension types too.
#pragma once

#include <arrow/api.h>
#include <arrow/extension_type.h>

#include <cstdint>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace cylon::testing {

/// An extension type that is not registered with Arrow: readers of IPC alone would lose it.
class PointType : public arrow::ExtensionType {
 public:
  PointType()
      : arrow::ExtensionType(arrow::struct_({arrow::field("x", arrow::float64()), arrow::field("y", arrow::int16())})) {
  }
  std::string extension_name() const override { return "cylon.test.point"; }
  bool ExtensionEquals(const arrow::ExtensionType& other) const override {
    return other.extension_name() == extension_name();
  }
  std::shared_ptr<arrow::Array> MakeArray(std::shared_ptr<arrow::ArrayData> data) const override {
    return std::make_shared<arrow::ExtensionArray>(std::move(data));
  }
  arrow::Result<std::shared_ptr<arrow::DataType>> Deserialize(std::shared_ptr<arrow::DataType>,
                                                              const std::string&) const override {
    return std::make_shared<PointType>();
  }
  std::string Serialize() const override { return ""; }
};

namespace internal {

using Data = std::shared_ptr<arrow::ArrayData>;

inline Data Column(const std::shared_ptr<arrow::DataType>& type, int64_t rows, std::mt19937_64& random,
                   bool nulls = true);

template <typename T>
std::shared_ptr<arrow::Buffer> BufferOf(std::vector<T> values) {
  return arrow::Buffer::FromVector(std::move(values));
}

inline std::shared_ptr<arrow::Buffer> Bits(int64_t rows, std::mt19937_64& random) {
  std::vector<uint8_t> bits(static_cast<size_t>(rows / 8 + 1));
  for (auto& byte : bits) {
    byte = static_cast<uint8_t>(random() | random());
  }
  return BufferOf(std::move(bits));
}

inline std::shared_ptr<arrow::Buffer> Bytes(int64_t count, std::mt19937_64& random) {
  std::vector<uint8_t> bytes(static_cast<size_t>(count));
  for (auto& byte : bytes) {
    byte = static_cast<uint8_t>('a' + random() % 26);
  }
  return BufferOf(std::move(bytes));
}

template <typename Offset>
std::shared_ptr<arrow::Buffer> Offsets(int64_t rows, uint64_t longest, std::mt19937_64& random, int64_t* end) {
  std::vector<Offset> offsets{0};
  for (int64_t i = 0; i < rows; ++i) {
    offsets.push_back(static_cast<Offset>(offsets.back() + static_cast<Offset>(random() % (longest + 1))));
  }
  *end = offsets.back();
  return BufferOf(std::move(offsets));
}

// Lists of up to 3 elements whose places overlap, or are out of order.
template <typename Offset>
Data ListView(const std::shared_ptr<arrow::DataType>& type, int64_t rows, std::shared_ptr<arrow::Buffer> valid,
              std::mt19937_64& random) {
  std::vector<Offset> offsets;
  std::vector<Offset> sizes;
  for (int64_t i = 0; i < rows; ++i) {
    sizes.push_back(static_cast<Offset>(random() % 4));
    offsets.push_back(static_cast<Offset>(random() % (2 * static_cast<uint64_t>(rows))));
  }
  auto values = Column(type->field(0)->type(), 2 * rows + 4, random);
  return arrow::ArrayData::Make(
      type, rows, {std::move(valid), BufferOf(std::move(offsets)), BufferOf(std::move(sizes))}, {std::move(values)});
}

inline Data Views(const std::shared_ptr<arrow::DataType>& type, int64_t rows, std::mt19937_64& random) {
  // By the builder of the other type of the same layout; a third of the values are too long to lie in place.
  arrow::BinaryViewBuilder builder;
  for (int64_t i = 0; i < rows; ++i) {
    const auto text = std::string(random() % 20, static_cast<char>('a' + random() % 26));
    if (random() % 7 == 0 ? !builder.AppendNull().ok() : !builder.Append(text).ok()) {
      return nullptr;
    }
  }
  auto data = (*builder.Finish())->data()->Copy();
  data->type = type;
  return data;
}

inline Data RunEnds(const std::shared_ptr<arrow::DataType>& type, int64_t rows, std::mt19937_64& random) {
  std::vector<int32_t> ends;
  for (int64_t end = 0; end < rows;) {
    end = std::min<int64_t>(rows, end + 1 + static_cast<int64_t>(random() % 3));
    ends.push_back(static_cast<int32_t>(end));
  }
  const auto runs = static_cast<int64_t>(ends.size());
  auto values = Column(type->field(1)->type(), runs, random);
  return arrow::ArrayData::Make(
      type, rows, {nullptr},
      {arrow::ArrayData::Make(arrow::int32(), runs, {nullptr, BufferOf(std::move(ends))}, 0), std::move(values)}, 0);
}

inline Data Union(const std::shared_ptr<arrow::DataType>& type, int64_t rows, bool dense, std::mt19937_64& random) {
  const auto& codes = static_cast<const arrow::UnionType&>(*type).type_codes();
  std::vector<int8_t> ids;
  std::vector<int32_t> offsets;
  std::vector<int32_t> next(codes.size(), 0);
  for (int64_t i = 0; i < rows; ++i) {
    const size_t child = random() % codes.size();
    ids.push_back(codes[child]);
    offsets.push_back(next[child]++);
  }
  std::vector<Data> children;
  for (size_t child = 0; child < codes.size(); ++child) {
    children.push_back(Column(type->field(static_cast<int>(child))->type(), dense ? next[child] : rows, random));
  }
  std::vector<std::shared_ptr<arrow::Buffer>> buffers{nullptr, BufferOf(std::move(ids))};
  if (dense) {
    buffers.push_back(BufferOf(std::move(offsets)));
  }
  return arrow::ArrayData::Make(type, rows, std::move(buffers), std::move(children), 0);
}

inline Data Column(const std::shared_ptr<arrow::DataType>& type, int64_t rows, std::mt19937_64& random, bool nulls) {
  using arrow::ArrayData;
  using arrow::Type;
  std::shared_ptr<arrow::Buffer> valid = nulls ? Bits(rows, random) : nullptr;
  int64_t end = 0;
  switch (type->id()) {
    case Type::NA:
      return ArrayData::Make(type, rows, {nullptr}, rows);
    case Type::BOOL:
      return ArrayData::Make(type, rows, {valid, Bits(rows, random)});
    case Type::STRING:
    case Type::BINARY: {
      auto offsets = Offsets<int32_t>(rows, 9, random, &end);
      return ArrayData::Make(type, rows, {valid, offsets, Bytes(end, random)});
    }
    case Type::LARGE_STRING:
    case Type::LARGE_BINARY: {
      auto offsets = Offsets<int64_t>(rows, 9, random, &end);
      return ArrayData::Make(type, rows, {valid, offsets, Bytes(end, random)});
    }
    case Type::STRING_VIEW:
    case Type::BINARY_VIEW:
      return Views(type, rows, random);
    case Type::LIST:
    case Type::MAP: {
      auto offsets = Offsets<int32_t>(rows, 3, random, &end);
      return ArrayData::Make(type, rows, {valid, offsets},
                             {Column(type->field(0)->type(), end, random, type->id() == Type::LIST)});
    }
    case Type::LARGE_LIST: {
      auto offsets = Offsets<int64_t>(rows, 3, random, &end);
      return ArrayData::Make(type, rows, {valid, offsets}, {Column(type->field(0)->type(), end, random)});
    }
    case Type::LIST_VIEW:
      return ListView<int32_t>(type, rows, valid, random);
    case Type::LARGE_LIST_VIEW:
      return ListView<int64_t>(type, rows, valid, random);
    case Type::FIXED_SIZE_LIST: {
      const int64_t size = static_cast<const arrow::FixedSizeListType&>(*type).list_size();
      return ArrayData::Make(type, rows, {valid}, {Column(type->field(0)->type(), rows * size, random)});
    }
    case Type::STRUCT: {
      std::vector<Data> children;
      for (int i = 0; i < type->num_fields(); ++i) {
        children.push_back(Column(type->field(i)->type(), rows, random, type->field(i)->nullable()));
      }
      return ArrayData::Make(type, rows, {valid}, std::move(children));
    }
    case Type::SPARSE_UNION:
      return Union(type, rows, false, random);
    case Type::DENSE_UNION:
      return Union(type, rows, true, random);
    case Type::RUN_END_ENCODED:
      return RunEnds(type, rows, random);
    case Type::DICTIONARY: {
      std::vector<int8_t> indices;
      for (int64_t i = 0; i < rows; ++i) {
        indices.push_back(static_cast<int8_t>(random() % 5));
      }
      auto data = ArrayData::Make(type, rows, {valid, BufferOf(std::move(indices))});
      data->dictionary = Column(static_cast<const arrow::DictionaryType&>(*type).value_type(), 5, random, false);
      return data;
    }
    case Type::EXTENSION: {
      auto data = Column(static_cast<const arrow::ExtensionType&>(*type).storage_type(), rows, random)->Copy();
      data->type = type;
      return data;
    }
    case Type::FLOAT:
    case Type::DOUBLE: {
      // Whole numbers: no NaN, which would not equal itself.
      const bool narrow = type->id() == Type::FLOAT;
      std::vector<float> floats;
      std::vector<double> doubles;
      for (int64_t i = 0; i < rows; ++i) {
        floats.push_back(static_cast<float>(random() % 1000));
        doubles.push_back(static_cast<double>(random() % 1000));
      }
      return ArrayData::Make(type, rows, {valid, narrow ? BufferOf(std::move(floats)) : BufferOf(std::move(doubles))});
    }
    case Type::DECIMAL32:
    case Type::DECIMAL64:
    case Type::DECIMAL128:
    case Type::DECIMAL256: {
      // One digit each.
      const auto width = static_cast<size_t>(type->byte_width());
      std::vector<uint8_t> bytes(static_cast<size_t>(rows) * width, 0);
      for (size_t i = 0; i < bytes.size(); i += width) {
        bytes[i] = static_cast<uint8_t>(random() % 10);
      }
      return ArrayData::Make(type, rows, {valid, BufferOf(std::move(bytes))});
    }
    case Type::TIME32:
    case Type::TIME64:
    case Type::DATE64: {
      const auto width = static_cast<size_t>(type->byte_width());
      std::vector<uint8_t> bytes(static_cast<size_t>(rows) * width, 0);
      if (type->id() != Type::DATE64) {
        for (size_t i = 0; i < bytes.size(); i += width) {
          bytes[i] = static_cast<uint8_t>(random());
        }
      }
      return ArrayData::Make(type, rows, {valid, BufferOf(std::move(bytes))});
    }
    default:  // any bytes are a value
      return ArrayData::Make(type, rows, {valid, Bytes(rows * type->byte_width(), random)});
  }
}

}  // namespace internal

/// Every type, one column each, named by its type.
inline std::shared_ptr<arrow::Schema> AllTypesSchema() {
  using namespace arrow;  // NOLINT: the list below is only types
  const auto nested_dictionary = list(dictionary(int8(), utf8()));
  const std::vector<std::shared_ptr<DataType>> types = {
      null(),
      boolean(),
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
      date32(),
      date64(),
      time32(TimeUnit::SECOND),
      time64(TimeUnit::NANO),
      timestamp(TimeUnit::MICRO, "UTC"),
      duration(TimeUnit::MILLI),
      month_interval(),
      day_time_interval(),
      month_day_nano_interval(),
      decimal32(5, 2),
      decimal64(12, 2),
      decimal128(20, 3),
      decimal256(50, 3),
      utf8(),
      large_utf8(),
      binary(),
      large_binary(),
      utf8_view(),
      binary_view(),
      fixed_size_binary(3),
      list(utf8()),
      large_list(int32()),
      list_view(int64()),
      large_list_view(utf8()),
      fixed_size_list(int16(), 2),
      struct_({field("a", int32()), field("b", list(utf8()))}),
      map(utf8(), int64()),
      sparse_union({field("i", int32()), field("s", utf8())}),
      dense_union({field("i", int32()), field("s", utf8())}, {3, 7}),
      run_end_encoded(int32(), utf8()),
      dictionary(int8(), utf8()),
      dictionary(int8(), list(int32())),
      nested_dictionary,
      dictionary(int8(), struct_({field("d", dictionary(int8(), utf8()))})),
      std::make_shared<PointType>(),
      list(std::make_shared<PointType>()),
  };
  FieldVector fields;
  for (const auto& type : types) {
    // A position before each, since names of two may be the same.
    fields.push_back(field(std::to_string(fields.size()) + " " + type->ToString(), type));
  }
  return schema(std::move(fields), key_value_metadata({"made by"}, {"all_types.h"}));
}

/// `rows` rows of `schema`, decided by `seed`; about one value in four is null.
inline std::shared_ptr<arrow::RecordBatch> RandomBatch(const std::shared_ptr<arrow::Schema>& schema, int64_t rows,
                                                       uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  for (const auto& field : schema->fields()) {
    columns.push_back(internal::Column(field->type(), rows, random));
  }
  return arrow::RecordBatch::Make(schema, rows, std::move(columns));
}

}  // namespace cylon::testing
