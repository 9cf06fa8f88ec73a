/// Finds the batch that a row lies in, by the row's number in all of them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cylon {

/// Batches may be of any sizes. A table of hints, one per 1024 rows, keeps a lookup to a few steps without a search.
class RowLocator {
 public:
  void AddBatch(int64_t rows) {
    starts_.push_back(starts_.back() + rows);
    const auto batch = static_cast<uint32_t>(starts_.size() - 2);
    while (static_cast<int64_t>(hints_.size()) * kHintRows < starts_.back()) {
      hints_.push_back(batch);
    }
  }

  int64_t num_rows() const { return starts_.back(); }

  void Locate(int64_t row, uint32_t* batch, int64_t* position) const {
    uint32_t found = hints_[row / kHintRows];
    while (starts_[found + 1] <= row) {
      ++found;
    }
    *batch = found;
    *position = row - starts_[found];
  }

 private:
  static constexpr int64_t kHintRows = 1024;
  std::vector<int64_t> starts_ = {0};  // first row of each batch, then the number of rows
  std::vector<uint32_t> hints_;        // the batch that row 1024 k lies in
};

}  // namespace cylon
