/// Times ways of moving bytes against each other, in turn, in one run.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cylon/cylon.h"
#include "way.h"

namespace cylon::bench {

/// What is timed.
struct Case {
  std::string what;   ///< "barrier", "allreduce", "alltoall", "stream"
  int64_t bytes = 0;  ///< of one message
};

/// Seconds of one call, by turn: the slowest rank's. Many calls are timed together where one is short.
struct Times {
  std::string way;
  std::vector<double> seconds;
};

/// `turns` times each way once, after a warm-up of each in which its memory is touched and its links are made. Every
/// rank gets the same. `control` is any communicator of all ranks.
arrow::Result<std::vector<Times>> Measure(Communicator& control, const std::vector<Way*>& ways, const Case& wanted,
                                          int turns);

/// Seconds that the first message to a rank and back takes beyond the second: connecting and proving oneself. One for
/// each rank that is not a neighbour of rank 0 (those are connected at the start). Call it before anything else
/// connects. Collective; empty at other ranks than 0.
arrow::Result<std::vector<double>> MeasureConnections(Context& context);

/// Seconds from when the last of the ranks began to join until the last one has passed a first barrier.
struct Start {
  double joined = 0;   ///< until Connect returned everywhere
  double barrier = 0;  ///< until the barrier returned everywhere
};
/// Joins the job that `options` describe. Collective.
arrow::Result<Start> MeasureStart(const Options& options);

}  // namespace cylon::bench
