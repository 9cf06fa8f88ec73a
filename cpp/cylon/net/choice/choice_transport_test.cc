// Tests of what chooses between transports: which one is taken, and what becomes of peers that are lost on one of them.
#include "cylon/net/choice/choice_transport.h"

#include <array>
#include <barrier>
#include <functional>
#include <map>

#include "cylon/net/choice/testing/two_channels.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

/// What a rank has been told.
struct Ear : Sink {
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    Buffers out;
    for (const auto size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      out.push_back(std::move(buffer));
    }
    return out;
  }
  void OnMessage(Rank, Message) override {
    if (++messages == expected) {
      all.MarkFinished();
    }
  }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    EXPECT_TRUE(lost.emplace(peer, cause).second) << "told twice of rank " << peer;
    if (!one_lost.is_finished()) {
      one_lost.MarkFinished();
    }
  }
  int messages = 0;
  int expected = -1;
  arrow::Future<> all = arrow::Future<>::Make();
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> one_lost = arrow::Future<>::Make();
};

class ChoosingRank {
 public:
  ChoosingRank(TwoChannels& world, Rank rank) : executor_(world.executor(rank)), transport(world.MakeChoice(rank)) {}
  ~ChoosingRank() {
    Do([this] { transport.reset(); });
  }
  ChoosingRank(const ChoosingRank&) = delete;
  ChoosingRank& operator=(const ChoosingRank&) = delete;

  void Do(const std::function<void()>& work) {
    EXPECT_TRUE(executor_
                    .RunTask([&] {
                      work();
                      return arrow::Status::OK();
                    })
                    .ok());
  }
  arrow::Status Await(const std::function<arrow::Future<>()>& begin) {
    arrow::Future<> future;
    Do([&] { future = begin(); });
    return AwaitSoon(executor_, future);
  }
  arrow::Status Start() {
    return Await([&] { return transport->Start(&ear); });
  }

 private:
  Executor& executor_;

 public:
  std::unique_ptr<ChoiceTransport> transport;
  Ear ear;
};

/// Each rank sends these to each other one; returns what rank 0 used.
std::vector<ChannelUse> Talk(TwoChannels& world, const std::vector<Message>& messages) {
  std::vector<ChannelUse> uses;
  const auto status = world.Run([&](Rank rank) -> arrow::Status {
    ChoosingRank node(world, rank);
    node.ear.expected = static_cast<int>(messages.size()) * (world.size() - 1);
    ARROW_RETURN_NOT_OK(node.Start());
    const auto send = [&] {
      std::vector<arrow::Future<>> sent;
      for (Rank to = 0; to < world.size(); ++to) {
        for (const auto& message : messages) {
          if (to != rank) {
            sent.push_back(node.transport->Send(to, message));
          }
        }
      }
      return arrow::AllFinished(sent);
    };
    ARROW_RETURN_NOT_OK(node.Await(send));
    ARROW_RETURN_NOT_OK(node.Await([&] { return node.ear.all; }));
    if (rank == 0) {
      uses = node.transport->Uses();
    }
    return node.Await([&] { return node.transport->Close(); });
  });
  EXPECT_TRUE(status.ok()) << status;
  return uses;
}

Message SomeMessage(ChannelKind kind, int64_t piece_of = 0) {
  return {ChannelId{1, 1, kind, 1}, {}, {Pattern(1000, 1)}, piece_of};
}

/// One message of a collective and one of an exchange.
std::vector<ChannelUse> Talk(TwoChannels& world) {
  return Talk(world, {SomeMessage(ChannelKind::kCollective), SomeMessage(ChannelKind::kExchange)});
}

using std::chrono::microseconds;
using std::chrono::milliseconds;

TEST(ChoiceTransportTest, EachKindOfTrafficTakesWhatIsBestForIt) {
  TwoChannels world(3);
  world.habits[0].delay = milliseconds(1);  // tables would take 4 s there
  world.habits[0].delay_per_byte = microseconds(1);
  world.habits[1].delay = milliseconds(50);
  const auto uses = Talk(world);
  ASSERT_EQ(uses.size(), 2U);
  EXPECT_EQ(uses[0].pairs, (std::array<int64_t, kTraffics>{3, 0}));
  EXPECT_EQ(uses[1].pairs, (std::array<int64_t, kTraffics>{0, 3}));
  EXPECT_EQ(uses[0].messages, (std::array<int64_t, kTraffics>{2, 0}));
  EXPECT_EQ(uses[1].messages, (std::array<int64_t, kTraffics>{0, 2}));
  EXPECT_EQ(uses[1].bytes, (std::array<int64_t, kTraffics>{0, 2000}));
  EXPECT_GE(uses[1].rates.latency_s, 0.05);
  EXPECT_GE(uses[0].rates.latency_s, 0.001);
  EXPECT_LE(uses[0].rates.bytes_per_s, 1.5e6);
}

