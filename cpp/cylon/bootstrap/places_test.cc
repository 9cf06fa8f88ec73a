// Ranks that are taken: by who lives, by who has died before the start, and in a world that stands.
#include "cylon/bootstrap/places.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/base/error.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/presence.h"
#include "cylon/bootstrap/testing/virtual_time.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// A store in which additions fail once `lost` is set: as one does whose server went after it was asked to add.
class LosingStore : public Store {
 public:
  LosingStore(std::unique_ptr<Store> store, const bool& lost) : store_(std::move(store)), lost_(lost) {}
  arrow::Future<> Set(const std::string& key, const std::string& value, Duration time_to_live) override {
    return store_->Set(key, value, time_to_live);
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value,
                                         Duration time_to_live) override {
    return store_->SetIfAbsent(key, value, time_to_live);
  }
  arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) override {
    return store_->Get(key, deadline);
  }
  arrow::Future<std::string> TryGet(const std::string& key) override { return store_->TryGet(key); }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) override {
    return lost_ ? arrow::Future<int64_t>::MakeFinished(arrow::Status::IOError("unknown whether it was added"))
                 : store_->Add(key, amount, time_to_live);
  }
  arrow::Future<> Delete(const std::string& key) override { return store_->Delete(key); }

 private:
  std::unique_ptr<Store> store_;
  const bool& lost_;
};

class PlacesTest : public ::testing::Test {
 protected:
  /// One process.
  struct Process {
    std::unique_ptr<Store> store;
    std::shared_ptr<std::atomic<bool>> abandoned = std::make_shared<std::atomic<bool>>(false);
    arrow::Future<World> joining;
    std::shared_ptr<Presence> presence;

    bool waits() const { return !joining.is_finished(); }
    arrow::Status status() const { return waits() ? arrow::Status::UnknownError("still waits") : joining.status(); }
  };
  ~PlacesTest() override {
    for (auto& process : processes_) {
      if (process->presence) {
        process->presence->Stop();
      }
      *process->abandoned = true;
    }
    time_.RunFor(2min);
  }

  Process& Start(Rank rank, int size, const std::string& epoch = "", Duration deadline = 1min) {
    processes_.push_back(std::make_unique<Process>());
    Process& process = *processes_.back();
    process.store = std::make_unique<LosingStore>(OpenMemoryStore(data_, time_), lost_);
    JoinRequest request;
    request.job = "job";
    request.epoch = epoch;
    request.rank = rank;
    request.world_size = size;
    request.card = {"host", static_cast<int64_t>(processes_.size()), ""};
    request.deadline = time_.Now() + deadline;
    request.abandoned = process.abandoned;
    time_.Do([&] { process.joining = Spawn(time_, Join(process.store.get(), time_, request)); });
    return process;
  }
  /// As a process ends that is killed: what it had put into the store stays.
  void Kill(Process& process) {
    *process.abandoned = true;
    if (process.presence) {
      time_.Do([&] { std::exchange(process.presence, nullptr)->Stop(); });
    }
    time_.RunFor(100ms);
    EXPECT_FALSE(process.waits());
  }
  void Stand(Process& process) {
    ASSERT_TRUE(process.status().ok()) << process.status();
    time_.Do([&] {
      process.presence = std::make_shared<Presence>(process.store.get(), time_, *process.joining.result());
      process.presence->Start();
    });
  }
  static void ExpectTaken(const Process& process, Rank rank) {
    EXPECT_TRUE(IsError(process.status(), ErrorKind::kRankTaken)) << process.status();
    EXPECT_EQ(GetErrorDetail(process.status())->rank, rank);
    EXPECT_TRUE(process.status().IsInvalid());
  }
  int64_t ProcessOf(const Process& process, Rank rank) {
    return process.joining.result()->cards.at(static_cast<size_t>(rank)).process;
  }

  VirtualTime time_;
  bool lost_ = false;  // what is added from now on
  std::shared_ptr<MemoryStoreData> data_ = MakeMemoryStoreData();
  std::vector<std::unique_ptr<Process>> processes_;
};

