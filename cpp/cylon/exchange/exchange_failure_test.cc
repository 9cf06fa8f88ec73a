// Errors, lost ranks and interrupts in the middle of an exchange: all are told, nobody hangs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "cylon/base/error.h"
#include "cylon/comm/testing/ranks.h"
#include "cylon/exchange/exchange.h"
#include "cylon/exchange/testing/plan.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

class ExchangeFailureTest : public ExchangeWorldTest {};

INSTANTIATE_TEST_SUITE_P(Worlds, ExchangeFailureTest, ::testing::ValuesIn(EachWorld()), WorldName);

TEST_P(ExchangeFailureTest, ASourceThatFailsFailsEverywhereAndTheWorldGoesOn) {
  if (ranks() == 1) {
    GTEST_SKIP() << "needs another rank";
  }
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    auto resources = context.resources();
    int calls = 0;
    auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      if (context.rank() == 1 && calls == 2) {
        return arrow::Status::IOError("the file ends in its middle");
      }
      if (++calls > 50) {
        return std::nullopt;
      }
      std::vector<Outgoing> out;
      for (Rank to = 0; to < context.world_size(); ++to) {
        out.push_back({to, Counting(*resources, 0, 4000)});
      }
      return out;
    };
    auto status =
        Exchange(context, "broken", Numbers(), source, [](const Incoming&) { return arrow::Status::OK(); }).status();
    REQUIRE(status.IsIOError(), status.ToString());
    REQUIRE(status.message().find("the file ends in its middle") != std::string::npos, status.ToString());
    if (context.rank() != 1) {
      REQUIRE(status.message().find("rank 1") != std::string::npos, status.ToString());
      REQUIRE(IsError(status, ErrorKind::kRemote), status.ToString());
    }
    ARROW_ASSIGN_OR_RAISE(auto few, Few(context, 5));
    ARROW_ASSIGN_OR_RAISE(auto all, AllGatherTable(context, few));
    REQUIRE(all.num_rows() == int64_t{5} * context.world_size());
    return arrow::Status::OK();
  }));
}

TEST_P(ExchangeFailureTest, ATargetThatFailsFailsEverywhere) {
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    const Rank bad = context.world_size() - 1;
    int left = 20;
    auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      if (left-- == 0) {
        return std::nullopt;
      }
      std::vector<Outgoing> out;
      for (Rank to = 0; to < context.world_size(); ++to) {
        out.push_back({to, Counting(*context.resources(), 0, 4000)});
      }
      return out;
    };
    auto target = [&](const Incoming& incoming) {
      return context.rank() == bad && incoming.sequence == 3 ? arrow::Status::IOError("No space left on device")
                                                             : arrow::Status::OK();
    };
    auto status = Exchange(context, "full", Numbers(), source, target).status();
    REQUIRE(status.IsIOError(), status.ToString());
    REQUIRE(status.message().find("No space left") != std::string::npos);
    return context.communicator().Barrier();
  }));
}

TEST_P(ExchangeFailureTest, TwoRanksMayFailAtOnce) {
  if (ranks() == 1) {
    GTEST_SKIP() << "needs another rank";
  }
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    int left = 30;
    auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      --left;
      if (left < 0 || (context.rank() < 2 && left == 10)) {
        return arrow::Status::Invalid("rank ", context.rank(), " gives up");
      }
      std::vector<Outgoing> out;
      for (Rank to = 0; to < context.world_size(); ++to) {
        out.push_back({to, Counting(*context.resources(), 0, 20000)});
      }
      return out;
    };
    auto status =
        Exchange(context, "two", Numbers(), source, [](const Incoming&) { return arrow::Status::OK(); }).status();
    REQUIRE(status.IsInvalid(), status.ToString());
    return context.communicator().Barrier();
  }));
}

TEST_P(ExchangeFailureTest, RowsForNoRankAreRefused) {
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    if (context.world_size() == 1) {
      return arrow::Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(auto few, Few(context, 5));
    auto status =
        ShuffleTable(context, "astray", few, [&](const arrow::RecordBatch& batch, int64_t, std::vector<uint32_t>* to) {
          to->assign(static_cast<size_t>(batch.num_rows()), 99);
          return arrow::Status::OK();
        }).status();
    REQUIRE(status.IsInvalid() && status.message().find("rank 99") != std::string::npos, status.ToString());
    return context.communicator().Barrier();
  }));
}

