/// A rank's log: lines on stderr that begin with the level and the rank.
#pragma once

#include <arrow/result.h>
#include <spdlog/logger.h>

#include <memory>
#include <string>

#include "cylon/base/export.h"

namespace cylon {

using Logger = spdlog::logger;

/// A logger of its own for one rank (nothing is registered process-wide). `level` is one of trace, debug, info,
/// warning, error, off; Invalid otherwise. Thread-safe.
CYLON_EXPORT arrow::Result<std::shared_ptr<Logger>> MakeLogger(int rank, const std::string& level);

}  // namespace cylon
