/// The launcher's word: what the process that started the ranks tells them of one that died.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "cylon/base/error.h"
#include "cylon/base/export.h"

namespace cylon {

/// A launcher that sees a rank's process end before its time sets `LauncherWordKey(job, epoch, n)` in the job's store
/// to `EncodeLauncherWord(…)`: n is 0 for the first death of the run, 1 for the second, and so on without gaps. Every
/// rank waits for the next of these keys while it is connected, so no other notice is needed. A launcher knows the
/// cause
/// ("killed by signal 9 (SIGKILL)"), where a peer only sees a connection end; so its word is preferred.
struct LauncherWord {
  Rank rank = -1;
  std::string cause;  ///< completes "rank 2 failed: …": "killed by signal 9 (SIGKILL)", "exited with code 1"
};

/// "<job>/<epoch>/launcher-word/<index>"
CYLON_EXPORT std::string LauncherWordKey(std::string_view job, std::string_view epoch, int64_t index = 0);

/// {"rank": 2, "cause": "killed by signal 9 (SIGKILL)"}
CYLON_EXPORT std::string EncodeLauncherWord(const LauncherWord& word);

/// ProtocolError where `text` is not what EncodeLauncherWord writes.
CYLON_EXPORT arrow::Result<LauncherWord> DecodeLauncherWord(std::string_view text);

}  // namespace cylon
