/// Columns of a result that grow as groups come out.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>

namespace cylon {

/// One column: fixed-width values are written where they will lie; arrays of any type can be put one after another.
/// A column is filled either way, not both.
class OutputColumn {
 public:
  OutputColumn(arrow::MemoryPool* pool, std::shared_ptr<arrow::DataType> type)
      : pool_(pool), type_(std::move(type)), values_(pool), valid_(pool) {}

  const std::shared_ptr<arrow::DataType>& type() const { return type_; }
  arrow::MemoryPool* pool() const { return pool_; }

  /// Memory for `count` values in all, where the type has a fixed width: what grows by doubling is copied as often.
  arrow::Status Reserve(int64_t count);

  /// Room for `count` more values of the type's width (bool: a byte that is 0 or 1), all of which will be written.
  template <typename T>
  arrow::Result<T*> Extend(int64_t count) {
    ARROW_RETURN_NOT_OK(Grow(&values_, count * static_cast<int64_t>(sizeof(T))));
    return static_cast<T*>(static_cast<void*>(values_.mutable_data() + values_.length())) - count;
  }
  /// One byte for each of them, 0 for null: called after every Extend, or, where nothing is null, never.
  arrow::Result<uint8_t*> ExtendValid(int64_t count) {
    ARROW_RETURN_NOT_OK(Grow(&valid_, count));
    return valid_.mutable_data() + valid_.length() - count;
  }
  void Append(std::shared_ptr<arrow::Array> array) { arrays_.push_back(std::move(array)); }

  arrow::Result<std::shared_ptr<arrow::Array>> Finish(int64_t count);

 private:
  static arrow::Status Grow(arrow::BufferBuilder* builder, int64_t bytes) {
    ARROW_RETURN_NOT_OK(builder->Reserve(bytes));
    builder->UnsafeAdvance(bytes);
    return arrow::Status::OK();
  }

  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::DataType> type_;
  arrow::BufferBuilder values_;
  arrow::BufferBuilder valid_;
  arrow::ArrayVector arrays_;
};

/// Writes words (KeyColumn::LoadWords) as values of the column's type.
arrow::Status AppendWords(const uint64_t* words, int64_t count, OutputColumn* out);

}  // namespace cylon
