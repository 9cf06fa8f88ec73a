// Stores in a cluster of Redis servers, and servers that send their clients anywhere.
#include "cylon/bootstrap/redis_cluster.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>

#include "cylon/base/error.h"
#include "cylon/bootstrap/redis_errors.h"
#include "cylon/bootstrap/redis_store.h"
#include "cylon/bootstrap/testing/fake_redis.h"
#include "cylon/bootstrap/testing/redis_cluster.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

TEST(RedisKeyTest, KeysOfAJobHaveItsNameInBraces) {
  EXPECT_EQ(RedisKey("job/1/rank/0"), "cylon:{job}/1/rank/0");
  EXPECT_EQ(RedisKey("job/"), "cylon:{job}/");
  EXPECT_EQ(RedisKey("alone"), "cylon:alone");
}

TEST(RedisMovedTest, OnlyWhatNamesAServerIsFollowed) {
  const auto to = [](const std::string& text, const std::string& server = "10.0.0.1:6379") -> std::string {
    const auto status = RedisMoved(server, text);
    const RedisMove* move = MoveOf(status);
    if (move == nullptr) {
      EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
      EXPECT_THAT(status.message(),
                  AllOf(HasSubstr("the Redis server at " + server), HasSubstr("cluster-announce-ip")));
      return "";
    }
    EXPECT_TRUE(IsPassing(status));
    return (move->once ? "once " : "") + move->to.ToString();
  };
  EXPECT_EQ(to("MOVED 866 10.0.0.7:6379"), "10.0.0.7:6379");
  EXPECT_EQ(to("ASK 866 10.0.0.7:6379"), "once 10.0.0.7:6379");
  EXPECT_EQ(to("MOVED 866 :6380"), "10.0.0.1:6380");
  EXPECT_EQ(to("MOVED 866 2001:db8::7:6379"), "[2001:db8::7]:6379");
  EXPECT_EQ(to("MOVED 866 redis-7.example.com:6379"), "redis-7.example.com:6379");
  EXPECT_EQ(to("MOVED 866 127.0.0.1:6380", "127.0.0.1:6379"), "127.0.0.1:6380");
  for (const auto* text :
       {"MOVED", "MOVED 866", "MOVED 866 ", "MOVED 866 host", "MOVED 866 host:", "MOVED 866 host:0",
        "MOVED 866 host:99999", "MOVED 866 a b:1", "MOVED 866 a@b:1", "MOVED 866 a/b:1", "MOVED 866 0.0.0.0:1",
        "MOVED 866 127.0.0.1:6379", "MOVED 866 localhost:6379", "MOVED 866 \x01:1", "ASK 866 ::1:6379"}) {
    EXPECT_EQ(to(text), "") << text;
  }
  EXPECT_EQ(to("MOVED 866 " + std::string(300, 'a') + ":1"), "");
  EXPECT_EQ(MoveOf(arrow::Status::OK()), nullptr);
  EXPECT_EQ(MoveOf(PassingTrouble("it loads")), nullptr);
}

class RedisClusterTest : public ::testing::Test {
 protected:
  /// A client of a server that the test has made up.
  std::shared_ptr<RedisClient> Client(const std::string& url, Duration patience) {
    return MakeRedisClient(RedisAddress::Parse(url).ValueOrDie(), executor_, stop_, "job", patience).ValueOrDie();
  }
  arrow::Result<RedisReplies> Send(const std::shared_ptr<RedisClient>& client, std::vector<RedisCommand> commands) {
    RedisRequest request;
    request.commands = std::move(commands);
    request.what = "a test";
    return executor_.Await(Spawn(executor_, RedisClient::Send(client, std::move(request))), executor_.Now() + 60s);
  }
  void Close(const std::shared_ptr<RedisClient>& client) {
    EXPECT_TRUE(executor_
                    .RunTask([&] {
                      client->Close();
                      return arrow::Status::OK();
                    })
                    .ok());
  }
  template <typename T>
  auto Await(const arrow::Future<T>& future) {
    return executor_.Await(future, executor_.Now() + 60s);
  }
  static std::string Moved(const HostPort& to, const std::string& how = "MOVED") {
    return "-" + how + " 866 " + to.ToString() + "\r\n";
  }
  static bool IsOfAKey(const RedisCommand& command) {
    return command[0] == "DEL" || command[0] == "GET" || command[0] == "SET";
  }

  AsioExecutor executor_{"client"};
  arrow::Future<> stop_ = arrow::Future<>::Make();
};

