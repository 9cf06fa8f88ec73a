/// For tests: two channels between ranks that are threads, each as slow and as incomplete as a test wants it.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/choice/choice_transport.h"
#include "cylon/net/conformance.h"

namespace cylon::testing {

/// How a channel of a test behaves between two ranks.
struct Habits {
  Duration delay{};
  Duration delay_per_byte{};
  std::set<std::pair<Rank, Rank>> cut{};      ///< pairs to which it does not lead
  std::set<std::pair<Rank, Rank>> relayed{};  ///< pairs whose messages pass a relay
  std::optional<ChannelPrice> relay_price{};
  std::atomic<int> closed{0};  ///< ranks that have closed it
};

/// A transport that is slower than it has to be, or leads to fewer.
class HabitualTransport : public Transport {
 public:
  HabitualTransport(Rank rank, Executor& executor, std::unique_ptr<Transport> transport, Habits* habits)
      : rank_(rank), executor_(executor), transport_(std::move(transport)), habits_(habits) {}
  ~HabitualTransport() override { *alive_ = false; }
  HabitualTransport(const HabitualTransport&) = delete;
  HabitualTransport& operator=(const HabitualTransport&) = delete;

  const Traits& traits() const override { return transport_->traits(); }
  arrow::Future<> Start(Sink* sink) override { return transport_->Start(sink); }
  arrow::Future<> Send(Rank to, Message message) override {
    if (habits_->cut.contains({std::min(rank_, to), std::max(rank_, to)})) {
      return arrow::Future<>::MakeFinished(arrow::Status::IOError("no way to rank ", to));
    }
    if (habits_->delay == Duration::zero()) {
      return transport_->Send(to, std::move(message));
    }
    // One after the other, as over a line.
    free_ = std::max(free_, executor_.Now()) + habits_->delay_per_byte * message.payload_bytes();
    auto done = arrow::Future<>::Make();
    executor_.PostAt(free_ + habits_->delay, [this, alive = alive_, to, message = std::move(message), done]() mutable {
      if (!*alive) {
        done.MarkFinished(arrow::Status::Cancelled("closed"));
        return;
      }
      transport_->Send(to, std::move(message)).AddCallback([done](const arrow::Status& s) mutable {
        done.MarkFinished(s);
      });
    });
    return done;
  }
  std::string way(Rank peer) const override {
    return habits_->relayed.contains({std::min(rank_, peer), std::max(rank_, peer)}) ? "relay" : "";
  }
  arrow::Future<> Flush() override { return transport_->Flush(); }
  arrow::Future<> Close() override {
    ++habits_->closed;
    return transport_->Close();
  }
  void Abort() override { transport_->Abort(); }

 private:
  Rank rank_;
  Executor& executor_;
  std::unique_ptr<Transport> transport_;
  Habits* habits_;
  TimePoint free_{};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// Two channels between threads, "tcp" and "redis".
class TwoChannels : public ThreadedConformanceWorld {
 public:
  explicit TwoChannels(int ranks, ChoiceSettings settings = {}, std::vector<ChannelPrice> prices = {{}, {}})
      : ThreadedConformanceWorld(ranks),
        hubs_{InprocHub(ranks), InprocHub(ranks)},
        settings_(settings),
        prices_(std::move(prices)) {}
  std::unique_ptr<Transport> MakeTransport(Rank rank) override { return MakeChoice(rank); }
  std::unique_ptr<ChoiceTransport> MakeChoice(Rank rank) {
    std::vector<Channel> channels(2);
    for (size_t i = 0; i < 2; ++i) {
      channels[i] = {i == 0 ? "tcp" : "redis",
                     std::make_unique<HabitualTransport>(rank, executor(rank),
                                                         hubs_[i].MakeTransport(rank, executor(rank)), &habits[i]),
                     prices_[i], habits[i].relay_price};
    }
    return ChoiceTransport::Make(executor(rank), rank, size(), std::move(channels), settings_);
  }

  std::array<Habits, 2> habits;

 private:
  std::array<InprocHub, 2> hubs_;
  ChoiceSettings settings_;
  std::vector<ChannelPrice> prices_;
};

/// By money alone: what is small is free on the first channel, and what is large on the second, from some 100 kB on.
inline std::unique_ptr<TwoChannels> SplitChannels(int ranks) {
  const ChoiceSettings settings{.policy = Policy{1}, .rank_per_second = 1e-9};
  return std::make_unique<TwoChannels>(ranks, settings, std::vector<ChannelPrice>{{0, 1, 0}, {1e5, 0, 0}});
}

/// What is large comes late.
inline Subject SplitChoiceSubject() {
  return RealSubject("split_choice", [](int ranks, uint64_t) {
    auto world = SplitChannels(ranks);
    world->habits[1].delay = std::chrono::microseconds(200);
    return world;
  });
}

inline Subject ChoiceSubject() {
  return RealSubject("choice", [](int ranks, uint64_t) { return std::make_unique<TwoChannels>(ranks); });
}

}  // namespace cylon::testing
