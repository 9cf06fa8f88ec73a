// Values of a column in the form that aggregates read them.
#include "cylon/kernels/aggregate_values.h"

#include <arrow/util/bit_util.h>

namespace cylon {

namespace {

/// Words that need no conversion: 64-bit integers, and doubles, whose NaN and -0.0 aggregates know how to read.
bool WordsLieThere(const KeyColumn& column, ValueForm form) {
  return column.width() == 8 && (column.kind() == KeyKind::kSigned || column.kind() == KeyKind::kUnsigned ||
                                 (column.kind() == KeyKind::kDouble && form == ValueForm::kValue));
}

bool IsFloat(const KeyColumn& column) {
  return column.kind() == KeyKind::kHalf || column.kind() == KeyKind::kFloat || column.kind() == KeyKind::kDouble;
}

}  // namespace

arrow::Result<ValueReader> ValueReader::Make(arrow::MemoryPool* pool, const std::shared_ptr<arrow::ArrayData>& data,
                                             const std::string& name, ValueForm form) {
  ValueReader reader;
  auto column = KeyColumn::Make(pool, data, name);
  if (column.status().IsNotImplemented()) {
    reader.nested_ = arrow::MakeArray(data);
    return reader;
  }
  ARROW_ASSIGN_OR_RAISE(reader.column_, std::move(column));
  reader.has_bitmap_ = reader.column_->may_have_nulls() && reader.column_->data()->GetNullCount() != 0;
  reader.floats_ = IsFloat(*reader.column_);
  if (WordsLieThere(*reader.column_, form)) {
    reader.plain_words_ = reader.column_->data()->GetValues<uint64_t>(1);
  }
  return reader;
}

arrow::Result<ValueReader> ValueReader::OfCarried(arrow::MemoryPool* pool, const CarriedColumn& carried, int64_t begin,
                                                  int64_t rows, const std::string& name) {
  // A dealt bool is a byte that is 0 or 1, as which it has the same word.
  const auto type = carried.type->id() == arrow::Type::BOOL ? arrow::uint8() : carried.type;
  auto values = std::make_shared<arrow::Buffer>(carried.values + begin * carried.width, rows * carried.width);
  ARROW_ASSIGN_OR_RAISE(auto reader,
                        Make(pool, arrow::ArrayData::Make(type, rows, {nullptr, std::move(values)}, 0), name));
  reader.bytes_valid_ = carried.valid == nullptr ? nullptr : carried.valid + begin;
  return reader;
}

ValueBlock ValueReader::Read(int64_t offset, int64_t count) {
  ValueBlock block;
  block.count = count;
  block.floats = floats_;
  if (bytes_valid_ != nullptr) {
    block.valid = bytes_valid_ + offset;
  } else if (nested_ != nullptr || has_bitmap_) {
    valid_.resize(count);
    for (int64_t i = 0; i < count; ++i) {
      valid_[i] =
          static_cast<uint8_t>(nested_ != nullptr ? nested_->IsValid(offset + i) : !column_->IsNull(offset + i));
    }
    block.valid = valid_.data();
  }
  if (nested_ != nullptr) {
    return block;
  }
  if (plain_words_ != nullptr) {
    block.words = plain_words_ + offset;
    return block;
  }
  block_column_ = column_->Slice(offset, count);
  if (column_->is_word()) {
    words_.resize(count);
    block_column_.LoadWords(words_.data());
    block.words = words_.data();
  } else {
    block.column = &block_column_;
  }
  return block;
}

}  // namespace cylon
