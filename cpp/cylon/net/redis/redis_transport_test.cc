// Messages through a Redis server: what is left in it, and what is said of one that loses, changes or refuses them.
#include "cylon/net/redis/redis_transport.h"

#include "cylon/bootstrap/redis_cluster.h"
#include "cylon/bootstrap/testing/proxy.h"
#include "cylon/bootstrap/testing/redis_cluster.h"
#include "cylon/net/mail/testing/mail_node.h"
#include "cylon/net/redis/testing/redis_world.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class RedisTransportTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!RedisServer::IsInstalled()) {
      GTEST_SKIP() << RedisServer::kMissing;
    }
  }
  /// The key of the only inbox that has something in it.
  static std::string Inbox(const RedisServer& server) {
    for (const auto& key : server.Run({"KEYS", "cylon:{conformance}/00000001/inbox/*"}).elements) {
      return key.text;
    }
    ADD_FAILURE() << "no inbox";
    return "";
  }
  struct Entry {
    std::string id;
    std::string name;
    std::string value;
  };
  static std::vector<Entry> Entries(const RedisServer& server, const std::string& inbox) {
    std::vector<Entry> out;
    for (const auto& entry : server.Run({"XRANGE", inbox, "-", "+"}).elements) {
      const auto& fields = entry.elements[1].elements;
      out.push_back({entry.elements[0].text, fields[0].text, fields[1].text});
    }
    return out;
  }
  /// All keys go by themselves.
  static void ExpectTimesToLive(const RedisServer& server) {
    for (const auto& key : server.Run({"KEYS", "*"}).elements) {
      EXPECT_GT(server.Run({"PTTL", key.text}).number, 0) << key.text;
    }
  }
};

TEST_F(RedisTransportTest, NothingStaysInTheServer) {
  for (int round = 0; round < 5; ++round) {
    RedisConformanceWorld world(3);
    const auto status = world.Run([&](Rank rank) {
      MailNode node(world, rank);
      ARROW_RETURN_NOT_OK(node.Start());
      for (Rank to = 0; to < 3; ++to) {
        if (to != rank) {
          std::ignore = node.Send(to, {100, 3000});
        }
      }
      ARROW_RETURN_NOT_OK(node.Receive(2));
      if (rank == 0) {
        return node.Close();
      }
      // These two go on for a while after the first has left, and leave as it comes.
      for (int i = 0; i < 20; ++i) {
        std::ignore = node.Send(3 - rank, {1000});
        ARROW_RETURN_NOT_OK(node.Receive(3 + i));
      }
      return node.Close();
    });
    EXPECT_TRUE(status.ok()) << status;
    for (const auto& key : world.server.Run({"KEYS", "*"}).elements) {
      ADD_FAILURE() << key.text << " is left";
    }
  }
}

TEST_F(RedisTransportTest, WhatACrashLeavesGoesByItself) {
  RedisConformanceWorld world(3);
  {
    MailNode zero(world, 0);
    ASSERT_TRUE(zero.Start().ok());
    zero.SendAlone(1, 100);
    zero.SendAlone(2, 100);
    ExpectTimesToLive(world.server);
    EXPECT_TRUE(zero.Do([&] { zero.transport->Abort(); }).ok());
  }
  EXPECT_GT(world.Keys(), 0);
  ExpectTimesToLive(world.server);
}

TEST_F(RedisTransportTest, AWindowIsAllThatLiesInTheServer) {
  RedisConformanceWorld world(2, kConformancePatience);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  std::vector<arrow::Future<>> sent;
  sent.reserve(32);
  for (int i = 0; i < 32; ++i) {
    sent.push_back(zero.Send(1, {1 << 20}));
  }
  // The other has not come: 4 MiB at most go out, with their frames.
  ASSERT_TRUE(AwaitSoon(zero.executor, sent[2]).ok());
  EXPECT_FALSE(sent[3].is_finished());
  size_t bytes = 0;
  for (const auto& entry : Entries(world.server, Inbox(world.server))) {
    bytes += entry.value.size();
  }
  EXPECT_LE(bytes, size_t{4} << 20);
  MailNode one(world, 1);
  ASSERT_TRUE(one.Start().ok());
  EXPECT_TRUE(one.Receive(32).ok());
  EXPECT_TRUE(AwaitSoon(zero.executor, sent.back()).ok());
}

TEST_F(RedisTransportTest, ARestartOfTheServerLosesNothing) {
  RedisConformanceWorld world(2);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  // Some lie in the server when it goes, unread.
  for (int i = 0; i < 10; ++i) {
    zero.SendAlone(1, int64_t{1000} * i);
  }
  world.server.Restart();
  ASSERT_TRUE(one.Start().ok());
  EXPECT_TRUE(one.Receive(10).ok());
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 100; ++i) {
      std::ignore = zero.Send(1, {100000});
      std::ignore = one.Send(0, {10});
    }
    world.server.Restart();
    EXPECT_TRUE(one.Receive(10 + 100 * (round + 1)).ok());
    EXPECT_TRUE(zero.Receive(int64_t{100} * (round + 1)).ok());
  }
  EXPECT_TRUE(zero.Close().ok());
  EXPECT_TRUE(one.Close().ok());
}

