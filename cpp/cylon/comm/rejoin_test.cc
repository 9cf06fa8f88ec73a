// Survivors of a world form a new one: with and without replacements, through failures, on every kind of world.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "cylon/base/random.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/comm/context.h"
#include "cylon/comm/runtime.h"
#include "cylon/comm/testing/ranks.h"

namespace cylon {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::BufferOf;
using testing::EachWorld;
using ::testing::HasSubstr;
using testing::ValuesOf;
using ContextPtr = std::shared_ptr<Context>;

/// Calls until one fails.
arrow::Status UntilItFails(Context& context) {
  arrow::Status status;
  while (status.ok()) {
    status = context.communicator().Barrier();
  }
  return status;
}

/// OK where `number` of the ranks are, in this order, `expected`.
arrow::Status ExpectRanks(Context& context, int64_t number, const std::vector<int64_t>& expected) {
  ARROW_ASSIGN_OR_RAISE(auto all, context.communicator().AllGather(BufferOf<int64_t>({number})));
  std::vector<int64_t> numbers;
  for (const auto& one : all) {
    numbers.push_back(ValuesOf<int64_t>(*one)[0]);
  }
  if (numbers != expected || static_cast<size_t>(context.world_size()) != expected.size()) {
    return arrow::Status::UnknownError("the new world has the ranks ", ::testing::PrintToString(numbers));
  }
  return arrow::Status::OK();
}

/// Waits, without a clock that a simulation could not see, until `flag` counts so many.
arrow::Status AwaitCount(Context& context, const std::atomic<int>& counter, int count) {
  while (counter.load() < count) {
    auto never = arrow::Future<>::Make();
    const auto status = context.executor().Wait(never, context.executor().Now() + 5ms);
    if (!IsError(status, ErrorKind::kDeadline)) {
      return status;
    }
  }
  return arrow::Status::OK();
}

/// Dies when all are there. The others may hear of it in the same barrier.
arrow::Status Dies(Context& context) {
  ARROW_RETURN_NOT_OK(context.communicator().Barrier());
  return arrow::Status::Cancelled("dies");
}

class RejoinTest : public ::testing::TestWithParam<testing::WorldParameter> {
 protected:
  std::vector<arrow::Status> Run(const std::function<arrow::Status(Context&)>& body) {
    return RunRanks(testing::MakeThreadWorld(GetParam()), body);
  }
  int ranks() const { return GetParam().ranks; }
  std::vector<int64_t> AllBut(const std::set<int64_t>& lost) const {
    std::vector<int64_t> left;
    for (int64_t rank = 0; rank < ranks(); ++rank) {
      if (!lost.contains(rank)) {
        left.push_back(rank);
      }
    }
    return left;
  }
  static void ExpectOkBut(const std::vector<arrow::Status>& statuses, const std::set<int64_t>& lost) {
    for (size_t rank = 0; rank < statuses.size(); ++rank) {
      EXPECT_EQ(statuses[rank].ok(), !lost.contains(static_cast<int64_t>(rank)))
          << "rank " << rank << ": " << statuses[rank].ToString();
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Worlds, RejoinTest, ::testing::ValuesIn(EachWorld({2, 3, 5})), testing::WorldName);

TEST_P(RejoinTest, SurvivorsKeepTheirOrderInADenseWorld) {
  const auto statuses = Run([&](Context& context) -> arrow::Status {
    const Rank rank = context.rank();
    if (rank == 1) {
      return Dies(context);
    }
    auto failure = UntilItFails(context);
    if (!IsError(failure, ErrorKind::kRankFailed)) {
      return failure;
    }
    ARROW_ASSIGN_OR_RAISE(auto next, context.Rejoin());
    ARROW_RETURN_NOT_OK(ExpectRanks(*next, rank, AllBut({1})));
    EXPECT_EQ(next->rank(), rank == 0 ? 0 : rank - 1);
    EXPECT_THAT(context.communicator().Barrier().message(), HasSubstr("was closed"));
    EXPECT_THAT(context.Rejoin().status().message(), HasSubstr("was closed"));
    return next->Close();
  });
  ExpectOkBut(statuses, {1});
}

TEST_P(RejoinTest, OneFailureAfterTheOtherAndTheFirstRankToo) {
  if (ranks() < 3) {
    GTEST_SKIP() << "two failures leave somebody of three ranks and more";
  }
  const auto statuses = Run([&](Context& context) -> arrow::Status {
    const Rank rank = context.rank();
    if (rank == 0) {
      return Dies(context);
    }
    (void)UntilItFails(context);
    ARROW_ASSIGN_OR_RAISE(auto second, context.Rejoin());
    ARROW_RETURN_NOT_OK(ExpectRanks(*second, rank, AllBut({0})));
    if (rank == 2) {
      return Dies(*second);
    }
    auto failure = UntilItFails(*second);
    if (!IsError(failure, ErrorKind::kRankFailed) || GetErrorDetail(failure)->rank != 1) {
      return failure;  // rank 2 is rank 1 of the second world
    }
    ARROW_ASSIGN_OR_RAISE(auto third, second->Rejoin());
    ARROW_RETURN_NOT_OK(ExpectRanks(*third, rank, AllBut({0, 2})));
    return third->Close();
  });
  ExpectOkBut(statuses, {0, 2});
}

TEST_P(RejoinTest, RanksThatDisagreedAllComeBack) {
  const auto statuses = Run([&](Context& context) -> arrow::Status {
    const Rank rank = context.rank();
    auto& comm = context.communicator();
    (void)comm.Barrier();  // all are there
    (void)(rank == 1 ? comm.AllGather(BufferOf<int64_t>({1})).status() : comm.Barrier());
    (void)UntilItFails(context);
    ARROW_ASSIGN_OR_RAISE(auto next, context.Rejoin());
    ARROW_RETURN_NOT_OK(ExpectRanks(*next, rank, AllBut({})));
    return next->Close();
  });
  ExpectOkBut(statuses, {});
}

TEST_P(RejoinTest, WhoComesLateIsOutAndIsToldSo) {
  std::atomic<int> formed{0};
  const Rank late = ranks() - 1;
  const auto statuses = Run([&](Context& context) -> arrow::Status {
    const Rank rank = context.rank();
    auto& comm = context.communicator();
    (void)comm.Barrier();  // all are there
    (void)(rank == 1 ? comm.AllGather(BufferOf<int64_t>({1})).status() : comm.Barrier());
    (void)UntilItFails(context);
    if (rank == late) {
      ARROW_RETURN_NOT_OK(AwaitCount(context, formed, ranks() - 1));
      return context.Rejoin().status();
    }
    ARROW_ASSIGN_OR_RAISE(auto next, context.Rejoin({.window_s = 0.3}));
    formed.fetch_add(1);
    ARROW_RETURN_NOT_OK(ExpectRanks(*next, rank, AllBut({late})));
    return next->Close();
  });
  ExpectOkBut(statuses, {late});
  const auto& status = statuses[static_cast<size_t>(late)];
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline));
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("rank " + std::to_string(late)),
                    HasSubstr("the others had formed a new world without it"), HasSubstr("CYLON_REJOIN=1")));
}

