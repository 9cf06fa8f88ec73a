// What is sent comes, in order, once, on every kind of world; bytes and memory stay in bounds.
#include "cylon/exchange/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <random>

#include "cylon/comm/testing/ranks.h"
#include "cylon/exchange/testing/plan.h"
#include "cylon/table/testing/all_types.h"

namespace cylon::testing {
namespace {

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

class ExchangeTest : public ExchangeWorldTest {};

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
    ARROW_ASSIGN_OR_RAISE(auto few, Few(context, int64_t{3} * context.rank()));
    std::vector<int64_t> all;
    for (int64_t from = 0; from < n; ++from) {
      for (int64_t i = 0; i < 3 * from; ++i) {
        all.push_back(1000 * from + i);
      }
    }
    ARROW_ASSIGN_OR_RAISE(auto everywhere, AllGatherTable(context, few));
    REQUIRE(Values(everywhere) == all);
    ARROW_ASSIGN_OR_RAISE(auto at_root, GatherTable(context, few, root));
    REQUIRE(Values(at_root) == (context.rank() == root ? all : std::vector<int64_t>{}));
    ARROW_ASSIGN_OR_RAISE(auto of_root, BroadcastTable(context, few, root));
    REQUIRE(of_root.num_rows() == int64_t{3} * root && (root == 0 || Values(of_root)[0] == int64_t{1000} * root));
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

}  // namespace
}  // namespace cylon::testing