TEST_F(RedisTransportTest, LostConnectionsLoseAndRepeatNothing) {
  RedisConformanceWorld world(2);
  Proxy proxy(world.server.address());
  world.via = proxy.address();
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  ASSERT_TRUE(one.Start().ok());
  constexpr int kMessages = 20;
  for (int round = 1; round <= 10; ++round) {
    for (int i = 0; i < kMessages; ++i) {
      std::ignore = zero.Send(1, {200000, 3});
      std::ignore = one.Send(0, {10});
    }
    if (round % 2 == 0) {
      EXPECT_TRUE(one.Receive(int64_t{kMessages} * round - kMessages / 2).ok());
    }
    proxy.Cut();  // with whatever is under way
  }
  EXPECT_TRUE(one.Receive(int64_t{kMessages} * 10).ok());
  EXPECT_TRUE(zero.Receive(int64_t{kMessages} * 10).ok());
  EXPECT_TRUE(zero.Close().ok());
  EXPECT_TRUE(one.Close().ok());
}

TEST_F(RedisTransportTest, AServerThatForgetsIsToldAgain) {
  RedisConformanceWorld world(2, 1s);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  for (int i = 0; i < 3; ++i) {
    zero.SendAlone(1, 1000);
  }
  world.server.Run({"FLUSHALL"});
  MailNode one(world, 1);
  ASSERT_TRUE(one.Start().ok());
  EXPECT_TRUE(one.Receive(3).ok());
}

TEST_F(RedisTransportTest, ARankThatLeavesIsNotHeldUpByAServerThatForgetsItsEnd) {
  RedisConformanceWorld world(2, 1s);
  Proxy proxy(world.server.address());
  world.via = proxy.address();
  MailNode zero(world, 0);
  world.via.reset();
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  ASSERT_TRUE(one.Start().ok());
  zero.SendAlone(1, 10);
  ASSERT_TRUE(one.Receive(1).ok());
  // Put there, and on its way back as the server loses what it has, and the connections.
  const auto lost = proxy.Lose("$3\r\nend\r\n");
  arrow::Future<> closed;
  ASSERT_TRUE(zero.Do([&] { closed = zero.transport->Close(); }).ok());
  ASSERT_TRUE(AwaitSoon(one.executor, lost).ok());
  world.server.Run({"FLUSHALL"});
  proxy.Cut();
  const auto status = AwaitSoon(zero.executor, closed);
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_TRUE(one.Close().ok());
}

TEST_F(RedisTransportTest, ALostEntryIsAnErrorAtBothEnds) {
  RedisConformanceWorld world(2);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  for (int i = 0; i < 3; ++i) {
    zero.SendAlone(1, 100);
  }
  const auto inbox = Inbox(world.server);
  world.server.Run({"XDEL", inbox, Entries(world.server, inbox)[1].id});
  ASSERT_TRUE(one.Start().ok());
  const auto here = one.Lost(0);
  EXPECT_THAT(here.message(), AllOf(HasSubstr("entry 3 of rank 0 came after 1"), HasSubstr("was lost in the Redis"),
                                    HasSubstr("let nobody delete keys")));
  EXPECT_EQ(one.sink.count, 1);
  EXPECT_THAT(zero.Lost(1).message(), HasSubstr("rank 1 is gone: it dropped the connection: entry 3 of rank 0"));
}

TEST_F(RedisTransportTest, WhatIsPutThereTwiceComesOnce) {
  RedisConformanceWorld world(2);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  for (int i = 0; i < 3; ++i) {
    zero.SendAlone(1, 100);
  }
  const auto inbox = Inbox(world.server);
  for (const auto& entry : Entries(world.server, inbox)) {
    world.server.Run({"XADD", inbox, "*", entry.name, entry.value});
  }
  ASSERT_TRUE(one.Start().ok());
  EXPECT_TRUE(one.Receive(3).ok());
  zero.SendAlone(1, 100);
  EXPECT_TRUE(one.Receive(4).ok());
}

TEST_F(RedisTransportTest, WhatWasChangedIsRefused) {
  RedisConformanceWorld world(2);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  zero.SendAlone(1, 100);
  zero.SendAlone(1, 100);
  const auto inbox = Inbox(world.server);
  auto entry = Entries(world.server, inbox)[1];
  entry.value[50] ^= 1;
  world.server.Run({"XDEL", inbox, entry.id});
  world.server.Run({"XADD", inbox, "*", entry.name, entry.value});
  ASSERT_TRUE(one.Start().ok());
  const auto status = one.Lost(0);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("entry 2 of rank 0 was changed in the Redis server"));
  EXPECT_EQ(one.sink.count, 1);
}

