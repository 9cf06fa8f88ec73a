// A store on a Redis server: what it keeps, and what it says of servers that are no use.
#include "cylon/bootstrap/redis_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <set>
#include <thread>

#include "cylon/base/error.h"
#include "cylon/bootstrap/key_values.h"
#include "cylon/bootstrap/testing/any_store.h"
#include "cylon/bootstrap/testing/fake_redis.h"
#include "cylon/bootstrap/testing/redis_server.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using ::testing::HasSubstr;
using ::testing::Not;
using namespace std::chrono_literals;

constexpr char kPassword[] = "hunter2/@:%";
constexpr char kEscapedPassword[] = "hunter2%2f%40:%25";

TEST(RedisAddressTest, ReadsUrls) {
  const auto full = RedisAddress::Parse("rediss://me:hunter2%2f%40:%25@[::1]:7000/3").ValueOrDie();
  EXPECT_TRUE(full.tls);
  EXPECT_EQ(full.user, "me");
  EXPECT_EQ(full.password, kPassword);
  EXPECT_EQ(full.server.host, "::1");
  EXPECT_EQ(full.server.port, 7000);
  EXPECT_EQ(full.database, 3);
  EXPECT_EQ(full.ToString(), "rediss://me@[::1]:7000/3");
  EXPECT_EQ(full.ca_file, "");
  const auto checked = RedisAddress::Parse("rediss://h:1/2?ca=/etc/my%20ca.pem").ValueOrDie();
  EXPECT_EQ(checked.ca_file, "/etc/my ca.pem");
  EXPECT_EQ(checked.database, 2);
  EXPECT_EQ(checked.ToString(), "rediss://h:1/2");
  const auto plain = RedisAddress::Parse("redis://cache.example").ValueOrDie();
  EXPECT_FALSE(plain.tls);
  EXPECT_EQ(plain.user + plain.password, "");
  EXPECT_EQ(plain.ToString(), "redis://cache.example:6379");
  const auto anonymous = RedisAddress::Parse("redis://:p@q@h/").ValueOrDie();
  EXPECT_EQ(anonymous.user, "");
  EXPECT_EQ(anonymous.password, "p@q");
  EXPECT_EQ(anonymous.ToString(), "redis://h:6379");
  EXPECT_EQ(RedisAddress::Parse("redis://[::1]")->ToString(), "redis://[::1]:6379");
  const auto misplaced = RedisAddress::Parse("redis://hunter2@h").ValueOrDie();
  EXPECT_EQ(misplaced.user, "hunter2");
  EXPECT_EQ(misplaced.ToString(), "redis://h:6379");
}

TEST(RedisAddressTest, SaysWhatIsWrongWithoutRepeatingIt) {
  const std::pair<const char*, const char*> cases[] = {{"http://me:secret@h", "begins with neither"},
                                                       {"redis:secret", "begins with neither"},
                                                       {"redis://:secret@", "no valid host and port"},
                                                       {"redis://me:secret", "no valid host and port"},
                                                       {"redis://me:secret@h:99999", "no valid host and port"},
                                                       {"redis://me:secret@h:0", "no valid host and port"},
                                                       {"redis://me:secret@h:1:2", "no valid host and port"},
                                                       {"redis://me:secret@[::1", "no valid host and port"},
                                                       {"redis://me:secret@h/x", "not the number of a database"},
                                                       {"redis://me:secret@h/-1", "not the number of a database"},
                                                       {"rediss://me:secret@h/1?tls=1", "not ca=file"},
                                                       {"rediss://me:secret@h?ca=a&b=c", "not ca=file"},
                                                       {"redis://me:secret@h/1?ca=file", "not ca=file"},
                                                       {"redis://me:secret%4@h", "two hexadecimal digits"},
                                                       {"redis://me:secret%zz@h", "two hexadecimal digits"}};
  for (const auto& [url, what] : cases) {
    const auto parsed = RedisAddress::Parse(url);
    ASSERT_TRUE(parsed.status().IsInvalid()) << url;
    EXPECT_THAT(parsed.status().message(),
                AllOf(HasSubstr(what), HasSubstr("write redis://[user[:password]@]host"), Not(HasSubstr("secret"))));
  }
}

/// What both kinds of test need: an executor and stores opened on it.
class RedisClientSide : public ::testing::Test {
 protected:
  arrow::Result<std::unique_ptr<Store>> TryOpen(const std::string& url, Duration patience = kPatience) {
    ARROW_ASSIGN_OR_RAISE(const auto address, RedisAddress::Parse(url));
    return OpenRedisStore(address, "job", executor_, executor_.Now() + patience);
  }
  std::unique_ptr<Store> Open(const std::string& url) { return TryOpen(url).ValueOrDie(); }
  arrow::Status WhyNotOpen(const std::string& url, Duration patience = kPatience) {
    return TryOpen(url, patience).status();
  }
  template <typename T>
  auto Await(const arrow::Future<T>& future) {
    return executor_.Await(future, executor_.Now() + kPatience);
  }

