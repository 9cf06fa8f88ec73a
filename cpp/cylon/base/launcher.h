/// Which rank this process is, as other launchers' environment variables say it.
#pragma once

#include <arrow/status.h>

#include <map>
#include <string>

#include "cylon/base/options.h"

namespace cylon::internal {

/// Fills rank, world size, local rank, local size and job from the first launcher that `environment` shows: torchrun,
/// Open MPI, another MPI over PMI, Slurm inside a step. Leaves `options` alone where there is none. Invalid where a
/// launcher's set is partial, or a value is no number.
arrow::Status ApplyLauncher(const std::map<std::string, std::string>& environment, Options* options);

}  // namespace cylon::internal