TEST_P(ExchangeFailureTest, OtherSchemasAreToldApart) {
  if (ranks() == 1) {
    GTEST_SKIP() << "needs another rank";
  }
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    auto schema = arrow::schema({arrow::field("n", arrow::int64(), /*nullable=*/context.rank() != 1)});
    auto status = AllGatherTable(context, Table::Empty(context.resources(), schema)).status();
    REQUIRE(IsError(status, ErrorKind::kCollectiveMismatch), status.ToString());
    for (const char* part : {"rank 0", "rank 1", "n: int64 not null", "{n: int64}"}) {
      REQUIRE(status.message().find(part) != std::string::npos, part, " in ", status.ToString());
    }
    return context.communicator().Barrier();
  }));
}

TEST(ExchangeOutOfMemoryTest, OneRankTellsAll) {
  constexpr int64_t kLimit = int64_t{8} << 20;
  ExpectAllOk(RunRanks(Pair(kLimit), [&](Context& context) -> arrow::Status {
    std::vector<std::shared_ptr<arrow::RecordBatch>> hoard;  // held, so nothing can be spilled
    int left = 64;
    auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      if (context.rank() == 1 || left-- == 0) {
        return std::nullopt;
      }
      return std::vector<Outgoing>{{1, Counting(*context.resources(), 0, 1 << 15)}};
    };
    auto target = [&](Incoming incoming) {
      hoard.push_back(std::move(incoming.batch));
      return arrow::Status::OK();
    };
    auto status = Exchange(context, "hoard", Numbers(), source, target).status();
    REQUIRE(status.IsOutOfMemory(), status.ToString());
    REQUIRE(status.message().find("CYLON_MEMORY") != std::string::npos, status.ToString());
    REQUIRE(context.rank() == 1 || status.message().find("rank 1") != std::string::npos, status.ToString());
    hoard.clear();
    ARROW_ASSIGN_OR_RAISE(auto few, Few(context, 5));
    return AllGatherTable(context, few).status();
  }));
}

TEST(ExchangeInterruptTest, AWaitEndsWithTheHooksStatus) {
  std::atomic<bool> interrupted{false};
  auto world = Pair();
  world.interrupt = [&] { return interrupted ? arrow::Status::Cancelled("Ctrl-C") : arrow::Status::OK(); };
  const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      if (context.rank() == 0) {
        interrupted = true;  // then rank 0 waits for the rows of rank 1, which waits too
        return std::nullopt;
      }
      return std::vector<Outgoing>{{0, Counting(*context.resources(), 0, 1 << 15)}};
    };
    return Exchange(context, "endless", Numbers(), source, [](const Incoming&) { return arrow::Status::OK(); })
        .status();
  });
  // Whoever is asked first leaves; the other is asked too, or sees that it is gone.
  const auto& first = statuses[0].IsCancelled() ? statuses[0] : statuses[1];
  EXPECT_TRUE(first.IsCancelled()) << statuses[0] << " and " << statuses[1];
  EXPECT_THAT(first.message(), HasSubstr("Ctrl-C"));
  EXPECT_FALSE(statuses[0].ok());
  EXPECT_FALSE(statuses[1].ok());
}

// A rank is lost at a moment of the seed's choosing, an exchange may fail by itself too: nobody hangs.
std::string RunKillSeed(uint64_t seed) {
  std::mt19937_64 random(seed);
  const int ranks = 2 + static_cast<int>(random() % 3);
  const Plan plan = MakePlan(Numbers(), ranks, seed, 3000);
  ThreadWorld world = MakeThreadWorld({ThreadWorld::Kind::kSim, ranks}, seed);
  world.options.memory_bytes = int64_t{8} << 20;
  world.options.chunk_bytes = 16 << 10;
  world.kill_rank = static_cast<Rank>(random() % static_cast<uint64_t>(ranks));
  world.kill_after = static_cast<int64_t>(random() % 1500);
  const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    for (int i = 0; i < 3; ++i) {
      ARROW_RETURN_NOT_OK(plan.Run(context));
    }
    return arrow::Status::OK();
  });
  std::string wrong;
  for (Rank rank = 0; rank < ranks; ++rank) {
    const auto& status = statuses[rank];
    if (rank == world.kill_rank || status.ok()) {
      continue;  // the loss may come after the last exchange
    }
    const auto detail = GetErrorDetail(status);
    if (!IsError(status, ErrorKind::kRankFailed) || detail->rank != world.kill_rank) {
      wrong += "rank " + std::to_string(rank) + ": " + status.ToString() + "\n";
    }
  }
  return wrong;
}

TEST(ExchangeLossTest, ALostRankIsNamedByTheOthersOnEverySeed) { ForEachSeed(100, 2000, RunKillSeed); }

}  // namespace
}  // namespace cylon::testing