  AsioExecutor executor_{"client"};
};

/// With a server of its own.
class RedisStoreTest : public RedisClientSide {
 protected:
  void SetUp() override {
    if (!RedisServer::IsInstalled()) {
      GTEST_SKIP() << RedisServer::kMissing;
    }
  }
  /// Milliseconds until `key` goes; -1: it stays, -2: it is not there.
  static int64_t TimeLeft(const RedisServer& server, const std::string& key) {
    return server.Run({"PTTL", "cylon:" + key}).number;
  }
};

TEST_F(RedisStoreTest, EveryKeyHasAPrefixAndATimeToLive) {
  const RedisServer server;
  auto store = Open(server.url());
  ASSERT_TRUE(Await(store->Set("set", "v", 1h)).ok());
  ASSERT_TRUE(Await(store->SetIfAbsent("absent", "v", 1h)).ok());
  ASSERT_EQ(*Await(store->Add("count", 2, 1h)), 2);
  EXPECT_EQ(server.Run({"GET", "cylon:set"}).text, "v");
  EXPECT_EQ(server.Run({"DBSIZE"}).number, 3);
  for (const char* key : {"set", "absent", "count"}) {
    EXPECT_GT(TimeLeft(server, key), 50 * 60 * 1000) << key;
    EXPECT_LE(TimeLeft(server, key), 60 * 60 * 1000) << key;
  }
}

TEST_F(RedisStoreTest, WritingRefreshesTheTimeToLive) {
  const RedisServer server;
  auto store = Open(server.url());
  ASSERT_TRUE(Await(store->Set("k", "1", 1min)).ok());
  EXPECT_LE(TimeLeft(server, "k"), 60000);
  EXPECT_EQ(*Await(store->SetIfAbsent("k", "2", 1h)), "1");
  EXPECT_LE(TimeLeft(server, "k"), 60000);
  EXPECT_EQ(*Await(store->Add("k", 1, 1h)), 2);
  EXPECT_GT(TimeLeft(server, "k"), 50 * 60 * 1000);
  ASSERT_TRUE(Await(store->Set("k", "1", 2h)).ok());
  EXPECT_GT(TimeLeft(server, "k"), 110 * 60 * 1000);
  EXPECT_THAT(Await(store->Set("k", "1", 0ms)).message(), HasSubstr("a millisecond or more"));
  EXPECT_THAT(Await(store->Add("k", 1, 0ms)).status().message(), HasSubstr("a millisecond or more"));
  EXPECT_THAT(Await(store->SetIfAbsent("k", "1", 0ms)).status().message(), HasSubstr("a millisecond or more"));
}

TEST_F(RedisStoreTest, AKeyGoesWhenItsTimeIsOver) {
  const RedisServer server;
  auto store = Open(server.url());
  ASSERT_TRUE(Await(store->Set("k", "v", 5ms)).ok());
  const auto deadline = executor_.Now() + kPatience;
  while (TimeLeft(server, "k") >= 0 && executor_.Now() < deadline) {
  }
  EXPECT_TRUE(Await(store->TryGet("k")).status().IsKeyError());
  EXPECT_EQ(*Await(store->SetIfAbsent("k", "next", 1500us)), "next");
}

TEST_F(RedisStoreTest, CountersAreThoseOfOtherStores) {
  const RedisServer server;
  auto store = Open(server.url());
  EXPECT_EQ(*Await(store->Add("n", INT64_MIN, 1h)), INT64_MIN);
  EXPECT_THAT(Await(store->Add("n", -1, 1h)).status().message(),
              HasSubstr("the counter 'n' is -9223372036854775808; adding -1 does not fit 64 bits"));
  for (const char* text : {"x", "", "007", "-0", " 1", "9223372036854775808"}) {
    ASSERT_TRUE(Await(store->Set("n", text, 1h)).ok());
    const auto refused = Await(store->Add("n", 1, 1h));
    EXPECT_TRUE(refused.status().IsInvalid());
    EXPECT_THAT(refused.status().message(), HasSubstr("the value of 'n' is not a number")) << text;
  }
}

