// The exchange on every kind of world: what is sent comes, in order, once; errors reach all; memory stays in bounds.
#include "cylon/exchange/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <random>

#include "cylon/comm/testing/ranks.h"
#include "cylon/kernels/partition.h"
#include "cylon/table/testing/all_types.h"

namespace cylon {
namespace {

using cylon::testing::AllTypesSchema;
using cylon::testing::EachWorld;
using cylon::testing::ExpectAllOk;
using cylon::testing::ForEachSeed;
using cylon::testing::MakeThreadWorld;
using cylon::testing::RandomBatch;
using cylon::testing::WorldName;
using cylon::testing::WorldParameter;
using ::testing::HasSubstr;

// A failed expectation as a status: bodies run on threads of their own.
#define REQUIRE(condition, ...)                                                                             \
  do {                                                                                                      \
    if (!(condition)) {                                                                                     \
      return arrow::Status::UnknownError(__FILE__, ":", __LINE__, ": not " #condition ". ", ##__VA_ARGS__); \
    }                                                                                                       \
  } while (false)

std::shared_ptr<arrow::Schema> Numbers() { return arrow::schema({arrow::field("n", arrow::int64())}); }

std::shared_ptr<arrow::RecordBatch> Counting(Resources& resources, int64_t first, int64_t rows) {
  std::shared_ptr<arrow::Buffer> buffer = *arrow::AllocateBuffer(8 * rows, resources.memory());
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t value = first + i;
    std::memcpy(buffer->mutable_data() + 8 * i, &value, 8);
  }
  return arrow::RecordBatch::Make(Numbers(), rows,
                                  {arrow::ArrayData::Make(arrow::int64(), rows, {nullptr, std::move(buffer)}, 0)});
}

// A few numbers of this rank: rank * 1000, ...
arrow::Result<Table> Few(Context& context, int64_t rows) {
  return Table::FromBatches(context.resources(), Numbers(),
                            {Counting(*context.resources(), 1000 * context.rank(), rows)});
}

std::vector<int64_t> Values(const Table& table) {
  std::vector<int64_t> out;
  EXPECT_TRUE(table
                  .ForEachBatch([&](const auto& batch, int64_t) {
                    const int64_t* values = batch->column_data(0)->template GetValues<int64_t>(1);
                    out.insert(out.end(), values, values + batch->num_rows());
                    return arrow::Status::OK();
                  })
                  .ok());
  return out;
}

// The rows of `table` are those of `expected`, one batch after another.
arrow::Status ExpectRows(const Table& table, const std::vector<std::shared_ptr<arrow::RecordBatch>>& expected) {
  size_t which = 0;
  int64_t row = 0;
  auto skip_finished = [&] {
    while (which < expected.size() && (expected[which] == nullptr || row == expected[which]->num_rows())) {
      ++which;
      row = 0;
    }
  };
  for (const auto& chunk : table.chunks()) {
    ARROW_ASSIGN_OR_RAISE(auto batch, chunk->Pin());
    ARROW_RETURN_NOT_OK(batch->ValidateFull());
    skip_finished();
    REQUIRE(which < expected.size(), "more rows than expected");
    REQUIRE(row + batch->num_rows() <= expected[which]->num_rows(), "a chunk of two sources");
    for (int i = 0; i < batch->num_columns(); ++i) {
      const auto part = expected[which]->column(i)->Slice(row, batch->num_rows());
      REQUIRE(batch->column(i)->Equals(*part), batch->schema()->field(i)->ToString(), " got ",
              batch->column(i)->ToString(), " expected ", part->ToString());
    }
    row += batch->num_rows();
  }
  skip_finished();
  REQUIRE(which == expected.size(), "rows are missing");
  return arrow::Status::OK();
}

// What each rank brings, known everywhere.
struct Plan {
  std::shared_ptr<arrow::Schema> schema;
  std::vector<std::vector<std::shared_ptr<arrow::RecordBatch>>> batches;  // by rank
  uint64_t seed = 0;