TEST_F(RedisClusterTest, ClientsGoWhereTheyAreSentWithTheSamePassword) {
  std::atomic<int> logins{0};
  const FakeRedis owner([&](const RedisCommand& command) -> std::string {
    if (command[0] == "AUTH") {
      EXPECT_EQ(command, (RedisCommand{"AUTH", "me", "secret"}));
      ++logins;
    }
    return FakeRedis::Obedient(command);
  });
  const FakeRedis named([&](const RedisCommand& command) -> std::string {
    return IsOfAKey(command) ? Moved(owner.address()) : FakeRedis::Obedient(command);
  });
  const auto client = Client(named.url("me:secret@"), 60s);
  const auto replies = Send(client, {{"SET", "k", "v"}, {"GET", "k"}});
  ASSERT_TRUE(replies.ok()) << replies.status();
  EXPECT_EQ((*replies)[0].kind, RespValue::Kind::kSimple);
  EXPECT_EQ(logins, 1);
  EXPECT_EQ(client->server(), owner.address().ToString());
  Close(client);
}

TEST_F(RedisClusterTest, ServersThatSendTheirClientsInCirclesAreLeft) {
  HostPort first;
  std::mutex mutex;
  const FakeRedis second([&](const RedisCommand& command) -> std::string {
    const std::lock_guard<std::mutex> lock(mutex);
    return IsOfAKey(command) ? Moved(first) : FakeRedis::Obedient(command);
  });
  const FakeRedis named([&](const RedisCommand& command) -> std::string {
    return IsOfAKey(command) ? Moved(second.address()) : FakeRedis::Obedient(command);
  });
  {
    const std::lock_guard<std::mutex> lock(mutex);
    first = named.address();
  }
  const auto client = Client(named.url(":secret@"), 60s);
  const auto status = Send(client, {{"GET", "k"}}).status();
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("send this client from one to another, 8 times in a row"),
                                      HasSubstr("redis-cli --cluster check"), Not(HasSubstr("secret"))));
  Close(client);
}

TEST_F(RedisClusterTest, AServerThatSendsItsClientsNowhereIsNamed) {
  for (const auto* said : {"-MOVED\r\n", "-MOVED 866 :0\r\n", "-ASK 866 a b:1\r\n"}) {
    const FakeRedis named([&](const RedisCommand& command) -> std::string {
      return IsOfAKey(command) ? said : FakeRedis::Obedient(command);
    });
    const auto client = Client(named.url(), 60s);
    const auto status = Send(client, {{"GET", "k"}}).status();
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(), HasSubstr(named.address().ToString()));
    Close(client);
  }
}

TEST_F(RedisClusterTest, WhereTheNewServerIsGoneTheNamedOneIsAskedAgain) {
  HostPort gone;
  {
    const FakeRedis server([](const RedisCommand&) { return FakeRedis::kHangUp; });
    gone = server.address();
  }
  std::atomic<int> moves{3};
  const FakeRedis named([&](const RedisCommand& command) -> std::string {
    return IsOfAKey(command) && moves-- > 0 ? Moved(gone) : FakeRedis::Obedient(command);
  });
  const auto client = Client(named.url(), 60s);
  EXPECT_TRUE(Send(client, {{"GET", "k"}}).ok());
  Close(client);
}

TEST_F(RedisClusterTest, AKeyOnItsWayIsAskedForOnceElsewhere) {
  std::mutex mutex;
  std::vector<std::string> heard;
  const FakeRedis next([&](const RedisCommand& command) -> std::string {
    const std::lock_guard<std::mutex> lock(mutex);
    if (command[0] == "ASKING" || command[0] == "SET") {
      heard.push_back(command[0]);
    }
    return FakeRedis::Obedient(command);
  });
  const FakeRedis named([&](const RedisCommand& command) -> std::string {
    return command[0] == "SET" ? Moved(next.address(), "ASK") : FakeRedis::Obedient(command);
  });
  const auto client = Client(named.url(), 60s);
  const auto replies = Send(client, {{"SET", "k", "v"}, {"GET", "here"}, {"SET", "l", "v"}});
  ASSERT_TRUE(replies.ok()) << replies.status();
  EXPECT_EQ((*replies)[0].text, "OK");
  EXPECT_EQ((*replies)[1].kind, RespValue::Kind::kNull);
  EXPECT_EQ((*replies)[2].text, "OK");
  {
    const std::lock_guard<std::mutex> lock(mutex);
    EXPECT_EQ(heard, (std::vector<std::string>{"ASKING", "SET", "ASKING", "SET"}));
  }
  EXPECT_EQ(client->server(), named.address().ToString());
  Close(client);
}