TEST_F(RedisStoreTest, WhatOthersPutUnderAKeyIsRefused) {
  const RedisServer server;
  auto store = Open(server.url());
  server.Run({"LPUSH", "cylon:list", "1"});
  EXPECT_THAT(Await(store->TryGet("list")).status().message(), HasSubstr("holds something else under the key"));
  EXPECT_THAT(Await(store->Add("list", 1, 1h)).status().message(), HasSubstr("leave keys that begin with cylon:"));
  server.Run({"SETRANGE", "cylon:long", std::to_string(kMaxValueBytes), "x"});
  EXPECT_THAT(Await(store->TryGet("long")).status().message(),
              HasSubstr("has 16777217 bytes; the store takes at most"));
  EXPECT_THAT(Await(store->SetIfAbsent("long", "", 1h)).status().message(), HasSubstr("has 16777217 bytes"));
  server.Run({"SETRANGE", "cylon:longer", std::to_string(18 << 20), "x"});
  const auto refused = Await(store->TryGet("longer"));
  EXPECT_TRUE(IsError(refused.status(), ErrorKind::kProtocol)) << refused.status();
  EXPECT_THAT(refused.status().message(),
              AllOf(HasSubstr("announces 18874369 bytes"), HasSubstr(server.address().ToString())));
  EXPECT_TRUE(Await(store->TryGet("none")).status().IsKeyError());  // by a new connection
}

TEST_F(RedisStoreTest, JobsOnOneServerDoNotTouchEachOther) {
  const RedisServer server;
  // What other programs and other jobs have left: the same names without our prefix, and longer ones.
  std::vector<std::string> leftovers = {"MSET"};
  for (int i = 0; i < 1000; ++i) {
    leftovers.push_back((i % 2 == 0 ? "" : "cylon:{old}/") + std::string("a/rank") + std::to_string(i));
    leftovers.emplace_back("leftover");
  }
  server.Run(leftovers);
  auto a = Open(server.url());
  auto b = Open(server.url());
  auto elsewhere = Open(server.url() + "/1");
  for (const auto& [store, job] :
       {std::pair(a.get(), "a/"), std::pair(b.get(), "b/"), std::pair(elsewhere.get(), "a/")}) {
    const std::string prefix = job;
    EXPECT_TRUE(Await(store->TryGet(prefix + "rank0")).status().IsKeyError());
    EXPECT_EQ(*Await(store->SetIfAbsent(prefix + "rank0", prefix, 1h)), prefix);
    EXPECT_EQ(*Await(store->Add(prefix + "rank2", 1, 1h)), 1);
  }
  ASSERT_TRUE(Await(a->Delete("a/rank0")).ok());
  EXPECT_EQ(*Await(b->TryGet("b/rank0")), "b/");
  EXPECT_EQ(*Await(elsewhere->TryGet("a/rank0")), "a/");
  EXPECT_EQ(server.Run({"GET", "a/rank0"}).text, "leftover");
  EXPECT_EQ(server.Run({"DBSIZE"}).number, 1000 + 3);
}

TEST_F(RedisStoreTest, PasswordsAreNeededAndNeverShown) {
  const RedisServer server({"user default off", std::string("user me on >") + kPassword + " ~cylon:* +@all"});
  const std::string address = server.address().ToString();
  EXPECT_TRUE(Await(Open(server.url(std::string("me:") + kEscapedPassword + "@"))->Set("k", "v", 1h)).ok());
  const std::string wrong = "wrongpassword";
  for (const auto& [login, what] : {std::pair<std::string, std::string>("", "asks for a password"),
                                    {"me:" + wrong + "@", "refused the password for the user 'me'"},
                                    {":" + wrong + "@", "refused the password"},
                                    {wrong + "@", "refused the password"}}) {
    const auto status = WhyNotOpen(server.url(login));
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(address), HasSubstr(what), HasSubstr("CYLON_STORE"),
                                        HasSubstr("redis://user:password@" + address)));
    EXPECT_THAT(status.ToString(), Not(HasSubstr(wrong)));
  }
}

TEST_F(RedisStoreTest, APasswordForAServerWithoutOneIsRefused) {
  const RedisServer open;
  const auto status = WhyNotOpen(open.url(":secret@"));
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("has no password, but one is given"), Not(HasSubstr("secret"))));
  // One that does not know AUTH repeats it, with the password.
  const RedisServer strange({"rename-command AUTH \"\""});
  EXPECT_THAT(strange.Run({"AUTH", "secret"}).text, HasSubstr("secret"));
  const auto unknown = WhyNotOpen(strange.url("me:secret@"));
  EXPECT_TRUE(IsError(unknown, ErrorKind::kAuthentication)) << unknown;
  EXPECT_THAT(unknown.ToString(), AllOf(HasSubstr("does not take AUTH"), Not(HasSubstr("secret"))));
}

