// A store over TCP whose connections are lost and whose server is started anew.
#include "cylon/bootstrap/tcp_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "cylon/base/error.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/bootstrap/testing/any_store.h"
#include "cylon/bootstrap/testing/other_address.h"
#include "cylon/bootstrap/testing/proxy.h"
#include "cylon/wire/secure.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// Longer than any test.
constexpr Duration kKeysLive = 1h;

class TcpStoreTest : public ::testing::Test {
 protected:
  void Stop() { server_.reset(); }
  /// On the port that it had, with nothing in it.
  void StartAnew() { server_ = StoreServer::Start(server_executor_, address_, SecuredBy(kSecret)).ValueOrDie(); }

  std::unique_ptr<Store> Open(const HostPort& at, Duration patience = kPatience) {
    return OpenTcpStore(at, SecuredBy(kSecret), executor_, executor_.Now() + kPatience, patience).ValueOrDie();
  }
  template <typename T>
  auto Await(const arrow::Future<T>& future) {
    return executor_.Await(future, executor_.Now() + kPatience);
  }

  /// Asks until the key is gone.
  void AwaitGone(Store& store, const std::string& key) {
    const auto deadline = executor_.Now() + kPatience;
    auto value = Await(store.TryGet(key));
    while (value.ok() && executor_.Now() < deadline) {
      value = Await(store.TryGet(key));
    }
    EXPECT_TRUE(value.status().IsKeyError()) << value.status();
  }

  AsioExecutor server_executor_{"server"};
  AsioExecutor executor_{"client"};
  std::unique_ptr<StoreServer> server_ =
      StoreServer::Start(server_executor_, {kOwnHost, 0}, SecuredBy(kSecret)).ValueOrDie();
  HostPort address_ = server_->address();
};

TEST_F(TcpStoreTest, WhatIsAskedOutlivesItsConnection) {
  Proxy proxy(address_);
  auto store = Open(proxy.address());
  auto waiting = store->Get("later", executor_.Now() + kPatience);
  ASSERT_TRUE(Await(store->Set("k", "v", kKeysLive)).ok());
  for (int round = 1; round <= 5; ++round) {
    // What is under way when the connection is lost, and what is asked when there is none.
    auto first = store->Add("n", 1, kKeysLive);
    proxy.Cut();
    auto second = store->Add("n", 1, kKeysLive);
    EXPECT_EQ(Await(first).ValueOr(-1), 2 * round - 1);
    EXPECT_EQ(Await(second).ValueOr(-1), 2 * round);
    EXPECT_EQ(Await(store->TryGet("k")).ValueOr("none"), "v");
  }
  EXPECT_FALSE(waiting.is_finished());
  ASSERT_TRUE(Await(store->Set("later", "now", kKeysLive)).ok());
  EXPECT_EQ(Await(waiting).ValueOr("none"), "now");
}

TEST_F(TcpStoreTest, WhatWasCarriedOutIsNotCarriedOutAgain) {
  Proxy proxy(address_);
  auto store = Open(proxy.address());
  auto other = Open(address_);
  ASSERT_TRUE(Await(store->Set("set", "0", kKeysLive)).ok());
  auto swallowed = proxy.Swallow(true);
  auto adding = store->Add("n", 5, kKeysLive);
  auto setting = store->Set("set", "1", kKeysLive);
  auto deleting = store->Delete("gone");
  auto drawing = store->SetIfAbsent("first", "ours", kKeysLive);
  // The server has carried them all out, and its answers are lost.
  ASSERT_TRUE(Await(swallowed).ok());
  EXPECT_EQ(Await(other->Get("first", executor_.Now() + kPatience)).ValueOr("none"), "ours");
  EXPECT_EQ(Await(other->Add("n", 1, kKeysLive)).ValueOr(-1), 6);
  ASSERT_TRUE(Await(other->Set("set", "2", kKeysLive)).ok());
  ASSERT_TRUE(Await(other->Set("gone", "back", kKeysLive)).ok());
  std::ignore = proxy.Swallow(false);
  proxy.Cut();
  EXPECT_EQ(Await(adding).ValueOr(-1), 5);
  EXPECT_TRUE(Await(setting).ok());
  EXPECT_TRUE(Await(deleting).ok());
  EXPECT_EQ(Await(drawing).ValueOr("none"), "ours");
  EXPECT_EQ(Await(other->TryGet("set")).ValueOr("none"), "2");
  EXPECT_EQ(Await(other->TryGet("gone")).ValueOr("none"), "back");
  EXPECT_EQ(Await(store->Add("n", 1, kKeysLive)).ValueOr(-1), 7);
}

