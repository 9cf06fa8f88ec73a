// Links over connections that end at any byte: nothing is lost or doubled, and what cannot be mended is told in time.
#include <random>

#include "cylon/net/lanes_conformance.h"
#include "cylon/net/mesh/testing/byte_world.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

constexpr Duration kTimeout = std::chrono::seconds(10);

arrow::Future<> After(Executor& executor, Duration duration) {
  auto done = arrow::Future<>::Make();
  executor.PostAt(executor.Now() + duration, [done]() mutable { done.MarkFinished(); });
  return done;
}

/// Each rank sends to each other one, on a few channels: small, large and control; and nobody is lost.
arrow::Status Exchange(LanesNode& node, std::mt19937_64 random) {
  constexpr int kMessages = 6;
  constexpr uint64_t kChannels = 3;
  std::array<CountingReader, kChannels> readers;
  for (auto& reader : readers) {
    reader.expected = int64_t{kMessages} * (node.size - 1);
  }
  ARROW_RETURN_NOT_OK(node.Do([&] {
    for (uint64_t channel = 0; channel < kChannels; ++channel) {
      node.lanes->Open(TestChannel(channel), &readers[channel]);
    }
    for (int i = 0; i < kMessages; ++i) {
      for (Rank to = 0; to < node.size; ++to) {
        for (uint64_t channel = 0; channel < kChannels && to != node.rank; ++channel) {
          const uint64_t most = random() % 4 == 0 ? 40000 : 300;
          std::ignore = node.Send(to, channel, {static_cast<int64_t>(random() % most), 1});
        }
      }
    }
  }));
  for (auto& reader : readers) {
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
  }
  // What was sent is known to have arrived, so that a goodbye is all that is left to lose.
  ARROW_RETURN_NOT_OK(node.Await([&] { return node.lanes->Flush(); }));
  ARROW_RETURN_NOT_OK(node.Shutdown());
  for (const auto& [peer, cause] : node.lost) {
    EXPECT_TRUE(cause.ok()) << "rank " << peer << " is lost to rank " << node.rank << ": " << cause;
  }
  return arrow::Status::OK();
}

TEST(MeshResumeTest, NothingIsLostOrDoubledWhereverConnectionsEnd) {
  const uint64_t seeds = LongTests() ? 100000 : kSanitized ? 100 : 1000;
  int cuts = 0;
  for (uint64_t seed = 0; seed < seeds && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const int ranks = 2 + static_cast<int>(seed % 2);
    const auto crossing = static_cast<ByteWeather::Crossing>(seed / 2 % 3);
    ByteConformanceWorld world(ranks, seed, {.cuts = 12, .longest_life = 30 << 10, .crossing = crossing});
    const auto status = world.Run([&](Rank rank) {
      LanesNode node(world, ranks, rank, {.piece_bytes = 10000, .eager_bytes = 8 << 10});
      ARROW_RETURN_NOT_OK(node.Start());
      return Exchange(node, std::mt19937_64(seed * 7 + static_cast<uint64_t>(rank)));
    });
    EXPECT_TRUE(status.ok()) << status;
    cuts += world.net->cuts();
  }
  EXPECT_GT(cuts, static_cast<int>(seeds));  // the network did its part
}