TEST_F(RedisStoreTest, MissingPermissionsAreNamed) {
  const std::string enough = "~cylon:* +get +set +del +incrby +pexpire +multi +exec +select ";
  const RedisServer server({"user config on >p " + enough + "+config|get", "user info on >p " + enough + "+info",
                            "user neither on >p " + enough, "user noset on >p " + enough + "-set -incrby +info",
                            "user nodel on >p " + enough + "-del +info", "user nokeys on >p ~other:* +@all"});
  for (const char* user : {"config", "info"}) {
    auto store = Open(server.url(std::string(user) + ":p@") + "/2");
    EXPECT_EQ(*Await(store->SetIfAbsent("k", "v", 1h)), "v");
    EXPECT_EQ(*Await(store->Add("n", 1, 1h)), 1);
    EXPECT_TRUE(Await(store->Delete("k")).ok());
    EXPECT_TRUE(Await(store->Delete("n")).ok());
  }
  const auto neither = WhyNotOpen(server.url("neither:p@"));
  EXPECT_THAT(neither.message(), AllOf(HasSubstr("neither CONFIG GET nor INFO"), HasSubstr("+config|get or +info")));
  EXPECT_THAT(WhyNotOpen(server.url("nodel:p@")).message(), HasSubstr("does not let this user run DEL"));
  EXPECT_THAT(WhyNotOpen(server.url("nokeys:p@")).message(), HasSubstr("ACL rules ~cylon:*"));
  auto store = Open(server.url("noset:p@"));
  for (const auto& [status, command] : {std::pair(Await(store->Set("k", "v", 1h)), "run SET ("),
                                        std::pair(Await(store->Add("k", 1, 1h)).status(), "run INCRBY (")}) {
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(command), HasSubstr(server.address().ToString())));
  }
}

TEST_F(RedisStoreTest, AServerThatDropsKeysIsRefused) {
  const std::string user = "user info on >p ~* +@all -config";
  RedisServer server({"maxmemory 100mb", "maxmemory-policy volatile-lru", user});
  for (const char* login : {"", "info:p@"}) {
    const auto status = WhyNotOpen(server.url(login));
    EXPECT_TRUE(status.IsInvalid()) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("maxmemory-policy volatile-lru and maxmemory 104857600"),
                                        HasSubstr("set maxmemory-policy noeviction")));
  }
  server.Restart({{"maxmemory 100mb", "maxmemory-policy noeviction", user}});
  EXPECT_TRUE(WhyNotOpen(server.url()).ok());
  EXPECT_TRUE(WhyNotOpen(server.url("info:p@")).ok());
  server.Restart({{"maxmemory 0", "maxmemory-policy allkeys-lru"}});
  auto store = Open(server.url());
  // Looked at again on each new connection.
  server.Restart({{"maxmemory 100mb", "maxmemory-policy allkeys-lru"}});
  EXPECT_THAT(Await(store->Set("k", "v", 1h)).message(), HasSubstr("maxmemory-policy allkeys-lru"));
}

TEST_F(RedisStoreTest, AFullServerIsACapacityError) {
  const RedisServer server({"maxmemory 1"});
  auto store = Open(server.url());
  for (const auto& status : {Await(store->Set("k", "v", 1h)), Await(store->SetIfAbsent("k", "v", 1h)).status(),
                             Await(store->Add("k", 1, 1h)).status()}) {
    EXPECT_TRUE(status.IsCapacityError()) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(server.address().ToString() + " has no memory left"),
                                        HasSubstr("raise its maxmemory")));
  }
  EXPECT_TRUE(Await(store->TryGet("k")).status().IsKeyError());
}

TEST_F(RedisStoreTest, AReplicaSaysToNameThePrimary) {
  const RedisServer primary;
  const std::string port = std::to_string(primary.address().port);
  const RedisServer replica;
  auto store = Open(replica.url());
  replica.Run({"REPLICAOF", "127.0.0.1", port});
  for (const auto& status : {Await(store->Set("k", "v", 1h)), WhyNotOpen(replica.url())}) {
    EXPECT_TRUE(status.IsIOError()) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr(replica.address().ToString() + " is a read-only replica"),
                                        HasSubstr("name its primary in CYLON_STORE")));
  }
}

TEST_F(RedisStoreTest, ADatabaseThatIsNotThereIsNamed) {
  const RedisServer server;
  EXPECT_THAT(WhyNotOpen(server.url() + "/99").message(), HasSubstr("has no database 99"));
}

