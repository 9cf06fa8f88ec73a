/// One rank's join.
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
  int64_t look_rows = 0;   ///< of both sides over all ranks, from which on keys are looked at before rows are sent
};

/// A pair of rows has to fulfil this too: a column of the left one compared with a column of the right one.
struct JoinComparison {
  int left = 0;
  Comparison comparison = Comparison::kEqual;
  int right = 0;
};

/// How equal keys are found: by hash, or by sorting both sides and going through them at the same time.
enum class JoinAlgorithm : uint8_t { kHash, kSort };

struct JoinKernelOptions {
  JoinType type = JoinType::kInner;
  std::vector<int> left_keys;  ///< column indices; pairwise of equal types
  std::vector<int> right_keys;
  NullKeys null_keys = NullKeys::kMatch;
  JoinAlgorithm algorithm = JoinAlgorithm::kHash;
  std::vector<JoinComparison> condition;  ///< all of them; a row without a pair that fulfils them has no match
  std::vector<int> left_output;           ///< columns of the result, left ones first
  std::vector<int> right_output;          ///< empty for semi and anti
  std::vector<int> coalesce;  ///< for right and full: positions in left_output that take the right key's value in rows
                              ///< without a left match (merged key columns); parallel to left_keys; -1: none
  std::shared_ptr<arrow::Schema> output_schema;  ///< names and nullability of the result
  JoinLimits limits;
};

/// The rows of the result in no particular order. Builds on the side with fewer rows, whatever the type of join. A
/// smaller side that does not fit a quarter of the budget is cut by hash first, both sides to disk, and the parts are
/// joined one after the other. TypeError names keys whose types differ. Without keys every row matches every row.
///
/// With JoinAlgorithm::kSort the parts are sorted and merged: worth it where both sides are sorted already, which then
/// costs no more than a look. NotImplemented names a key that has no order (intervals).
CYLON_EXPORT arrow::Result<Table> JoinTables(const std::shared_ptr<Resources>& resources, const Table& left,
                                             const Table& right, const JoinKernelOptions& options);

}  // namespace cylon