TEST_P(RejoinTest, TooFewIsTheSameErrorForAllAndNamesWhoIsMissing) {
  const auto statuses = Run([&](Context& context) -> arrow::Status {
    if (context.rank() == 1) {
      return Dies(context);
    }
    (void)UntilItFails(context);
    return context.Rejoin({.window_s = 0.2, .least_ranks = ranks()}).status();
  });
  for (const Rank rank : AllBut({1})) {
    const auto& status = statuses[static_cast<size_t>(rank)];
    EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
    EXPECT_EQ(status.message(), statuses[0].message());
    EXPECT_EQ(GetErrorDetail(status)->rank, 1);
  }
  EXPECT_THAT(statuses[0].message(),
              AllOf(HasSubstr("least_ranks is " + std::to_string(ranks())),
                    HasSubstr("rank 1 did not come (rank 1 had failed)"), HasSubstr("CYLON_REJOIN=1")));
}

TEST_P(RejoinTest, OnlyAWorldThatFailedIsRejoinedAndOnlyAsAWhole) {
  const auto statuses = Run([&](Context& context) -> arrow::Status {
    EXPECT_THAT(context.Rejoin().status().message(), HasSubstr("there is nothing to rejoin"));
    ARROW_ASSIGN_OR_RAISE(auto part, context.Split(0, 0));
    EXPECT_THAT(part->Rejoin().status().message(), HasSubstr("call it on the context of the whole world"));
    EXPECT_THAT(context.Rejoin({.window_s = 0}).status().message(), HasSubstr("expected more than 0 s"));
    return context.communicator().Barrier();
  });
  testing::ExpectAllOk(statuses);
}

