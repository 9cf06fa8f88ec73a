/// Sort keys as words: what a radix sort takes.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cylon/kernels/key_column.h"
#include "cylon/kernels/row_locator.h"
#include "cylon/kernels/sort.h"

namespace cylon {

/// The keys of some batches' rows as strings of 64-bit words that compare, word by word, as the rows do. Thread-safe
/// once made.
class SortWords {
 public:
  virtual ~SortWords() = default;

  /// Bits of the first word that may differ: those above are 0.
  virtual int bits() const = 0;

  /// Whether rows that agree in their first word are equal.
  virtual bool ends_with_first() const = 0;

  /// The first words of rows [offset, offset + count) of a batch.
  virtual void LoadFirst(size_t batch, int64_t offset, int64_t count, uint64_t* out) const = 0;

  /// Word number `level` (1 or more) of some rows, all of which agree in the words before; false where their keys have
  /// ended, and the rows are equal. Rows are numbered over all batches.
  virtual bool LoadNext(int level, std::span<const uint32_t> rows, uint64_t* out) const = 0;

  /// Less than, equal to or greater than 0 as row `a` comes before, with or after row `b`.
  virtual int Compare(uint32_t a, uint32_t b) const = 0;

  /// Whether the values of `column` can be had back from the first words, without a look at the rows.
  virtual bool Restores(int column) const = 0;
  /// Those of rows order[0], order[1] ... of the rows with these first words, into places `at` and following of `out`.
  /// Only where it Restores.
  virtual void Restore(int column, const uint64_t* words, std::span<const uint32_t> order, int64_t at,
                       arrow::Buffer* out) const = 0;
  /// Their validity bits; nullptr where none is null.
  virtual arrow::Result<std::shared_ptr<arrow::Buffer>> RestoreValidity(arrow::MemoryPool* pool, int column,
                                                                        const uint64_t* words,
                                                                        std::span<const uint32_t> order,
                                                                        int64_t* null_count) const = 0;
};

using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

/// The words of keys that are each a word or less. Every key takes as many bits as the range of its values, NaN and
/// null needs, and the keys lie in the string one after another, the first key highest:
///
///   one word:   | 0 ... 0 | first key | second key |      more:   | first key | sec | ond key | 0 ... 0 |
///
/// A key's code is its distance from the smallest value (from the largest, where it is descending), moved by the places
/// that null and NaN take before.
arrow::Result<std::unique_ptr<SortWords>> MakePackedWords(Resources& resources, const arrow::Schema& schema,
                                                          const Batches& batches, const std::vector<SortKey>& keys);

/// The words of keys of any kind: EncodeSortKeys' bytes, without those that all rows begin with.
arrow::Result<std::unique_ptr<SortWords>> MakeByteWords(Resources& resources, const Batches& batches,
                                                        const std::vector<SortKey>& keys);

}  // namespace cylon
