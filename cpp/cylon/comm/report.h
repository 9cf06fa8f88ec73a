/// What the ranks of this process wait for, on whom and since when: for people who look at a job that does not move.
#pragma once

#include <arrow/result.h>

#include <string>

#include "cylon/base/export.h"

namespace cylon {

/// From now on SIGUSR1 makes this process write StallReport() to stderr. Does nothing, and returns false, where the
/// program handles or ignores that signal itself; what it would do else is to end the process. Context::Connect calls
/// it for as long as its rank lives, unless the option stall_reports says no. A handler that is set later replaces it.
CYLON_EXPORT arrow::Result<bool> InstallStallReports();

/// A block of lines for each rank of this process that is connected by real means:
///
///   rank 2 of 4 waits 12.3 s in Join: AllToAll() (operation 7) for ranks 0 and 3; sent 12 MiB, received 10 MiB
///     connected to ranks 0 and 1 by punch, to rank 3 by relay
///     in flight: 2 messages to rank 3
///     also under way in communicator 2 (ranks 0 and 2): Barrier() (operation 3) for rank 0
///   rank 2 of 4 computes since 3.2 s; last in Join: AllToAll() (operation 7); sent 12 MiB, received 10 MiB
///
/// Asks each rank's executor, for at most a second: one that does not answer is described by what its calling thread
/// did last, and that is said. From any thread but one that runs a rank's tasks.
CYLON_EXPORT std::string StallReport();

}  // namespace cylon
