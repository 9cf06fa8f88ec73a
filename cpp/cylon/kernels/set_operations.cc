// One rank's set operations: the distinct rows of one side, joined with the other on all columns.
#include "cylon/kernels/set_operations.h"

#include <numeric>

#include "cylon/kernels/join.h"
#include "cylon/kernels/unique.h"

namespace cylon {

arrow::Result<Table> RowsInBoth(const std::shared_ptr<Resources>& resources, const Table& left, const Table& right,
                                bool wanted) {
  JoinKernelOptions options;
  options.type = wanted ? JoinType::kSemi : JoinType::kAnti;
  options.left_keys.resize(left.num_columns());
  std::iota(options.left_keys.begin(), options.left_keys.end(), 0);
  options.right_keys = options.left_keys;
  options.left_output = options.left_keys;
  options.null_keys = NullKeys::kMatch;
  options.output_schema = left.schema();
  ARROW_ASSIGN_OR_RAISE(const auto distinct, UniqueRows(resources, left, options.left_keys, Keep::kFirst));
  return JoinTables(resources, distinct, right, options);
}

}  // namespace cylon
