// Values of any type as canonical bytes, by recursion over the type.
#include "cylon/ops/encode_values.h"

#include <arrow/compute/api.h>

#include <cstring>
#include <string>
#include <vector>

#include "cylon/kernels/sort.h"

namespace cylon::internal {

namespace {

/// One byte string per row.
struct Encoded {
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets{0};

  void Append(const Encoded& other, int64_t row) {
    bytes.insert(bytes.end(), other.bytes.begin() + other.offsets[row], other.bytes.begin() + other.offsets[row + 1]);
  }
  void AppendCount(int64_t count) {
    uint8_t text[sizeof(count)];
    std::memcpy(text, &count, sizeof(count));
    bytes.insert(bytes.end(), text, text + sizeof(count));
  }
  void EndRow() { offsets.push_back(static_cast<int64_t>(bytes.size())); }
};

arrow::Result<Encoded> Encode(const std::shared_ptr<arrow::Array>& array);

/// Any list: a validity byte, the number of elements, the elements.
template <typename ListArray>
arrow::Result<Encoded> EncodeList(const arrow::Array& array) {
  const auto& list = static_cast<const ListArray&>(array);
  ARROW_ASSIGN_OR_RAISE(const auto values, Encode(list.values()));
  Encoded out;
  for (int64_t i = 0; i < list.length(); ++i) {
    out.bytes.push_back(list.IsValid(i) ? 1 : 0);
    if (list.IsValid(i)) {
      const auto begin = static_cast<int64_t>(list.value_offset(i));
      const auto count = static_cast<int64_t>(list.value_length(i));
      out.AppendCount(count);
      for (int64_t j = begin; j < begin + count; ++j) {
        out.Append(values, j);
      }
    }
    out.EndRow();
  }
  return out;
}

/// A validity byte, then the fields.
arrow::Result<Encoded> EncodeStruct(const arrow::Array& array) {
  const auto& rows = static_cast<const arrow::StructArray&>(array);
  std::vector<Encoded> fields;
  for (int i = 0; i < rows.num_fields(); ++i) {
    ARROW_ASSIGN_OR_RAISE(auto field, Encode(rows.field(i)));
    fields.push_back(std::move(field));
  }
  Encoded out;
  for (int64_t i = 0; i < rows.length(); ++i) {
    out.bytes.push_back(rows.IsValid(i) ? 1 : 0);
    if (rows.IsValid(i)) {
      for (const auto& field : fields) {
        out.Append(field, i);
      }
    }
    out.EndRow();
  }
  return out;
}

/// Values that can be sort keys have a canonical form there, which also says where it ends.
arrow::Result<Encoded> EncodeFlat(const std::shared_ptr<arrow::Array>& array) {
  const auto schema = arrow::schema({arrow::field("value", array->type())});
  Encoded out;
  ARROW_RETURN_NOT_OK(EncodeSortKeys(*arrow::RecordBatch::Make(schema, array->length(), {array}), {SortKey{}},
                                     &out.bytes, &out.offsets));
  return out;
}

arrow::Result<Encoded> Encode(const std::shared_ptr<arrow::Array>& array) {
  switch (array->type_id()) {
    case arrow::Type::LIST:
      return EncodeList<arrow::ListArray>(*array);
    case arrow::Type::LARGE_LIST:
      return EncodeList<arrow::LargeListArray>(*array);
    case arrow::Type::FIXED_SIZE_LIST:
      return EncodeList<arrow::FixedSizeListArray>(*array);
    case arrow::Type::LIST_VIEW:
      return EncodeList<arrow::ListViewArray>(*array);
    case arrow::Type::LARGE_LIST_VIEW:
      return EncodeList<arrow::LargeListViewArray>(*array);
    case arrow::Type::MAP:
      return EncodeList<arrow::MapArray>(*array);
    case arrow::Type::STRUCT:
      return EncodeStruct(*array);
    case arrow::Type::EXTENSION:
      return Encode(static_cast<const arrow::ExtensionArray&>(*array).storage());
    case arrow::Type::DICTIONARY: {
      const auto& type = static_cast<const arrow::DictionaryType&>(*array->type());
      ARROW_ASSIGN_OR_RAISE(const auto plain, arrow::compute::Cast(*array, type.value_type()));
      return Encode(plain);
    }
    case arrow::Type::RUN_END_ENCODED: {
      ARROW_ASSIGN_OR_RAISE(const auto plain, arrow::compute::RunEndDecode(array));
      return Encode(plain.make_array());
    }
    default:
      return EncodeFlat(array);
  }
}

}  // namespace

arrow::Result<std::shared_ptr<arrow::Array>> EncodeValues(const std::shared_ptr<arrow::Array>& array,
                                                          arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(const auto encoded, Encode(array));
  const auto copy = [pool](const void* data, size_t bytes) -> arrow::Result<std::shared_ptr<arrow::Buffer>> {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(static_cast<int64_t>(bytes), pool));
    if (bytes > 0) {
      std::memcpy(buffer->mutable_data(), data, bytes);
    }
    return buffer;
  };
  ARROW_ASSIGN_OR_RAISE(auto offsets, copy(encoded.offsets.data(), encoded.offsets.size() * sizeof(int64_t)));
  ARROW_ASSIGN_OR_RAISE(auto bytes, copy(encoded.bytes.data(), encoded.bytes.size()));
  return std::make_shared<arrow::LargeBinaryArray>(array->length(), std::move(offsets), std::move(bytes));
}

}  // namespace cylon::internal