TEST_F(RedisStoreTest, TooManyClientsAreWaitedOut) {
  const RedisServer server({"maxclients 1"});
  auto first = Open(server.url());
  const auto status = WhyNotOpen(server.url(), 100ms);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("as many clients as its maxclients allows"));
  first.reset();
  EXPECT_TRUE(WhyNotOpen(server.url()).ok());
}

TEST_F(RedisStoreTest, CallsGoOnAfterARestart) {
  RedisServer server;
  auto store = Open(server.url());
  ASSERT_TRUE(Await(store->Set("k", "v", 1h)).ok());
  auto waiting = store->Get("later", executor_.Now() + kPatience);
  int64_t seen = 0;
  for (int round = 0; round < 3; ++round) {
    server.Stop();
    auto setting = store->Set("k", std::to_string(round), 1h);
    auto fetching = store->SetIfAbsent("first", "v", 1h);
    auto deleting = store->Delete("other");
    server.Restart();
    EXPECT_TRUE(Await(setting).ok()) << setting.status();
    EXPECT_EQ(Await(fetching).ValueOr("none"), "v");
    EXPECT_TRUE(Await(deleting).ok());
    EXPECT_EQ(server.Run({"GET", "cylon:k"}).text, std::to_string(round));
    // It may have been sent before the end of the connection was seen.
    server.Restart();
    const auto sum = Await(store->Add("n", 1, 1h));
    if (sum.ok()) {
      EXPECT_EQ(*sum, ++seen);
    } else {
      EXPECT_THAT(sum.status().message(), HasSubstr("it is unknown whether that was carried out"));
    }
  }
  EXPECT_FALSE(waiting.is_finished());
  ASSERT_TRUE(Await(store->Set("later", "now", 1h)).ok());
  EXPECT_EQ(Await(waiting).ValueOr("none"), "now");
}

TEST_F(RedisStoreTest, ARestartedServerHearsAgainWhatItsClientsHadSaid) {
  RedisServer server({"user noinfo on >p ~* +@all -info"});
  auto store = Open(server.url());
  auto other = Open(server.url());
  ASSERT_TRUE(Await(store->Set("set", "v", 1h)).ok());
  ASSERT_TRUE(Await(store->Set("deleted", "v", 1h)).ok());
  ASSERT_TRUE(Await(store->Delete("deleted")).ok());
  EXPECT_EQ(Await(store->SetIfAbsent("won", "ours", 1h)).ValueOr("none"), "ours");
  EXPECT_EQ(Await(other->SetIfAbsent("won", "theirs", 1h)).ValueOr("none"), "ours");
  EXPECT_EQ(Await(store->Add("n", 3, 1h)).ValueOr(-1), 3);
  EXPECT_EQ(Await(other->Add("n", 4, 1h)).ValueOr(-1), 7);
  for (int round = 0; round < 3; ++round) {
    server.Restart();
    EXPECT_EQ(Await(store->Get("set", executor_.Now() + kPatience)).ValueOr("none"), "v");
    EXPECT_EQ(Await(other->TryGet("won")).ValueOr("none"), "ours");
    EXPECT_TRUE(Await(store->TryGet("deleted")).status().IsKeyError());
    EXPECT_EQ(Await(store->Add("n", 1, 1h)).ValueOr(-1), 8 + round);
    EXPECT_GT(TimeLeft(server, "set"), 50 * 60 * 1000);
  }
  // A lost connection alone brings nothing back, and neither does a client that may not see which server it is.
  server.Run({"DEL", "cylon:set"});
  server.Run({"CLIENT", "KILL", "TYPE", "normal"});
  EXPECT_TRUE(Await(store->TryGet("set")).status().IsKeyError());
  auto blind = Open(server.url("noinfo:p@"));
  ASSERT_TRUE(Await(blind->Set("blind", "v", 1h)).ok());
  server.Restart();
  EXPECT_TRUE(Await(blind->TryGet("blind")).status().IsKeyError());
}

TEST_F(RedisStoreTest, AServerThatComesLaterIsFound) {
  RedisServer server;
  server.Stop();
  std::thread later([&] { server.Restart(); });
  EXPECT_TRUE(Await(Open(server.url())->Set("k", "v", 1h)).ok());
  later.join();
}

TEST_F(RedisStoreTest, AGetOfAServerThatIsGoneNamesIt) {
  RedisServer server;
  auto store = Open(server.url());
  server.Stop();
  const auto late = Await(store->Get("k", executor_.Now() + 100ms));
  EXPECT_TRUE(IsError(late.status(), ErrorKind::kDeadline)) << late.status();
  EXPECT_THAT(late.status().message(), AllOf(HasSubstr(server.address().ToString() + " is gone"), HasSubstr("'k'")));
}

