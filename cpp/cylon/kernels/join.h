/// One rank's hash join.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

/// How a join is cut; for tests, which want many parts of few rows. What is 0 (bits: -1) is chosen.
struct JoinLimits {
  int bits = -1;           ///< 2^bits partitions
  int64_t piece_rows = 0;  ///< of the side that is built on
  int64_t wave_rows = 0;   ///< of the other one
  int64_t task_rows = 0;   ///< that are looked up by one task
};

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
  JoinLimits limits;
};

/// The rows of the result in no particular order. Builds on the side with fewer rows, whatever the type of join. A
/// smaller side that does not fit a quarter of the budget is cut by hash first, both sides to disk, and the parts are
/// joined one after the other. TypeError names keys whose types differ. Without keys every row matches every row.
CYLON_EXPORT arrow::Result<Table> HashJoin(const std::shared_ptr<Resources>& resources, const Table& left,
                                           const Table& right, const JoinKernelOptions& options);

}  // namespace cylon