TEST_F(PlacesTest, ADeadOnesPlaceIsTakenBeforeTheStart) {
  for (const std::string epoch : {"", "given"}) {
    auto& leader = Start(0, 3, epoch);
    auto& dead = Start(1, 3, epoch);
    time_.RunFor(3s);
    Kill(dead);
    auto& second = Start(1, 3, epoch);
    time_.RunFor(8s);
    EXPECT_TRUE(second.waits());
    auto& last = Start(2, 3, epoch);
    time_.RunFor(2s);
    ASSERT_TRUE(leader.status().ok()) << leader.status();
    ASSERT_TRUE(second.status().ok()) << second.status();
    ASSERT_TRUE(last.status().ok()) << last.status();
    EXPECT_NE(ProcessOf(leader, 1), ProcessOf(leader, 0));
    EXPECT_EQ(ProcessOf(last, 1), ProcessOf(second, 1));
    EXPECT_EQ(second.joining.result()->rank, 1);
  }
}

TEST_F(PlacesTest, OneThatIsSeenToBeDeadIsWaitedForAndNamed) {
  auto& leader = Start(0, 3, "", 20s);
  auto& dead = Start(1, 3);
  time_.RunFor(2s);
  Kill(dead);
  time_.RunFor(6s);
  auto& last = Start(2, 3);
  time_.RunFor(2s);
  EXPECT_TRUE(leader.waits() && last.waits());  // all have come, and one of them is dead
  time_.RunFor(20s);
  EXPECT_TRUE(IsError(leader.status(), ErrorKind::kDeadline)) << leader.status();
  EXPECT_THAT(leader.status().message(), HasSubstr("rank 1 showed no life since"));
  EXPECT_EQ(GetErrorDetail(leader.status())->rank, 1);
}

TEST_F(PlacesTest, TheSecondOfTwoThatLiveIsToldAtOnce) {
  for (const std::string epoch : {"", "given"}) {
    auto& leader = Start(0, 3, epoch);
    auto& first = Start(1, 3, epoch);
    auto& twin = Start(1, 3, epoch);
    time_.RunFor(3s);
    ExpectTaken(twin, 1);
    EXPECT_THAT(twin.status().message(), HasSubstr("rank 1 of job 'job' was started twice: process "));
    auto& last = Start(2, 3, epoch);
    time_.RunFor(1s);
    EXPECT_TRUE(leader.status().ok() && first.status().ok() && last.status().ok());
  }
}

TEST_F(PlacesTest, OfTwoOfRankZeroTheElderIsTold) {
  auto& elder = Start(0, 2);
  time_.RunFor(1s);
  auto& younger = Start(0, 2);
  time_.RunFor(1s);
  ExpectTaken(elder, 0);
  auto& other = Start(1, 2);
  time_.RunFor(1s);
  EXPECT_TRUE(younger.status().ok() && other.status().ok());
}

TEST_F(PlacesTest, WhoComesToAWorldThatLivesIsTold) {
  auto& zero = Start(0, 2);
  auto& one = Start(1, 2);
  time_.RunFor(1s);
  Stand(zero);
  Stand(one);
  for (const Rank rank : {1, 0}) {
    auto& late = Start(rank, 2);
    time_.RunFor(10s);
    ExpectTaken(late, rank);
  }
}

TEST_F(PlacesTest, WhoDrawsARankOfAWorldThatLivesIsTold) {
  auto& zero = Start(-1, 2);
  auto& one = Start(-1, 2);
  time_.RunFor(3s);
  Stand(zero);
  Stand(one);
  auto& late = Start(-1, 2);
  time_.RunFor(12s);
  EXPECT_TRUE(IsError(late.status(), ErrorKind::kRankTaken)) << late.status();
}

TEST_F(PlacesTest, AWorldThatHasDiedIsNoWorld) {
  auto& zero = Start(0, 2);
  auto& one = Start(1, 2);
  time_.RunFor(1s);
  Stand(zero);
  Stand(one);
  time_.RunFor(5s);
  Kill(zero);
  Kill(one);
  auto& again_one = Start(1, 2);
  time_.RunFor(15s);
  EXPECT_TRUE(again_one.waits());
  auto& again = Start(0, 2);
  time_.RunFor(2s);
  EXPECT_TRUE(again.status().ok()) << again.status();
  EXPECT_TRUE(again_one.status().ok()) << again_one.status();
}

