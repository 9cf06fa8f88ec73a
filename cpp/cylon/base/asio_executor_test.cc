// Pollers, and sleeps that nobody may miss the end of.
#include "cylon/base/asio_executor.h"

#include <gtest/gtest.h>

#include <asio/post.hpp>
#include <atomic>
#include <thread>
#include <vector>

namespace cylon {
namespace {

constexpr auto kPatience = std::chrono::seconds(60);

arrow::Status Do(AsioExecutor& executor, const std::function<void()>& function) {
  return executor.RunTask([&] {
    function();
    return arrow::Status::OK();
  });
}

/// A mailbox in memory, as another process would write to it: rings by way of the io_context where it is asked to.
class Mailbox : public Poller {
 public:
  explicit Mailbox(AsioExecutor& own) : executor(own) {}

  // From any thread.
  void Put(int value) {
    written.store(value);
    if (asleep.load() && asleep.exchange(false)) {
      asio::post(executor.io(), [] {});
    }
  }

  bool Poll() override {
    EXPECT_TRUE(executor.InTask());
    asleep.store(false);
    ++polls;
    const int value = written.load();
    if (value == seen) {
      return false;
    }
    seen = value;
    if (const auto heard = on_value) {  // a copy, as it may be set anew in there
      heard();
    }
    return true;
  }
  bool Doze() override {
    asleep.store(true);
    return written.load() == seen;
  }

  AsioExecutor& executor;
  std::atomic<int> written{0};
  std::atomic<bool> asleep{false};
  int seen = 0;
  int64_t polls = 0;
  std::function<void()> on_value;
};

void PassValues(Duration spin, bool yields = false) {
  constexpr int kRounds = 2000;
  AsioExecutor here("here");
  AsioExecutor there("there");
  Mailbox in(here);
  Mailbox out(there);
  for (auto* box : {&in, &out}) {
    box->executor.SetSpin(spin, yields);
    ASSERT_TRUE(Do(box->executor, [&] { box->executor.AddPoller(box); }).ok());
  }
  // Each end waits for the other's number, and answers it.
  auto play = [](Mailbox& own, Mailbox& other, bool begins) {
    for (int i = 1; i <= kRounds; ++i) {
      if (begins) {
        other.Put(i);
      }
      auto arrived = arrow::Future<>::Make();
      ASSERT_TRUE(Do(own.executor, [&] {
                    if (own.seen == i) {
                      arrived.MarkFinished();
                    } else {
                      own.on_value = [&own, i, arrived]() mutable {
                        EXPECT_EQ(own.seen, i);
                        own.on_value = nullptr;
                        arrived.MarkFinished();
                      };
                    }
                  }).ok());
      ASSERT_TRUE(own.executor.Await(arrived, own.executor.Now() + kPatience).ok());
      if (!begins) {
        other.Put(i);
      }
    }
  };
  std::thread other([&] { play(out, in, false); });
  play(in, out, true);
  other.join();
  for (auto* box : {&in, &out}) {
    ASSERT_TRUE(Do(box->executor, [&] { box->executor.RemovePoller(box); }).ok());
  }
}

TEST(AsioExecutorTest, PollersAreHeardWithoutSpinning) { PassValues(Duration(0)); }
TEST(AsioExecutorTest, PollersAreHeardWithShortSpins) { PassValues(std::chrono::microseconds(2)); }
TEST(AsioExecutorTest, PollersAreHeardWithLongSpins) { PassValues(std::chrono::microseconds(50)); }

TEST(AsioExecutorTest, PollersAreHeardWithSpinsThatYield) { PassValues(std::chrono::microseconds(20), true); }

TEST(AsioExecutorTest, PollersAreHeardWhileNobodyWaits) {
  AsioExecutor executor("background");
  Mailbox box(executor);
  std::atomic<bool> heard{false};
  box.on_value = [&] { heard.store(true); };
  ASSERT_TRUE(Do(executor, [&] { executor.AddPoller(&box); }).ok());
  box.Put(1);
  const auto deadline = executor.Now() + kPatience;
  while (!heard.load() && executor.Now() < deadline) {
    std::this_thread::yield();
  }
  EXPECT_TRUE(heard.load());
  ASSERT_TRUE(Do(executor, [&] { executor.RemovePoller(&box); }).ok());
}

TEST(AsioExecutorTest, APollerMayRemoveItselfAndOthers) {
  AsioExecutor executor("removal");
  Mailbox first(executor);
  Mailbox second(executor);
  auto done = arrow::Future<>::Make();
  first.on_value = [&] {
    executor.RemovePoller(&first);
    executor.RemovePoller(&second);
    done.MarkFinished();
  };
  ASSERT_TRUE(Do(executor, [&] {
                executor.AddPoller(&first);
                executor.AddPoller(&second);
              }).ok());
  first.Put(1);
  ASSERT_TRUE(executor.Await(done, executor.Now() + kPatience).ok());
  int64_t before = 0;
  ASSERT_TRUE(Do(executor, [&] { before = second.polls; }).ok());
  ASSERT_TRUE(Do(executor, [&] { EXPECT_EQ(second.polls, before); }).ok());
}

TEST(AsioExecutorTest, AFutureOfAnotherThreadEndsASleep) {
  AsioExecutor executor("futures");
  for (int i = 0; i < 300; ++i) {
    auto future = arrow::Future<>::Make();
    std::thread other([future]() mutable { future.MarkFinished(); });
    EXPECT_TRUE(executor.Await(future, executor.Now() + kPatience).ok());
    other.join();
  }
}

TEST(AsioExecutorTest, TasksOfManyThreadsRunOnceAndInTheirOrder) {
  constexpr int kThreads = 4;
  constexpr int kTasks = 2000;
  AsioExecutor executor("posts");
  std::vector<int> next(kThreads);
  int left = kThreads * kTasks;
  auto done = arrow::Future<>::Make();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&, thread] {
      for (int i = 0; i < kTasks; ++i) {
        executor.Post([&, thread, i]() mutable {
          EXPECT_EQ(next[static_cast<size_t>(thread)]++, i);
          if (--left == 0) {
            done.MarkFinished();
          }
        });
      }
    });
  }
  EXPECT_TRUE(executor.Await(done, executor.Now() + kPatience).ok());
  for (auto& thread : threads) {
    thread.join();
  }
}

