/// The executor on real time and threads: an asio io_context that waiting threads drive themselves.
#pragma once

#include <asio/io_context.hpp>
#include <memory>

#include "cylon/base/executor.h"

namespace cylon {

/// What has to be looked at because nothing in the kernel tells of it: memory that another process writes to. Both
/// calls come in tasks.
class CYLON_EXPORT Poller {
 public:
  virtual ~Poller();
  /// Does what can be done without waiting. True where there was something to do.
  virtual bool Poll() = 0;
  /// Nobody will look until the io_context wakes up: from now on it has to be woken by whoever has something to do for
  /// this poller, until the next Poll. False where there is something to do already.
  virtual bool Doze() = 0;
};

/// One io_context, driven by one thread at a time. A thread that waits drives it itself (handing over to another
/// thread costs 37 us against 14 us per small round trip); while nobody has waited for a millisecond, a background
/// thread does. Tasks have a queue of their own: through the io_context each would cost a look at all sockets.
class CYLON_EXPORT AsioExecutor : public Executor {
 public:
  /// `name` names the background thread (at most 15 characters are kept).
  explicit AsioExecutor(const std::string& name);
  /// Stops the background thread; tasks that have not run are dropped.
  ~AsioExecutor() override;

  TimePoint Now() const override;
  void Post(Task task) override;
  std::shared_ptr<Timer> PostAt(TimePoint when, Task task) override;
  bool InTask() const override;
  arrow::Status Wait(const arrow::Future<>& future, TimePoint deadline = kNever) override;
  void SetInterruptHook(std::function<arrow::Status()> hook) override;

  /// Handlers of asio objects on this context are tasks of this executor.
  asio::io_context& io();

  /// `poller` is polled between tasks until it is removed, which it may be inside its own Poll too. From tasks.
  void AddPoller(Poller* poller);
  void RemovePoller(Poller* poller);
  /// A waiting thread with nothing to do looks at the pollers for so long before it sleeps (0, as at the start: not at
  /// all). From any thread.
  void SetSpin(Duration spin);

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cylon
