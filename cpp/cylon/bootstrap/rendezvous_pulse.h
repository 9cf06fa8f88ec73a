/// Pings from one end of a rendezvous session, and a watch over the silence of the other.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "cylon/base/executor.h"

namespace cylon {

/// Under the 60 s after which many gateways forget an idle connection, twice before the other end gives up.
inline constexpr Duration kRendezvousPing = std::chrono::seconds(15);
inline constexpr Duration kRendezvousSilence = std::chrono::seconds(30);

/// All calls in tasks. Both functions are let go of by Stop.
class RendezvousPulse : public std::enable_shared_from_this<RendezvousPulse> {
 public:
  RendezvousPulse(Executor& executor, std::function<void()> ping, std::function<void()> on_silence)
      : executor_(executor), ping_(std::move(ping)), on_silence_(std::move(on_silence)) {}

  void Start() {
    heard_ = executor_.Now();
    Next();
  }
  /// Something has come from the other end.
  void Heard() { heard_ = executor_.Now(); }
  void Stop() {
    if (timer_) {
      timer_->Cancel();
    }
    ping_ = {};
    on_silence_ = {};
  }

 private:
  void Next() {
    due_ = executor_.Now() + kRendezvousPing;
    timer_ = executor_.PostAt(due_, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->Beat();
      }
    });
  }
  void Beat() {
    const TimePoint now = executor_.Now();
    if (now - due_ >= kRendezvousPing) {
      heard_ = now;  // this process stood still: what the other end has said meanwhile was not looked at yet
    }
    if (now - heard_ >= kRendezvousSilence) {
      if (const auto tell = std::exchange(on_silence_, {})) {
        tell();
      }
      return;
    }
    Next();
    if (const auto ping = ping_) {
      ping();
    }
  }

  Executor& executor_;
  std::function<void()> ping_;
  std::function<void()> on_silence_;
  TimePoint heard_{};
  TimePoint due_{};
  std::shared_ptr<Timer> timer_;
};

}  // namespace cylon