TEST_F(RedisClusterTest, AKeyThatIsOnItsWayForEverEndsInTime) {
  HostPort first;
  std::mutex mutex;
  const FakeRedis second([&](const RedisCommand& command) -> std::string {
    const std::lock_guard<std::mutex> lock(mutex);
    return command[0] == "GET" ? Moved(first, "ASK") : FakeRedis::Obedient(command);
  });
  const FakeRedis named([&](const RedisCommand& command) -> std::string {
    return command[0] == "GET" ? Moved(second.address(), "ASK") : FakeRedis::Obedient(command);
  });
  {
    const std::lock_guard<std::mutex> lock(mutex);
    first = named.address();
  }
  const auto client = Client(named.url(), 100ms);
  const auto status = Send(client, {{"GET", "k"}}).status();
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("start the job again"));
  Close(client);
}

/// With a cluster of its own.
class RedisClusterStoreTest : public RedisClusterTest {
 protected:
  void SetUp() override {
    if (!RedisServer::IsInstalled()) {
      GTEST_SKIP() << RedisServer::kMissing;
    }
  }
  std::unique_ptr<Store> Open(const std::string& url, const std::string& job) {
    return OpenRedisStore(RedisAddress::Parse(url).ValueOrDie(), job, executor_, executor_.Now() + 60s).ValueOrDie();
  }
};

TEST_F(RedisClusterStoreTest, KeysOfAJobAreFoundWhicheverServerIsNamedAndWhereverTheyGo) {
  RedisCluster cluster;
  std::set<size_t> owners;
  for (int i = 0; owners.size() < RedisCluster::kServers; ++i) {
    const std::string job = "job" + std::to_string(i);
    const int slot = cluster.SlotOf(RedisKey(job + "/"));
    const size_t owner = RedisCluster::OwnerOf(slot);
    if (!owners.insert(owner).second) {
      continue;
    }
    const size_t next = (owner + 1) % RedisCluster::kServers;
    auto one = Open(cluster.server(0).url(), job);
    auto two = Open(cluster.server(1).url(), job);
    ASSERT_TRUE(Await(one->Set(job + "/k", "v", 1h)).ok());
    EXPECT_EQ(*Await(two->TryGet(job + "/k")), "v");
    EXPECT_EQ(*Await(two->Add(job + "/n", 5, 1h)), 5);
    EXPECT_EQ(cluster.server(owner).Run({"GET", RedisKey(job + "/n")}).text, "5");
    // While they are on their way: those that are there still, and new ones.
    cluster.BeginMove(slot, owner, next);
    EXPECT_EQ(*Await(one->TryGet(job + "/k")), "v");
    EXPECT_EQ(*Await(one->SetIfAbsent(job + "/new", "x", 1h)), "x");
    EXPECT_EQ(*Await(two->TryGet(job + "/new")), "x");
    EXPECT_EQ(*Await(two->Add(job + "/n", 1, 1h)), 6);
    cluster.FinishMove(slot, owner, next);
    for (auto* store : {one.get(), two.get()}) {
      EXPECT_EQ(*Await(store->TryGet(job + "/k")), "v");
      EXPECT_EQ(*Await(store->TryGet(job + "/new")), "x");
    }
    EXPECT_EQ(*Await(one->Add(job + "/n", 1, 1h)), 7);
    EXPECT_EQ(cluster.server(next).Run({"GET", RedisKey(job + "/n")}).text, "7");
  }
}

TEST_F(RedisClusterStoreTest, AClusterWithoutSlotsAndOneWithADatabaseAreTold) {
  const RedisServer server({"cluster-enabled yes"});
  const auto why = [&](const std::string& url) {
    return OpenRedisStore(RedisAddress::Parse(url).ValueOrDie(), "job", executor_, executor_.Now() + 200ms).status();
  };
  EXPECT_THAT(why(server.url()).message(), AllOf(HasSubstr("CLUSTERDOWN"), HasSubstr(server.address().ToString())));
  const auto status = why(server.url() + "/1");
  EXPECT_TRUE(status.IsInvalid()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("is part of a cluster"), HasSubstr("leave the number of a database")));
}

}  // namespace
}  // namespace cylon::testing
