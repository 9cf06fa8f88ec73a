// One rank's rows that can be among the first of their groups in some order.
#include "cylon/kernels/group_top.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "cylon/kernels/aggregate_values.h"
#include "cylon/kernels/group_by.h"
#include "cylon/kernels/partition_groups.h"
#include "cylon/kernels/sort_key.h"
#include "cylon/kernels/unique.h"

namespace cylon {

namespace {

/// Words that a group keeps: they are shifted one by one, so that more of them are better left to a sort.
constexpr int64_t kMostBest = 32;

/// Finding the rows that are left takes about half as long as sorting all.
constexpr double kMostLeft = 0.5;

/// A row of the order: its value beside what its group costs.
constexpr int64_t kBytesPerRow = PartitionGroups::kBytesPerRow + 8 + 8;

/// Turns the words of a block of values of `kind` into ones that are larger the earlier a value comes; 0 is for what is
/// missing, and comes last.
void OrderBlock(const ValueBlock& block, KeyKind kind, SortOrder order, uint64_t* out) {
  for (int64_t i = 0; i < block.count; ++i) {
    // -0.0 is 0.0.
    out[i] = block.floats ? std::bit_cast<uint64_t>(std::bit_cast<double>(block.words[i]) + 0.0) : block.words[i];
  }
  MakeAscending(kind, out, block.count);
  const uint64_t flip = order == SortOrder::kDescending ? 0 : ~uint64_t{0};
  for (int64_t i = 0; i < block.count; ++i) {
    // The last value and the one before it may have one word: both are then left to the sort.
    out[i] = block.IsMissing(i) ? 0 : std::max<uint64_t>(out[i] ^ flip, 1);
  }
}

/// The best of the groups of one partition after the other.
class BestOfGroups {
 public:
  BestOfGroups(arrow::MemoryPool* pool, const RadixPartitions& rows, KeyKind kind, SortOrder order, std::string name,
               int64_t count)
      : pool_(pool),
        rows_(rows),
        kind_(kind),
        order_(order),
        name_(std::move(name)),
        count_(count),
        groups_(pool, rows),
        best_(pool),
        words_(pool) {}

  /// Sets kept[row] for each row of `partition`.
  arrow::Status Mark(int64_t partition, uint8_t* kept) {
    const int64_t first = rows_.begin(partition);
    const int64_t rows = rows_.rows(partition);
    ARROW_RETURN_NOT_OK(groups_.Find(partition));
    ARROW_RETURN_NOT_OK(best_.Resize(0));
    ARROW_RETURN_NOT_OK(best_.Resize(groups_.count() * count_));
    ARROW_RETURN_NOT_OK(words_.Resize(rows));
    ARROW_ASSIGN_OR_RAISE(auto reader, ValueReader::OfCarried(pool_, rows_.column(0), first, rows, name_));
    for (int64_t begin = 0; begin < rows; begin += kValueBlockRows) {
      const auto block = reader.Read(begin, std::min(kValueBlockRows, rows - begin));
      OrderBlock(block, kind_, order_, words_.data() + begin);
      for (int64_t i = 0; i < block.count; ++i) {
        Take(words_[begin + i], best_.data() + groups_.numbers()[begin + i] * count_);
      }
    }
    const uint32_t* numbers = rows_.row_numbers() + first;
    for (int64_t i = 0; i < rows; ++i) {
      const uint64_t last = best_[(groups_.numbers()[i] + int64_t{1}) * count_ - 1];
      kept[numbers[i]] = static_cast<uint8_t>(words_[i] >= last);
    }
    return arrow::Status::OK();
  }

 private:
  /// `best` has the largest words so far, in falling order.
  void Take(uint64_t word, uint64_t* best) const {
    int64_t at = count_ - 1;
    if (word <= best[at]) {
      return;
    }
    for (; at > 0 && best[at - 1] < word; --at) {
      best[at] = best[at - 1];
    }
    best[at] = word;
  }

  arrow::MemoryPool* pool_;
  const RadixPartitions& rows_;
  KeyKind kind_;
  SortOrder order_;
  std::string name_;
  int64_t count_;
  PartitionGroups groups_;
  StateArray<uint64_t> best_;   // count_ words of each group; 0 where there are none yet
  StateArray<uint64_t> words_;  // by row of the partition
};

/// Whether rows can be told apart by one word, in memory.
arrow::Result<bool> CanMark(Resources& resources, const Table& input, const GroupTopKernelOptions& options) {
  const auto& field = *input.schema()->field(options.by.column);
  const auto on_disk = [](const auto& chunk) { return chunk->spilled(); };
  // Chunks are pinned whole, and long keys are encoded beside them.
  const int64_t bytes = 2 * input.num_bytes() + input.num_rows() * kBytesPerRow;
  if (options.count > kMostBest || !CanCarry(*field.type()) || options.by.nulls != NullPlacement::kLast ||
      input.num_rows() >= std::numeric_limits<uint32_t>::max() || bytes > resources.memory()->limit() / 2 ||
      std::any_of(input.chunks().begin(), input.chunks().end(), on_disk)) {
    return false;
  }
  ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::OfType(field.type(), field.name()));
  if (!column.is_word()) {
    return false;
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t groups, EstimateGroups(input, options.keys));
  return static_cast<double>(groups) * static_cast<double>(options.count) <=
         kMostLeft * static_cast<double>(input.num_rows());
}

}  // namespace

arrow::Result<Table> GroupTopRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                  const GroupTopKernelOptions& options) {
  if (options.count <= 0) {
    return Table::Empty(resources, input.schema());
  }
  ARROW_ASSIGN_OR_RAISE(const bool marks, CanMark(*resources, input, options));
  if (!marks) {
    return input;
  }
  const auto& field = *input.schema()->field(options.by.column);
  ARROW_ASSIGN_OR_RAISE(const auto column, KeyColumn::OfType(field.type(), field.name()));
  RadixPlan plan;
  plan.keys = options.keys;
  plan.carried = {options.by.column};
  plan.row_numbers = true;
  plan.bits = RadixBits(input.num_rows(), kBytesPerRow);
  ARROW_ASSIGN_OR_RAISE(plan.layout, KeyLayout::Packed(*resources, input, plan.keys));
  ARROW_ASSIGN_OR_RAISE(auto rows, RadixPartitions::Make(resources, input, plan));
  ARROW_ASSIGN_OR_RAISE(const auto kept, MarkPartitions(*resources, *rows, [&] {
                          return BestOfGroups(resources->memory(), *rows, column.kind(), options.by.order, field.name(),
                                              options.count);
                        }));
  rows.reset();
  return KeepRows(resources, input, kept->data());
}

}  // namespace cylon
