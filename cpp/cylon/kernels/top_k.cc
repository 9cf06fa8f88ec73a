// The first rows of an order.
#include "cylon/kernels/top_k.h"

#include <algorithm>
#include <limits>
#include <string>

#include "cylon/kernels/partition.h"
#include "cylon/kernels/sort_range.h"

namespace cylon {

namespace {

/// Rows that are compared at a time, and that are collected at least before they are sorted.
constexpr int64_t kBlockRows = 65536;

/// Where more than one in so many rows is wanted, sorting all of them is as fast.
constexpr int64_t kSparse = 4;

class Collector {
 public:
  Collector(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Schema>& schema,
            const std::vector<SortKey>& keys, int64_t count, bool with_ties)
      : resources_(resources), schema_(schema), keys_(keys), count_(count), with_ties_(with_ties) {}

  arrow::Status Add(const std::shared_ptr<arrow::RecordBatch>& block) {
    if (!ranges_.empty()) {
      ARROW_RETURN_NOT_OK(ranges_[0].Find(resources_->memory(), *block, 0, &range_of_));
      std::vector<int64_t> rows;
      for (size_t i = 0; i < range_of_.size(); ++i) {
        if (range_of_[i] == 0) {
          rows.push_back(static_cast<int64_t>(i));
        }
      }
      if (rows.empty()) {
        return arrow::Status::OK();
      }
      ARROW_ASSIGN_OR_RAISE(auto chosen, TakeRows(*resources_, *block, rows));
      ARROW_RETURN_NOT_OK(Append(std::move(chosen), /*owned=*/true));
    } else {
      ARROW_RETURN_NOT_OK(Append(block, /*owned=*/false));
    }
    // Twice as many as are kept, so that each row is sorted about twice.
    return collected_ >= 2 * std::max(kept_, kBlockRows / 2) && collected_ > count_ ? Shrink() : arrow::Status::OK();
  }

  arrow::Result<Table> Finish() {
    ARROW_RETURN_NOT_OK(Shrink());
    return best_;
  }

 private:
  arrow::Status Append(std::shared_ptr<arrow::RecordBatch> batch, bool owned) {
    collected_ += batch->num_rows();
    TableBuilder builder(resources_, schema_);
    ARROW_RETURN_NOT_OK(builder.Append(std::move(batch), owned));
    parts_.push_back(builder.Finish());
    return arrow::Status::OK();
  }

  /// Sorts what was collected and keeps the best; what comes later has to come before the last of them.
  arrow::Status Shrink() {
    if (parts_.empty()) {
      best_ = Table::Empty(resources_, schema_);
      return arrow::Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(const auto all, Table::Concatenate(parts_));
    ARROW_ASSIGN_OR_RAISE(best_, SortTable(resources_, all, keys_));
    if (best_.num_rows() > count_) {
      ARROW_ASSIGN_OR_RAISE(const auto last, best_.Slice(count_ - 1, 1));
      ARROW_ASSIGN_OR_RAISE(const auto batch, last.ToBatch());
      ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeRangeKeys(resources_->memory(), *batch, keys_));
      // Later rows that equal the last one do not push it out.
      const RangeCut cut{encoded.key(0), with_ties_ ? std::numeric_limits<int64_t>::max() : -1};
      ARROW_ASSIGN_OR_RAISE(auto ranges, SortRanges::Make(*schema_, keys_, {cut}));
      ranges_.clear();
      ranges_.push_back(std::move(ranges));
      int64_t wanted = count_;
      if (with_ties_) {
        ARROW_ASSIGN_OR_RAISE(wanted, RowsUpToCut());
      }
      ARROW_ASSIGN_OR_RAISE(best_, best_.Slice(0, wanted));
    }
    parts_ = {best_};
    kept_ = best_.num_rows();
    collected_ = kept_;
    return arrow::Status::OK();
  }

  /// How many of the sorted rows do not come after the cut.
  arrow::Result<int64_t> RowsUpToCut() {
    int64_t rows = 0;
    for (const auto& chunk : best_.chunks()) {
      if (rows + chunk->num_rows() < count_) {
        rows += chunk->num_rows();
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
      ARROW_RETURN_NOT_OK(ranges_[0].Find(resources_->memory(), *batch, 0, &range_of_));
      const int64_t below = std::count(range_of_.begin(), range_of_.end(), 0u);
      rows += below;
      if (below < batch->num_rows()) {
        break;
      }
    }
    return rows;
  }

  const std::shared_ptr<Resources>& resources_;
  const std::shared_ptr<arrow::Schema>& schema_;
  const std::vector<SortKey>& keys_;
  int64_t count_;
  bool with_ties_;
  std::vector<Table> parts_;  // the best so far, sorted, then what was collected since, in the order of the input
  int64_t collected_ = 0;     // rows of them
  int64_t kept_ = 0;          // rows of the best so far
  Table best_;
  std::vector<SortRanges> ranges_;  // one cut, once there are enough rows
  std::vector<uint32_t> range_of_;
};

}  // namespace

arrow::Result<Table> TopRows(const std::shared_ptr<Resources>& resources, const Table& input,
                             const std::vector<SortKey>& keys, int64_t count, bool with_ties) {
  ARROW_RETURN_NOT_OK(AreWordSortKeys(*input.schema(), keys).status());
  if (count <= 0 || input.num_rows() == 0) {
    return Table::Empty(resources, input.schema());
  }
  if (!with_ties && count > input.num_rows() / kSparse) {
    ARROW_ASSIGN_OR_RAISE(const auto sorted, SortTable(resources, input, keys));
    return sorted.Slice(0, count);
  }
  Collector collector(resources, input.schema(), keys, count, with_ties);
  for (const auto& chunk : input.chunks()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    for (int64_t begin = 0; begin < batch->num_rows(); begin += kBlockRows) {
      ARROW_RETURN_NOT_OK(collector.Add(batch->Slice(begin, kBlockRows)));
    }
  }
  return collector.Finish();
}

}  // namespace cylon
