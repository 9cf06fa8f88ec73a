// The simulated world: one seed, one history.
#include "cylon/net/sim/sim_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <tuple>

#include "cylon/base/co.h"

namespace cylon {
namespace {

using namespace std::chrono_literals;

/// Keeps what arrives.
class Arrivals : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    Buffers out;
    for (auto size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      out.push_back(std::move(buffer));
    }
    return out;
  }
  void OnMessage(Rank from, Message message) override {
    order.push_back({from, message.channel.sequence});
    if (order.size() == expected) {
      done.MarkFinished();
    }
  }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    lost.push_back({peer, cause.ToString()});
    if (!lost_one.is_finished()) {
      lost_one.MarkFinished();
    }
  }

  size_t expected = 0;
  arrow::Future<> done = arrow::Future<>::Make();
  arrow::Future<> lost_one = arrow::Future<>::Make();
  std::vector<std::pair<Rank, uint64_t>> order;
  std::vector<std::pair<Rank, std::string>> lost;
};

ChannelId TestChannel(uint64_t sequence) { return {1, 0, ChannelKind::kTest, sequence}; }

struct Outcome {
  uint64_t history;
  int64_t events;
  std::vector<std::pair<Rank, uint64_t>> order;  // of arrivals at rank 0
};

/// Every rank sends five messages to rank 0, each on its own channel.
Outcome ManyToOne(uint64_t seed) {
  constexpr int kRanks = 4;
  constexpr size_t kMessages = 5;
  SimWorld world(kRanks, seed);
  std::vector<Arrivals> arrivals(kRanks);
  std::vector<std::unique_ptr<Transport>> transports;
  for (Rank rank = 0; rank < kRanks; ++rank) {
    transports.push_back(world.MakeTransport(rank));
  }
  arrivals[0].expected = (kRanks - 1) * kMessages;
  auto status = world.Run([&](Rank rank) {
    auto& executor = world.executor(rank);
    ARROW_RETURN_NOT_OK(executor.RunTask([&] {
      std::ignore = transports[rank]->Start(&arrivals[rank]);
      return arrow::Status::OK();
    }));
    if (rank == 0) {
      return executor.Await(arrivals[0].done);
    }
    return executor.RunTask([&] {
      for (uint64_t i = 0; i < kMessages; ++i) {
        std::ignore = transports[rank]->Send(0, Message{TestChannel(i), {}, {}});
      }
      return arrow::Status::OK();
    });
  });
  EXPECT_TRUE(status.ok()) << status;
  return {world.history(), world.events(), arrivals[0].order};
}

TEST(SimWorldTest, OneSeedGivesOneHistory) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto first = ManyToOne(seed);
    const auto second = ManyToOne(seed);
    EXPECT_EQ(first.history, second.history);
    EXPECT_EQ(first.events, second.events);
    EXPECT_EQ(first.order, second.order);
  }
}

TEST(SimWorldTest, SeedsGiveDifferentOrders) {
  std::set<std::vector<std::pair<Rank, uint64_t>>> orders;
  std::set<uint64_t> histories;
  for (uint64_t seed = 0; seed < 50; ++seed) {
    const auto outcome = ManyToOne(seed);
    orders.insert(outcome.order);
    histories.insert(outcome.history);
  }
  EXPECT_GT(orders.size(), 45U);
  EXPECT_GT(histories.size(), 45U);
}

