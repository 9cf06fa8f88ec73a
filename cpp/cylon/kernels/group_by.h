/// One rank's group-by, in the two steps that a distributed one needs.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

struct AggregateSpec {
  int column = -1;  ///< -1 for kSize
  AggregateOp op = AggregateOp::kCount;
  std::string name;  ///< of the result column
  int ddof = 1;      ///< var, std: divisor is count - ddof
};

struct GroupByKernelOptions {
  std::vector<int> keys;
  std::vector<AggregateSpec> aggregates;
  bool drop_null_keys =
      true;  ///< leaves out rows with a null key, or with NaN in a float key column (missing, as in pandas)
};

/// Step 1: partial states by group: the key columns, then the state columns of every aggregate (sum; count; min; max;
/// for mean, var and std: count, mean, M2). In order of first appearance.
CYLON_EXPORT arrow::Result<Table> GroupByPartial(const std::shared_ptr<Resources>& resources, const Table& input,
                                                 const GroupByKernelOptions& options);
/// Step 2: merges partial states (key columns first) and computes the results: key columns, then one column per
/// aggregate. `input_schema` is step 1's input's.
CYLON_EXPORT arrow::Result<Table> GroupByMerge(const std::shared_ptr<Resources>& resources, const Table& partials,
                                               const std::shared_ptr<arrow::Schema>& input_schema,
                                               const GroupByKernelOptions& options);
/// The schema of the result, or TypeError naming a column that cannot be aggregated so. Sums: int64 / uint64 for
/// integers and bool (Invalid on overflow, never wrapped), double for floats; count and size int64; mean, var, std
/// double; min and max keep the type.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::Schema>> GroupBySchema(
    const std::shared_ptr<arrow::Schema>& input_schema, const GroupByKernelOptions& options);

}  // namespace cylon