  // Where row `row` of rank `from` goes.
  uint32_t To(Rank from, int64_t row, int ranks) const {
    uint64_t h = (seed + static_cast<uint64_t>(from) * 1000003 + static_cast<uint64_t>(row)) * 0x9e3779b97f4a7c15ULL;
    h ^= h >> 31;
    switch (seed % 4) {
      case 0:
        return 0;  // all to one
      case 1:
        return static_cast<uint32_t>(h % 8 != 0 ? 0 : (h >> 8) % static_cast<uint64_t>(ranks));
      default:
        return static_cast<uint32_t>((h >> 8) % static_cast<uint64_t>(ranks));
    }
  }

  arrow::Status Run(Context& context) const {
    const int ranks = context.world_size();
    const Rank me = context.rank();
    ARROW_ASSIGN_OR_RAISE(auto table, Table::FromBatches(context.resources(), schema, batches[me], false));
    ARROW_ASSIGN_OR_RAISE(auto got,
                          ShuffleTable(context, "test", table,
                                       [&](const arrow::RecordBatch& batch, int64_t before, std::vector<uint32_t>* to) {
                                         to->clear();
                                         for (int64_t i = 0; i < batch.num_rows(); ++i) {
                                           to->push_back(To(me, before + i, ranks));
                                         }
                                         return arrow::Status::OK();
                                       }));
    std::vector<std::shared_ptr<arrow::RecordBatch>> expected;
    for (Rank from = 0; from < ranks; ++from) {
      int64_t row = 0;
      for (const auto& batch : batches[from]) {
        std::vector<uint32_t> to;
        for (int64_t i = 0; i < batch->num_rows(); ++i) {
          to.push_back(To(from, row++, ranks));
        }
        ARROW_ASSIGN_OR_RAISE(auto parts,
                              PartitionBatch(*context.resources(), *batch, to, static_cast<uint32_t>(ranks)));
        expected.push_back(parts[me]);
      }
    }
    return ExpectRows(got, expected);
  }
};

Plan MakePlan(const std::shared_ptr<arrow::Schema>& schema, int ranks, uint64_t seed, int64_t most_rows) {
  Plan plan{schema, {}, seed};
  std::mt19937_64 random(seed);
  for (Rank rank = 0; rank < ranks; ++rank) {
    plan.batches.emplace_back();
    const uint64_t count = random() % 4;  // none: a rank with nothing
    for (uint64_t i = 0; i < count; ++i) {
      const auto rows = static_cast<int64_t>(random() % static_cast<uint64_t>(most_rows));
      auto batch = RandomBatch(schema, rows + 10, random());
      plan.batches.back().push_back(batch->Slice(static_cast<int64_t>(random() % 10), rows));
    }
  }
  return plan;
}

class ExchangeTest : public ::testing::TestWithParam<WorldParameter> {
 protected:
  ThreadWorld world() const {
    ThreadWorld world = MakeThreadWorld(GetParam());
    world.options.memory_bytes = int64_t{64} << 20;
    return world;
  }
  int ranks() const { return GetParam().ranks; }
};

INSTANTIATE_TEST_SUITE_P(Worlds, ExchangeTest, ::testing::ValuesIn(EachWorld()), WorldName);

TEST_P(ExchangeTest, EveryTypeTravels) {
  for (const uint64_t seed : {4, 5, 6}) {
    const Plan plan = MakePlan(AllTypesSchema(), ranks(), seed, 200);
    ExpectAllOk(RunRanks(world(), [&](Context& context) { return plan.Run(context); }));
  }
}

TEST_P(ExchangeTest, EveryTypeTravelsThroughForcedSpilling) {
  const Plan plan = MakePlan(AllTypesSchema(), ranks(), 3, 100);
  auto spilling = world();
  spilling.options.spill_always = true;
  ExpectAllOk(RunRanks(spilling, [&](Context& context) { return plan.Run(context); }));
}

TEST_P(ExchangeTest, SmallChunksKeepTheOrder) {
  const Plan plan = MakePlan(arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8()),
                                            arrow::field("d", arrow::dictionary(arrow::int8(), arrow::utf8()))}),
                             ranks(), 7, 20000);
  auto small = world();
  small.options.chunk_bytes = 1;  // raised to the least
  ExpectAllOk(RunRanks(small, [&](Context& context) { return plan.Run(context); }));
}

