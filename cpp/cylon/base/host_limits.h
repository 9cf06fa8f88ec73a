/// What the machine and its cgroups leave to this process.
#pragma once

#include <string>

#include "cylon/base/export.h"
#include "cylon/base/options.h"

namespace cylon {

/// DetectHostLimits with `root` before every path that is read (/proc, /sys), and `affinity_cores` for the cores that
/// the scheduler lets this process use.
CYLON_EXPORT HostLimits HostLimitsUnder(const std::string& root, int affinity_cores);

}  // namespace cylon
