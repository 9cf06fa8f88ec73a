/// What a rank is doing, as its watch tells others: written by the rank, read by the watch's thread.
#pragma once

#include <atomic>
#include <mutex>

#include "cylon/base/executor.h"
#include "cylon/comm/call.h"
#include "cylon/comm/watch/message.h"

namespace cylon::internal {

class Activity {
 public:
  /// A collective began. Cheap: the call is made into text when it is asked for.
  void Begin(const Call& call, uint64_t sequence, TimePoint now);
  /// One ended; what is still under way is waited for.
  void End(TimePoint now);
  void SetBytes(int64_t sent, int64_t received) {
    sent_.store(sent, std::memory_order_relaxed);
    received_.store(received, std::memory_order_relaxed);
  }
  Report Take(TimePoint now) const;

 private:
  std::atomic<int64_t> sent_{0};
  std::atomic<int64_t> received_{0};
  mutable std::mutex mutex_;
  Call call_;
  uint64_t sequence_ = 0;  // 0: none yet
  int under_way_ = 0;
  TimePoint since_{};
};

}  // namespace cylon::internal
