/// The groups of one partition of dealt rows after the other.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
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

/// One byte for each row of the dealt table: what workers set by Mark(partition, bytes) of each partition's rows.
/// `make` gives each thread its worker.
template <typename Make>
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkPartitions(Resources& resources, const RadixPartitions& rows,
                                                             const Make& make) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> marks,
                        arrow::AllocateBuffer(rows.num_rows(), resources.memory()));
  std::atomic<int64_t> next{0};
  const int64_t partitions = rows.count() + 1;  // the last has the null keys
  const auto threads = std::min<int64_t>(resources.arena().threads(), partitions);
  ARROW_RETURN_NOT_OK(resources.arena().ParallelFor(threads, [&](int64_t) {
    auto worker = make();
    for (int64_t p = next.fetch_add(1); p < partitions; p = next.fetch_add(1)) {
      ARROW_RETURN_NOT_OK(worker.Mark(p, marks->mutable_data()));
    }
    return arrow::Status::OK();
  }));
  return marks;
}

}  // namespace cylon
