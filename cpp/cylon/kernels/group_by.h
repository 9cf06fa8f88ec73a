/// One rank's group-by: at once, or in the two steps that a distributed one needs.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

struct AggregateSpec {
  int column = -1;  ///< -1 for kSize
  AggregateOp op = AggregateOp::kCount;
  std::string name;           ///< of the result column
  int ddof = 1;               ///< var, std: divisor is count - ddof
  double quantile = 0.5;      ///< of kQuantile, between 0 and 1
  bool reproducible = false;  ///< sum, mean, var and std of floats (var and std of integers): added without rounding
                              ///< (ExactSum), so that the bits do not depend on the order of the rows or the ranks
  bool approximate = false;   ///< median and quantile: by a t-digest of `compression` centroids at most, about
  int compression = kDefaultCompression;
};

struct GroupByKernelOptions {
  std::vector<int> keys;
  std::vector<AggregateSpec> aggregates;
  bool drop_null_keys =
      true;  ///< leaves out rows with a null key, or with NaN in a float key column (missing, as in pandas)
};

/// Null and NaN are missing values, as in pandas: skipped by every aggregate but size. What a group without values
/// gives: 0 for sum and count, null for the others; var and std are also null where count <= ddof.
///   sum    int64 (bool, signed), uint64 (unsigned): Invalid where the result does not fit, never wrapped; double for
///          floats, compensated; decimal of 38 (256-bit: 76) digits, Invalid beyond; durations stay durations
///   mean, var, std   double, of numbers and booleans
///   min, max         the type of the values (of a dictionary: its values' type), for every type that has an order
///   count, size      int64
///   prod   as sum, of numbers and booleans without decimals; 1 for none; Invalid where an integer does not fit
///   any, all         bool, of numbers and booleans: whether any, or every, value is other than zero
///   first, last      the type of the values, of all that are not nested: the value of the first, last row that has one
///   median, quantile double, of numbers and booleans: on the line between the two values next to place
///                    (count - 1) * quantile of the sorted ones; Invalid where the quantile is not between 0 and 1.
///                    `approximate`: through what a t-digest keeps, 4 KiB per group at most with the default
///                    compression, wrong in rank by less than about 4 pi sqrt(q (1 - q)) / compression of the rows;
///                    groups of up to some 400 values are exact. Invalid where the compression is not between 10 and
///                    10000
///   nunique          int64, of types that can be keys: distinct values
/// How rows are put together does not depend on the number of threads, so results are the same to the bit. The order of
/// the groups is unspecified. A group's key is that of its first row (which of -0.0 and 0.0, say).

/// Groups with their aggregates: key columns, then one column per aggregate. TypeError names a column that cannot be
/// aggregated so.
CYLON_EXPORT arrow::Result<Table> GroupByLocal(const std::shared_ptr<Resources>& resources, const Table& input,
                                               const GroupByKernelOptions& options);

/// Whether some aggregate (nunique; median and quantile unless approximate) needs all rows of a group in one place:
/// then the two steps below are Invalid, and the rows have to be brought together by their keys before GroupByLocal.
CYLON_EXPORT arrow::Result<bool> GroupByNeedsRows(const std::shared_ptr<arrow::Schema>& input_schema,
                                                  const GroupByKernelOptions& options);

/// Step 1: partial states by group: the key columns, then the columns of the states, each of which may serve several
/// aggregates of one column (count; sum, for floats its compensation too; sum of squared distances from the mean; min
/// and max). Sums of integers travel in 128 bits, so that no order of merging overflows.
CYLON_EXPORT arrow::Result<Table> GroupByPartial(const std::shared_ptr<Resources>& resources, const Table& input,
                                                 const GroupByKernelOptions& options);
/// Step 2: merges partial states (key columns first) and computes the results: key columns, then one column per
/// aggregate. `input_schema` is step 1's input's.
CYLON_EXPORT arrow::Result<Table> GroupByMerge(const std::shared_ptr<Resources>& resources, const Table& partials,
                                               const std::shared_ptr<arrow::Schema>& input_schema,
                                               const GroupByKernelOptions& options);
/// The schema of the result: key fields, then one field per aggregate; or TypeError naming a column that cannot be
/// aggregated so.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::Schema>> GroupBySchema(
    const std::shared_ptr<arrow::Schema>& input_schema, const GroupByKernelOptions& options);

/// How many distinct keys `input` has, about, from a sample of its rows (those that are in memory, if any are).
CYLON_EXPORT arrow::Result<int64_t> EstimateGroups(const Table& input, const std::vector<int>& keys);

}  // namespace cylon
