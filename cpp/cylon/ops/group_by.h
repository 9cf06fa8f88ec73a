/// Group-by of a distributed table.
#pragma once

#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

struct Aggregate {
  std::string column;  ///< "" for kSize
  AggregateOp op = AggregateOp::kCount;
  std::string name;           ///< of the result column; "": column_op
  int ddof = 1;               ///< var and std divide by count - ddof
  double quantile = 0.5;      ///< of kQuantile, between 0 and 1
  bool reproducible = false;  ///< sum, mean, var, std: the same bits on any number of ranks and threads, and for any
                              ///< order of the rows; about 0.6 KiB (var, std: 1.2) per group instead of 64 bytes
  bool approximate = false;   ///< median and quantile: by a t-digest, so that rows need not travel and a group takes
                              ///< 4 KiB at most; exact for groups of up to some 400 values
  int compression = kDefaultCompression;  ///< centroids of the t-digest, 10 to 10000: error and memory go by it
};

struct GroupByOptions {
  std::vector<std::string> keys;
  std::vector<Aggregate> aggregates;
  bool drop_null_keys = true;
  bool sort = false;  ///< the result is globally sorted by the keys
};

/// Groups with their aggregates: key columns, then one column per aggregate. Collective. Aggregates locally before rows
/// travel, unless a sample says that most rows are groups of their own, or an aggregate needs all rows of a group at
/// once (nunique; median and quantile unless approximate). First and last go by the order (rank, row). Nulls (and NaN
/// in float columns) do not count, as in pandas. KeyError, TypeError as in Join; Invalid when an integer sum or product
/// overflows, a quantile is not between 0 and 1, or a compression is not between 10 and 10000.
CYLON_EXPORT arrow::Result<Table> GroupBy(Context& context, const Table& table, const GroupByOptions& options,
                                          std::source_location location = std::source_location::current());

/// The same aggregates over all rows of the distributed table: one row, the same at every rank. Collective. Quantiles
/// sort the column over all ranks (unless approximate), and nunique brings equal values together, so that neither needs
/// all of it at one rank.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateAll(
    Context& context, const Table& table, const std::vector<Aggregate>& aggregates,
    std::source_location location = std::source_location::current());

}  // namespace cylon
