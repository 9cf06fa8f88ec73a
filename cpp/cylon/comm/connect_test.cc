// Contexts that meet through a store, as processes do; and what a launcher tells them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "cylon/base/asio_executor.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/rendezvous_server.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/bootstrap/testing/redis_server.h"
#include "cylon/comm/context.h"
#include "cylon/comm/launcher_word.h"
#include "cylon/comm/runtime.h"
#include "cylon/comm/testing/ranks.h"
#include "cylon/net/sim/sim_world.h"

namespace cylon {
namespace {

using ::testing::HasSubstr;

/// A launcher's part: a store, a secret, an epoch.
class ConnectTest : public ::testing::Test {
 protected:
  ConnectTest() : executor_("store") {
    secret_ = *RandomBytes(32);
    Security security;
    security.secret = secret_;
    server_ = *StoreServer::Start(executor_, HostPort{"127.0.0.1", 0}, security);
  }

  Options OptionsOf(Rank rank, int size) const {
    Options options;
    options.job = "test";
    options.epoch = "00000000000000000000000000000001";
    options.rank = rank;
    options.world_size = size;
    options.local_size = size;
    options.memory_bytes = 64 << 20;
    options.threads = 1;
    options.secret = HexEncode(secret_);
    options.store = server_->address().host + ":" + std::to_string(server_->address().port);
    options.join_deadline_s = 20;
    return options;
  }