TEST_F(TcpStoreTest, ARestartedServerHearsAgainWhatItsClientsHadSaid) {
  auto store = Open(address_);
  auto other = Open(address_);
  ASSERT_TRUE(Await(store->Set("set", "v", kKeysLive)).ok());
  ASSERT_TRUE(Await(store->Set("short", "v", 1ms)).ok());
  ASSERT_TRUE(Await(store->Set("deleted", "v", kKeysLive)).ok());
  ASSERT_TRUE(Await(store->Delete("deleted")).ok());
  EXPECT_EQ(Await(store->SetIfAbsent("won", "ours", kKeysLive)).ValueOr("none"), "ours");
  EXPECT_EQ(Await(other->SetIfAbsent("won", "theirs", kKeysLive)).ValueOr("none"), "ours");
  EXPECT_EQ(Await(store->Add("n", 3, kKeysLive)).ValueOr(-1), 3);
  EXPECT_EQ(Await(other->Add("n", 4, kKeysLive)).ValueOr(-1), 7);
  for (int round = 0; round < 3; ++round) {
    Stop();
    auto waiting = store->Get("set", executor_.Now() + kPatience);
    StartAnew();
    EXPECT_EQ(Await(waiting).ValueOr("none"), "v");
    EXPECT_EQ(Await(other->SetIfAbsent("another", "theirs", kKeysLive)).ValueOr("none"), "theirs");
    EXPECT_EQ(Await(store->TryGet("won")).ValueOr("none"), "ours");
    AwaitGone(*store, "short");
    EXPECT_TRUE(Await(store->TryGet("deleted")).status().IsKeyError());
    EXPECT_EQ(Await(store->Add("n", 1, kKeysLive)).ValueOr(-1), 8 + round);
  }
}

TEST_F(TcpStoreTest, AConnectionThatOwesAnAnswerAndIsSilentIsMadeAnew) {
  Proxy proxy(address_);
  auto store = Open(proxy.address());
  ASSERT_TRUE(Await(store->Set("k", "value", kKeysLive)).ok());
  const auto swallowed = proxy.Swallow(true);
  const auto asked = store->TryGet("k");
  ASSERT_TRUE(executor_.Wait(swallowed, executor_.Now() + kPatience).ok());
  std::ignore = proxy.Swallow(false);  // the connection stands, and the answer is lost
  EXPECT_EQ(Await(asked).ValueOr("none"), "value");
  EXPECT_EQ(proxy.accepted(), 2);
}

TEST_F(TcpStoreTest, WhatAnotherHasSetMeanwhileStands) {
  Proxy proxy(address_);
  auto store = Open(proxy.address());
  ASSERT_TRUE(Await(store->Set("k", "old", kKeysLive)).ok());
  std::ignore = proxy.Swallow(true);  // it hears nothing of the next server for a while
  Stop();
  StartAnew();
  {
    auto other = Open(address_);
    ASSERT_TRUE(Await(other->Set("k", "new", kKeysLive)).ok());
  }
  std::ignore = proxy.Swallow(false);
  proxy.Cut();
  EXPECT_EQ(Await(store->TryGet("k")).ValueOr("none"), "new");
  // Who has lost a key does not bring it back.
  Stop();
  StartAnew();
  EXPECT_TRUE(Await(store->TryGet("k")).status().IsKeyError());
}

TEST_F(TcpStoreTest, AServerThatStaysAwayIsNamedInBoundedTime) {
  auto store = Open(address_, 200ms);
  Stop();
  auto waiting = store->Get("never", kNever);
  auto late = store->Get("late", executor_.Now() + 20ms);
  auto adding = store->Add("n", 1, kKeysLive);
  for (const auto& status : {Await(waiting).status(), Await(adding).status()}) {
    EXPECT_TRUE(status.IsIOError()) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("the store at " + address_.ToString() + " is gone"),
                                        HasSubstr("did not answer within 200 ms"), HasSubstr("start the job again")));
  }
  const auto deadline = Await(late).status();
  EXPECT_TRUE(IsError(deadline, ErrorKind::kDeadline)) << deadline;
  EXPECT_THAT(deadline.message(), AllOf(HasSubstr("is gone"), HasSubstr("'late'")));
  StartAnew();
  EXPECT_EQ(Await(store->Add("n", 1, kKeysLive)).ValueOr(-1), 1);  // it is asked anew
}