TEST_F(RedisTransportTest, WhatNoRankHasPutThereIsRefused) {
  RedisConformanceWorld world(2);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  zero.SendAlone(1, 100);
  world.server.Run({"XADD", Inbox(world.server), "*", "hello", "world"});
  std::ignore = one.Start();
  const auto status = one.Lost(0);
  EXPECT_TRUE(IsError(status, ErrorKind::kIsolated)) << status;
  EXPECT_THAT(status.message(), HasSubstr("holds an entry that no rank has put there"));
}

TEST_F(RedisTransportTest, AnotherSecretIsToldAtBothEnds) {
  RedisConformanceWorld world(2);
  MailNode zero(world, 0);
  world.secret = "another";
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  ASSERT_TRUE(one.Start().ok());
  std::ignore = zero.Send(1, {10});
  for (auto [node, peer] : {std::pair(&one, 0), std::pair(&zero, 1)}) {
    const auto status = node->Lost(peer);
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("rank " + std::to_string(peer) + " does not know the job's secret"),
                                        HasSubstr("CYLON_SECRET_FILE")));
  }
}

TEST_F(RedisTransportTest, ACardOfAnotherTransportIsNamed) {
  RedisConformanceWorld world(1);
  World other;
  other.cards = {{"host", 1, RedisCardAddress().ValueOrDie()}, {"host", 2, "127.0.0.1:4711"}};
  const auto made = MakeRedisTransport(world.executor(0), RedisAddress::Parse(world.server.url()).ValueOrDie(), other,
                                       "a secret", kRedisPeerTimeout);
  EXPECT_TRUE(made.status().IsInvalid());
  EXPECT_THAT(made.status().message(),
              AllOf(HasSubstr("rank 1 is reached by '127.0.0.1:4711'"), HasSubstr("set CYLON_TRANSPORT to the same")));
}

TEST_F(RedisTransportTest, AServerThatCannotBeUsedIsToldByEveryRank) {
  // What is done to a server under a running world, and what every rank says then.
  const std::vector<std::pair<std::function<void(RedisServer&)>, std::string>> troubles = {
      {[](RedisServer& server) { server.Run({"CONFIG", "SET", "maxmemory", "1"}); }, "has no memory left"},
      {[](RedisServer& server) { server.Run({"REPLICAOF", "127.0.0.1", "1"}); }, "is a read-only replica"},
      {[](RedisServer& server) { server.Restart({{"requirepass secret"}}); }, "asks for a password"},
      {[](RedisServer& server) { server.Restart({{"maxmemory 100mb", "maxmemory-policy allkeys-lru"}}); },
       "drops keys when its memory is full"},
      {[](RedisServer& server) { server.Stop(); }, "is gone"},
  };
  for (const auto& [trouble, what] : troubles) {
    SCOPED_TRACE(what);
    RedisConformanceWorld world(3, 1s);
    std::vector<std::unique_ptr<MailNode>> nodes;
    for (Rank rank = 0; rank < 3; ++rank) {
      nodes.push_back(std::make_unique<MailNode>(world, rank));
      ASSERT_TRUE(nodes.back()->Start().ok());
    }
    std::ignore = nodes[0]->Send(1, {1000});
    ASSERT_TRUE(nodes[1]->Receive(1).ok());
    trouble(world.server);
    for (auto& node : nodes) {
      const Rank peer = node->rank == 0 ? 1 : 0;
      const auto status = node->Lost(peer);
      EXPECT_TRUE(IsError(status, ErrorKind::kIsolated)) << status;
      EXPECT_THAT(status.message(), AllOf(HasSubstr(what), HasSubstr(world.server.address().ToString())));
      EXPECT_FALSE(AwaitSoon(node->executor, node->Send(peer, {10})).ok());
    }
  }
}

TEST_F(RedisTransportTest, AServerThatCannotBeUsedIsToldAtTheStart) {
  RedisConformanceWorld world(2, 500ms);
  world.server.Restart({{"requirepass secret"}});
  {
    MailNode zero(world, 0);
    const auto status = zero.Start();
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
  }
  world.server.Stop();
  MailNode zero(world, 0);
  const auto status = zero.Start();
  EXPECT_THAT(status.message(), HasSubstr(world.server.address().ToString())) << status;
}

TEST_F(RedisTransportTest, APeerThatStandsStillIsLost) {
  RedisConformanceWorld world(2, 500ms);
  MailNode zero(world, 0);
  ASSERT_TRUE(zero.Start().ok());
  const auto status = zero.Lost(1);
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 1 is gone"), HasSubstr("has stood still for 500 ms")));
}