  using Body = std::function<arrow::Status(std::shared_ptr<Context>)>;
  std::vector<arrow::Status> Run(const std::vector<Options>& ranks, const Body& body) {
    std::vector<arrow::Status> statuses(ranks.size());
    std::vector<std::thread> threads;
    for (size_t i = 0; i < ranks.size(); ++i) {
      threads.emplace_back([&, i] {
        auto context = Context::Connect(ranks[i]);
        statuses[i] = context.ok() ? body(context.MoveValueUnsafe()) : context.status();
      });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    return statuses;
  }

  std::vector<Options> Ranks(int size) const {
    std::vector<Options> all;
    for (Rank rank = 0; rank < size; ++rank) {
      all.push_back(OptionsOf(rank, size));
    }
    return all;
  }

  void Say(int64_t index, Rank rank, const std::string& cause) {
    server_->SetLocally(LauncherWordKey("test", OptionsOf(0, 1).epoch, index), EncodeLauncherWord({rank, cause}));
  }

  AsioExecutor executor_;
  std::string secret_;
  std::unique_ptr<StoreServer> server_;
};

TEST_F(ConnectTest, RanksMeetThroughAStoreAndTheSameJobCanRunAgain) {
  for (int run = 0; run < 2; ++run) {
    auto ranks = Ranks(3);
    for (auto& options : ranks) {
      options.epoch = "";
      options.rank = run == 0 ? options.rank : -1;
    }
    testing::ExpectAllOk(Run(ranks, [](const std::shared_ptr<Context>& context) -> arrow::Status {
      ARROW_ASSIGN_OR_RAISE(int64_t sum, context->communicator().AllReduce(int64_t{context->rank()}, ReduceOp::kSum));
      if (sum != 3) {
        return arrow::Status::UnknownError("sum ", sum);
      }
      return context->Close();
    }));
  }
}

TEST_F(ConnectTest, TheLaunchersWordIsPreferredToWhatALinkShows) {
  const auto statuses = Run(Ranks(4), [&](std::shared_ptr<Context> context) {
    ARROW_RETURN_NOT_OK(context->communicator().Barrier());
    if (context->rank() == 2) {
      context.reset();
      Say(0, 2, "killed by signal 9 (SIGKILL)");
      return arrow::Status::OK();
    }
    return context->communicator().Barrier();
  });
  for (const Rank rank : {0, 1, 3}) {
    EXPECT_THAT(
        statuses[static_cast<size_t>(rank)].message(),
        ::testing::AllOf(HasSubstr("rank 2"), HasSubstr("killed by signal 9 (SIGKILL)"), HasSubstr("Barrier()")));
    EXPECT_TRUE(GetErrorDetail(statuses[static_cast<size_t>(rank)])->agreed);
  }
}

TEST_F(ConnectTest, TheLaunchersWordAloneEndsAWait) {
  std::atomic<int> ended{0};
  const auto statuses = Run(Ranks(3), [&](const std::shared_ptr<Context>& context) {
    auto& comm = context->communicator();
    ARROW_RETURN_NOT_OK(comm.Barrier());
    if (context->rank() == 1) {
      Say(0, 1, "exited with code 3");
      return comm.Await(comm.Revoked());  // its links stay up
    }
    auto status = comm.Barrier();
    ended.fetch_add(1);
    return status;
  });
  for (const auto& status : statuses) {
    EXPECT_EQ(GetErrorDetail(status)->cause, "exited with code 3");
    EXPECT_EQ(GetErrorDetail(status)->rank, 1);
  }
}

TEST_F(ConnectTest, ALossWithoutAWordIsSettledByTheStore) {
  const auto statuses = Run(Ranks(4), [&](std::shared_ptr<Context> context) {
    ARROW_RETURN_NOT_OK(context->communicator().Barrier());
    if (context->rank() == 3) {
      context.reset();
      return arrow::Status::OK();
    }
    return context->communicator().Barrier();
  });
  for (const Rank rank : {0, 1, 2}) {
    const auto detail = GetErrorDetail(statuses[static_cast<size_t>(rank)]);
    ASSERT_NE(detail, nullptr) << statuses[static_cast<size_t>(rank)].ToString();
    EXPECT_EQ(detail->rank, 3);
    EXPECT_TRUE(detail->agreed);
    EXPECT_EQ(detail->cause, GetErrorDetail(statuses[0])->cause);
  }
}

TEST_F(ConnectTest, ARankThatDiesBeforeItIsConnectedEndsTheStartOfTheOthers) {
  auto ranks = Ranks(3);
  for (auto& options : ranks) {
    options.connect_deadline_s = 3;
    options.peer_timeout_s = 3;
  }
  arrow::Status joined;
  std::thread dies([&, options = ranks[1]] {  // all that it does is to name its address
    AsioExecutor executor("dies");
    const auto deadline = executor.Now() + std::chrono::seconds(20);
    auto store = OpenStore(options, executor, deadline).ValueOrDie();
    auto seat = internal::NetworkOf(executor, options, secret_)(options.world_size).ValueOrDie();
    JoinRequest request;
    request.job = options.job;
    request.epoch = options.epoch;
    request.rank = options.rank;
    request.world_size = options.world_size;
    request.card = AddressCard{internal::HostName(), ::getpid(), seat->address(), seat->watch_address()};
    request.deadline = deadline;
    joined = executor.Await(arrow::Future<>(Spawn(executor, Join(store.get(), executor, std::move(request)))));
    (void)executor.RunTask([&] {
      seat.reset();
      store.reset();
      return arrow::Status::OK();
    });
  });
  const auto statuses = Run({ranks[0], ranks[2]}, [](std::shared_ptr<Context>) {
    return arrow::Status::UnknownError("it started without rank 1");
  });
  dies.join();
  EXPECT_TRUE(joined.ok()) << joined;
  for (const auto& status : statuses) {
    EXPECT_TRUE(IsError(status, ErrorKind::kRankFailed)) << status;
    EXPECT_THAT(status.message(), HasSubstr("rank 1 on "));
  }
}

TEST_F(ConnectTest, ARankThatNeverComesIsNamed) {
  auto ranks = Ranks(3);
  ranks.pop_back();
  for (auto& options : ranks) {
    options.join_deadline_s = 0.5;
  }
  for (const auto& status : Run(ranks, [](const std::shared_ptr<Context>& context) { return context->Close(); })) {
    EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status.ToString();
    EXPECT_THAT(status.message(), HasSubstr("2"));
  }
}

TEST_F(ConnectTest, SettingsThatDoNotFitAreRefusedWithWhatToSet) {
  auto refused = [&](const std::function<void(Options*)>& change) {
    Options options = OptionsOf(0, 2);
    options.join_deadline_s = 1;
    change(&options);
    return Context::Connect(options).status();
  };
  EXPECT_THAT(refused([](Options* o) { o->store = ""; }).message(), HasSubstr("CYLON_STORE"));
  EXPECT_THAT(refused([](Options* o) { o->world_size = 0; }).message(), HasSubstr("CYLON_WORLD_SIZE"));
  EXPECT_THAT(refused([](Options* o) { o->transport = "pigeon"; }).message(), HasSubstr("CYLON_TRANSPORT"));
  EXPECT_TRUE(IsError(refused([](Options* o) { o->secret = ""; }), ErrorKind::kAuthentication));
  EXPECT_TRUE(IsError(refused([](Options* o) { o->secret = std::string(64, '0'); }), ErrorKind::kAuthentication));
}

TEST_F(ConnectTest, AnInterruptEndsTheWaitForOthers) {
  Options options = OptionsOf(0, 2);
  const auto status = Context::Connect(options, [] { return arrow::Status::Cancelled("Ctrl-C"); }).status();
  EXPECT_EQ(status.message(), "Ctrl-C");
}

/// The same with messages through a Redis server.
class ConnectByRedisTest : public ConnectTest {
 protected:
  void SetUp() override {
    if (!testing::RedisServer::IsInstalled()) {
      GTEST_SKIP() << testing::RedisServer::kMissing;
    }
    redis_ = std::make_unique<testing::RedisServer>();
  }
  std::vector<Options> Ranks(int size) const {
    auto all = ConnectTest::Ranks(size);
    for (auto& options : all) {
      options.transport = "redis";
      options.redis = redis_->url();
      options.peer_timeout_s = 3;
    }
    return all;
  }
  std::unique_ptr<testing::RedisServer> redis_;
};

TEST_F(ConnectByRedisTest, RanksMeetAndTalkAndLeaveNothing) {
  testing::ExpectAllOk(Run(Ranks(3), [](const std::shared_ptr<Context>& context) -> arrow::Status {
    auto& comm = context->communicator();
    ARROW_ASSIGN_OR_RAISE(const int64_t sum, comm.AllReduce(int64_t{context->rank()}, ReduceOp::kSum));
    EXPECT_EQ(sum, 3);
    Buffers values;
    for (Rank to = 0; to < 3; ++to) {
      values.push_back(arrow::Buffer::FromString(std::string(300000, static_cast<char>('a' + context->rank()))));
    }
    ARROW_ASSIGN_OR_RAISE(const Buffers got, comm.AllToAll(values));
    for (Rank from = 0; from < 3; ++from) {
      EXPECT_EQ(got[static_cast<size_t>(from)]->ToString(), std::string(300000, static_cast<char>('a' + from)));
    }
    ARROW_ASSIGN_OR_RAISE(const auto pair, context->Split(context->rank() == 2 ? 1 : 0, 0));
    ARROW_RETURN_NOT_OK(pair->communicator().Barrier());
    return context->Close();
  }));
  EXPECT_EQ(redis_->Run({"DBSIZE"}).number, 0);
}

TEST_F(ConnectByRedisTest, ARankThatGoesWithoutAGoodbyeIsNamed) {
  const auto statuses = Run(Ranks(3), [&](std::shared_ptr<Context> context) {
    ARROW_RETURN_NOT_OK(context->communicator().Barrier());
    if (context->rank() == 2) {
      context.reset();
      return arrow::Status::OK();
    }
    return context->communicator().Barrier();
  });
  for (const size_t rank : {0, 1}) {
    EXPECT_TRUE(IsError(statuses[rank], ErrorKind::kRankFailed)) << statuses[rank];
    EXPECT_EQ(GetErrorDetail(statuses[rank])->rank, 2);
  }
}

TEST_F(ConnectByRedisTest, AServerThatIsGoneAccusesNobody) {
  const auto statuses = Run(Ranks(3), [&](const std::shared_ptr<Context>& context) {
    ARROW_RETURN_NOT_OK(context->communicator().Barrier());
    if (context->rank() == 0) {
      redis_->Stop();
    }
    return context->communicator().Barrier();
  });
  for (Rank rank = 0; rank < 3; ++rank) {
    const auto& status = statuses[static_cast<size_t>(rank)];
    EXPECT_TRUE(IsError(status, ErrorKind::kIsolated)) << status;
    EXPECT_EQ(GetErrorDetail(status)->rank, rank);
    EXPECT_THAT(status.message(), HasSubstr("the Redis server at " + redis_->address().ToString()));
  }
}

TEST_F(ConnectByRedisTest, AServerHasToBeNamed) {
  auto options = Ranks(2)[0];
  options.redis = "";
  EXPECT_THAT(Context::Connect(options).status().message(), HasSubstr("set CYLON_REDIS to redis://"));
  options.redis = "http://me:secret@h";
  const auto wrong = Context::Connect(options).status();
  EXPECT_THAT(wrong.message(),
              ::testing::AllOf(HasSubstr("CYLON_REDIS is wrong"), ::testing::Not(HasSubstr("secret"))));
}

/// The same by way of a rendezvous server. All ranks are of one host, so that data and heartbeats go through its memory
/// and its sockets; what is behind gateways is tested there (tests/nat).
class ConnectByPunchTest : public ConnectTest {
 protected:
  ConnectByPunchTest() {
    RendezvousConfig config;
    config.security.secret = secret_;
    rendezvous_ = *RendezvousServer::Start(executor_, HostPort{"127.0.0.1", 0}, 0, config);
  }
  std::vector<Options> Ranks(int size) const {
    auto all = ConnectTest::Ranks(size);
    for (auto& options : all) {
      options.epoch = "";
      options.transport = "punch";
      options.rendezvous = rendezvous_->address().ToString();
      options.peer_timeout_s = 5;
    }
    return all;
  }
  uint64_t Sessions() {
    uint64_t sessions = 0;
    EXPECT_TRUE(executor_
                    .RunTask([&] {
                      sessions = rendezvous_->counters().sessions;
                      return arrow::Status::OK();
                    })
                    .ok());
    return sessions;
  }
  std::unique_ptr<RendezvousServer> rendezvous_;
};

TEST_F(ConnectByPunchTest, RanksMeetAndLeaveNoSession) {
  testing::ExpectAllOk(Run(Ranks(3), [&](const std::shared_ptr<Context>& context) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(const int64_t sum,
                          context->communicator().AllReduce(int64_t{context->rank()}, ReduceOp::kSum));
    EXPECT_EQ(sum, 3);
    EXPECT_GE(Sessions(), 2U);
    return context->Close();
  }));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (Sessions() > 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_EQ(Sessions(), 0U);
}

TEST_F(ConnectByPunchTest, ARankThatGoesWithoutAGoodbyeHasEnded) {
  const auto statuses = Run(Ranks(4), [&](std::shared_ptr<Context> context) {
    ARROW_RETURN_NOT_OK(context->communicator().Barrier());
    if (context->rank() == 2) {
      context.reset();
      return arrow::Status::OK();
    }
    return context->communicator().Barrier();
  });
  for (const size_t rank : {0, 1, 3}) {
    ASSERT_TRUE(IsError(statuses[rank], ErrorKind::kRankFailed)) << statuses[rank];
    EXPECT_EQ(GetErrorDetail(statuses[rank])->rank, 2);
    EXPECT_THAT(GetErrorDetail(statuses[rank])->cause, HasSubstr("its process ended"));
  }
}

TEST_F(ConnectByPunchTest, ARankThatMeetsNoServerInTimeSaysWhere) {
  auto options = Ranks(2)[0];
  options.rendezvous = "127.0.0.1:1";
  options.join_deadline_s = 0.2;
  const auto status = Context::Connect(options).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("no rendezvous server answered at 127.0.0.1:1"));
}

TEST(WithoutStoreTest, ALossIsMarkedAsNotAgreed) {
  testing::ForEachSeed(50, 1000, [](uint64_t seed) -> std::string {
    constexpr int kRanks = 4;
    SimWorld sim(kRanks, seed);
    std::vector<arrow::Status> statuses(kRanks);
    (void)sim.Run([&](Rank rank) {
      Options options;
      options.rank = rank;
      options.threads = 1;
      options.memory_bytes = 64 << 20;
      internal::Parts parts;
      parts.resources = *Resources::Make(options);
      parts.executor = &sim.executor(rank);
      parts.transport = sim.MakeTransport(rank);
      parts.world.rank = rank;
      parts.world.cards.resize(kRanks);
      auto context = internal::MakeContext(std::move(parts), kNever);
      auto body = [&]() -> arrow::Status {
        ARROW_RETURN_NOT_OK(context.status());
        auto& comm = (*context)->communicator();
        ARROW_RETURN_NOT_OK(comm.Barrier());
        for (int i = 0; rank != 1 && i < 10; ++i) {
          ARROW_RETURN_NOT_OK(comm.AllReduce(int64_t{1}, ReduceOp::kSum).status());
        }
        return arrow::Status::OK();
      };
      return statuses[static_cast<size_t>(rank)] = body();
    });
    for (const size_t rank : {0, 2, 3}) {
      const auto detail = GetErrorDetail(statuses[rank]);
      if (detail == nullptr || detail->rank != 1 || detail->agreed ||
          statuses[rank].message().find("other ranks may name another cause") == std::string::npos) {
        return "rank " + std::to_string(rank) + ": " + statuses[rank].ToString();
      }
    }
    return "";
  });
}

}  // namespace
}  // namespace cylon
