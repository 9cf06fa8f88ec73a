// Processes become ranks: given or drawn, run after run, on every kind of store.
#include "cylon/bootstrap/membership.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/testing/any_store.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// A store that each joining thread opens for itself.
class MembershipTest : public AnyStoreTest {
 protected:
  static JoinRequest Request(Rank rank, int size, const std::string& job = "job") {
    JoinRequest request;
    request.job = job;
    request.rank = rank;
    request.world_size = size;
    request.card = {"host", 1000 + rank, "address" + std::to_string(rank)};
    return request;
  }

  /// One process per request, all at once; each joins, and leaves if it is told to.
  std::vector<arrow::Result<World>> Run(const std::vector<JoinRequest>& requests, Duration patience = kPatience,
                                        bool leave = true) {
    std::vector<arrow::Result<World>> worlds(requests.size(), arrow::Status::UnknownError(""));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < requests.size(); ++i) {
      threads.emplace_back([&, i] {
        AsioExecutor executor("p" + std::to_string(i));
        auto store = kind_->Open(executor);
        JoinRequest request = requests[i];
        request.deadline = executor.Now() + patience;
        auto joining = Spawn(executor, Join(store.get(), executor, request));
        worlds[i] = executor.Await(joining);
        if (worlds[i].ok() && leave) {
          auto leaving = Spawn(executor, Leave(store.get(), *worlds[i], std::make_shared<bool>(false)));
          EXPECT_TRUE(executor.Await(leaving).ok());
        }
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    return worlds;
  }

  /// All worlds are one, and each process has a rank of its own.
  static std::string CheckWorld(const std::vector<arrow::Result<World>>& worlds) {
    std::set<Rank> ranks;
    for (const auto& world : worlds) {
      EXPECT_TRUE(world.ok()) << world.status();
      if (!world.ok()) {
        return "";
      }
      EXPECT_EQ(world->epoch, worlds[0]->epoch);
      EXPECT_EQ(world->size(), static_cast<int>(worlds.size()));
      ranks.insert(world->rank);
      for (int r = 0; r < world->size(); ++r) {
        EXPECT_EQ(world->cards[static_cast<size_t>(r)].address, worlds[0]->cards[static_cast<size_t>(r)].address);
      }
    }
    EXPECT_EQ(ranks.size(), worlds.size());
    EXPECT_EQ(*ranks.begin(), 0);
    EXPECT_EQ(*ranks.rbegin(), static_cast<Rank>(worlds.size()) - 1);
    return worlds[0]->epoch;
  }
};

TEST_P(MembershipTest, GivenRanksGetTheWholeTable) {
  auto worlds = Run({Request(2, 3), Request(0, 3), Request(1, 3)});
  EXPECT_EQ(CheckWorld(worlds).size(), 32U);
  EXPECT_EQ(worlds[0]->rank, 2);
  EXPECT_EQ(worlds[0]->cards[1].address, "address1");
  EXPECT_EQ(worlds[0]->cards[1].process, 1001);
}

TEST_P(MembershipTest, OneIsAWorld) { CheckWorld(Run({Request(0, 1)})); }

TEST_P(MembershipTest, DrawnRanksAreAllDifferent) {
  CheckWorld(Run({Request(-1, 4), Request(-1, 4), Request(-1, 4), Request(-1, 4)}));
}

TEST_P(MembershipTest, AnEpochOfTheLauncherIsKept) {
  auto first = Request(0, 2);
  auto second = Request(1, 2);
  first.epoch = second.epoch = "e1";
  EXPECT_EQ(CheckWorld(Run({first, second})), "e1");
}

TEST_P(MembershipTest, OneJobRunsAgainAtOnce) {
  std::set<std::string> epochs;
  for (int run = 0; run < 20; ++run) {
    epochs.insert(CheckWorld(Run({Request(0, 3), Request(1, 3), Request(2, 3)})));
  }
  EXPECT_EQ(epochs.size(), 20U);
}

TEST_P(MembershipTest, WhatCrashedRunsLeftDoesNotCount) {
  for (int run = 0; run < 3; ++run) {
    CheckWorld(Run({Request(0, 3), Request(1, 3), Request(2, 3)}, kPatience, /*leave=*/false));
  }
  // A rank that came alone, and a run that never met.
  Run({Request(1, 3)}, 50ms, /*leave=*/false);
  Run({Request(0, 3)}, 50ms, /*leave=*/false);
  CheckWorld(Run({Request(0, 3), Request(1, 3), Request(2, 3)}));
}

TEST_P(MembershipTest, ASlowRankFindsTheTableWhenTheOthersHaveLeft) {
  AsioExecutor executor("p");
  auto store = kind_->Open(executor);
  // The slow one has taken its rank, and reads the table only when the first has done its work and left: what stands
  // for it in the store is all that the first waits for.
  auto slow = Request(1, 2);
  slow.deadline = executor.Now() + kPatience;
  slow.epoch = "e";
  const auto abandoned = std::make_shared<std::atomic<bool>>(true);
  slow.abandoned = abandoned;
  auto arriving = Spawn(executor, Join(store.get(), executor, slow));
  EXPECT_TRUE(executor.Await(arriving).status().IsCancelled());
  auto first = Request(0, 2);
  first.deadline = slow.deadline;
  first.epoch = "e";
  auto joining = Spawn(executor, Join(store.get(), executor, first));
  const auto world = executor.Await(joining);
  ASSERT_TRUE(world.ok()) << world.status();
  auto leaving = Spawn(executor, Leave(store.get(), *world, std::make_shared<bool>(false)));
  ASSERT_TRUE(executor.Await(leaving).ok());
  auto reading = store->TryGet("job/e/table");
  EXPECT_TRUE(executor.Await(reading).ok());
  World other = *world;
  other.rank = 1;
  auto last = Spawn(executor, Leave(store.get(), other, std::make_shared<bool>(false)));
  ASSERT_TRUE(executor.Await(last).ok());
  for (const char* key : {"job/e/table", "job/e/left", "job/e/here/0", "job/e/here/1"}) {
    auto looking = store->TryGet(key);
    EXPECT_TRUE(executor.Await(looking).status().IsKeyError()) << key;
  }
}

TEST(LeaveTest, OneThatNobodyWaitsForTouchesTheStoreNoMore) {
  const World world{"job", "epoch", 0, std::vector<AddressCard>(1)};
  for (const bool begun : {false, true}) {
    AsioExecutor executor("rank");
    auto store = OpenMemoryStore(MakeMemoryStoreData(), executor);
    const auto abandoned = std::make_shared<bool>(false);
    arrow::Future<> leaving;
    const auto give_up = [&] {
      *abandoned = true;
      store.reset();
    };
    ASSERT_TRUE(executor
                    .RunTask([&] {
                      leaving = Spawn(executor, Leave(store.get(), world, abandoned));
                      if (begun) {
                        executor.Post(give_up);  // it has asked the store by then, and has no answer yet
                      } else {
                        give_up();
                      }
                      return arrow::Status::OK();
                    })
                    .ok());
    EXPECT_TRUE(executor.Await(leaving).IsCancelled());
  }
}

TEST_P(MembershipTest, DrawnRanksRunAgainAfterACrash) {
  CheckWorld(Run({Request(-1, 2), Request(-1, 2)}, kPatience, /*leave=*/false));
  CheckWorld(Run({Request(-1, 2), Request(-1, 2)}));
}

TEST_P(MembershipTest, TwoJobsShareAStore) {
  auto worlds = Run({Request(0, 2, "a"), Request(1, 2, "b"), Request(1, 2, "a"), Request(0, 2, "b")});
  EXPECT_NE(CheckWorld({worlds[0], worlds[2]}), CheckWorld({worlds[1], worlds[3]}));
}

TEST_P(MembershipTest, AMissingRankIsNamedToAll) {
  for (const auto& world : Run({Request(0, 4), Request(1, 4), Request(3, 4)}, 500ms)) {
    EXPECT_TRUE(IsError(world.status(), ErrorKind::kDeadline)) << world.status();
    EXPECT_THAT(world.status().message(), HasSubstr("rank 2 of 4"));
  }
}

TEST_P(MembershipTest, WorldSizesThatDifferAreToldToAll) {
  for (const auto& world : Run({Request(0, 2), Request(1, 3)}, 5s)) {
    EXPECT_TRUE(world.status().IsInvalid()) << world.status();
    EXPECT_THAT(world.status().message(), HasSubstr("world size"));
  }
}

TEST_P(MembershipTest, OfTwoOfOneRankOneIsToldAndTheOtherGoesOn) {
  auto twin = Request(1, 2);
  twin.card.process = 7;
  twin.epoch = "e";
  auto first = Request(0, 2);
  auto second = Request(1, 2);
  first.epoch = second.epoch = "e";
  const auto worlds = Run({first, second, twin}, kPatience, /*leave=*/false);
  const bool won = worlds[1].ok();
  CheckWorld({worlds[0], worlds[won ? 1 : 2]});
  const auto& lost = worlds[won ? 2 : 1].status();
  EXPECT_TRUE(IsError(lost, ErrorKind::kRankTaken)) << lost;
  EXPECT_EQ(GetErrorDetail(lost)->rank, 1);
  EXPECT_THAT(lost.message(), HasSubstr("rank 1 of job 'job' was started twice"));
}

TEST_P(MembershipTest, ARankBeyondTheWorldIsRefused) {
  auto worlds = Run({Request(3, 3)});
  EXPECT_TRUE(worlds[0].status().IsInvalid());
  EXPECT_THAT(worlds[0].status().message(), HasSubstr("rank 3 in a world of 3 ranks"));
}

INSTANTIATE_TEST_SUITE_P(Stores, MembershipTest, EveryStore(), StoreName);

}  // namespace
}  // namespace cylon::testing