TEST_F(RedisStoreTest, ManyAtOnceAgree) {
  const RedisServer server;
  constexpr int kThreads = 4;
  constexpr int kRounds = 50;
  std::vector<std::string> winners(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      AsioExecutor executor("t" + std::to_string(t));
      auto store = OpenRedisStore(*RedisAddress::Parse(server.url()), "job", executor, kNever).ValueOrDie();
      std::vector<arrow::Future<std::string>> firsts;
      std::vector<arrow::Future<int64_t>> sums;
      for (int i = 0; i < kRounds; ++i) {
        sums.push_back(store->Add("count", 1, 1h));
        firsts.push_back(store->SetIfAbsent("first" + std::to_string(i), std::to_string(t), 1h));
      }
      for (int i = 0; i < kRounds; ++i) {
        EXPECT_TRUE(executor.Await(sums[static_cast<size_t>(i)]).ok());
        winners[static_cast<size_t>(t)] += executor.Await(firsts[static_cast<size_t>(i)]).ValueOr("?");
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(server.Run({"GET", "cylon:count"}).text, std::to_string(kThreads * kRounds));
  for (const auto& winner : winners) {
    EXPECT_EQ(winner, winners[0]);
  }
}

TEST_F(RedisStoreTest, SpeaksTls) {
  const RedisServer server({}, /*tls=*/true);
  const RedisServer other({}, /*tls=*/true);
  auto store = TryOpen(server.url() + "?ca=" + server.certificate_file());
  ASSERT_TRUE(store.ok()) << store.status();
  const std::string value(3 << 20, 'v');
  ASSERT_TRUE(Await((*store)->Set("k", value, 1h)).ok());
  EXPECT_TRUE(*Await((*store)->TryGet("k")) == value);
  const auto stranger = WhyNotOpen(server.url() + "?ca=" + other.certificate_file());
  EXPECT_TRUE(IsError(stranger, ErrorKind::kAuthentication)) << stranger;
  EXPECT_THAT(stranger.message(), HasSubstr("cannot use the Redis server at " + server.address().ToString()));
  const auto unknown = WhyNotOpen(server.url());  // the system's certificates do not know it
  EXPECT_TRUE(IsError(unknown, ErrorKind::kAuthentication)) << unknown;
}

TEST_F(RedisStoreTest, TlsWhereThereIsNoneAndTheOtherWayRoundIsTold) {
  const RedisServer plain;
  const RedisServer tls({}, /*tls=*/true);
  const auto spoken = WhyNotOpen("rediss://" + plain.address().ToString() + "?ca=" + tls.certificate_file(), 300ms);
  EXPECT_TRUE(IsError(spoken, ErrorKind::kProtocol) || IsError(spoken, ErrorKind::kDeadline)) << spoken;
  EXPECT_THAT(spoken.message(), HasSubstr(plain.address().ToString()));
  const auto unspoken = WhyNotOpen("redis://" + tls.address().ToString(), 300ms);
  EXPECT_TRUE(IsError(unspoken, ErrorKind::kProtocol) || IsError(unspoken, ErrorKind::kDeadline)) << unspoken;
  EXPECT_THAT(unspoken.message(), AllOf(HasSubstr(tls.address().ToString()), HasSubstr("rediss://")));
}

/// With a server that says what a test wants it to.
class RedisTroubleTest : public RedisClientSide {};

TEST_F(RedisTroubleTest, NobodyThereIsNamed) {
  HostPort free;
  {
    const FakeRedis server([](const RedisCommand&) { return FakeRedis::kHangUp; });
    free = server.address();
  }
  const auto status = WhyNotOpen("redis://me:secret@" + free.ToString(), 100ms);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("no Redis server answered at " + free.ToString()),
                                      HasSubstr("check CYLON_STORE"), Not(HasSubstr("secret"))));
}

TEST_F(RedisTroubleTest, ACertificateFileThatIsMissingIsNamed) {
  const auto status = WhyNotOpen("rediss://127.0.0.1:1?ca=/nonexistent/ca.pem");
  EXPECT_THAT(status.message(), AllOf(HasSubstr("/nonexistent/ca.pem"), HasSubstr("127.0.0.1:1")));
}

TEST_F(RedisTroubleTest, OtherProtocolsAreTold) {
  for (const auto& [said, what] :
       {std::pair<std::string, std::string>("HTTP/1.1 400 Bad Request\r\n\r\n", "begins with 'H'"),
        {std::string(4, '\0'), "begins with byte 0"},
        {":1\r\n", "answered CONFIG GET with an integer"},
        {"*1\r\n$99999999\r\n", "announces 99999999 bytes"}}) {
    const FakeRedis server([&said](const RedisCommand&) { return said; });
    const auto status = WhyNotOpen(server.url());
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr(server.address().ToString()), HasSubstr(what), HasSubstr("CYLON_STORE")));
  }
}