/// Two ranks that have heard each other; then both run `body`.
void WithTrouble(const std::function<arrow::Status(LanesNode&, ByteNet&)>& body, Duration timeout = kTimeout,
                 Duration keep_alive = kKeepAlive, ByteWeather weather = {.cuts = 0}) {
  for (uint64_t seed = 0; seed < 20 && !::testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    ByteConformanceWorld world(2, seed, weather, timeout, keep_alive);
    const auto status = world.Run([&](Rank rank) {
      LanesNode node(world, 2, rank);
      CountingReader hello;
      hello.expected = 1;
      ARROW_RETURN_NOT_OK(node.Start());
      ARROW_RETURN_NOT_OK(node.Do([&] {
        node.lanes->Open(TestChannel(99), &hello);
        std::ignore = node.Send(1 - rank, 99, {});
      }));
      ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, hello.all));
      return body(node, *world.net);
    });
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(MeshResumeTest, AnIdleLinkThatNothingPassesIsLostAtBothEndsInTime) {
  WithTrouble([](LanesNode& node, ByteNet& net) -> arrow::Status {
    ARROW_RETURN_NOT_OK(node.Await([&] { return After(node.executor, 2 * kTimeout); }));
    EXPECT_TRUE(node.lost.empty()) << "it was idle, not silent";
    EXPECT_EQ(net.connections(), 1);
    const auto severed = node.executor.Now();
    ARROW_RETURN_NOT_OK(node.Do([&] { net.Sever(0, 1); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.first_lost));
    const Duration took = node.executor.Now() - severed;
    EXPECT_LE(took, kTimeout + kTimeout / 10);
    EXPECT_GE(took, kTimeout / 2);
    const auto& cause = node.lost[1 - node.rank];
    EXPECT_TRUE(cause.IsIOError()) << cause;
    EXPECT_FALSE(IsNobodyListening(cause));
    EXPECT_THAT(cause.message(), HasSubstr("rank " + std::to_string(1 - node.rank)));
    EXPECT_THAT(cause.message(), HasSubstr("nothing came over it for 5."));
    EXPECT_THAT(cause.message(), HasSubstr("could not be made again within 10.0 s"));
    return arrow::Status::OK();
  });
}

TEST(MeshResumeTest, BothEndsOfAnIdleLinkPingOftenEnoughForGatewaysOnTheWay) {
  for (const auto& [keep_alive, timeout] :
       {std::pair<Duration, Duration>{std::chrono::seconds(15), std::chrono::hours(1)},
        {std::chrono::seconds(1), std::chrono::minutes(1)},
        {std::chrono::hours(1), std::chrono::seconds(20)}}) {
    const Duration most = std::min(keep_alive, timeout / 4);
    const auto idle = [&](LanesNode& node, ByteNet& net) -> arrow::Status {
      ARROW_RETURN_NOT_OK(node.Await([&] { return After(node.executor, std::chrono::seconds(50)); }));
      for (const auto& [peer, cause] : node.lost) {
        EXPECT_TRUE(cause.ok()) << cause;  // it may have left by now
      }
      EXPECT_EQ(net.connections(), 1);
      EXPECT_LE(net.longest_quiet(), most + std::chrono::milliseconds(1));
      EXPECT_GE(net.longest_quiet(), most / 2) << "no more often than it takes";
      return node.Shutdown();
    };
    WithTrouble(idle, timeout, keep_alive);
  }
}

TEST(MeshResumeTest, ALinkThatNothingPassesForAWhileGoesOn) {
  WithTrouble([](LanesNode& node, ByteNet& net) -> arrow::Status {
    CountingReader reader;
    reader.expected = 20;
    ARROW_RETURN_NOT_OK(node.Do([&] {
      node.lanes->Open(TestChannel(0), &reader);
      net.Sever(0, 1);
      for (int64_t i = 0; i < reader.expected; ++i) {
        std::ignore = node.Send(1 - node.rank, 0, {i % 2 == 0 ? 100 : 100000});
      }
    }));
    ARROW_RETURN_NOT_OK(node.Await([&] { return After(node.executor, kTimeout * 7 / 10); }));
    ARROW_RETURN_NOT_OK(node.Do([&] { net.Mend(); }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
    EXPECT_TRUE(node.lost.empty());
    EXPECT_GT(net.connections(), 1);
    ARROW_RETURN_NOT_OK(node.Await([&] { return node.lanes->Flush(); }));
    return node.Shutdown();
  });
}

TEST(MeshResumeTest, AConnectionThatEndsIsMadeAgainAtOnce) {
  WithTrouble([](LanesNode& node, ByteNet& net) -> arrow::Status {
    CountingReader reader;
    reader.expected = 1;
    ARROW_RETURN_NOT_OK(node.Do([&] { node.lanes->Open(TestChannel(0), &reader); }));
    const auto cut = node.executor.Now();
    ARROW_RETURN_NOT_OK(node.Do([&] {
      net.CutAll(node.rank, 1 - node.rank);
      std::ignore = node.Send(1 - node.rank, 0, {100000});
    }));
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
    EXPECT_LT(node.executor.Now() - cut, std::chrono::seconds(1));
    EXPECT_TRUE(node.lost.empty());
    ARROW_RETURN_NOT_OK(node.Await([&] { return node.lanes->Flush(); }));
    return node.Shutdown();
  });
}

/// Each end sees the connection end and dials, so that the two cross.
TEST(MeshResumeTest, CrossingDialsAreSettledWhicheverOfThemConnects) {
  using Crossing = ByteWeather::Crossing;
  for (const auto crossing : {Crossing::kBothConnect, Crossing::kLowerRank, Crossing::kHigherRank}) {
    const auto cut = [](LanesNode& node, ByteNet& net) -> arrow::Status {
      for (int round = 0; round < 5; ++round) {
        CountingReader reader;
        reader.expected = 1;
        const auto channel = static_cast<uint64_t>(round);
        ARROW_RETURN_NOT_OK(node.Do([&] {
          node.lanes->Open(TestChannel(channel), &reader);
          net.CutAll(node.rank, 1 - node.rank);
          std::ignore = node.Send(1 - node.rank, channel, {100000});
        }));
        ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, reader.all));
        ARROW_RETURN_NOT_OK(node.Await([&] { return node.lanes->Flush(); }));
      }
      for (const auto& [peer, cause] : node.lost) {
        EXPECT_TRUE(cause.ok()) << cause;  // it may have left by now
      }
      return node.Shutdown();
    };
    WithTrouble(cut, kTimeout, kKeepAlive, {.cuts = 0, .crossing = crossing});
  }
}

TEST(MeshResumeTest, APeerThatNobodyListensForIsGoneAtOnce) {
  WithTrouble([](LanesNode& node, ByteNet&) -> arrow::Status {
    const auto gone = node.executor.Now();
    if (node.rank == 0) {
      return node.Do([&] { node.lanes->Abort(); });
    }
    ARROW_RETURN_NOT_OK(AwaitSoon(node.executor, node.first_lost));
    EXPECT_LT(node.executor.Now() - gone, std::chrono::seconds(1));
    EXPECT_TRUE(IsNobodyListening(node.lost[0])) << node.lost[0];
    EXPECT_THAT(node.lost[0].message(), HasSubstr("rank 0"));
    EXPECT_THAT(node.lost[0].message(), HasSubstr("its process is gone"));
    return arrow::Status::OK();
  });
}

}  // namespace
}  // namespace cylon::testing