TEST_P(ExchangeTest, NoRowsAndNoColumns) {
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    auto everything_to_last = [&](const arrow::RecordBatch& batch, int64_t, std::vector<uint32_t>* to) {
      to->assign(static_cast<size_t>(batch.num_rows()), static_cast<uint32_t>(context.world_size() - 1));
      return arrow::Status::OK();
    };
    auto empty = Table::Empty(context.resources(), AllTypesSchema());
    ARROW_ASSIGN_OR_RAISE(auto none, ShuffleTable(context, "nothing", empty, everything_to_last));
    REQUIRE(none.num_rows() == 0 && none.schema()->Equals(*AllTypesSchema(), true));

    auto no_columns = arrow::schema(arrow::FieldVector{});
    ARROW_ASSIGN_OR_RAISE(
        auto counted, Table::FromBatches(context.resources(), no_columns,
                                         {arrow::RecordBatch::Make(no_columns, 10 + context.rank(),
                                                                   std::vector<std::shared_ptr<arrow::ArrayData>>{})}));
    ARROW_ASSIGN_OR_RAISE(auto all, AllGatherTable(context, counted));
    const int n = context.world_size();
    REQUIRE(all.num_rows() == 10 * n + n * (n - 1) / 2, all.num_rows());
    return arrow::Status::OK();
  }));
}

TEST_P(ExchangeTest, EqualKeysMeet) {
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("from", arrow::int64())});
    const int64_t rows = 1000;
    auto keys = Counting(*context.resources(), 0, rows)->column(0);
    auto batch = arrow::RecordBatch::Make(schema, rows, {keys, keys});
    ARROW_ASSIGN_OR_RAISE(auto table, Table::FromBatches(context.resources(), schema, {batch}));
    ARROW_ASSIGN_OR_RAISE(auto mine, ShuffleByHash(context, "by key", table, {0}));
    std::map<int64_t, int> seen;
    for (const int64_t key : Values(mine)) {
      ++seen[key];
    }
    for (const auto& [key, count] : seen) {
      REQUIRE(count == context.world_size(), "key ", key, " came ", count, " times");
    }
    ARROW_ASSIGN_OR_RAISE(auto total,
                          context.communicator().AllReduce(static_cast<int64_t>(seen.size()), ReduceOp::kSum));
    REQUIRE(total == rows, total);
    return arrow::Status::OK();
  }));
}

TEST_P(ExchangeTest, GatherBroadcastAndAllGather) {
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    const int n = context.world_size();
    const Rank root = n / 2;
    ARROW_ASSIGN_OR_RAISE(auto few, Few(context, 3 * context.rank()));
    std::vector<int64_t> all;
    for (Rank from = 0; from < n; ++from) {
      for (int64_t i = 0; i < 3 * from; ++i) {
        all.push_back(1000 * from + i);
      }
    }
    ARROW_ASSIGN_OR_RAISE(auto everywhere, AllGatherTable(context, few));
    REQUIRE(Values(everywhere) == all);
    ARROW_ASSIGN_OR_RAISE(auto at_root, GatherTable(context, few, root));
    REQUIRE(Values(at_root) == (context.rank() == root ? all : std::vector<int64_t>{}));
    ARROW_ASSIGN_OR_RAISE(auto of_root, BroadcastTable(context, few, root));
    REQUIRE(of_root.num_rows() == 3 * root && (root == 0 || Values(of_root)[0] == 1000 * root));
    auto wrong = GatherTable(context, few, n).status();
    REQUIRE(wrong.IsInvalid());
    return arrow::Status::OK();
  }));
}

TEST_P(ExchangeTest, RepartitionKeepsTheOrder) {
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    const int n = context.world_size();
    ARROW_ASSIGN_OR_RAISE(auto few, Few(context, context.rank() % 2 == 0 ? 100 : 0));
    ARROW_ASSIGN_OR_RAISE(auto before, AllGatherTable(context, few));
    ARROW_ASSIGN_OR_RAISE(auto even, RepartitionTable(context, few));
    const int64_t total = before.num_rows();
    REQUIRE(even.num_rows() == total / n + (context.rank() < total % n ? 1 : 0), even.num_rows());
    ARROW_ASSIGN_OR_RAISE(auto after, AllGatherTable(context, even));
    REQUIRE(Values(after) == Values(before));

    std::vector<int64_t> counts(static_cast<size_t>(n), 1);
    counts.back() = total - (n - 1);
    ARROW_ASSIGN_OR_RAISE(auto uneven, RepartitionTable(context, few, counts));
    REQUIRE(uneven.num_rows() == counts[context.rank()]);
    ARROW_ASSIGN_OR_RAISE(after, AllGatherTable(context, uneven));
    REQUIRE(Values(after) == Values(before));

    counts.back() += 1;
    auto wrong = RepartitionTable(context, few, counts).status();
    REQUIRE(wrong.IsInvalid(), wrong.ToString());
    counts.back() = -1;
    REQUIRE(RepartitionTable(context, few, counts).status().IsInvalid());
    return arrow::Status::OK();
  }));
}

