/// One rank's rows that can be among the first of their groups in some order.
#pragma once

#include <vector>

#include "cylon/base/export.h"
#include "cylon/kernels/sort.h"
#include "cylon/table/table.h"

namespace cylon {

struct GroupTopKernelOptions {
  std::vector<int> keys;
  SortKey by;         ///< the first key of the order; nulls and NaN last
  int64_t count = 5;  ///< rows of each group that are wanted
};

/// `input` without rows that `count` others of their group come before by `by` alone, in the order of the table: what
/// is left to sort and to take the first rows of each group from. All rows where leaving some out would not pay (many
/// groups, many rows of each), would need more than half of the budget, or is not built (orders that are not one word).
///
/// Rows are dealt into partitions whose groups stay in the cache, where each keeps the words of its best so far.
CYLON_EXPORT arrow::Result<Table> GroupTopRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                               const GroupTopKernelOptions& options);

}  // namespace cylon
