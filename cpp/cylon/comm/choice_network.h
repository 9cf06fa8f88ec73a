/// Which transports a rank uses, and one of several.
#pragma once

#include <arrow/result.h>

#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/comm/network.h"
#include "cylon/net/choice/prices.h"

namespace cylon::internal {

/// The names in `options.transport`, "auto" where it is empty. Invalid for a name that there is not, for the same twice
/// and for two that both connect ranks with each other (of auto, tcp, shm and punch there can be one).
arrow::Result<std::vector<std::string>> TransportsOf(const Options& options);

/// Invalid where a transport that `options` name lacks what it needs: before anything is waited for.
arrow::Status CheckTransports(const Options& options);

/// What this rank pays for its memory, in US dollars a second.
double RankPerSecond(const Options& options, const Prices& prices);

/// What `options` name: one transport, or, of several, for each pair the one that `options.policy` prefers (see
/// ChoiceTransport).
Network NetworkOf(AsioExecutor& executor, const Options& options, const std::string& secret);

}  // namespace cylon::internal
