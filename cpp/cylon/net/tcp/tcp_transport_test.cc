// Connections between ranks: who dials, who is blamed, and what strangers can do.
#include "cylon/net/tcp/tcp_transport.h"

#include <map>

#include "cylon/net/conformance.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

class Counter : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes&) override {
    return Buffers{};
  }
  void OnMessage(Rank, Message) override {
    ++count;
    if (count == 1) {
      first.MarkFinished();
    }
  }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    lost.emplace(peer, cause);
    if (lost.size() == 1) {
      any_lost.MarkFinished();
    }
  }

  int count = 0;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> first = arrow::Future<>::Make();
  arrow::Future<> any_lost = arrow::Future<>::Make();
};

/// All ranks on one executor: a task may act for two of them at the same moment.
class TcpTransportTest : public ::testing::Test {
 protected:
  void Open(int ranks) {
    world.job = "job";
    world.epoch = "00000001";
    Do([&] {
      for (Rank rank = 0; rank < ranks; ++rank) {
        listeners.push_back(TcpTransport::Listen(executor, "127.0.0.1").ValueOrDie());
        world.cards.push_back({"localhost", 0, listeners.back()->address()});
      }
    });
    sinks = std::vector<Counter>(static_cast<size_t>(ranks));
    transports.resize(static_cast<size_t>(ranks));
  }
  void Join(size_t rank, Duration deadline = std::chrono::seconds(30)) {
    auto own = world;
    own.rank = static_cast<Rank>(rank);
    transports[rank] = listeners[rank]->Join(own, "a secret", deadline);
  }
  void Start() {
    std::vector<arrow::Future<>> started;
    Do([&] {
      for (size_t rank = 0; rank < transports.size(); ++rank) {
        Join(rank);
        started.push_back(transports[rank]->Start(&sinks[rank]));
      }
    });
    for (auto& future : started) {
      const auto status = executor.Await(future);
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  void Do(const std::function<void()>& what) {
    const auto status = executor.RunTask([&] {
      what();
      return arrow::Status::OK();
    });
    ASSERT_TRUE(status.ok()) << status;
  }
  void Drop() {
    Do([&] {
      transports.clear();
      listeners.clear();
    });
    world.cards.clear();
  }
  void TearDown() override { Drop(); }
  static Message Small() {
    Message message;
    message.channel = {1, 0, ChannelKind::kExchange, 1};
    return message;
  }

  AsioExecutor executor{"test"};
  World world;
  std::vector<std::unique_ptr<TcpTransport>> listeners;
  std::vector<Counter> sinks;
  std::vector<std::unique_ptr<Transport>> transports;
};

TEST_F(TcpTransportTest, TwoThatDialEachOtherAtOnceKeepOneConnection) {
  for (int round = 0; round < 20; ++round) {
    Open(4);
    Start();
    arrow::Future<> there;
    arrow::Future<> back;
    Do([&] {
      there = transports[0]->Send(2, Small());
      back = transports[2]->Send(0, Small());
    });
    EXPECT_TRUE(executor.Await(there).ok());
    EXPECT_TRUE(executor.Await(back).ok());
    EXPECT_TRUE(executor.Await(sinks[0].first).ok());
    EXPECT_TRUE(executor.Await(sinks[2].first).ok());
    for (const auto& sink : sinks) {
      EXPECT_TRUE(sink.lost.empty());
    }
    Drop();
  }
}

TEST_F(TcpTransportTest, ARankThatGivesUpIsNamedAndSendsToItFailAtOnce) {
  Open(3);
  Start();
  Do([&] { transports[1]->Abort(); });
  EXPECT_TRUE(executor.Await(sinks[0].any_lost).ok());
  ASSERT_EQ(sinks[0].lost.count(1), 1U);
  EXPECT_THAT(sinks[0].lost.at(1).message(), HasSubstr("rank 1"));
  Do([&] {
    auto sent = transports[0]->Send(1, Small());
    ASSERT_TRUE(sent.is_finished());
    EXPECT_THAT(sent.status().message(), HasSubstr("rank 1"));
  });
}

TEST_F(TcpTransportTest, AGoodbyeIsNoFailure) {
  Open(2);
  Start();
  arrow::Future<> closed;
  Do([&] { closed = transports[1]->Close(); });
  EXPECT_TRUE(executor.Await(sinks[0].any_lost).ok());
  EXPECT_TRUE(executor.Await(closed).ok());
  EXPECT_TRUE(sinks[0].lost.at(1).ok()) << sinks[0].lost.at(1);
}

TEST_F(TcpTransportTest, ASilentNeighbourIsNamedAtTheDeadline) {
  Open(2);
  arrow::Future<> started;
  Do([&] {
    Join(0, std::chrono::milliseconds(200));
    started = transports[0]->Start(&sinks[0]);
  });
  const auto status = executor.Await(started);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("rank 1"));
}

}  // namespace
}  // namespace cylon::testing