TEST_F(TcpStoreTest, ASilentServerIsNamedInBoundedTimeAndLeft) {
  Proxy proxy(address_);
  auto store = Open(proxy.address(), 200ms);
  auto waiting = store->Get("later", executor_.Now() + kPatience);
  ASSERT_TRUE(Await(store->Set("k", "v", kKeysLive)).ok());
  std::ignore = proxy.Swallow(true);
  const auto status = Await(store->Set("k", "w", kKeysLive));
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("owes an answer and is silent"), HasSubstr("for setting 'k'")));
  std::ignore = proxy.Swallow(false);
  auto other = Open(address_);
  ASSERT_TRUE(Await(other->Set("later", "now", kKeysLive)).ok());
  const auto got = Await(waiting);
  EXPECT_TRUE(got.ok() || got.status().IsIOError()) << got.status();
  EXPECT_EQ(Await(store->TryGet("k")).ValueOr("none"), "w");
}

TEST_F(TcpStoreTest, AnotherSecretAfterARestartEndsWhatWaits) {
  auto store = Open(address_);
  Stop();
  auto waiting = store->Get("never", kNever);
  server_ = StoreServer::Start(server_executor_, address_, SecuredBy(std::string(32, '\xbb'))).ValueOrDie();
  const auto status = Await(waiting).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
  EXPECT_THAT(status.message(), HasSubstr("cannot use the store at " + address_.ToString()));
}

TEST_F(TcpStoreTest, ARankJoinsOverARestartOfTheServer) {
  // With and without a launcher's epoch; rank 1 comes after the restart.
  for (const std::string epoch : {"00000000000000000000000000000001", ""}) {
    const auto join = [&](Rank rank, AsioExecutor& executor, Store* store) {
      JoinRequest request;
      request.job = "test" + epoch;
      request.epoch = epoch;
      request.rank = rank;
      request.world_size = 3;
      request.card = {"host", rank, "address" + std::to_string(rank)};
      request.deadline = executor.Now() + kPatience;
      return Spawn(executor, Join(store, executor, request));
    };
    AsioExecutor executors[3] = {AsioExecutor("r0"), AsioExecutor("r1"), AsioExecutor("r2")};
    std::vector<std::unique_ptr<Store>> stores;
    for (auto& executor : executors) {
      stores.push_back(OpenTcpStore(address_, SecuredBy(kSecret), executor, kNever).ValueOrDie());
    }
    auto zero = join(0, executors[0], stores[0].get());
    auto two = join(2, executors[2], stores[2].get());
    // Both have said that they are here.
    auto watcher = Open(address_);
    if (epoch.empty()) {
      auto generation = Await(watcher->Get("test/generation", kNever));
      auto leader = Await(watcher->Get("test/leader/" + *generation, kNever));
      EXPECT_TRUE(Await(watcher->Get("test/" + *leader + "/here/2", kNever)).ok());
    } else {
      EXPECT_TRUE(Await(watcher->Get("test" + epoch + "/" + epoch + "/here/0", kNever)).ok());
      EXPECT_TRUE(Await(watcher->Get("test" + epoch + "/" + epoch + "/here/2", kNever)).ok());
    }
    Stop();
    StartAnew();
    auto one = join(1, executors[1], stores[1].get());
    int rank = 0;
    for (auto& joining : {zero, one, two}) {
      const auto world = executors[rank].Await(joining, executors[rank].Now() + kPatience);
      ASSERT_TRUE(world.ok()) << world.status();
      EXPECT_EQ(world->rank, rank);
      EXPECT_EQ(world->cards[1].address, "address1");
      ++rank;
    }
  }
}