TEST_P(RejoinTest, TheWholeJobsDeadlineStandsThroughAGathering) {
  auto world = testing::MakeThreadWorld(GetParam());
  world.options.deadline_s = 0.4;
  const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    if (context.rank() == 1) {
      return Dies(context);
    }
    (void)UntilItFails(context);
    return context.Rejoin({.window_s = 60, .least_ranks = ranks()}).status();
  });
  EXPECT_TRUE(IsError(statuses[0], ErrorKind::kDeadline)) << statuses[0];
  EXPECT_THAT(statuses[0].message(), HasSubstr("(deadline_s)"));
}

TEST(RejoinWithoutStoreTest, SaysThatThereIsNone) {
  auto context = *Context::Local();
  EXPECT_THAT(context->Rejoin().status().message(), HasSubstr("there is no store"));
}

/// Processes that meet in a store over TCP, as threads.
class RejoinOverTcpTest : public ::testing::Test {
 protected:
  RejoinOverTcpTest() : executor_("store") {
    secret_ = *RandomBytes(32);
    server_ = *StoreServer::Start(executor_, HostPort{"127.0.0.1", 0}, Security{.secret = secret_});
  }

  Options OptionsOf(Rank rank, int size) const {
    Options options;
    options.job = "test";
    options.rank = rank;
    options.world_size = size;
    options.memory_bytes = 64 << 20;
    options.threads = 1;
    options.secret = HexEncode(secret_);
    options.store = server_->address().host + ":" + std::to_string(server_->address().port);
    options.join_deadline_s = 30;
    return options;
  }
  Options Replacement() const {
    Options options = OptionsOf(-1, 0);
    options.rejoin = true;
    return options;
  }

  AsioExecutor executor_;
  std::string secret_;
  std::unique_ptr<StoreServer> server_;
};

