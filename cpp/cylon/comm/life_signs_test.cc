// What ranks show of themselves in a store, and what others see of it.
#include "cylon/comm/life_signs.h"

#include <gtest/gtest.h>

#include "cylon/base/asio_executor.h"

namespace cylon::internal {
namespace {

class LifeSignsTest : public ::testing::Test {
 protected:
  LifeSigns Of(Rank rank) {
    World world;
    world.job = "job";
    world.epoch = "1";
    world.rank = rank;
    return {store_.get(), world};
  }
  LifeSign Look(Rank from, Rank about) {
    LifeSign seen;
    auto done = arrow::Future<>::Make();
    EXPECT_TRUE(executor_
                    .RunTask([&] {
                      Of(from).Look(about, [&](const LifeSign& sign) {
                        seen = sign;
                        done.MarkFinished();
                      });
                      return arrow::Status::OK();
                    })
                    .ok());
    EXPECT_TRUE(executor_.Await(done).ok());
    return seen;
  }

  AsioExecutor executor_{"signs"};
  std::unique_ptr<Store> store_ = OpenMemoryStore(MakeMemoryStoreData(), executor_);
};

TEST_F(LifeSignsTest, ASignMovesEachTime) {
  auto one = Of(1);
  const auto none = Look(0, 1);
  EXPECT_TRUE(none.answered);
  EXPECT_EQ(none.text, "");
  one.Show();
  const auto first = Look(0, 1);
  one.Show();
  const auto second = Look(0, 1);
  EXPECT_NE(first.text, "");
  EXPECT_NE(first.text, second.text);
  EXPECT_FALSE(second.lost);
}

TEST_F(LifeSignsTest, ALostLinkIsSeenByItsOtherEndOnly) {
  auto one = Of(1);
  one.ShowLost(Finding{Finding::Source::kLink, ErrorKind::kLinkLost, 0, "cut", 1});
  const auto seen = Look(0, 1);
  ASSERT_TRUE(seen.lost);
  EXPECT_EQ(seen.lost->text, "cut");
  EXPECT_FALSE(Look(2, 1).lost);
  EXPECT_NE(Look(2, 1).text, "");  // to others it is a sign of life
}

TEST_F(LifeSignsTest, NothingElseIsALostLink) {
  auto one = Of(1);
  one.ShowLost(Finding{Finding::Source::kSilence, ErrorKind::kRankFailed, 0, "silent", 1});
  EXPECT_FALSE(Look(0, 1).lost);
}

}  // namespace
}  // namespace cylon::internal
