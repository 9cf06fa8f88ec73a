/// The executor on real time and threads: an asio io_context that waiting threads drive themselves.
#pragma once

#include <asio/io_context.hpp>
#include <memory>

#include "cylon/base/executor.h"

namespace cylon {

/// One io_context, driven by one thread at a time. A thread that waits drives it itself (handing over to another
/// thread costs 37 us against 14 us per small round trip); while nobody has waited for a millisecond, a background
/// thread does.
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

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cylon