TEST_F(TcpStoreTest, ClosingWhileTheServerIsAwayEndsWhatIsUnderWay) {
  auto store = Open(address_);
  Stop();
  auto waiting = store->Get("never", kNever);
  auto adding = store->Add("n", 1, kKeysLive);
  ASSERT_TRUE(executor_.RunTask([] { return arrow::Status::OK(); }).ok());
  store.reset();
  EXPECT_TRUE(waiting.status().IsCancelled()) << waiting.status();
  EXPECT_TRUE(adding.status().IsCancelled()) << adding.status();
}

TEST(StoreSecurityTest, OffLoopbackItIsEncryptedUnlessBothSidesSayNo) {
  const std::string host = OtherAddress();
  if (host.empty()) {
    GTEST_SKIP() << "this machine has no address but loopback ones";
  }
  AsioExecutor server_executor("server");
  AsioExecutor executor("client");
  auto plain = SecuredBy(kSecret);
  plain.plain_text = true;
  const auto open = [&](const StoreServer& server, const Security& security) {
    return OpenTcpStore(server.address(), security, executor, executor.Now() + kPatience);
  };
  const auto encrypting = StoreServer::Start(server_executor, {host, 0}, SecuredBy(kSecret)).ValueOrDie();
  auto store = open(*encrypting, SecuredBy(kSecret)).ValueOrDie();
  const std::string value(3 << 20, 'v');
  const auto setting = store->Set("k", value, kKeysLive);
  ASSERT_TRUE(executor.Await(setting, executor.Now() + kPatience).ok());
  EXPECT_TRUE(executor.Await(store->TryGet("k"), executor.Now() + kPatience).ValueOr("") == value);
  const auto refused = open(*encrypting, plain).status();
  EXPECT_TRUE(refused.IsInvalid()) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("CYLON_PLAIN_TEXT"));
  const auto stranger = open(*encrypting, SecuredBy(std::string(32, '\xbb'))).status();
  EXPECT_TRUE(IsError(stranger, ErrorKind::kAuthentication)) << stranger;
  const auto trusting = StoreServer::Start(server_executor, {host, 0}, plain).ValueOrDie();
  EXPECT_TRUE(open(*trusting, plain).ok());
  EXPECT_THAT(open(*trusting, SecuredBy(kSecret)).status().message(), HasSubstr("CYLON_PLAIN_TEXT"));
}

/// What becomes of a client that knows the secret and says `frames`, whatever they are: it reads until the server ends
/// the connection.
arrow::Status Say(const std::vector<std::string>& frames) {
  AsioExecutor executor("server");
  auto server = StoreServer::Start(executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
  AsioExecutor client_executor("client");
  auto talk = [&]() -> Co<void> {
    auto dialling = ConnectTcp(client_executor.io(), client_executor, server->address(), kNever);
    CYLON_CO_ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, co_await dialling);
    Identity self;
    self.purpose = kStorePurpose;
    auto proving = OpenAsDialler(std::move(stream), client_executor, SecuredBy(kSecret), self, "127.0.0.1", kNever);
    auto opened = co_await proving;
    CYLON_CO_RETURN_NOT_OK(opened.status());
    stream = std::move(opened->stream);
    auto outbox = std::make_shared<FramedOutbox>(stream.get());
    for (const auto& frame : frames) {
      outbox->Push(frame);
    }
    arrow::Status status;
    while (status.ok()) {
      auto reading = ReadStoreFrame(stream.get());
      auto frame = co_await reading;
      status = frame.status();
    }
    outbox->Detach();
    co_return status;
  };
  const auto talking = Spawn(client_executor, talk());
  return client_executor.Await(talking, client_executor.Now() + kPatience);
}

TEST(StoreSessionTest, AClientThatBeginsOtherwiseIsDropped) {
  const auto status = Say({"too short"});
  EXPECT_TRUE(IsEndOfStream(status)) << status;
}

TEST(StoreSessionTest, TwoGetsUnderOneNumberEndTheConnection) {
  ByteWriter get;
  get.Number(uint64_t{7});
  get.Number(uint64_t{1});
  get.Number(static_cast<uint8_t>(StoreOp::kGet));
  get.Text("nobody sets this");
  get.Number(int64_t{0});
  const auto status = Say({std::string(kStoreNonceBytes, 'c'), get.bytes(), get.bytes()});
  EXPECT_TRUE(IsEndOfStream(status)) << status;
}

}  // namespace
}  // namespace cylon::testing