TEST_F(RedisTransportTest, APeerWhoseConnectionsAreClosedIsLostBeforeItsTime) {
  RedisConformanceWorld world(2, 60s);
  Proxy proxy(world.server.address());
  MailNode zero(world, 0);
  world.via = proxy.address();
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  ASSERT_TRUE(one.Start().ok());
  one.SendAlone(0, 10);
  ASSERT_TRUE(zero.Receive(1).ok());
  // As when its process dies: they end, and none comes instead.
  proxy.Close();
  const auto status = zero.Lost(1);
  EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 1 is gone: its connections to the Redis server at "),
                                      HasSubstr("were closed, and it was not back in 1000 ms")));
}

TEST_F(RedisTransportTest, AServerThatTellsOfNoConnectionsIsUsedWithoutThat) {
  // Neither channels nor the question for them.
  const std::vector<std::string> rules = {"user limited on >secret ~* +@all -pubsub resetchannels",
                                          "user limited on >secret ~* +@all resetchannels"};
  for (const auto& rule : rules) {
    SCOPED_TRACE(rule);
    RedisConformanceWorld world(2, 500ms);
    world.server.Restart({{rule}});
    world.login = "limited:secret@";
    MailNode zero(world, 0);
    MailNode one(world, 1);
    ASSERT_TRUE(zero.Start().ok());
    ASSERT_TRUE(one.Start().ok());
    for (int i = 1; i <= 20; ++i) {
      one.SendAlone(0, 10);
      ASSERT_TRUE(zero.Receive(i).ok());
    }
    EXPECT_TRUE(zero.Close().ok());
    EXPECT_TRUE(one.Close().ok());
  }
}

TEST_F(RedisTransportTest, ARestartIsNoLossOfAPeer) {
  RedisConformanceWorld world(2, 2s);
  MailNode zero(world, 0);
  MailNode one(world, 1);
  ASSERT_TRUE(zero.Start().ok());
  ASSERT_TRUE(one.Start().ok());
  for (int round = 0; round < 3; ++round) {
    world.server.Restart();
    std::ignore = zero.Send(1, {10});
    std::ignore = one.Send(0, {10});
    EXPECT_TRUE(zero.Receive(round + 1).ok());
    EXPECT_TRUE(one.Receive(round + 1).ok());
  }
  EXPECT_TRUE(zero.sink.lost.empty());
  EXPECT_TRUE(one.sink.lost.empty());
}

TEST_F(RedisTransportTest, AClusterCarriesThemWhileItsKeysMove) {
  RedisCluster cluster;
  RedisConformanceWorld world(3);
  const int slot = cluster.SlotOf(RedisKey("conformance/"));
  const size_t owner = RedisCluster::OwnerOf(slot);
  const size_t next = (owner + 1) % RedisCluster::kServers;
  std::vector<std::unique_ptr<MailNode>> nodes;
  for (Rank rank = 0; rank < 3; ++rank) {
    world.via = cluster.server(static_cast<size_t>(rank)).address();  // any of them
    nodes.push_back(std::make_unique<MailNode>(world, rank));
    ASSERT_TRUE(nodes.back()->Start().ok());
  }
  int64_t count = 0;
  const auto exchange = [&] {
    for (int i = 0; i < 5; ++i) {
      for (auto& node : nodes) {
        for (Rank to = 0; to < 3; ++to) {
          if (to != node->rank) {
            std::ignore = node->Send(to, {100, 20000});
          }
        }
      }
      count += 2;
    }
  };
  const auto receive = [&] {
    for (auto& node : nodes) {
      ASSERT_TRUE(node->Receive(count).ok());
    }
  };
  exchange();
  receive();
  for (const auto& [from, to] : {std::pair(owner, next), std::pair(next, owner)}) {
    exchange();
    cluster.BeginMove(slot, from, to);
    exchange();
    cluster.FinishMove(slot, from, to);
    exchange();
    receive();
  }
  for (auto& node : nodes) {
    EXPECT_TRUE(node->sink.lost.empty());
  }
  EXPECT_EQ(world.Keys(), 0);  // of the server that is in no cluster
  std::vector<arrow::Future<>> closed;
  for (auto& node : nodes) {
    ASSERT_TRUE(node->Do([&] { closed.push_back(node->transport->Close()); }).ok());
  }
  for (size_t i = 0; i < nodes.size(); ++i) {
    EXPECT_TRUE(AwaitSoon(nodes[i]->executor, closed[i]).ok());
  }
  for (size_t i = 0; i < RedisCluster::kServers; ++i) {
    EXPECT_EQ(cluster.server(i).Run({"DBSIZE"}).number, 0);
  }
}

}  // namespace
}  // namespace cylon::testing
