/// Answers to rows that were sent: a bit for each, in the order in which they went.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cylon/comm/context.h"

namespace cylon::internal {

/// Sends rank r a bit for every byte, 0 or 1, of the buffer r that `make` gives, and returns by rank the bytes that
/// came: `expected[r]` of them, and a 0 behind the last. `make` runs within the exchange, so that its error reaches all
/// ranks. ProtocolError where others come than were expected. Collective.
arrow::Result<Buffers> ExchangeMarks(Context& context, const std::string& what,
                                     const std::function<arrow::Result<Buffers>()>& make,
                                     const std::vector<int64_t>& expected);

}  // namespace cylon::internal