TEST(SimWorldTest, TheClockJumpsToTheNextTimerOnly) {
  SimWorld world(2, 1);
  std::vector<int64_t> seen;
  auto status = world.Run([&](Rank rank) {
    auto& executor = world.executor(rank);
    auto done = arrow::Future<>::Make();
    executor.PostAt(TimePoint(rank == 0 ? 5h : 3h), [&seen, &executor, done]() mutable {
      seen.push_back(std::chrono::duration_cast<std::chrono::hours>(executor.Now().time_since_epoch()).count());
      done.MarkFinished();
    });
    executor.PostAt(TimePoint(100h), [] { FAIL() << "cancelled"; })->Cancel();
    return executor.Await(done);
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_THAT(seen, ::testing::ElementsAre(3, 5));
  EXPECT_EQ(world.executor(0).Now(), TimePoint(5h));
}

TEST(SimWorldTest, AWaitEndsAtItsDeadlineInVirtualTime) {
  SimWorld world(1, 1);
  auto status = world.Run([&](Rank rank) {
    auto never = arrow::Future<>::Make();
    return world.executor(rank).Wait(never, TimePoint(10h));
  });
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_EQ(world.executor(0).Now(), TimePoint(10h));
}

TEST(SimWorldTest, ADeadlockEndsEveryWaitAndNamesWhoWaits) {
  SimWorld world(3, 1);
  std::vector<arrow::Status> ends(3);
  auto status = world.Run([&](Rank rank) {
    if (rank == 1) {
      return arrow::Status::OK();
    }
    auto never = arrow::Future<>::Make();
    ends[rank] = world.executor(rank).Await(never);
    return ends[rank];
  });
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_THAT(status.message(), ::testing::HasSubstr("deadlock"));
  EXPECT_THAT(status.message(), ::testing::HasSubstr("rank 0 has waited since event"));
  EXPECT_THAT(status.message(), ::testing::HasSubstr("rank 1 has ended"));
  EXPECT_TRUE(ends[2].IsInvalid());
}

TEST(SimWorldTest, TasksPostedBeforeRunAreRun) {
  SimWorld world(2, 1);
  auto done = arrow::Future<>::Make();
  world.executor(1).Post([&world, done]() mutable {
    EXPECT_TRUE(world.executor(1).InTask());
    EXPECT_FALSE(world.executor(0).InTask());
    done.MarkFinished();
  });
  auto status = world.Run([&](Rank rank) { return world.executor(rank).Await(done); });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(SimWorldTest, AWaitOutsideOfRunDrivesTheWorld) {
  SimWorld world(2, 1);
  bool ran = false;
  EXPECT_TRUE(world.executor(1)
                  .RunTask([&] {
                    ran = true;
                    return arrow::Status::OK();
                  })
                  .ok());
  EXPECT_TRUE(ran);
}

TEST(SimWorldTest, AWaitInsideATaskIsRefused) {
  SimWorld world(1, 1);
  auto status = world.Run([&](Rank rank) {
    return world.executor(rank).RunTask([&] { return world.executor(0).Wait(arrow::Future<>::Make()); });
  });
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_THAT(status.message(), ::testing::HasSubstr("must not block"));
}

TEST(SimWorldTest, AnInterruptEndsAWait) {
  SimWorld world(1, 1);
  std::function<void()> again = [&] { world.executor(0).Post([&] { again(); }); };
  auto status = world.Run([&](Rank rank) {
    auto& executor = world.executor(rank);
    executor.SetInterruptHook([] { return arrow::Status::Cancelled("ctrl-c"); });
    again();
    return executor.Wait(arrow::Future<>::Make());
  });
  EXPECT_TRUE(status.IsCancelled());
  EXPECT_EQ(status.message(), "ctrl-c");
}

TEST(SimWorldTest, AKilledRankIsLostToTheOthers) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SimWorld world(3, seed);
    std::vector<Arrivals> arrivals(3);
    std::vector<arrow::Status> ends(3);
    std::vector<std::unique_ptr<Transport>> transports;
    for (Rank rank = 0; rank < 3; ++rank) {
      transports.push_back(world.MakeTransport(rank));
    }
    world.KillAfter(1, 20);
    auto status = world.Run([&](Rank rank) {
      auto& executor = world.executor(rank);
      ends[rank] = executor.RunTask([&] {
        std::ignore = transports[rank]->Start(&arrivals[rank]);
        return arrow::Status::OK();
      });
      if (rank == 1) {
        ends[rank] = executor.Await(arrow::Future<>::Make());
        return arrow::Status::OK();
      }
      // Keeps the events going until the loss is heard.
      std::function<void()> again = [&] { executor.Post([&] { again(); }); };
      again();
      ends[rank] = executor.Await(arrivals[rank].lost_one);
      again = [] {};
      ARROW_RETURN_NOT_OK(executor.RunTask([] { return arrow::Status::OK(); }));
      auto sent = arrow::Future<>();
      ARROW_RETURN_NOT_OK(executor.RunTask([&] {
        sent = transports[rank]->Send(1, Message{TestChannel(0), {}, {}});
        return arrow::Status::OK();
      }));
      EXPECT_TRUE(executor.Await(sent).IsIOError());
      return arrow::Status::OK();
    });
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_TRUE(ends[1].IsCancelled()) << ends[1];
    for (Rank rank : {0, 2}) {
      EXPECT_TRUE(ends[rank].ok()) << ends[rank];
      EXPECT_THAT(arrivals[rank].lost[0].second, ::testing::HasSubstr("rank 1 is gone: it was killed"));
    }
  }
}

}  // namespace
}  // namespace cylon
