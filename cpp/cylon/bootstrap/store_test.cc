// Every store does the same: in memory, in a directory, over TCP.
#include "cylon/bootstrap/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <array>
#include <thread>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/base/error.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/bootstrap/testing/any_store.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

class StoreTest : public ::testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<Store> Open(AsioExecutor& executor) { return kind_.Open(executor); }
  template <typename T>
  auto Await(const arrow::Future<T>& future) {
    return executor_.Await(future, executor_.Now() + kPatience);
  }

  AnyStore kind_{GetParam()};
  AsioExecutor executor_{"client"};
  std::unique_ptr<Store> store_ = Open(executor_);
};

TEST_P(StoreTest, KeepsWhatIsSet) {
  const std::string key("a/b\0../\xff key", 12);
  const std::string value("\0\xff value", 8);
  EXPECT_TRUE(Await(store_->TryGet(key)).status().IsKeyError());
  ASSERT_TRUE(Await(store_->Set(key, value)).ok());
  EXPECT_EQ(*Await(store_->TryGet(key)), value);
  ASSERT_TRUE(Await(store_->Set(key, "")).ok());
  EXPECT_EQ(*Await(store_->Get(key, kNever)), "");
  EXPECT_EQ(*Await(store_->SetIfAbsent(key, "late")), "");
  ASSERT_TRUE(Await(store_->Delete(key)).ok());
  ASSERT_TRUE(Await(store_->Delete(key)).ok());
  EXPECT_EQ(*Await(store_->SetIfAbsent(key, "first")), "first");
}

TEST_P(StoreTest, LongKeysDoNotCollide) {
  const std::string stem(1000, '/');
  ASSERT_TRUE(Await(store_->Set(stem + "a", "1")).ok());
  ASSERT_TRUE(Await(store_->Set(stem + "b", "2")).ok());
  EXPECT_EQ(*Await(store_->TryGet(stem + "a")), "1");
}

TEST_P(StoreTest, LimitsAreTold) {
  EXPECT_THAT(Await(store_->Set(std::string(1025, 'k'), "")).message(),
              HasSubstr("1025 bytes; it must have 1 to 1024"));
  EXPECT_THAT(Await(store_->Set("k", std::string((16 << 20) + 1, 'v'))).message(), HasSubstr("at most 16777216"));
  ASSERT_TRUE(Await(store_->Set("k", std::string(16 << 20, 'v'))).ok());
  EXPECT_EQ(Await(store_->TryGet("k"))->size(), size_t{16} << 20);
}

TEST_P(StoreTest, CountersAreNumbers) {
  EXPECT_EQ(*Await(store_->Add("n", 5)), 5);
  EXPECT_EQ(*Await(store_->Add("n", -7)), -2);
  EXPECT_EQ(*Await(store_->TryGet("n")), "-2");
  ASSERT_TRUE(Await(store_->Set("n", "x")).ok());
  auto refused = Await(store_->Add("n", 1));
  EXPECT_TRUE(refused.status().IsInvalid());
  EXPECT_THAT(refused.status().message(), HasSubstr("is not a number"));
  ASSERT_TRUE(Await(store_->Set("n", std::to_string(INT64_MAX))).ok());
  EXPECT_THAT(Await(store_->Add("n", 1)).status().message(), HasSubstr("does not fit 64 bits"));
}

TEST_P(StoreTest, AGetEndsAtItsDeadline) {
  auto late = Await(store_->Get("never", executor_.Now() + 30ms));
  EXPECT_TRUE(IsError(late.status(), ErrorKind::kDeadline));
  EXPECT_THAT(late.status().message(), HasSubstr("'never'"));
}

TEST_P(StoreTest, GetsWaitForWhatAnotherSets) {
  auto waiting = store_->Get("k", executor_.Now() + kPatience);
  std::thread other([&] {
    AsioExecutor executor("other");
    auto store = Open(executor);
    EXPECT_TRUE(executor.Await(store->Set("k", "v")).ok());
  });
  EXPECT_EQ(*Await(waiting), "v");
  other.join();
}

TEST_P(StoreTest, ClosingEndsWhatWaits) {
  auto waiting = store_->Get("never", kNever);
  EXPECT_EQ(*Await(store_->Add("n", 1)), 1);  // the get was taken up before
  store_.reset();
  EXPECT_TRUE(waiting.is_finished());
  EXPECT_FALSE(waiting.status().ok());
}

