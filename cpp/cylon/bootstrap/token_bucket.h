/// How fast somebody may go on: a bucket that fills at a rate and is drawn from.
#pragma once

#include <algorithm>

#include "cylon/base/executor.h"

namespace cylon {

/// Holds at most `most`, and is full at first. What is drawn beyond becomes a debt: who draws waits until it is paid.
class TokenBucket {
 public:
  explicit TokenBucket(double most) : most_(most), held_(most) {}

  /// Draws `count` where the bucket fills at `per_second`; returns how long to wait before going on.
  Duration Draw(TimePoint now, double count, double per_second) {
    if (now > filled_) {
      held_ = std::min(most_, held_ + per_second * std::chrono::duration<double>(now - filled_).count());
      filled_ = now;
    }
    held_ -= count;
    return held_ >= 0 ? Duration::zero() : FromSeconds(-held_ / per_second);
  }

 private:
  const double most_;
  double held_;
  TimePoint filled_{};
};

}  // namespace cylon
