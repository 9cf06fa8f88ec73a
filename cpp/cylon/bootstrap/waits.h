/// What the stores share: gets that wait, and work that has to happen in a task before a call returns.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "cylon/base/error.h"
#include "cylon/base/executor.h"

namespace cylon {

/// Runs `work` in a task of `executor` and returns when that is done; `work` holds what it needs, as an interrupt may
/// end the wait before.
inline void RunNow(Executor& executor, std::function<void()> work) {
  if (executor.InTask()) {
    work();
    return;
  }
  static_cast<void>(executor.RunTask([work = std::move(work)] {
    work();
    return arrow::Status::OK();
  }));
}

/// A get under way. Finished once, in a task.
struct Wait {
  arrow::Future<std::string> done = arrow::Future<std::string>::Make();
  std::shared_ptr<Timer> timer;

  void Finish(arrow::Result<std::string> result) {
    if (done.is_finished()) {
      return;
    }
    if (timer) {
      timer->Cancel();
    }
    done.MarkFinished(std::move(result));
  }
};

inline arrow::Status StoreClosed() { return arrow::Status::Cancelled("the store was closed on this side"); }

inline arrow::Status GetTooLate(const std::string& key) {
  return DeadlineError("nobody set '" + key + "' in the store before the deadline; check that all ranks run");
}

}  // namespace cylon
