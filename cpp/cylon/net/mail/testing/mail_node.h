/// For tests: a rank of a world whose messages go through a third party.
#pragma once

#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "cylon/net/conformance.h"

namespace cylon::testing {

/// Keeps what comes, and finishes futures when enough has.
class MailKeeper : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    Buffers out;
    for (const auto size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      out.push_back(std::move(buffer));
    }
    return out;
  }
  void OnMessage(Rank from, Message message) override {
    uint64_t number = 0;
    EXPECT_TRUE(message.header.As(&number));
    EXPECT_EQ(number, next[from]++);
    for (const auto& segment : message.segments) {
      EXPECT_TRUE(IsPattern(*segment, number));
    }
    ++count;
    Look();
  }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    EXPECT_TRUE(lost.emplace(peer, cause).second) << "told twice";
    Look();
  }
  void Look() {
    if (count >= expected && !all.is_finished()) {
      all.MarkFinished();
    }
    if (!lost.empty() && !first_lost.is_finished()) {
      first_lost.MarkFinished();
    }
  }

  int64_t expected = INT64_MAX;
  int64_t count = 0;
  std::map<Rank, uint64_t> next;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> all = arrow::Future<>::Make();
  arrow::Future<> first_lost = arrow::Future<>::Make();
};

/// One rank whose messages go through a third, driven by the test's thread.
struct MailNode {
  MailNode(ConformanceWorld& world, Rank own_rank) : executor(world.executor(own_rank)), rank(own_rank) {
    transport = world.MakeTransport(rank);
  }
  ~MailNode() {
    std::ignore = Do([this] { transport.reset(); });
  }
  MailNode(const MailNode&) = delete;
  MailNode& operator=(const MailNode&) = delete;

  template <typename F>
  arrow::Status Do(F function) {
    return executor.RunTask([&] {
      function();
      return arrow::Status::OK();
    });
  }
  template <typename F>
  arrow::Status Await(F function) {
    arrow::Future<> future;
    ARROW_RETURN_NOT_OK(Do([&] { future = function(); }));
    return AwaitSoon(executor, future);
  }
  arrow::Status Start() {
    return Await([&] { return transport->Start(&sink); });
  }
  arrow::Status Close() {
    return Await([&] { return transport->Close(); });
  }
  arrow::Future<> Send(Rank to, const std::vector<int64_t>& sizes) {
    arrow::Future<> sent;
    EXPECT_TRUE(Do([&] {
                  const uint64_t number = next[to]++;
                  Message message{TestChannel(0), InlineBytes::Of(number), {}};
                  for (const auto size : sizes) {
                    message.segments.push_back(Pattern(size, number));
                  }
                  sent = transport->Send(to, std::move(message));
                }).ok());
    return sent;
  }
  /// Sends one message and waits until it lies with the third, so that it has an entry of its own.
  void SendAlone(Rank to, int64_t size) {
    const auto status = AwaitSoon(executor, Send(to, {size}));
    EXPECT_TRUE(status.ok()) << status;
  }
  arrow::Status Receive(int64_t count) {
    ARROW_RETURN_NOT_OK(Do([&] {
      sink.expected = count;
      sink.all = arrow::Future<>::Make();
      sink.Look();
    }));
    return AwaitSoon(executor, sink.all);
  }
  /// Why `peer` was lost, when the first one is.
  arrow::Status Lost(Rank peer) {
    const auto waited = AwaitSoon(executor, sink.first_lost);
    EXPECT_TRUE(waited.ok()) << waited;
    arrow::Status cause;
    EXPECT_TRUE(Do([&] {
                  EXPECT_TRUE(sink.lost.contains(peer));
                  cause = sink.lost[peer];
                }).ok());
    return cause;
  }

  Executor& executor;
  Rank rank;
  MailKeeper sink;
  std::unique_ptr<Transport> transport;
  std::map<Rank, uint64_t> next;
};

}  // namespace cylon::testing
