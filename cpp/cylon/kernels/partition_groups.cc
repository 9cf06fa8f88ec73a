// The groups of one partition of dealt rows after the other.
#include "cylon/kernels/partition_groups.h"

#include <algorithm>

#include "cylon/kernels/aggregate_values.h"

namespace cylon {

arrow::Status PartitionGroups::Find(int64_t partition) {
  const int64_t first = rows_.begin(partition);
  const int64_t rows = rows_.rows(partition);
  ARROW_RETURN_NOT_OK(table_.Clear(std::min(rows, kValueBlockRows)));
  ARROW_RETURN_NOT_OK(numbers_.Resize(rows));
  first_rows_.clear();
  for (int64_t begin = 0; begin < rows; begin += kValueBlockRows) {
    const int64_t count = std::min(kValueBlockRows, rows - begin);
    const uint64_t* words = rows_.words() + first + begin;
    const uint64_t* second = rows_.second_words() == nullptr ? nullptr : rows_.second_words() + first + begin;
    uint32_t* out = numbers_.data() + begin;
    if (rows_.form() != KeyForm::kHash) {
      ARROW_RETURN_NOT_OK(table_.Find(words, second, nullptr, count, out));
      continue;
    }
    const uint32_t* row_numbers = rows_.row_numbers() + first + begin;
    ARROW_RETURN_NOT_OK(table_.Find(
        words, nullptr, nullptr, count, out,
        [&](uint32_t group, int64_t i) { return rows_.SameKey(first_rows_[group], rows_, row_numbers[i]); },
        [&](int64_t i) { first_rows_.push_back(row_numbers[i]); }));
  }
  return arrow::Status::OK();
}

}  // namespace cylon
