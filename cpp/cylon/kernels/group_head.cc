// One rank's first or last rows of each group: dealt to partitions whose groups stay in the cache, and counted there.
#include "cylon/kernels/group_head.h"

#include <algorithm>
#include <numeric>

#include "cylon/kernels/aggregate_values.h"
#include "cylon/kernels/marked_rows.h"
#include "cylon/kernels/partition_groups.h"
#include "cylon/kernels/unique.h"

namespace cylon {

namespace {

/// The groups of one partition after the other.
class GroupCounter {
 public:
  GroupCounter(arrow::MemoryPool* pool, const RadixPartitions& rows, const GroupHeadKernelOptions& options)
      : rows_(rows), options_(options), groups_(pool, rows), counts_(pool) {}

  /// Sets kept[row] for each row of `partition`.
  arrow::Status Mark(int64_t partition, uint8_t* kept) {
    const int64_t first = rows_.begin(partition);
    const int64_t rows = rows_.rows(partition);
    ARROW_RETURN_NOT_OK(groups_.Find(partition));
    ARROW_RETURN_NOT_OK(counts_.Resize(0));
    ARROW_RETURN_NOT_OK(counts_.Resize(groups_.count()));
    // All but the last n are those that n others follow: counting begins at the other end.
    const bool all_but = options_.count < 0;
    const bool backwards = (options_.side == GroupSide::kTail) != all_but;
    const uint64_t limit = all_but ? 0 - static_cast<uint64_t>(options_.count) : static_cast<uint64_t>(options_.count);
    const uint32_t* numbers = rows_.row_numbers() + first;
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t place = backwards ? rows - 1 - i : i;
      const bool is_within = counts_[groups_.numbers()[place]]++ < limit;
      kept[numbers[place]] = static_cast<uint8_t>(is_within != all_but);
    }
    return arrow::Status::OK();
  }

 private:
  const RadixPartitions& rows_;
  const GroupHeadKernelOptions& options_;
  PartitionGroups groups_;
  StateArray<uint64_t> counts_;  // by group
};

/// Takes back the rows of `keys` with a missing one. All rows of such a group have one, so no other count is wrong.
arrow::Status DropMissing(arrow::MemoryPool* pool, const arrow::RecordBatch& keys, uint8_t* kept) {
  for (int key = 0; key < keys.num_columns(); ++key) {
    ARROW_ASSIGN_OR_RAISE(auto reader, ValueReader::Make(pool, keys.column_data(key), keys.column_name(key)));
    for (int64_t begin = 0; begin < keys.num_rows(); begin += kValueBlockRows) {
      const auto block = reader.Read(begin, std::min(kValueBlockRows, keys.num_rows() - begin));
      const bool may_miss = block.valid != nullptr || block.floats;
      for (int64_t i = 0; may_miss && i < block.count; ++i) {
        kept[begin + i] &= static_cast<uint8_t>(!block.IsMissing(i));
      }
    }
  }
  return arrow::Status::OK();
}

/// MarkGroupHeads where all columns of `keys` are keys, in memory.
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkInMemory(const std::shared_ptr<Resources>& resources,
                                                           const Table& keys, const GroupHeadKernelOptions& options) {
  RadixPlan plan;
  plan.keys.resize(keys.num_columns());
  std::iota(plan.keys.begin(), plan.keys.end(), 0);
  plan.row_numbers = true;
  plan.bits = RadixBits(keys.num_rows(), PartitionGroups::kBytesPerRow);
  ARROW_ASSIGN_OR_RAISE(plan.layout, KeyLayout::Packed(*resources, keys, plan.keys));
  ARROW_ASSIGN_OR_RAISE(const auto rows, RadixPartitions::Make(resources, keys, plan));
  ARROW_ASSIGN_OR_RAISE(
      auto kept, MarkPartitions(*resources, *rows, [&] { return GroupCounter(resources->memory(), *rows, options); }));
  uint8_t* here = kept->mutable_data();
  for (const auto& batch : rows->batches()) {
    if (options.drop_null_keys) {
      ARROW_RETURN_NOT_OK(DropMissing(resources->memory(), *batch, here));
    }
    here += batch->num_rows();
  }
  return kept;
}

}  // namespace

arrow::Result<std::shared_ptr<arrow::Buffer>> MarkGroupHeads(const std::shared_ptr<Resources>& resources,
                                                             const Table& input,
                                                             const GroupHeadKernelOptions& options) {
  return MarkRows(resources, input, options.keys,
                  [&](const Table& keys) { return MarkInMemory(resources, keys, options); });
}

arrow::Result<Table> GroupHeadRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                   const GroupHeadKernelOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const auto kept, MarkGroupHeads(resources, input, options));
  return KeepRows(resources, input, kept->data());
}

}  // namespace cylon
