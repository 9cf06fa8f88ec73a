/// One rank's hash join.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

struct JoinKernelOptions {
  JoinType type = JoinType::kInner;
  std::vector<int> left_keys;  ///< column indices; pairwise of equal types
  std::vector<int> right_keys;
  NullKeys null_keys = NullKeys::kMatch;
  std::vector<int> left_output;   ///< columns of the result, left ones first
  std::vector<int> right_output;  ///< empty for semi and anti
  std::vector<int> coalesce;  ///< for right and full: positions in left_output that take the right key's value in rows
                              ///< without a left match (merged key columns); parallel to left_keys; -1: none
  std::shared_ptr<arrow::Schema> output_schema;  ///< names and nullability of the result
};

/// Builds on one side, probes with the other, gathers column by column. Order of the result: left row order for inner,
/// left, semi, anti; unmatched right rows come last for full; right row order for right. The larger inputs are worked
/// on in partitions that fit the budget.
CYLON_EXPORT arrow::Result<Table> HashJoin(const std::shared_ptr<Resources>& resources, const Table& left,
                                           const Table& right, const JoinKernelOptions& options);

}  // namespace cylon