TEST_F(RejoinOverTcpTest, ReplacementsFollowTheSurvivors) {
  constexpr int kRanks = 4;
  std::vector<arrow::Status> statuses(kRanks + 2);
  std::vector<std::thread> threads;
  for (Rank rank = 0; rank < kRanks + 2; ++rank) {
    threads.emplace_back([&, rank] {
      statuses[static_cast<size_t>(rank)] = [&]() -> arrow::Status {
        if (rank >= kRanks) {
          ARROW_ASSIGN_OR_RAISE(auto context, Context::Connect(Replacement()));
          EXPECT_GE(context->rank(), 2);
          ARROW_ASSIGN_OR_RAISE(auto all, context->communicator().AllGather(BufferOf<int64_t>({-1})));
          EXPECT_EQ(all.size(), 4U);
          return context->Close();
        }
        ARROW_ASSIGN_OR_RAISE(auto context, Context::Connect(OptionsOf(rank, kRanks)));
        if (rank % 2 == 0) {
          return context->communicator().Barrier();  // and dies
        }
        (void)UntilItFails(*context);
        ARROW_ASSIGN_OR_RAISE(auto next, context->Rejoin({.window_s = 30, .least_ranks = kRanks}));
        ARROW_RETURN_NOT_OK(ExpectRanks(*next, rank, {1, 3, -1, -1}));
        return next->Close();
      }();
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  testing::ExpectAllOk(statuses);
}

TEST_F(RejoinOverTcpTest, AReplacementThatNobodyTakesSaysSo) {
  Options options = Replacement();
  options.join_deadline_s = 0.2;
  const auto status = Context::Connect(options).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("(CYLON_REJOIN), and no survivors gathered"), HasSubstr("CYLON_JOIN_DEADLINE")));
  options.store = "";
  EXPECT_THAT(Context::Connect(options).status().message(), HasSubstr("set CYLON_STORE"));
}

TEST_F(RejoinOverTcpTest, OneThatDiesWhileItRejoinsIsLeftOutOfTheNextWorld) {
  constexpr int kRanks = 3;
  std::vector<arrow::Status> statuses(kRanks);
  std::vector<std::thread> threads;
  for (Rank rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      statuses[static_cast<size_t>(rank)] = [&]() -> arrow::Status {
        ARROW_ASSIGN_OR_RAISE(auto context, Context::Connect(OptionsOf(rank, kRanks)));
        if (rank == 2) {
          ARROW_RETURN_NOT_OK(context->communicator().Barrier());
          // Comes to the gathering, where nobody listens any more when the others connect.
          auto& executor = context->executor();
          ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(OptionsOf(rank, kRanks), executor, executor.Now() + 10s));
          auto epoch = store->TryGet("test/leader/1");
          ARROW_ASSIGN_OR_RAISE(const std::string now, executor.Await(epoch));
          auto come = store->Set(
              "test/" + now + "/rejoin/here/2",
              R"({"host":"here","process":1,"address":"tcp://127.0.0.1:1","watch":"tcp://127.0.0.1:1","nonce":"n","least":1})",
              1h);
          ARROW_RETURN_NOT_OK(executor.Await(come));
          store.reset();
          return arrow::Status::OK();
        }
        (void)UntilItFails(*context);
        ARROW_ASSIGN_OR_RAISE(auto next, context->Rejoin());
        ARROW_RETURN_NOT_OK(ExpectRanks(*next, rank, {0, 1}));
        return next->Close();
      }();
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  testing::ExpectAllOk(statuses);
}

TEST(EpochTest, RanksOfTwoEpochsDoNotConnect) {
  const std::string secret = *RandomBytes(32);
  constexpr int kRanks = 2;
  std::vector<std::unique_ptr<AsioExecutor>> executors;
  std::vector<std::unique_ptr<internal::Seat>> seats;
  Options options;
  options.connect_deadline_s = 5;
  World world;
  world.job = "test";
  for (Rank rank = 0; rank < kRanks; ++rank) {
    executors.push_back(std::make_unique<AsioExecutor>("rank"));
    seats.push_back(*internal::MeshNetwork(*executors.back(), options, secret)(kRanks));
    world.cards.push_back(AddressCard{"here", rank, seats.back()->address()});
  }
  std::vector<arrow::Status> statuses(kRanks);
  std::vector<std::thread> threads;
  for (Rank rank = 0; rank < kRanks; ++rank) {
    threads.emplace_back([&, rank] {
      Options own = options;
      own.rank = rank;
      own.threads = 1;
      own.memory_bytes = 64 << 20;
      internal::Parts parts;
      parts.resources = *Resources::Make(own);
      parts.executor = executors[static_cast<size_t>(rank)].get();
      parts.world = world;
      parts.world.rank = rank;
      // The low 32 bits are the same: the whole text is compared.
      parts.world.epoch = rank == 0 ? "2-00000000000000000000000000000001" : "3-00000000000000000000000000000001";
      parts.seat = std::move(seats[static_cast<size_t>(rank)]);
      parts.transport = *parts.seat->Join(parts.world);
      auto& executor = *parts.executor;
      statuses[static_cast<size_t>(rank)] = internal::MakeContext(std::move(parts), executor.Now() + 30s).status();
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_THAT(statuses[0].message(), HasSubstr("epoch")) << statuses[0];
  EXPECT_FALSE(statuses[1].ok());
}

}  // namespace
}  // namespace cylon
