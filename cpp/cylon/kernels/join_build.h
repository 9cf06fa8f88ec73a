/// The side of a join that is kept: its batches, the numbers of its keys, and each key's rows.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/row_key.h"
#include "cylon/kernels/row_locator.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

/// Rows of a key are chained in their order: heads by the key's number, next by row.
///
///   part p:  map: key -> number     heads[number] -> first row     next[row] -> next row of the same key, or kNone
///
/// Keys are dealt to one part per thread by their hash, so that parts are built side by side; what a lookup gives does
/// not depend on how many there are.
class JoinBuild {
 public:
  static constexpr uint32_t kNone = GroupMap::kNone;

  /// Pins all of `table`, of which `columns` can be gathered later.
  static arrow::Result<std::unique_ptr<JoinBuild>> Make(const std::shared_ptr<Resources>& resources, const Table& table,
                                                        const std::vector<int>& keys, NullKeys null_keys,
                                                        const std::vector<int>& columns);

  /// The first row of each key of `keys`, or kNone, into `rows`. With `mark`, notes that the keys were found.
  void FindFirst(const KeyBatch& keys, bool mark, uint32_t* rows);
  uint32_t Next(uint32_t row) const { return next_.empty() ? kNone : next_[row]; }

  /// Rows, in order, whose keys were never found.
  std::vector<uint32_t> UnmatchedRows() const;

  /// Where rows lie, in the form that gatherers take: kNone becomes -1.
  void Locate(std::span<const uint32_t> rows, std::vector<int64_t>* positions, std::vector<uint32_t>* sources) const;

  const RowGatherer& gatherer() const { return gatherer_; }
  int64_t num_rows() const { return locator_.num_rows(); }

 private:
  struct Part {
    Part(arrow::MemoryPool* pool, const KeyEncoder& encoder) : map(pool, encoder) {}
    GroupMap map;
    std::vector<uint32_t> heads;
    std::vector<uint32_t> tails;  // while it is built
    std::vector<uint8_t> found;   // by number, written by several threads
  };

  JoinBuild() = default;
  /// Adds the rows of `keys` that belong to part `index`; the first of them is row `first_row` of the table.
  arrow::Status Fill(uint32_t index, const KeyBatch& keys, NullKeys null_keys, int64_t first_row);
  uint32_t PartOf(uint64_t hash) const;

  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  RowLocator locator_;
  std::vector<Part> parts_;
  std::vector<uint32_t> next_;  // empty: every key has one row
  RowGatherer gatherer_;
};

}  // namespace cylon
