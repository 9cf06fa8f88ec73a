// Survivors and replacements become a world, on every kind of store.
#include "cylon/bootstrap/gathering.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/testing/any_store.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class GatheringTest : public AnyStoreTest {
 protected:
  static GatherRequest Survivor(Rank rank, int size, std::vector<Rank> gone, int least_ranks = 1) {
    GatherRequest request;
    request.job = "job";
    request.epoch = "e";
    request.rank = rank;
    request.world_size = size;
    request.gone = [gone = std::move(gone)] { return gone; };
    request.least_ranks = least_ranks;
    request.card = {"host", 1000 + rank, "address" + std::to_string(rank)};
    return request;
  }
  static GatherRequest Replacement(int number) {
    GatherRequest request;
    request.job = "job";
    request.card = {"host", 2000 + number, "new" + std::to_string(number)};
    return request;
  }

  /// One process per request, all at once.
  std::vector<arrow::Result<World>> Run(const std::vector<GatherRequest>& requests, Duration window = kPatience) {
    std::vector<arrow::Result<World>> worlds(requests.size(), arrow::Status::UnknownError(""));
    std::vector<std::thread> threads;
    for (size_t i = 0; i < requests.size(); ++i) {
      threads.emplace_back([&, i] {
        AsioExecutor executor("p" + std::to_string(i));
        auto store = kind_->Open(executor);
        GatherRequest request = requests[i];
        request.deadline = executor.Now() + window;
        auto gathering = Spawn(executor, Gather(store.get(), executor, request));
        worlds[i] = executor.Await(gathering);
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    return worlds;
  }

  static std::vector<std::string> Addresses(const World& world) {
    std::vector<std::string> addresses;
    for (const auto& card : world.cards) {
      addresses.push_back(card.address);
    }
    return addresses;
  }
  using Texts = std::vector<std::string>;
};

TEST_P(GatheringTest, SurvivorsKeepTheirOrderUnderAnEpochThatCounts) {
  const auto worlds = Run({Survivor(3, 4, {1}), Survivor(0, 4, {1}), Survivor(2, 4, {1})});
  for (const auto& world : worlds) {
    ASSERT_TRUE(world.ok()) << world.status();
    EXPECT_EQ(world->epoch, worlds[0]->epoch);
    EXPECT_EQ(Addresses(*world), (Texts{"address0", "address2", "address3"}));
  }
  EXPECT_EQ(worlds[0]->rank, 2);
  EXPECT_EQ(worlds[1]->rank, 0);
  EXPECT_EQ(worlds[2]->rank, 1);
  EXPECT_TRUE(worlds[0]->epoch.starts_with("2-")) << worlds[0]->epoch;
  EXPECT_EQ(worlds[0]->epoch.size(), 34U);
  auto first = Survivor(0, 3, {2});
  auto second = Survivor(1, 3, {2});
  first.epoch = second.epoch = worlds[0]->epoch;
  const auto next = Run({first, second});
  ASSERT_TRUE(next[0].ok()) << next[0].status();
  EXPECT_TRUE(next[0]->epoch.starts_with("3-")) << next[0]->epoch;
}

TEST_P(GatheringTest, ReplacementsFollowAndAreWaitedFor) {
  const auto worlds = Run({Survivor(1, 3, {0, 2}, 3), Replacement(1), Replacement(2)});
  for (const auto& world : worlds) {
    ASSERT_TRUE(world.ok()) << world.status();
    EXPECT_EQ(world->epoch, worlds[0]->epoch);
    EXPECT_EQ(world->size(), 3);
  }
  EXPECT_EQ(worlds[0]->rank, 0);
  EXPECT_EQ(std::max(worlds[1]->rank, worlds[2]->rank), 2);
  EXPECT_EQ(std::min(worlds[1]->rank, worlds[2]->rank), 1);
}

TEST_P(GatheringTest, WhoIsNotKnownToBeGoneIsWaitedForThroughTheWindow) {
  const auto worlds = Run({Survivor(0, 3, {}), Survivor(2, 3, {})}, 200ms);
  for (const auto& world : worlds) {
    ASSERT_TRUE(world.ok()) << world.status();
    EXPECT_EQ(Addresses(*world), (Texts{"address0", "address2"}));
  }
  // Rank 1 lives, and is late; so is one that comes when all have gone.
  for (const auto& late : Run({Survivor(1, 3, {0, 2})})) {
    EXPECT_TRUE(IsError(late.status(), ErrorKind::kDeadline)) << late.status();
    EXPECT_THAT(
        late.status().message(),
        AllOf(HasSubstr("rank 1 of job 'job' came to rejoin when the others had formed"), HasSubstr("CYLON_REJOIN=1")));
  }
}

TEST_P(GatheringTest, WhoWasTakenForGoneIsInAllTheSame) {
  // Rank 1 knows that it lives.
  const auto worlds = Run({Survivor(0, 2, {}), Survivor(1, 2, {1})});
  for (const auto& world : worlds) {
    ASSERT_TRUE(world.ok()) << world.status();
    EXPECT_EQ(world->size(), 2);
  }
}

TEST_P(GatheringTest, TooFewIsOneErrorThatNamesTheMissing) {
  const auto worlds = Run({Survivor(0, 5, {1}, 2), Survivor(2, 5, {1, 4}, 4)}, 200ms);
  for (const auto& world : worlds) {
    EXPECT_TRUE(IsError(world.status(), ErrorKind::kDeadline)) << world.status();
    EXPECT_EQ(world.status().message(), worlds[0].status().message());
    EXPECT_THAT(world.status().message(),
                AllOf(HasSubstr("2 of 5 ranks of job 'job' came to rejoin within the window, but least_ranks is 4"),
                      HasSubstr("ranks 1, 3 and 4 did not come"), HasSubstr("give them a longer window")));
  }
}

TEST_P(GatheringTest, ARankComesOnce) {
  auto twin = Survivor(0, 2, {});
  twin.card.process = 7;
  const auto worlds = Run({Survivor(0, 2, {}), twin}, 300ms);
  const auto& refused = worlds[0].ok() ? worlds[1] : worlds[0];
  EXPECT_TRUE(refused.status().IsInvalid()) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("rank 0 of job 'job' rejoined before, as process"));
}

TEST_P(GatheringTest, AReplacementWaitsForTheNextGatheringWhenOneGoesOnWithoutIt) {
  // A gathering that is over already.
  ASSERT_TRUE(Run({Survivor(0, 2, {1})})[0].ok());
  auto later = Survivor(0, 2, {1}, 2);
  later.epoch = "f";
  const auto worlds = Run({Replacement(1), later});
  for (const auto& world : worlds) {
    ASSERT_TRUE(world.ok()) << world.status();
    EXPECT_EQ(Addresses(*world), (Texts{"address0", "new1"}));
  }
}

TEST_P(GatheringTest, WhatIsNoGatheringIsRefused) {
  AsioExecutor executor("p");
  auto store = kind_->Open(executor);
  for (const char* text : {"", "[]", "{}", R"({"epoch":1,"cards":[]})", R"({"epoch":"x","cards":[{"host":1}]})"}) {
    const std::string epoch = "bad" + std::to_string(std::string_view(text).size());
    auto set = store->Set("job/" + epoch + "/rejoin/decision", text, 1min);
    ASSERT_TRUE(executor.Await(set).ok());
    auto request = Survivor(0, 1, {});
    request.epoch = epoch;
    const auto world = Run({request})[0];
    EXPECT_TRUE(IsError(world.status(), ErrorKind::kProtocol)) << text << ": " << world.status();
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, GatheringTest, EveryStore(), StoreName);

}  // namespace
}  // namespace cylon::testing
