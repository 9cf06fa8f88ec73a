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

/// Builds on the right side (a right join: on the left), probes with the other morsel by morsel, gathers column by
/// column. Order of the result: left row order for inner, left, semi, anti; unmatched right rows come last for full;
/// right row order for right. A side to be kept that is larger than a quarter of the budget is cut by hash first, both
/// sides to disk, and the parts are joined one after the other: then the order is that only within each part. TypeError
/// names keys whose types differ. Without keys every row matches every row.
CYLON_EXPORT arrow::Result<Table> HashJoin(const std::shared_ptr<Resources>& resources, const Table& left,
                                           const Table& right, const JoinKernelOptions& options);

}  // namespace cylon