TEST_P(ExchangeTest, ASourceThatFailsFailsEverywhereAndTheWorldGoesOn) {
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
    auto status = Exchange(context, "broken", Numbers(), source, [](Incoming) { return arrow::Status::OK(); }).status();
    REQUIRE(status.IsIOError(), status.ToString());
    REQUIRE(status.message().find("the file ends in its middle") != std::string::npos, status.ToString());
    if (context.rank() != 1) {
      REQUIRE(status.message().find("rank 1") != std::string::npos, status.ToString());
      REQUIRE(IsError(status, ErrorKind::kRemote), status.ToString());
    }
    ARROW_ASSIGN_OR_RAISE(auto few, Few(context, 5));
    ARROW_ASSIGN_OR_RAISE(auto all, AllGatherTable(context, few));
    REQUIRE(all.num_rows() == 5 * context.world_size());
    return arrow::Status::OK();
  }));
}

TEST_P(ExchangeTest, ATargetThatFailsFailsEverywhere) {
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

TEST_P(ExchangeTest, TwoRanksMayFailAtOnce) {
  if (ranks() == 1) {
    GTEST_SKIP() << "needs another rank";
  }
  ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
    int left = 30;
    auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      if (left-- == 0 || (context.rank() < 2 && left == 10)) {
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

TEST_P(ExchangeTest, RowsForNoRankAreRefused) {
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

TEST_P(ExchangeTest, OtherSchemasAreToldApart) {
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

// Two ranks on the simulated world, which has the least overhead.
ThreadWorld Pair(int64_t memory = int64_t{64} << 20) {
  ThreadWorld world = MakeThreadWorld({ThreadWorld::Kind::kInproc, 2});
  world.options.memory_bytes = memory;
  return world;
}

// Bytes that rank 0 sends for `batches`, as the lanes count them.
int64_t BytesFor(const std::shared_ptr<arrow::Schema>& schema,
                 const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  std::atomic<int64_t> sent{0};
  ExpectAllOk(RunRanks(Pair(), [&](Context& context) -> arrow::Status {
    size_t next = 0;
    auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      if (context.rank() == 1 || next == batches.size()) {
        return std::nullopt;
      }
      return std::vector<Outgoing>{{1, batches[next++]}};
    };
    size_t came = 0;
    auto target = [&](const Incoming& incoming) -> arrow::Status {
      REQUIRE(incoming.batch->Equals(*batches[came]));
      ++came;
      return arrow::Status::OK();
    };
    const int64_t before = context.communicator().lanes().bytes_sent();
    ARROW_RETURN_NOT_OK(Exchange(context, "count", schema, source, target));
    if (context.rank() == 0) {
      sent = context.communicator().lanes().bytes_sent() - before;
    } else {
      REQUIRE(came == batches.size());
    }
    return arrow::Status::OK();
  }));
  return sent;
}

TEST(ExchangeBytesTest, SlicesSendOnlyWhatTheyShow) {
  for (const auto& type : {arrow::utf8(), arrow::utf8_view(), arrow::list(arrow::int64()),
                           arrow::list_view(arrow::int64()), arrow::struct_({arrow::field("v", arrow::utf8_view())})}) {
    auto schema = arrow::schema({arrow::field("c", type)});
    auto batch = RandomBatch(schema, 20000, 1);
    EXPECT_LT(BytesFor(schema, {batch->Slice(7000, 10)}), 8192) << type->ToString();
  }
}

TEST(ExchangeBytesTest, EqualDictionariesAreSentOnce) {
  auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  auto schema = arrow::schema({arrow::field("d", type)});
  auto batch = RandomBatch(schema, 100, 1);
  auto with = [&](char letter) {
    arrow::StringBuilder builder;
    for (int i = 0; i < 5; ++i) {
      EXPECT_TRUE(builder.Append(std::string(20000, letter) + std::to_string(i)).ok());
    }
    auto data = batch->column_data(0)->Copy();
    data->dictionary = (*builder.Finish())->data();
    return arrow::RecordBatch::Make(schema, 100, {data});
  };
  EXPECT_LT(BytesFor(schema, {with('a'), with('a'), with('a'), with('a')}), 130000);
  const int64_t changed = BytesFor(schema, {with('a'), with('b'), with('b'), with('a')});
  EXPECT_GT(changed, 300000);
  EXPECT_LT(changed, 330000);
}

TEST(ExchangeMemoryTest, AShuffleLargerThanTheBudgetStaysInBounds) {
  constexpr int64_t kLimit = int64_t{16} << 20;
  constexpr int64_t kRowsPerBatch = 1 << 16;  // 512 KiB
  constexpr int64_t kBatches = 64;            // 32 MiB a rank
  ExpectAllOk(RunRanks(Pair(kLimit), [&](Context& context) -> arrow::Status {
    auto resources = context.resources();
    TableBuilder builder(resources, Numbers());
    for (int64_t i = 0; i < kBatches; ++i) {
      ARROW_RETURN_NOT_OK(
          builder.Append(Counting(*resources, (context.rank() * kBatches + i) * kRowsPerBatch, kRowsPerBatch)));
    }
    auto table = builder.Finish();
    ARROW_ASSIGN_OR_RAISE(auto mine, ShuffleByHash(context, "larger than memory", table, {0}));
    int64_t sum = 0;
    ARROW_RETURN_NOT_OK(mine.ForEachBatch([&](const auto& batch, int64_t) {
      const int64_t* values = batch->column_data(0)->template GetValues<int64_t>(1);
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        sum += values[i];
      }
      return arrow::Status::OK();
    }));
    ARROW_ASSIGN_OR_RAISE(sum, context.communicator().AllReduce(sum, ReduceOp::kSum));
    const int64_t total = 2 * kBatches * kRowsPerBatch;
    REQUIRE(sum == total * (total - 1) / 2, sum);
    REQUIRE(resources->memory()->max_memory() <= kLimit, resources->memory()->max_memory());
    REQUIRE(resources->memory()->spilled_bytes() > kLimit);
    return arrow::Status::OK();
  }));
}

TEST(ExchangeMemoryTest, OutOfMemoryAtOneRankIsTold) {
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

// One exchange of random tables under a seed's order of events.
std::string RunSeed(uint64_t seed) {
  std::mt19937_64 random(seed);
  const int ranks = 2 + static_cast<int>(random() % 4);
  const bool every_type = random() % 8 == 0;
  auto schema = every_type ? AllTypesSchema()
                           : arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8()),
                                            arrow::field("d", arrow::dictionary(arrow::int8(), arrow::utf8()))});
  const Plan plan = MakePlan(schema, ranks, seed, random() % 4 == 0 ? 3000 : 200);
  ThreadWorld world = MakeThreadWorld({ThreadWorld::Kind::kSim, ranks}, seed);
  // The expected rows and both tables as one batch come out of the same budget: wide rows need more of it.
  world.options.memory_bytes = int64_t{1} << ((every_type ? 26 : 22) + random() % 3);
  world.options.chunk_bytes = int64_t{1} << (12 + random() % 8);
  world.options.piece_bytes = int64_t{1} << (12 + random() % 8);
  world.options.spill_always = random() % 8 == 0;
  std::string wrong;
  const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    ARROW_RETURN_NOT_OK(plan.Run(context));
    return plan.Run(context);
  });
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    if (!statuses[rank].ok()) {
      wrong += "rank " + std::to_string(rank) + ": " + statuses[rank].ToString() + "\n";
    }
  }
  return wrong;
}

TEST(ExchangeSimTest, EverySeedGivesTheSameRows) { ForEachSeed(100, 10000, RunSeed); }

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

TEST(ExchangeSimTest, ALostRankIsNamedByTheOthersOnEverySeed) { ForEachSeed(100, 2000, RunKillSeed); }

}  // namespace
}  // namespace cylon