TEST_P(StoreTest, ManyAtOnceAgree) {
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  std::vector<std::string> winners(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      AsioExecutor executor("t" + std::to_string(t));
      auto store = Open(executor);
      for (int i = 0; i < kRounds; ++i) {
        EXPECT_TRUE(executor.Await(store->Add("count", 1)).ok());
        auto won = executor.Await(store->SetIfAbsent("first" + std::to_string(i), std::to_string(t)));
        winners[static_cast<size_t>(t)] += won.ValueOr("?");
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(*Await(store_->Add("count", 0)), kThreads * kRounds);
  for (const auto& winner : winners) {
    EXPECT_EQ(winner, winners[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreTest, ::testing::Values("memory", "directory", "tcp"),
                         [](const auto& which) { return which.param; });

TEST(OpenStoreTest, SaysWhatIsMissing) {
  AsioExecutor executor("client");
  Options options;
  EXPECT_THAT(OpenStore(options, executor, kNever).status().message(), HasSubstr("cylon run"));
  options.store = "file://relative";
  EXPECT_THAT(OpenStore(options, executor, kNever).status().message(), HasSubstr("not an absolute path"));
  options.store = "nowhere";
  EXPECT_THAT(OpenStore(options, executor, kNever).status().message(), HasSubstr("CYLON_STORE is wrong"));
  options.store = "file:///dev/null/store";
  EXPECT_THAT(OpenStore(options, executor, kNever).status().message(), HasSubstr("/dev/null/store"));
}

TEST(OpenStoreTest, AServerThatNeverComesIsNamed) {
  AsioExecutor executor("client");
  HostPort free;
  {
    auto server = StoreServer::Start(executor, {"127.0.0.1", 0}, kSecret).ValueOrDie();
    free = server->address();
  }
  Options options;
  options.store = free.ToString();
  options.secret = kHexSecret;
  auto store = OpenStore(options, executor, executor.Now() + 100ms);
  EXPECT_TRUE(IsError(store.status(), ErrorKind::kDeadline)) << store.status();
  EXPECT_THAT(store.status().message(), HasSubstr(free.ToString()));
  EXPECT_THAT(store.status().message(), HasSubstr("CYLON_STORE"));
}

TEST(OpenStoreTest, AServerThatComesLaterIsFound) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  HostPort free = StoreServer::Start(server_executor, {"127.0.0.1", 0}, kSecret).ValueOrDie()->address();
  std::unique_ptr<StoreServer> server;
  executor.PostAt(executor.Now() + 50ms,
                  [&] { server = StoreServer::Start(server_executor, free, kSecret).ValueOrDie(); });
  Options options;
  options.store = "tcp://" + free.ToString();
  options.secret = kHexSecret;
  auto store = OpenStore(options, executor, executor.Now() + kPatience);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(*executor.Await((*store)->Add("n", 1)), 1);
  store->reset();
}

TEST(StoreServerTest, AWrongSecretIsRefused) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, kSecret).ValueOrDie();
  Options options;
  options.store = server->address().ToString();
  for (const std::string& secret : {std::string(64, 'b'), std::string()}) {
    options.secret = secret;
    auto store = OpenStore(options, executor, executor.Now() + kPatience);
    EXPECT_TRUE(IsError(store.status(), ErrorKind::kAuthentication)) << store.status();
    EXPECT_THAT(store.status().message(), HasSubstr("cannot use the store at " + options.store));
  }
  EXPECT_TRUE(IsError(StoreServer::Start(server_executor, {"127.0.0.1", 0}, "").status(), ErrorKind::kAuthentication));
}

TEST(StoreServerTest, ABusyPortIsNamed) {
  AsioExecutor executor("server");
  auto server = StoreServer::Start(executor, {"127.0.0.1", 0}, kSecret).ValueOrDie();
  auto second = StoreServer::Start(executor, server->address(), kSecret);
  EXPECT_THAT(second.status().message(), HasSubstr("cannot listen on " + server->address().ToString()));
}

TEST(StoreServerTest, ItsEndFailsWhatWaits) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, kSecret).ValueOrDie();
  Options options;
  options.store = server->address().ToString();
  options.secret = kHexSecret;
  auto store = OpenStore(options, executor, executor.Now() + kPatience).ValueOrDie();
  server->SetLocally("word", "said");
  EXPECT_EQ(*executor.Await(store->Get("word", kNever)), "said");
  auto waiting = store->Get("never", kNever);
  EXPECT_TRUE(executor.Await(store->Set("k", "v")).ok());
  server.reset();
  auto gone = executor.Await(waiting, executor.Now() + kPatience);
  EXPECT_TRUE(gone.status().IsIOError()) << gone.status();
  EXPECT_THAT(gone.status().message(), HasSubstr("the store at " + options.store + " is gone"));
  EXPECT_THAT(executor.Await(store->Set("k", "v")).message(), HasSubstr("is gone"));
}

TEST(StoreServerTest, SilentStrangersGiveWay) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, kSecret).ValueOrDie();
  std::vector<std::unique_ptr<Stream>> silent;
  for (int i = 0; i < 100; ++i) {
    auto dialled = Spawn(executor, ConnectTcp(executor.io(), executor, server->address(), executor.Now() + kPatience));
    ASSERT_TRUE(executor.Wait(arrow::Future<>(dialled)).ok());
    silent.push_back(dialled.MoveResult().ValueOrDie());
  }
  Options options;
  options.store = server->address().ToString();
  options.secret = kHexSecret;
  auto store = OpenStore(options, executor, executor.Now() + kPatience);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(*executor.Await((*store)->Add("n", 1)), 1);
  // The first of them has been closed.
  std::array<uint8_t, 1> byte;
  arrow::Future<int64_t> read;
  EXPECT_TRUE(executor
                  .RunTask([&] {
                    read = silent[0]->ReadSome(byte);
                    return arrow::Status::OK();
                  })
                  .ok());
  EXPECT_EQ(*executor.Await(read, executor.Now() + kPatience), 0);
  EXPECT_TRUE(executor
                  .RunTask([&] {
                    silent.clear();
                    return arrow::Status::OK();
                  })
                  .ok());
  store->reset();
}

TEST(StoreServerTest, WaitingGetsHaveALimit) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, kSecret).ValueOrDie();
  Options options;
  options.store = server->address().ToString();
  options.secret = kHexSecret;
  auto store = OpenStore(options, executor, executor.Now() + kPatience).ValueOrDie();
  std::vector<arrow::Future<std::string>> gets;
  for (int i = 0; i < 1024; ++i) {
    gets.push_back(store->Get("never", kNever));
  }
  auto refused = executor.Await(store->Get("never", kNever), executor.Now() + kPatience);
  EXPECT_TRUE(refused.status().IsCapacityError()) << refused.status();
  EXPECT_THAT(refused.status().message(), HasSubstr("wait for fewer at once"));
}

}  // namespace
}  // namespace cylon::testing