TEST_F(PlacesTest, ARunThatBeginsWhileTheLastOneDiesIsARun) {
  auto& zero = Start(0, 2);
  auto& one = Start(1, 2);
  time_.RunFor(1s);
  Stand(zero);
  Stand(one);
  auto& again_one = Start(1, 2);
  time_.RunFor(3s);
  auto& again = Start(0, 2);
  time_.RunFor(1s);
  EXPECT_TRUE(again.status().ok()) << again.status();
  EXPECT_TRUE(again_one.status().ok()) << again_one.status();
  EXPECT_NE(again.joining.result()->epoch, zero.joining.result()->epoch);
}

TEST_F(PlacesTest, OneMoreThanAreDrawnTakesADeadOnesPlaceOrIsTold) {
  auto& zero = Start(-1, 3, "given");
  auto& dead = Start(-1, 3, "given");
  time_.RunFor(2s);
  Kill(dead);
  time_.RunFor(6s);
  auto& three = Start(-1, 3, "given");
  auto& four = Start(-1, 3, "given");
  time_.RunFor(8s);
  EXPECT_TRUE(zero.status().ok()) << zero.status();
  EXPECT_TRUE(three.status().ok()) << three.status();
  EXPECT_TRUE(four.status().ok()) << four.status();
  auto& five = Start(-1, 3, "given");
  time_.RunFor(2s);
  EXPECT_TRUE(IsError(five.status(), ErrorKind::kRankTaken)) << five.status();
}

TEST_F(PlacesTest, WhoComesTooLateForALaunchersWorldIsToldAtOnce) {
  auto& zero = Start(0, 2, "given");
  auto& one = Start(1, 2, "given");
  time_.RunFor(1s);
  EXPECT_TRUE(zero.status().ok() && one.status().ok());
  auto& late = Start(1, 2, "given");
  time_.RunFor(100ms);
  ExpectTaken(late, 1);
}

TEST_F(PlacesTest, NoBeatIsAnAdditionWhoseLossNobodyCouldMend) {
  for (const Rank rank : {0, -1}) {  // given, and drawn
    auto& leader = Start(rank, 3);
    time_.RunFor(3s);
    auto& follower = Start(rank < 0 ? -1 : 1, 3);
    time_.RunFor(3s);
    lost_ = true;
    time_.RunFor(10s);
    EXPECT_TRUE(leader.waits()) << leader.status();
    EXPECT_TRUE(follower.waits()) << follower.status();
    lost_ = false;
    auto& last = Start(rank < 0 ? -1 : 2, 3);
    time_.RunFor(3s);
    for (auto* process : {&leader, &follower, &last}) {
      Stand(*process);
    }
    lost_ = true;
    time_.RunFor(2min);  // longer than what a presence leaves
    lost_ = false;
    auto& again = Start(rank < 0 ? -1 : 2, 3);
    time_.RunFor(10s);
    ExpectTaken(again, rank < 0 ? -1 : 2);
    for (auto* process : {&leader, &follower, &last}) {
      Kill(*process);
    }
    time_.RunFor(2min);
  }
}

TEST_F(PlacesTest, APresenceEndsWithItsStore) {
  auto& zero = Start(0, 2);
  auto& one = Start(1, 2);
  time_.RunFor(1s);
  Stand(zero);
  Stand(one);
  const std::string key = internal::PlaceKey("job/" + zero.joining.result()->epoch, 0) + "/beat";
  const auto beats = [&] {
    arrow::Future<std::string> count;
    time_.Do([&] { count = one.store->TryGet(key); });
    return count.is_finished() ? std::stoi(count.result().ValueOr("0")) : -1;
  };
  time_.RunFor(5s);
  const int before = beats();
  time_.RunFor(10s);
  EXPECT_EQ(beats(), before + 10);
  time_.Do([&] { zero.presence->Stop(); });
  time_.RunFor(10s);
  EXPECT_EQ(beats(), before + 10);
  time_.RunFor(2min);
  EXPECT_EQ(beats(), 0);  // it has expired
}

}  // namespace
}  // namespace cylon::testing