TEST(AsioExecutorTest, ManyShortWaitsLeaveSocketsTimersAndPollersTheirTurn) {
  AsioExecutor executor("waits");
  Mailbox box(executor);
  bool heard = false;
  bool posted = false;
  bool rang = false;
  box.on_value = [&] { heard = true; };
  ASSERT_TRUE(Do(executor, [&] { executor.AddPoller(&box); }).ok());
  box.Put(1);
  asio::post(executor.io(), [&] { posted = true; });
  const auto timer = executor.PostAt(executor.Now(), [&] { rang = true; });
  const auto deadline = executor.Now() + kPatience;
  bool all = false;
  while (!all && executor.Now() < deadline) {
    ASSERT_TRUE(Do(executor, [&] { all = heard && posted && rang; }).ok());
  }
  EXPECT_TRUE(all) << heard << posted << rang;
  ASSERT_TRUE(Do(executor, [&] { executor.RemovePoller(&box); }).ok());
}

TEST(AsioExecutorTest, AWaitEndsAtItsDeadlineWhilePollersAreBusy) {
  class Busy : public Poller {
   public:
    bool Poll() override { return true; }
    bool Doze() override { return false; }
  };
  AsioExecutor executor("busy");
  Busy busy;
  ASSERT_TRUE(Do(executor, [&] { executor.AddPoller(&busy); }).ok());
  const auto status = executor.Wait(arrow::Future<>::Make(), executor.Now() + std::chrono::milliseconds(20));
  EXPECT_FALSE(status.ok());
  ASSERT_TRUE(Do(executor, [&] { executor.RemovePoller(&busy); }).ok());
}

}  // namespace
}  // namespace cylon
