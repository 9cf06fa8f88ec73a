// Every store does the same: in memory, in a directory, over TCP, in Redis.
#include "cylon/bootstrap/store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <set>
#include <thread>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/base/error.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/bootstrap/tcp_store.h"
#include "cylon/bootstrap/testing/any_store.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// Longer than any test.
constexpr Duration kLife = 1h;

class StoreTest : public AnyStoreTest {
 protected:
  void SetUp() override {
    AnyStoreTest::SetUp();
    if (kind_) {
      store_ = Open(executor_);
    }
  }
  std::unique_ptr<Store> Open(AsioExecutor& executor) { return kind_->Open(executor); }
  template <typename T>
  auto Await(const arrow::Future<T>& future) {
    return executor_.Await(future, executor_.Now() + kPatience);
  }

  /// Asks until the key is gone.
  void AwaitGone(const std::string& key) {
    const auto deadline = executor_.Now() + kPatience;
    auto value = Await(store_->TryGet(key));
    while (value.ok() && executor_.Now() < deadline) {
      value = Await(store_->TryGet(key));
    }
    EXPECT_TRUE(value.status().IsKeyError()) << value.status();
  }

  AsioExecutor executor_{"client"};
  std::unique_ptr<Store> store_;
};

TEST_P(StoreTest, KeepsWhatIsSet) {
  const std::string key("a/b\0../\xff key", 12);
  const std::string value("\0\xff value", 8);
  EXPECT_TRUE(Await(store_->TryGet(key)).status().IsKeyError());
  ASSERT_TRUE(Await(store_->Set(key, value, kLife)).ok());
  EXPECT_EQ(*Await(store_->TryGet(key)), value);
  ASSERT_TRUE(Await(store_->Set(key, "", kLife)).ok());
  EXPECT_EQ(*Await(store_->Get(key, kNever)), "");
  EXPECT_EQ(*Await(store_->SetIfAbsent(key, "late", kLife)), "");
  ASSERT_TRUE(Await(store_->Delete(key)).ok());
  ASSERT_TRUE(Await(store_->Delete(key)).ok());
  EXPECT_EQ(*Await(store_->SetIfAbsent(key, "first", kLife)), "first");
}

TEST_P(StoreTest, LongKeysDoNotCollide) {
  const std::string stem(1000, '/');
  ASSERT_TRUE(Await(store_->Set(stem + "a", "1", kLife)).ok());
  ASSERT_TRUE(Await(store_->Set(stem + "b", "2", kLife)).ok());
  EXPECT_EQ(*Await(store_->TryGet(stem + "a")), "1");
}

TEST_P(StoreTest, LimitsAreTold) {
  EXPECT_THAT(Await(store_->Set(std::string(1025, 'k'), "", kLife)).message(),
              HasSubstr("1025 bytes; it must have 1 to 1024"));
  EXPECT_THAT(Await(store_->Set("k", std::string((16 << 20) + 1, 'v'), kLife)).message(),
              HasSubstr("at most 16777216"));
  ASSERT_TRUE(Await(store_->Set("k", std::string(16 << 20, 'v'), kLife)).ok());
  EXPECT_EQ(Await(store_->TryGet("k"))->size(), size_t{16} << 20);
}

TEST_P(StoreTest, CountersAreNumbers) {
  EXPECT_EQ(*Await(store_->Add("n", 5, kLife)), 5);
  EXPECT_EQ(*Await(store_->Add("n", -7, kLife)), -2);
  EXPECT_EQ(*Await(store_->TryGet("n")), "-2");
  ASSERT_TRUE(Await(store_->Set("n", "x", kLife)).ok());
  auto refused = Await(store_->Add("n", 1, kLife));
  EXPECT_TRUE(refused.status().IsInvalid());
  EXPECT_THAT(refused.status().message(), HasSubstr("is not a number"));
  ASSERT_TRUE(Await(store_->Set("n", std::to_string(INT64_MAX), kLife)).ok());
  EXPECT_THAT(Await(store_->Add("n", 1, kLife)).status().message(), HasSubstr("does not fit 64 bits"));
}

TEST_P(StoreTest, KeysAreGoneAfterTheirTime) {
  ASSERT_TRUE(Await(store_->Set("k", "old", 20ms)).ok());
  ASSERT_TRUE(Await(store_->Add("n", 7, 20ms)).ok());
  AwaitGone("k");
  AwaitGone("n");
  EXPECT_EQ(*Await(store_->SetIfAbsent("k", "new", kLife)), "new");
  EXPECT_EQ(*Await(store_->Add("n", 1, kLife)), 1);
  EXPECT_EQ(*Await(store_->Get("k", kNever)), "new");
}

TEST_P(StoreTest, WritingStartsTheTimeAgain) {
  ASSERT_TRUE(Await(store_->Set("set", "1", 50ms)).ok());
  ASSERT_TRUE(Await(store_->Add("added", 1, 50ms)).ok());
  ASSERT_TRUE(Await(store_->Set("set", "2", kLife)).ok());
  ASSERT_TRUE(Await(store_->Add("added", 1, kLife)).ok());
  ASSERT_TRUE(Await(store_->Set("asked", "1", 50ms)).ok());
  EXPECT_EQ(*Await(store_->SetIfAbsent("asked", "2", kLife)), "1");
  AwaitGone("asked");  // so the times of the others have passed too
  EXPECT_EQ(*Await(store_->TryGet("set")), "2");
  EXPECT_EQ(*Await(store_->TryGet("added")), "2");
}

