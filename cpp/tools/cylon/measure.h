/// Times and rates over streams and couriers. All in tasks.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/wire/stream.h"
#include "network_report.h"

namespace cylon::tools {

/// Round trips to the server: words that a process tells itself.
Co<RoundTrips> MeasureServer(AsioExecutor* executor, Courier* courier);

/// Bytes per second over a relay between two processes, both of them here, seen for so long. Ends by `deadline`.
Co<double> MeasureRelay(AsioExecutor* executor, Courier* from, Courier* to, Duration span, TimePoint deadline);

/// Figures of one stream, as both of its ends have them.
struct StreamFigures {
  RoundTrips round_trip;
  double sent_bytes_per_s = 0;
  double received_bytes_per_s = 0;
};
/// Round trips, then each direction for as long as its sender says. `first`: this end begins, and the other does not.
Co<StreamFigures> MeasureStream(AsioExecutor* executor, Stream* stream, bool first, Duration span);

}  // namespace cylon::tools
