/// The groups of one partition of dealt rows after the other.
#pragma once

#include <vector>

#include "cylon/kernels/radix_partition.h"
#include "cylon/kernels/state_array.h"
#include "cylon/kernels/word_table.h"

namespace cylon {

/// Numbers the groups of a partition in the order of their first rows. Not thread-safe; `rows` outlive it.
class PartitionGroups {
 public:
  /// What a row costs in the cache: its word, its number, its group's number, and at most its group's word and slots.
  static constexpr int64_t kBytesPerRow = 8 + 4 + 4 + 8 + 8;

  PartitionGroups(arrow::MemoryPool* pool, const RadixPartitions& rows)
      : rows_(rows), table_(pool, rows.form() == KeyForm::kTwoWords ? 2 : 1), numbers_(pool) {}

  arrow::Status Find(int64_t partition);

  int64_t count() const { return table_.size(); }
  /// By row of the partition.
  const uint32_t* numbers() const { return numbers_.data(); }

 private:
  const RadixPartitions& rows_;
  WordTable table_;
  StateArray<uint32_t> numbers_;
  std::vector<uint32_t> first_rows_;  // by group; kHash
};

}  // namespace cylon