TEST_P(StoreTest, ATimeToLiveIsAMillisecondOrMore) {
  for (const auto& status : {Await(store_->Set("k", "v", 0ms)), Await(store_->SetIfAbsent("k", "v", -1h)).status(),
                             Await(store_->Add("k", 1, 1us)).status()}) {
    EXPECT_TRUE(status.IsInvalid()) << status;
    EXPECT_THAT(status.message(), HasSubstr("the time to live of 'k' is"));
  }
  EXPECT_TRUE(Await(store_->Set("k", "v", Duration::max())).ok());
  EXPECT_EQ(*Await(store_->TryGet("k")), "v");
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
    EXPECT_TRUE(executor.Await(store->Set("k", "v", kLife)).ok());
  });
  EXPECT_EQ(*Await(waiting), "v");
  other.join();
}

TEST_P(StoreTest, ClosingEndsWhatWaits) {
  auto waiting = store_->Get("never", kNever);
  EXPECT_EQ(*Await(store_->Add("n", 1, kLife)), 1);  // the get was taken up before
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
        EXPECT_TRUE(executor.Await(store->Add("count", 1, kLife)).ok());
        auto won = executor.Await(store->SetIfAbsent("first" + std::to_string(i), std::to_string(t), kLife));
        winners[static_cast<size_t>(t)] += won.ValueOr("?");
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(*Await(store_->Add("count", 0, kLife)), kThreads * kRounds);
  for (const auto& winner : winners) {
    EXPECT_EQ(winner, winners[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, StoreTest, EveryStore(), StoreName);

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
    auto server = StoreServer::Start(executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
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
  HostPort free = StoreServer::Start(server_executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie()->address();
  std::unique_ptr<StoreServer> server;
  executor.PostAt(executor.Now() + 50ms,
                  [&] { server = StoreServer::Start(server_executor, free, SecuredBy(kSecret)).ValueOrDie(); });
  Options options;
  options.store = "tcp://" + free.ToString();
  options.secret = kHexSecret;
  auto store = OpenStore(options, executor, executor.Now() + kPatience);
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_EQ(*executor.Await((*store)->Add("n", 1, kLife)), 1);
  store->reset();
}

TEST(DirectoryStoreTest, WhatHasExpiredIsRemovedWhenAStoreIsOpened) {
  AnyStore kind("directory");
  AsioExecutor executor("client");
  auto store = kind.Open(executor);
  ASSERT_TRUE(executor.Await(store->Set("short", "v", 1ms)).ok());
  ASSERT_TRUE(executor.Await(store->Set("long", "v", kLife)).ok());
  const auto deadline = executor.Now() + kPatience;
  const std::set<std::string> left{".lock", "klong"};
  std::set<std::string> names;
  while (names != left && executor.Now() < deadline) {
    store = kind.Open(executor);
    names.clear();
    for (const auto& entry : std::filesystem::directory_iterator(kind.directory())) {
      names.insert(entry.path().filename());
    }
  }
  EXPECT_EQ(names, left);
}

TEST(DirectoryStoreTest, ALockThatIsNotLetGoIsAnError) {
  AnyStore kind("directory");
  AsioExecutor executor("client");
  auto store = kind.Open(executor);
  const std::string path = kind.directory() + "/.lock";
  const int held = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(::flock(held, LOCK_EX), 0);
  const auto status = executor.Await(store->Set("k", "v", kLife), executor.Now() + kPatience);
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("another process has held " + path));
  ::close(held);
  EXPECT_TRUE(executor.Await(store->Set("k", "v", kLife)).ok());
}

TEST(StoreServerTest, AWrongSecretIsRefused) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
  Options options;
  options.store = server->address().ToString();
  for (const std::string& secret : {std::string(64, 'b'), std::string()}) {
    options.secret = secret;
    auto store = OpenStore(options, executor, executor.Now() + kPatience);
    EXPECT_TRUE(IsError(store.status(), ErrorKind::kAuthentication)) << store.status();
    EXPECT_THAT(store.status().message(), HasSubstr("cannot use the store at " + options.store));
  }
  EXPECT_TRUE(IsError(StoreServer::Start(server_executor, {"127.0.0.1", 0}, SecuredBy("")).status(),
                      ErrorKind::kAuthentication));
}

TEST(StoreServerTest, ABusyPortIsNamed) {
  AsioExecutor executor("server");
  auto server = StoreServer::Start(executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
  auto second = StoreServer::Start(executor, server->address(), SecuredBy(kSecret));
  EXPECT_THAT(second.status().message(), HasSubstr("cannot listen on " + server->address().ToString()));
}

TEST(StoreServerTest, ItsEndFailsWhatWaits) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
  const std::string address = server->address().ToString();
  auto store =
      OpenTcpStore(server->address(), SecuredBy(kSecret), executor, executor.Now() + kPatience, 100ms).ValueOrDie();
  server->SetLocally("word", "said");
  EXPECT_EQ(*executor.Await(store->Get("word", kNever)), "said");
  auto waiting = store->Get("never", kNever);
  EXPECT_TRUE(executor.Await(store->Set("k", "v", kLife)).ok());
  server.reset();
  auto gone = executor.Await(waiting, executor.Now() + kPatience);
  EXPECT_TRUE(gone.status().IsIOError()) << gone.status();
  EXPECT_THAT(gone.status().message(), HasSubstr("the store at " + address + " is gone"));
  EXPECT_THAT(executor.Await(store->Set("k", "v", kLife)).message(), HasSubstr("is gone"));
}

TEST(StoreServerTest, SilentStrangersGiveWay) {
  AsioExecutor executor("client");
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
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
  EXPECT_EQ(*executor.Await((*store)->Add("n", 1, kLife)), 1);
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
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
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