TEST(ChoiceTransportTest, PiecesOfLargeCallsGoAsTablesDo) {
  const auto world = SplitChannels(2);
  std::vector<Message> messages;
  for (const int64_t piece_of : {0, 100000, 131072, 4 << 20}) {
    messages.push_back(SomeMessage(ChannelKind::kCollective, piece_of));
  }
  const auto uses = Talk(*world, messages);
  ASSERT_EQ(uses.size(), 2U);
  EXPECT_EQ(uses[0].pairs, (std::array<int64_t, kTraffics>{1, 0}));
  EXPECT_EQ(uses[1].pairs, (std::array<int64_t, kTraffics>{0, 1}));
  EXPECT_EQ(uses[0].messages, (std::array<int64_t, kTraffics>{2, 0}));
  EXPECT_EQ(uses[1].messages, (std::array<int64_t, kTraffics>{2, 0}));
  EXPECT_EQ(uses[0].large_from, INT64_MAX);
  EXPECT_EQ(uses[1].large_from, 131072);
}

TEST(ChoiceTransportTest, WhatNobodyTakesIsClosed) {
  TwoChannels world(3, {.policy = Policy{1}, .rank_per_second = 1e-9}, {{1, 0, 0}, {0, 0, 0}});
  const auto uses = Talk(world);
  EXPECT_EQ(uses[0].pairs, (std::array<int64_t, kTraffics>{0, 0}));
  EXPECT_EQ(uses[1].pairs, (std::array<int64_t, kTraffics>{3, 3}));
  EXPECT_EQ(world.habits[0].closed, 3);  // once each: by the plan
}

TEST(ChoiceTransportTest, APairWithoutAWayTakesAnother) {
  TwoChannels world(3, {.policy = Policy{1}, .rank_per_second = 1e-9}, {{}, {1, 0, 0}});
  world.habits[0].cut = {{0, 2}};
  const auto uses = Talk(world);
  EXPECT_EQ(uses[0].pairs, (std::array<int64_t, kTraffics>{2, 2}));
  EXPECT_EQ(uses[1].pairs, (std::array<int64_t, kTraffics>{1, 1}));
}

TEST(ChoiceTransportTest, WhatPassesARelayIsCountedAndPaidForByItself) {
  for (const bool dear : {false, true}) {
    TwoChannels world(3, {.policy = Policy{1}, .rank_per_second = 1e-9}, {{}, {1, 0, 0}});
    world.habits[0].relayed = {{0, 2}};
    world.habits[0].relay_price = ChannelPrice{dear ? 2.0 : 0.0, 0, 0};
    const auto uses = Talk(world);
    ASSERT_EQ(uses.size(), 3U);
    EXPECT_EQ(uses[1].name, "relay");
    EXPECT_EQ(uses[0].pairs, (std::array<int64_t, kTraffics>{2, 2}));
    EXPECT_EQ(uses[dear ? 2 : 1].pairs, (std::array<int64_t, kTraffics>{1, 1}));
    EXPECT_EQ(uses[dear ? 2 : 1].messages, (std::array<int64_t, kTraffics>{1, 1}));
    EXPECT_EQ(uses[dear ? 1 : 2].messages, (std::array<int64_t, kTraffics>{0, 0}));
  }
}

TEST(ChoiceTransportTest, APairWithNoWayIsNamedAtAllRanks) {
  TwoChannels world(3, {.policy = {}, .patience = milliseconds(300)});
  world.habits[0].cut = {{1, 2}};
  world.habits[1].cut = {{1, 2}};
  std::array<arrow::Status, 3> said;
  (void)world.Run([&](Rank rank) {
    ChoosingRank node(world, rank);
    said[static_cast<size_t>(rank)] = node.Start();
    return arrow::Status::OK();
  });
  // The others may see rank 0 end before its word has come.
  EXPECT_THAT(said[0].message(), HasSubstr("ranks 1 and 2 have no channel"));
  EXPECT_FALSE(said[1].ok());
  EXPECT_FALSE(said[2].ok());
}

TEST(ChoiceTransportTest, APeerIsLostOnceAndWhereItsChannelIs) {
  TwoChannels world(3);
  std::barrier started(3);
  std::barrier told(2);  // who goes is lost to the other as well
  const auto status = world.Run([&](Rank rank) -> arrow::Status {
    ChoosingRank node(world, rank);
    const auto start = node.Start();
    started.arrive_and_wait();
    if (!start.ok()) {
      told.arrive_and_drop();
      return start;
    }
    if (rank == 2) {
      node.Do([&] { node.transport->Abort(); });
      return arrow::Status::OK();
    }
    const auto lost = node.Await([&] { return node.ear.one_lost; });
    told.arrive_and_wait();
    ARROW_RETURN_NOT_OK(lost);
    node.Do([&] {
      ASSERT_TRUE(node.ear.lost.contains(2));
      EXPECT_FALSE(node.ear.lost[2].ok());
    });
    return arrow::Status::OK();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(ChoiceTransportTest, WhoDiesBeforeThePlanEndsTheStart) {
  TwoChannels world(3, {.policy = {}, .patience = std::chrono::seconds(20)});
  world.habits[0].delay = world.habits[1].delay = milliseconds(200);  // nobody is through yet
  std::array<arrow::Status, 3> said;
  (void)world.Run([&](Rank rank) {
    ChoosingRank node(world, rank);
    if (rank == 1) {
      node.Do([&] { (void)node.transport->Start(&node.ear); });
      node.Do([&] { node.transport->Abort(); });
      return arrow::Status::OK();
    }
    said[static_cast<size_t>(rank)] = node.Start();
    return arrow::Status::OK();
  });
  EXPECT_FALSE(said[0].ok());
  EXPECT_FALSE(said[2].ok());
}

}  // namespace
}  // namespace cylon::testing