TEST_F(RedisTroubleTest, AServerThatSaysNothingEndsAtTheDeadline) {
  for (const std::string& said : {FakeRedis::kSilence, FakeRedis::kHangUp}) {
    const FakeRedis server([&said](const RedisCommand&) { return said; });
    const auto status = WhyNotOpen(server.url(), 100ms);
    EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
    // The deadline may come while the next connection is being tried.
    EXPECT_THAT(status.message(), AllOf(HasSubstr("at " + server.address().ToString()),
                                        AnyOf(HasSubstr("does not answer"),
                                              HasSubstr(said == FakeRedis::kSilence ? "does not answer" : "closed"))));
  }
}

TEST_F(RedisTroubleTest, ARendezvousIsNoRedisServer) {
  AsioExecutor server_executor("server");
  auto server = StoreServer::Start(server_executor, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
  const auto status = WhyNotOpen("redis://" + server->address().ToString(), 300ms);
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol) || IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr(server->address().ToString()));
}

TEST_F(RedisTroubleTest, WhatPassesIsWaitedFor) {
  std::atomic<int> loading{3};
  const FakeRedis server([&](const RedisCommand& command) -> std::string {
    return loading-- > 0 ? "-LOADING Redis is loading the dataset in memory\r\n" : FakeRedis::Obedient(command);
  });
  auto store = Open(server.url());
  loading = 1;
  EXPECT_TRUE(Await(store->Set("k", "v", 1h)).ok());
  loading = 1;
  EXPECT_TRUE(Await(store->Add("k", 1, 1h)).ok());
  loading = 1 << 30;
  const auto status = WhyNotOpen(server.url(), 100ms);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("LOADING"));
}

TEST_F(RedisTroubleTest, WhatMayHaveBeenCarriedOutIsSentAgainOnlyWhereItMay) {
  std::atomic<int> sets{0};
  std::atomic<int> adds{0};
  const FakeRedis server([&](const RedisCommand& command) -> std::string {
    if ((command[0] == "SET" && sets++ == 0) || (command[0] == "INCRBY" && adds++ == 0)) {
      return FakeRedis::kHangUp;
    }
    return FakeRedis::Obedient(command);
  });
  auto store = Open(server.url());
  EXPECT_TRUE(Await(store->Set("k", "v", 1h)).ok());
  EXPECT_EQ(sets, 2);
  const auto lost = Await(store->Add("n", 7, 1h));
  EXPECT_TRUE(lost.status().IsIOError()) << lost.status();
  EXPECT_THAT(lost.status().message(),
              AllOf(HasSubstr("the connection to the Redis server at " + server.address().ToString() + " was lost"),
                    HasSubstr("after adding 7 to 'n' was sent; it is unknown whether that was carried out")));
  EXPECT_EQ(adds, 1);
  EXPECT_TRUE(Await(store->Add("n", 7, 1h)).ok());
}

TEST_F(RedisTroubleTest, OldServersSetAndGetInTwoSteps) {
  std::atomic<int> gets{0};
  const FakeRedis server([&](const RedisCommand& command) -> std::string {
    if (command[0] == "SET" && command.back() == "GET") {
      return "-ERR syntax error\r\n";
    }
    if (command[0] == "SET") {
      return gets < 2 ? "$-1\r\n" : "+OK\r\n";
    }
    if (command[0] == "GET") {
      // The key vanishes between the steps.
      return ++gets < 3 ? "$-1\r\n" : "$5\r\nother\r\n";
    }
    return FakeRedis::Obedient(command);
  });
  auto store = Open(server.url());
  EXPECT_EQ(*Await(store->SetIfAbsent("k", "ours", 1h)), "ours");
  EXPECT_EQ(gets, 2);
  gets = 0;
  const FakeRedis taken([&](const RedisCommand& command) -> std::string {
    if (command[0] == "SET") {
      return command.back() == "GET" ? "-ERR syntax error\r\n" : "$-1\r\n";
    }
    return command[0] == "GET" ? "$5\r\nother\r\n" : FakeRedis::Obedient(command);
  });
  EXPECT_EQ(*Await(Open(taken.url())->SetIfAbsent("k", "ours", 1h)), "other");
}

