/// The published workload: two columns of random integers, joined, sorted, grouped, made unique.
#pragma once

#include <arrow/result.h>

#include <string>

#include "cylon/cylon.h"
#include "report.h"

namespace cylon::bench {

struct WorkloadOptions {
  std::string operation;  ///< join, sort, groupby, unique
  bool weak = true;       ///< weak: `rows` at each rank; strong: `rows` in all
  int64_t rows = 0;
  double unique_share = 0.9;
  double heavy_share = 0;  ///< of the rows of the (left) table, which have one and the same key
  int iterations = 10;
};

/// The operation on the published data, timed as published: barrier, operation, barrier; no warm-up. Collective; the
/// same at every rank.
arrow::Result<Measurement> MeasureOperation(Context& context, const WorkloadOptions& options);

/// Payload bytes that this rank has sent to others so far.
arrow::Result<int64_t> BytesSent(Context& context);

/// Mean and largest of a value over the ranks.
struct Spread {
  double mean = 0;
  double largest = 0;
};
arrow::Result<Spread> SpreadOver(Context& context, double value);

}  // namespace cylon::bench
