// Whether a batch that came from elsewhere is what it says, in every value.
#include "cylon/table/batch_validator.h"

#include <arrow/array/validate.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/utf8.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace cylon {

namespace {

using Data = std::shared_ptr<arrow::ArrayData>;

bool IsAscii(const uint8_t* data, int64_t size) {
  uint64_t high = 0;
  int64_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word = 0;
    std::memcpy(&word, data + i, sizeof(word));
    high |= word;
  }
  for (; i < size; ++i) {
    high |= data[i];
  }
  return (high & 0x8080808080808080ULL) == 0;
}

// Text whose offsets are known to be in order and within the data. All of it is one run, which is valid where its
// values are: then the run is valid, and no value begins inside a character. Where that does not hold, null slots may
// be the cause, and every value counts for itself.
template <typename Offset>
arrow::Status CheckText(const arrow::ArrayData& data) {
  if (data.length == 0 || data.buffers[1] == nullptr || data.buffers[1]->size() == 0) {
    return arrow::Status::OK();
  }
  const auto* offsets = data.GetValues<Offset>(1);
  const uint8_t* bytes = data.buffers[2] == nullptr ? nullptr : data.buffers[2]->data();
  const int64_t begin = offsets[0];
  const int64_t end = offsets[data.length];
  if (begin == end || IsAscii(bytes + begin, end - begin)) {
    return arrow::Status::OK();
  }
  bool whole = arrow::util::ValidateUTF8(bytes + begin, end - begin);
  for (int64_t i = 0; whole && i < data.length; ++i) {
    whole = offsets[i] == end || (bytes[offsets[i]] & 0xc0) != 0x80;
  }
  if (whole) {
    return arrow::Status::OK();
  }
  const uint8_t* valid = data.buffers[0] == nullptr ? nullptr : data.buffers[0]->data();
  for (int64_t i = 0; i < data.length; ++i) {
    if ((valid == nullptr || arrow::bit_util::GetBit(valid, data.offset + i)) &&
        !arrow::util::ValidateUTF8(bytes + offsets[i], offsets[i + 1] - offsets[i])) {
      return arrow::Status::Invalid("the text of row ", i, " is not UTF-8");
    }
  }
  return arrow::Status::OK();
}

Data Copy(const arrow::ArrayData& data, std::shared_ptr<arrow::DataType> type) {
  auto copy = std::make_shared<arrow::ArrayData>(data);
  copy->type = std::move(type);
  return copy;
}

}  // namespace

arrow::Status BatchValidator::Check(const arrow::RecordBatch& batch) {
  // Layouts: the buffers that are there, and their sizes.
  ARROW_RETURN_NOT_OK(batch.Validate());
  arrow::util::InitializeUTF8();
  for (int i = 0; i < batch.num_columns(); ++i) {
    auto status = CheckColumn(batch.column_data(i));
    if (!status.ok()) {
      return status.WithMessage("in column ", i, ": ", status.message());
    }
  }
  known_ = std::exchange(seen_, {});
  return arrow::Status::OK();
}

// Arrow looks at everything but what was taken out.
arrow::Status BatchValidator::CheckColumn(const Data& data) {
  std::vector<Data> texts;
  std::vector<Data> dictionaries;
  ARROW_RETURN_NOT_OK(arrow::internal::ValidateArrayFull(*Simplify(data, &texts, &dictionaries)));
  for (const auto& text : texts) {
    ARROW_RETURN_NOT_OK(text->type->id() == arrow::Type::STRING ? CheckText<int32_t>(*text)
                                                                : CheckText<int64_t>(*text));
  }
  for (const auto& dictionary : dictionaries) {
    if (std::find(known_.begin(), known_.end(), dictionary) == known_.end()) {
      ARROW_RETURN_NOT_OK(CheckColumn(dictionary));
    }
    seen_.push_back(dictionary);
  }
  return arrow::Status::OK();
}

// The same data with text as plain bytes and with dictionaries as so many nulls; what was taken out is listed.
Data BatchValidator::Simplify(const Data& data, std::vector<Data>* texts, std::vector<Data>* dictionaries) const {
  switch (data->type->id()) {
    case arrow::Type::STRING:
      texts->push_back(data);
      return Copy(*data, arrow::binary());
    case arrow::Type::LARGE_STRING:
      texts->push_back(data);
      return Copy(*data, arrow::large_binary());
    case arrow::Type::DICTIONARY: {
      const auto& type = static_cast<const arrow::DictionaryType&>(*data->type);
      dictionaries->push_back(data->dictionary);
      auto copy = Copy(*data, arrow::dictionary(type.index_type(), arrow::null(), type.ordered()));
      copy->dictionary =
          arrow::ArrayData::Make(arrow::null(), data->dictionary->length, {nullptr}, data->dictionary->length);
      return copy;
    }
    case arrow::Type::LIST:
    case arrow::Type::LARGE_LIST:
    case arrow::Type::STRUCT: {
      std::vector<Data> children;
      arrow::FieldVector fields;
      for (size_t i = 0; i < data->child_data.size(); ++i) {
        children.push_back(Simplify(data->child_data[i], texts, dictionaries));
        fields.push_back(data->type->field(static_cast<int>(i))->WithType(children.back()->type));
      }
      if (children == data->child_data) {
        return data;
      }
      auto copy = Copy(*data, data->type->id() == arrow::Type::LIST         ? arrow::list(fields[0])
                              : data->type->id() == arrow::Type::LARGE_LIST ? arrow::large_list(fields[0])
                                                                            : arrow::struct_(fields));
      copy->child_data = std::move(children);
      return copy;
    }
    default:
      return data;
  }
}

}  // namespace cylon
