// Coroutines and the executor that runs them.
#include "cylon/base/co.h"

#include <gtest/gtest.h>

#include <thread>

#include "cylon/base/asio_executor.h"
#include "cylon/base/error.h"

namespace cylon {
namespace {

using namespace std::chrono_literals;

Co<int> Half(int value) {
  if (value % 2 != 0) {
    co_return arrow::Status::Invalid("odd");
  }
  co_return value / 2;
}

Co<int> Quarter(int value) {
  CYLON_CO_ASSIGN_OR_RETURN(int half, co_await Half(value));
  CYLON_CO_ASSIGN_OR_RETURN(int quarter, co_await Half(half));
  co_return quarter;
}

Co<void> Sleep(Executor& executor, Duration time) {
  auto done = arrow::Future<>::Make();
  executor.PostAt(executor.Now() + time, [done]() mutable { done.MarkFinished(); });
  CYLON_CO_RETURN_NOT_OK(co_await done);
  co_return arrow::Status::OK();
}

TEST(CoTest, ValuesAndErrorsPassThroughNestedCoroutines) {
  AsioExecutor executor("test");
  EXPECT_EQ(*executor.Await(Spawn(executor, Quarter(12))), 3);
  EXPECT_TRUE(executor.Await(Spawn(executor, Quarter(6))).status().IsInvalid());
}

Co<int> SumOfHalves(int count) {
  int sum = 0;
  for (int i = 0; i < count; ++i) {
    CYLON_CO_ASSIGN_OR_RETURN(int half, co_await Half(2));
    sum += half;
  }
  co_return sum;
}

TEST(CoTest, ALoopOverWhatIsReadyDoesNotGrowTheStack) {
  AsioExecutor executor("test");
  EXPECT_EQ(*executor.Await(Spawn(executor, SumOfHalves(300000))), 300000);
}

TEST(CoTest, AFutureFinishedByAnotherThreadEndsAWait) {
  AsioExecutor executor("test");
  auto future = arrow::Future<int>::Make();
  std::thread other([future]() mutable { future.MarkFinished(7); });
  EXPECT_EQ(*executor.Await(future), 7);
  other.join();
}

TEST(CoTest, TimersFireAndCanBeCancelled) {
  AsioExecutor executor("test");
  bool fired = false;
  auto timer = executor.PostAt(executor.Now() + 5ms, [&] { fired = true; });
  timer->Cancel();
  EXPECT_TRUE(executor.Await(Spawn(executor, Sleep(executor, 20ms))).ok());
  EXPECT_FALSE(fired);
}

TEST(AsioExecutorTest, TasksRunInOrderWhileNobodyWaits) {
  AsioExecutor executor("test");
  std::vector<int> order;
  std::atomic<int> count{0};
  auto done = arrow::Future<>::Make();
  for (int i = 0; i < 100; ++i) {
    executor.Post([&, i, done]() mutable {
      EXPECT_TRUE(executor.InTask());
      order.push_back(i);
      if (count.fetch_add(1) == 99) {
        done.MarkFinished();
      }
    });
  }
  done.Wait();  // a plain wait drives nothing: the background thread has to
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(order[i], i);
  }
}

TEST(AsioExecutorTest, AWaitEndsAtItsDeadlineAndAtAnInterrupt) {
  AsioExecutor executor("test");
  auto never = arrow::Future<>::Make();
  EXPECT_TRUE(IsError(executor.Wait(never, executor.Now() + 10ms), ErrorKind::kDeadline));
  AsioExecutor interrupted("test");
  interrupted.SetInterruptHook([] { return arrow::Status::Cancelled("ctrl-c"); });
  EXPECT_TRUE(interrupted.Wait(never).IsCancelled());
}

TEST(AsioExecutorTest, WaitsAndBackgroundTakeTurns) {
  AsioExecutor executor("test");
  for (int i = 0; i < 2000; ++i) {
    auto done = arrow::Future<>::Make();
    executor.Post([done]() mutable { done.MarkFinished(); });
    if (i % 3 == 0) {
      done.Wait();
    } else {
      ASSERT_TRUE(executor.Wait(done).ok());
    }
  }
}

}  // namespace
}  // namespace cylon
