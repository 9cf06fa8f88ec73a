// Two processes that call each other at once.
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/punch/testing/punch_process.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

/// Where nobody listens, of the family that both have.
const HostPort kNowhere{"127.0.0.1", 1};

/// Both call before either has heard of the other's call: one connection comes of it.
TEST(PunchCrossingTest, OfTwoThatDialEachOtherTheLowerNameIsTheDialler) {
  for (int round = 0; round < 5; ++round) {
    CourierHub hub;
    Process low(hub, std::string(32, '1'));
    Process high(hub, std::string(32, '2'));
    std::vector<std::pair<std::string, CourierLetter>> calls;
    auto both = arrow::Future<>::Make();
    hub.SetCensor([&](const auto&, const auto& to, CourierLetter* letter) {
      if (calls.size() == 2) {
        return true;
      }
      calls.emplace_back(to, *letter);
      if (calls.size() == 2) {
        both.MarkFinished();
      }
      return false;
    });
    auto stop = arrow::Future<>::Make();
    auto higher = high.StartDial(low.punch(), kPatience, stop);
    auto lower = low.StartDial(high.punch());
    ASSERT_TRUE(low.Await(both).ok());
    for (const auto& [to, letter] : calls) {
      hub.Inject(to, letter);
    }
    auto near = low.Finish(lower);
    ASSERT_TRUE(near.ok()) << near.status();
    auto far = high.Accepted();
    EXPECT_FALSE(higher.is_finished());
    // As a mesh does that has what it wanted.
    high.Do([&] { stop.MarkFinished(); });
    EXPECT_TRUE(high.Finish(higher).status().IsCancelled());
    ExpectPassage(low, near->get(), high, far.get());
    low.Do([&] { near->reset(); });
    high.Do([&] { far.reset(); });
  }
}

TEST(PunchCrossingTest, WhoIsDialledMeanwhileWaitsForThat) {
  CourierHub hub;
  Process low(hub, std::string(32, '1'));
  Process high(hub, std::string(32, '2'));
  // The answer to the higher one's call is held back until the lower one dials, too.
  std::vector<std::pair<std::string, CourierLetter>> held;
  auto answered = arrow::Future<>::Make();
  int letters = 0;
  hub.SetCensor([&](const auto&, const auto& to, CourierLetter* letter) {
    letter->seen.addresses = {kNowhere};  // so that the call alone is not enough
    if (++letters != 2) {
      return true;
    }
    letter->seen.addresses = {{"127.0.0.1", *low.courier->probed.begin()}};
    held.emplace_back(to, *letter);
    answered.MarkFinished();
    return false;
  });
  auto higher = high.StartDial(low.punch());
  ASSERT_TRUE(high.Await(answered).ok());
  auto lower = low.StartDial(high.punch(), std::chrono::seconds(2));
  low.Do([] {});
  hub.Inject(held[0].first, held[0].second);
  ExpectConnection(high, high.Finish(higher), low);
  // Nobody stops it: it says where the peer is.
  EXPECT_THAT(low.Finish(lower).status().message(), HasSubstr("punched a way to here at the same time"));
  EXPECT_EQ(letters, 2) << "no call of its own";
}

TEST(PunchCrossingTest, WhoYieldedCallsItselfWhereTheOtherCallComesToNothing) {
  CourierHub hub;
  Process low(hub, std::string(32, '1'));
  Process high(hub, std::string(32, '2'));
  // The first call of the higher one, and its answer to the lower one's, are lost.
  int of_high = 0;
  auto called = arrow::Future<>::Make();
  auto answered = arrow::Future<>::Make();
  hub.SetCensor([&](const auto& from, const auto&, CourierLetter* letter) {
    if (from == std::string(32, '1')) {
      if (of_high < 2) {
        letter->seen.addresses = {kNowhere};  // so that the call alone is not enough
      }
      return true;
    }
    ++of_high;
    if (of_high <= 2) {
      (of_high == 1 ? called : answered).MarkFinished();
    }
    return of_high > 2;
  });
  auto higher = high.StartDial(low.punch(), std::chrono::seconds(5));
  ASSERT_TRUE(high.Await(called).ok());
  auto stop = arrow::Future<>::Make();
  auto lower = low.StartDial(high.punch(), kPatience, stop);
  ASSERT_TRUE(high.Await(answered).ok());
  low.Do([&] { stop.MarkFinished(); });
  const auto first = low.Finish(lower);
  EXPECT_TRUE(first.status().IsCancelled()) << first.status();
  ExpectConnection(high, high.Finish(higher), low);
}

}  // namespace
}  // namespace cylon::testing
