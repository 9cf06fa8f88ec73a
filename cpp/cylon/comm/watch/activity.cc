// What a rank is doing.
#include "cylon/comm/watch/activity.h"

#include <algorithm>

namespace cylon::internal {

void Activity::Begin(const Call& call, uint64_t sequence, TimePoint now) {
  std::lock_guard<std::mutex> lock(mutex_);
  call_ = call;
  sequence_ = sequence;
  if (under_way_++ == 0) {
    since_ = now;
  }
}

void Activity::End(TimePoint now) {
  std::lock_guard<std::mutex> lock(mutex_);
  under_way_ = std::max(0, under_way_ - 1);
  since_ = now;
}

Report Activity::Take(TimePoint now) const {
  Report report;
  report.bytes_sent = sent_.load(std::memory_order_relaxed);
  report.bytes_received = received_.load(std::memory_order_relaxed);
  std::lock_guard<std::mutex> lock(mutex_);
  report.waits = under_way_ > 0;
  report.since = since_ == TimePoint{} ? Duration{} : now - since_;
  report.sequence = sequence_;
  report.operation = sequence_ == 0 ? "" : ToText(call_);
  return report;
}

}  // namespace cylon::internal