TEST_F(RedisTroubleTest, RefusalsSayWhatToDo) {
  std::string said;
  std::mutex mutex;
  const FakeRedis server([&](const RedisCommand& command) -> std::string {
    const std::lock_guard<std::mutex> lock(mutex);
    return command[0] == "SET" ? said : FakeRedis::Obedient(command);
  });
  auto store = Open(server.url());
  for (const auto& [reply, what] :
       {std::pair("-NOAUTH Authentication required.\r\n", "asks for a password"),
        std::pair("-NOPERM no\r\n", "does not let this user run SET"), std::pair("-OOM no\r\n", "has no memory left"),
        std::pair("-READONLY no\r\n", "name its primary"),
        std::pair("-MISCONF cannot save\r\n", "refused SET: 'MISCONF cannot save'"),
        std::pair("-ERR \x01\xff\r\n", "refused SET: 'ERR ?"), std::pair("$1\r\nx\r\n", "answered SET with a bulk")}) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      said = reply;
    }
    const auto status = Await(store->Set("k", "v", 1h));
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), AllOf(HasSubstr(what), HasSubstr(server.address().ToString())));
  }
}

TEST_F(RedisTroubleTest, PasswordsAreSentAndNeverShown) {
  std::string said;
  std::mutex mutex;
  const FakeRedis server([&](const RedisCommand& command) -> std::string {
    const std::lock_guard<std::mutex> lock(mutex);
    EXPECT_EQ(command, (RedisCommand{"AUTH", "secret"}));
    return said;
  });
  for (const auto& [reply, what] :
       {std::pair("-ERR invalid password\r\n", "refused the password"),
        std::pair("-ERR Client sent AUTH, but no password is set\r\n", "has no password"),
        std::pair("-ERR wrong number of arguments for 'auth' command: secret\r\n", "knows no users"),
        std::pair("-ERR unknown command 'AUTH', with args beginning with: 'secret'\r\n", "does not take AUTH"),
        std::pair("-DENIED secret\r\n", "protected mode"), std::pair("-secret secret\r\n", "does not take AUTH"),
        std::pair("$6\r\nsecret\r\n", "answered AUTH with a bulk string"), std::pair("secret\r\n", "begins with 's'"),
        std::pair(":secret\r\n", "has to be a number"), std::pair("$secret\r\n", "has to be a number")}) {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      said = reply;
    }
    const auto status = WhyNotOpen(server.url(":secret@"));
    EXPECT_THAT(status.ToString(),
                AllOf(HasSubstr(what), HasSubstr(server.address().ToString()), Not(HasSubstr("secret"))));
  }
}

TEST_F(RedisTroubleTest, AConnectionThatGoesSilentIsGivenUp) {
  std::atomic<bool> silent{false};
  const FakeRedis server([&](const RedisCommand& command) -> std::string {
    return silent ? FakeRedis::kSilence : FakeRedis::Obedient(command);
  });
  RedisLogin login;
  login.server = server.address().ToString();
  const auto stop = arrow::Future<>::Make();
  auto client = std::make_shared<RedisClient>(
      executor_, login, MakeRedisConnector(*RedisAddress::Parse(server.url()), executor_, stop), 50ms);
  const auto send = [&] {
    RedisRequest request;
    request.commands.push_back({"GET", "k"});
    request.what = "reading 'k'";
    return Await(Spawn(executor_, RedisClient::Send(client, std::move(request))));
  };
  EXPECT_TRUE(send().ok());
  silent = true;
  const auto gone = send();
  EXPECT_TRUE(gone.status().IsIOError()) << gone.status();
  EXPECT_THAT(gone.status().message(),
              AllOf(HasSubstr("the Redis server at " + login.server + " is gone"), HasSubstr("for reading 'k'")));
  silent = false;
  EXPECT_TRUE(send().ok());
  EXPECT_TRUE(executor_
                  .RunTask([&] {
                    client->Close();
                    return arrow::Status::OK();
                  })
                  .ok());
  EXPECT_TRUE(send().status().IsCancelled());
}

TEST_F(RedisTroubleTest, ClosingEndsWhatIsUnderWay) {
  std::atomic<bool> silent{false};
  const FakeRedis server([&](const RedisCommand& command) -> std::string {
    return silent ? FakeRedis::kSilence : FakeRedis::Obedient(command);
  });
  auto store = Open(server.url());
  auto waiting = store->Get("never", kNever);
  ASSERT_TRUE(Await(store->Set("k", "v", 1h)).ok());
  silent = true;
  auto setting = store->Set("k", "v", 1h);
  ASSERT_TRUE(executor_.RunTask([] { return arrow::Status::OK(); }).ok());
  EXPECT_FALSE(setting.is_finished());
  store.reset();
  EXPECT_TRUE(waiting.status().IsCancelled()) << waiting.status();
  EXPECT_TRUE(setting.status().IsCancelled()) << setting.status();
}

}  // namespace
}  // namespace cylon::testing
