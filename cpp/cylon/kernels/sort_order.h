/// Puts words in order: the part of a sort that runs in a core's cache.
#pragma once

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/result.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cylon/kernels/sort_word.h"

namespace cylon {

/// Sorts the words of one partition after another. Not thread-safe: one for each task. Memory comes from the pool.
class WordSorter {
 public:
  explicit WordSorter(arrow::MemoryPool* pool) : pool_(pool) {}

  /// The positions of `words` in ascending order of the words, then of the positions, into `order`. LSD radix sort of
  /// (word, position) entries of 64 bits over as many of the leading bits that vary as tell nearly all words apart
  /// (log2 of their number and a few more); what that leaves equal is sorted by the bits below.
  arrow::Status Order(std::span<const uint64_t> words, uint32_t* order);

  /// Goes on where rows agree in their first word. `words` and `rows` (their numbers) are parallel; `order` has been
  /// made by Order from the words.
  arrow::Status Refine(const SortWords& levels, std::span<const uint64_t> words, std::span<const uint32_t> rows,
                       uint32_t* order) {
    return RefineLevel(levels, 1, words, rows, order);
  }

 private:
  arrow::Status RefineLevel(const SortWords& levels, int level, std::span<const uint64_t> words,
                            std::span<const uint32_t> rows, uint32_t* order);
  arrow::Status SortRun(std::span<const uint64_t> words, uint32_t* order, size_t count);
  arrow::Result<uint64_t*> Entries(size_t count);

  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::ResizableBuffer> entries_;
};

}  // namespace cylon
