/// An array of plain structs out of the rank's budget.
#pragma once

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/result.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace cylon {

/// Grows by doubling; keeps its memory when it shrinks. T is trivially copyable.
template <typename T>
class StateArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit StateArray(arrow::MemoryPool* pool) : pool_(pool) {}

  /// New ones are T{}.
  arrow::Status Resize(int64_t count) {
    if (count > capacity_) {
      const int64_t capacity = std::max(count, capacity_ * 2);
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> grown,
                            arrow::AllocateBuffer(capacity * static_cast<int64_t>(sizeof(T)), pool_));
      T* values = grown->mutable_data_as<T>();
      std::copy(values_, values_ + size_, values);
      buffer_ = std::move(grown);
      values_ = values;
      capacity_ = capacity;
    }
    for (int64_t i = size_; i < count; ++i) {
      values_[i] = T{};
    }
    size_ = count;
    return arrow::Status::OK();
  }

  int64_t size() const { return size_; }
  T* data() { return values_; }
  const T* data() const { return values_; }
  T& operator[](int64_t i) { return values_[i]; }
  const T& operator[](int64_t i) const { return values_[i]; }

 private:
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::Buffer> buffer_;
  T* values_ = nullptr;
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

}  // namespace cylon
