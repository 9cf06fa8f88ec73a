/// A wait of a coroutine for a time, which somebody else may end early.
#pragma once

#include <memory>
#include <utility>

#include "cylon/base/executor.h"

namespace cylon {

/// One sleeper at a time. All calls in tasks.
class Nap {
 public:
  Nap() = default;
  Nap(const Nap&) = delete;
  Nap& operator=(const Nap&) = delete;

  /// Finishes at `until`, or with Wake.
  arrow::Future<> Until(Executor& executor, TimePoint until) {
    sleeping_ = arrow::Future<>::Make();
    timer_ = executor.PostAt(until, [sleeping = sleeping_]() mutable { Finish(std::move(sleeping)); });
    return sleeping_;
  }
  void Wake() {
    if (const auto timer = std::exchange(timer_, nullptr)) {
      timer->Cancel();
    }
    Finish(sleeping_);
  }

 private:
  static void Finish(arrow::Future<> sleeping) {
    if (!sleeping.is_finished()) {
      sleeping.MarkFinished();
    }
  }

  arrow::Future<> sleeping_ = arrow::Future<>::MakeFinished();
  std::shared_ptr<Timer> timer_;
};

}  // namespace cylon
