/// Rows that are sorted in memory at once.
#pragma once

#include <memory>
#include <vector>

#include "cylon/kernels/row_locator.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/sort_word.h"

namespace cylon {

/// Most rows of one run: they are numbered by 32 bits.
inline constexpr int64_t kMostRunRows = (int64_t{1} << 32) - 2;

/// Sorts by words (SortWords) in two steps. First every row goes to one of up to 2^11 partitions by the leading bits of
/// its first word, and with it the word and the fixed-width columns, through one cache line for each partition
/// (RadixScatter): after this nothing is read or written at random outside a core's cache. Then each partition is
/// ordered by a radix sort of its words (WordSorter) and its columns are read in that order. Integer keys need not be
/// carried: they are had back from the words. What does not travel (strings, nested columns, null bits) is gathered by
/// row number at the end.
class SortRun {
 public:
  /// Schema and keys outlive the run.
  SortRun(std::shared_ptr<Resources> resources, const std::shared_ptr<arrow::Schema>& schema,
          const std::vector<SortKey>& keys)
      : resources_(std::move(resources)), schema_(schema), keys_(keys) {}

  /// Rows [offset, offset + length) of `batch`, which stays pinned as long as the run lives.
  void Add(const std::shared_ptr<arrow::RecordBatch>& batch, int64_t offset, int64_t length);
  int64_t num_rows() const { return locator_.num_rows(); }

  /// Its rows, sorted and stable, in chunks of at most `piece_rows`.
  arrow::Status SortInto(int64_t piece_rows, TableBuilder* out) const;

 private:
  std::shared_ptr<Resources> resources_;
  const std::shared_ptr<arrow::Schema>& schema_;
  const std::vector<SortKey>& keys_;
  Batches batches_;
  Batches pins_;
  RowLocator locator_;
};

}  // namespace cylon
