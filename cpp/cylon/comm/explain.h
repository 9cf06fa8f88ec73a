/// What a world's channels do and cost, as text.
#pragma once

#include <arrow/result.h>

#include <string>
#include <vector>

#include "cylon/base/options.h"
#include "cylon/base/trace.h"
#include "cylon/comm/tally.h"
#include "cylon/net/choice/choice_transport.h"

namespace cylon::internal {

/// What this rank pays for having sent so much, and its share of what runs all the time, in US dollars.
double UsdOf(const ChannelUse& use, double seconds, int world_size);

/// The channel that most pairs take; nullptr where there is none.
const ChannelUse* MostTaken(const std::vector<ChannelUse>& uses, Traffic traffic);

/// Whether it is known what a channel does. Not where there was nothing to choose.
inline bool IsMeasured(const ChannelUse& use) { return use.rates.latency_s >= 0; }

/// JSON: see Context::Explain. `uses` is empty where nothing is counted.
arrow::Result<std::string> ExplainAsJson(const Options& options, Duration age, const std::vector<ChannelUse>& uses,
                                         const std::vector<CallTally::Row>& calls);

/// The same as spans from `began` to `ended`, one for each channel and each kind of call, in microseconds and 10^-9
/// dollars; nothing where there was nothing to choose.
void TraceCosts(Tracer* tracer, const std::vector<ChannelUse>& uses, const std::vector<CallTally::Row>& calls,
                int world_size, TimePoint began, TimePoint ended);

}  // namespace cylon::internal
