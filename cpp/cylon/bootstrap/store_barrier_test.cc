// The barrier in every kind of store.
#include "cylon/bootstrap/store_barrier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <thread>

#include "cylon/bootstrap/testing/any_store.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

class StoreBarrierTest : public AnyStoreTest {
 protected:
  static World WorldOf(Rank rank, int size) {
    World world;
    world.job = "job";
    world.epoch = "epoch";
    world.rank = rank;
    world.cards.resize(static_cast<size_t>(size));
    return world;
  }

  /// Runs `body(store, world, executor)` as rank 0 … size - 1, each a thread.
  void Run(int size, const std::function<void(Store*, const World&, Executor&)>& body) {
    std::vector<std::thread> threads;
    for (Rank rank = 0; rank < size; ++rank) {
      threads.emplace_back([&, rank] {
        AsioExecutor executor("r" + std::to_string(rank));
        auto store = kind_->Open(executor);
        body(store.get(), WorldOf(rank, size), executor);
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
  }
};

TEST_P(StoreBarrierTest, NobodyPassesBeforeAllHaveCome) {
  constexpr int kRanks = 4;
  constexpr int kRounds = 5;
  std::array<std::atomic<int>, kRounds> came{};
  Run(kRanks, [&](Store* store, const World& world, Executor& executor) {
    for (int round = 0; round < kRounds; ++round) {
      ++came[static_cast<size_t>(round)];
      auto barrier =
          Spawn(executor, StoreBarrier(store, world, "round " + std::to_string(round), executor.Now() + kPatience));
      const auto status = executor.Await(barrier);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(came[static_cast<size_t>(round)], kRanks);
    }
  });
}

TEST_P(StoreBarrierTest, WhoDoesNotComeIsNamed) {
  AsioExecutor executor("r");
  auto store = kind_->Open(executor);
  const auto come = [&](Rank rank, const std::string& name) {
    auto barrier = Spawn(executor, StoreBarrier(store.get(), WorldOf(rank, 3), name, executor.Now()));
    return executor.Await(barrier);
  };
  // One after the other, each too late to meet the next.
  EXPECT_THAT(come(2, "a").message(), HasSubstr("ranks 0 and 1 of 3 of job 'job' did not come to the barrier 'a'"));
  const auto without_zero = come(1, "a");
  EXPECT_TRUE(IsError(without_zero, ErrorKind::kDeadline)) << without_zero;
  EXPECT_THAT(without_zero.message(), HasSubstr("rank 0 of 3 of job 'job' did not come to the barrier 'a'"));
  EXPECT_EQ(GetErrorDetail(without_zero)->rank, 0);
  EXPECT_THAT(come(0, "b").message(), HasSubstr("ranks 1 and 2 of 3"));
}

TEST_P(StoreBarrierTest, OneRankNeedNotWait) {
  Run(1, [&](Store* store, const World& world, Executor& executor) {
    auto barrier = Spawn(executor, StoreBarrier(store, world, "b", executor.Now() + kPatience));
    EXPECT_TRUE(executor.Await(barrier).ok());
  });
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreBarrierTest, EveryStore(), StoreName);

}  // namespace
}  // namespace cylon::testing
