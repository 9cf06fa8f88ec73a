/// The clock and the executor that a rank's protocol code runs on: real, or simulated.
#pragma once

#include <arrow/status.h>
#include <arrow/util/functional.h>
#include <arrow/util/future.h>

#include <chrono>
#include <functional>
#include <memory>

#include "cylon/base/export.h"

namespace cylon {

using Duration = std::chrono::nanoseconds;
/// Monotonic. In a simulation it starts at zero and jumps from event to event.
using TimePoint = std::chrono::time_point<std::chrono::steady_clock, Duration>;

/// What the options have as seconds.
inline Duration FromSeconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

/// No deadline.
inline constexpr TimePoint kNever = TimePoint::max();

using Task = arrow::internal::FnOnce<void()>;

/// A task that waits for its time. Destroying the handle does not cancel it.
class CYLON_EXPORT Timer {
 public:
  virtual ~Timer();
  /// The task will not run, unless it already has. From any thread.
  virtual void Cancel() = 0;
};

/// Runs one rank's protocol code: one task at a time, posted tasks in their order. Everything between `net` and
/// `exchange` lives in such tasks, so it needs no locks; blocking calls wait on top, and drive progress themselves.
class CYLON_EXPORT Executor {
 public:
  virtual ~Executor();

  virtual TimePoint Now() const = 0;

  /// Queues `task`. From any thread.
  virtual void Post(Task task) = 0;

  /// Queues `task` to run no earlier than `when`. From any thread.
  virtual std::shared_ptr<Timer> PostAt(TimePoint when, Task task) = 0;

  /// True inside one of this executor's tasks.
  virtual bool InTask() const = 0;

  /// Blocks the calling thread until `future` is finished and returns OK, whatever the future's own status is; runs
  /// tasks meanwhile. DeadlineError when `deadline` passes; the interrupt hook's status when that is not OK. Never
  /// call it from a task.
  virtual arrow::Status Wait(const arrow::Future<>& future, TimePoint deadline = kNever) = 0;

  /// Called by waiting threads, outside any task, at least every 100 ms of real time; a status that is not OK ends
  /// the wait with it. Python's Ctrl-C comes through here. Set it before the first wait.
  virtual void SetInterruptHook(std::function<arrow::Status()> hook) = 0;

  /// Waits for `future` and returns its result, or why the wait ended.
  template <typename T>
  arrow::Result<T> Await(const arrow::Future<T>& future, TimePoint deadline = kNever) {
    ARROW_RETURN_NOT_OK(Wait(arrow::Future<>(future), deadline));
    return future.result();
  }
  arrow::Status Await(const arrow::Future<>& future, TimePoint deadline = kNever) {
    ARROW_RETURN_NOT_OK(Wait(future, deadline));
    return future.status();
  }

  /// Runs `function` as a task and waits for what it returns (arrow::Status).
  arrow::Status RunTask(arrow::internal::FnOnce<arrow::Status()> function);
};

}  // namespace cylon
