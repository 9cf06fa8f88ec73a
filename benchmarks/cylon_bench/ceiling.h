/// The exchange against the raw-socket ceiling.
#pragma once

#include "cylon/cylon.h"
#include "report.h"

namespace cylon::bench {

struct Ceiling {
  Measurement raw;
  Measurement exchange;
  std::vector<double> ratios;  ///< by pair: throughput of the exchange over that of raw sockets
};

/// `pairs` alternating pairs in one run: a raw all-to-all into memory that was touched before, and an exchange of as
/// many bytes of already partitioned data into pooled memory. `bytes` from each rank to each other one. Collective.
arrow::Result<Ceiling> MeasureCeiling(Context& context, int64_t bytes, int pairs);

}  // namespace cylon::bench
