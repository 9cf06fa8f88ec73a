/// Lanes over a transport under test: what its cases share.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/conformance.h"

namespace cylon::testing {

/// Checks that each sender counts up and that segments lie as promised; admits what it is told to.
class CountingReader : public Receiver {
 public:
  bool Admit(Rank, int64_t bytes) override { return admit ? admit(bytes) : true; }

  void OnMessage(Rank from, Message message) override {
    uint64_t number = 0;
    EXPECT_TRUE(message.header.As(&number));
    auto& due = next[from];
    EXPECT_EQ(number, due++) << "from rank " << from << " on channel " << message.channel.sequence;
    for (const auto& segment : message.segments) {
      EXPECT_TRUE(IsPattern(*segment, number));
    }
    for (size_t i = 1; i < message.segments.size() && from != own; ++i) {
      const int64_t step = message.segments[i]->data() - message.segments[i - 1]->data();
      EXPECT_EQ(step, (message.segments[i - 1]->size() + 63) / 64 * 64);
      EXPECT_EQ(reinterpret_cast<uintptr_t>(message.segments[i]->data()) % 64, 0U);
    }
    bytes += message.payload_bytes();
    ++count;
    if (keep) {
      kept.push_back(std::move(message));
    }
    if (on_message) {
      on_message();
    }
    if (count == expected) {
      all.MarkFinished();
    }
  }

  void OnReceiveError(Rank, const arrow::Status& status) override {
    error = status;
    failed.MarkFinished();
  }

  std::function<bool(int64_t)> admit;
  std::function<void()> on_message;
  Rank own = -1;
  int64_t expected = 0;
  int64_t count = 0;
  int64_t bytes = 0;
  bool keep = false;
  std::vector<Message> kept;
  std::map<Rank, uint64_t> next;
  arrow::Status error;
  arrow::Future<> all = arrow::Future<>::Make();
  arrow::Future<> failed = arrow::Future<>::Make();
};

/// A rank of a case: lanes over the transport under test, and a pool that counts.
struct LanesNode : LanesObserver {
  LanesNode(ConformanceWorld& world, int ranks, Rank own_rank, LanesOptions options = {})
      : executor(world.executor(own_rank)), rank(own_rank), size(ranks) {
    lanes = std::make_unique<Lanes>(rank, ranks, world.MakeTransport(rank), executor, &pool, options);
  }

  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    EXPECT_TRUE(lost.emplace(peer, cause).second) << "told twice";
    if (!first_lost.is_finished()) {
      first_lost.MarkFinished();
    }
  }
  void OnControl(Rank from, Message message) override {
    controls.push_back({from, message.channel.sequence});
    if (!first_control.is_finished()) {
      first_control.MarkFinished();
    }
  }

  arrow::Status Start() {
    return Await([&] { return lanes->Start(this); });
  }
  arrow::Status Shutdown() {
    return Await([&] { return lanes->Shutdown(); });
  }
  /// Runs `function` as a task and waits for the future that it returns.
  template <typename F>
  arrow::Status Await(F function) {
    arrow::Future<> future;
    ARROW_RETURN_NOT_OK(Do([&] { future = function(); }));
    return AwaitSoon(executor, future);
  }
  template <typename F>
  arrow::Status Do(F function) {
    return executor.RunTask([&] {
      function();
      return arrow::Status::OK();
    });
  }
  /// In a task. The message counts up in its channel.
  arrow::Future<> Send(Rank to, uint64_t channel, const std::vector<int64_t>& sizes) {
    const uint64_t number = sent[{to, channel}]++;
    Message message{TestChannel(channel), InlineBytes::Of(number), {}};
    for (auto bytes : sizes) {
      message.segments.push_back(Pattern(bytes, number));
    }
    return lanes->Send(to, std::move(message));
  }

  arrow::ProxyMemoryPool pool{arrow::default_memory_pool()};
  Executor& executor;
  Rank rank;
  int size;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> first_lost = arrow::Future<>::Make();
  std::vector<std::pair<Rank, uint64_t>> controls;
  arrow::Future<> first_control = arrow::Future<>::Make();
  std::map<std::pair<Rank, uint64_t>, uint64_t> sent;
  std::unique_ptr<Lanes> lanes;
};

/// A case that runs on every subject, with lanes on every rank.
class LanesCase : public ::testing::TestWithParam<Subject> {
 protected:
  void Run(int ranks, const std::function<arrow::Status(LanesNode&, uint64_t seed)>& body, LanesOptions options = {},
           int most_seeds = INT32_MAX) {
    for (int seed = 0; seed < std::min(GetParam().seeds, most_seeds) && !HasFailure(); ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      auto world = GetParam().make(ranks, static_cast<uint64_t>(seed));
      auto status = world->Run([&](Rank rank) {
        LanesNode node(*world, ranks, rank, options);
        ARROW_RETURN_NOT_OK(node.Start());
        return body(node, static_cast<uint64_t>(seed));
      });
      EXPECT_TRUE(status.ok()) << status;
    }
  }
};

}  // namespace cylon::testing
