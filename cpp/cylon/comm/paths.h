/// Which ways a rank offers to the others.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/mesh/path.h"

namespace cylon::internal {

/// By `options.transport`: "tcp" and "shm" alone; "auto" or "" both, memory first, where this host has what that takes.
/// In a task.
arrow::Result<std::vector<std::unique_ptr<Path>>> MakePaths(AsioExecutor& executor, const Options& options);

/// For ranks that cannot be dialled: memory within a host, where it can be had, then what net/punch has. In a task.
arrow::Result<std::vector<std::unique_ptr<Path>>> MakePathsOut(AsioExecutor& executor, const Options& options,
                                                               std::shared_ptr<Courier> courier,
                                                               const std::string& secret);

/// Invalid where `options.transport` is "shm" and a rank of `world` is of another host: names both ranks and hosts.
arrow::Status CheckPaths(const Options& options, const World& world);

}  // namespace cylon::internal
