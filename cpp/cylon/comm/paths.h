/// Which ways a rank offers to the others.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/mesh/path.h"

namespace cylon::internal {

/// By `options.transport`: "tcp" and "shm" alone; "auto" or "" both, memory first, where this host has what that takes.
/// In a task. Invalid for any other.
arrow::Result<std::vector<std::unique_ptr<Path>>> MakePaths(AsioExecutor& executor, const Options& options);

/// Invalid where `options.transport` is "shm" and a rank of `world` is of another host: names both ranks and hosts.
arrow::Status CheckPaths(const Options& options, const World& world);

}  // namespace cylon::internal
