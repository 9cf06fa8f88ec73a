/// For tests of the exchange: generated tables, where their rows go, and what each rank has to get.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "cylon/comm/testing/ranks.h"
#include "cylon/exchange/exchange.h"
#include "cylon/kernels/partition.h"
#include "cylon/table/testing/all_types.h"

/// A failed expectation as a status: bodies run on threads of their own.
#define REQUIRE(condition, ...)                                                                \
  do {                                                                                         \
    if (!(condition)) {                                                                        \
      return arrow::Status::UnknownError(__FILE__, ":", __LINE__,                              \
                                         ": not " #condition ". " __VA_OPT__(, ) __VA_ARGS__); \
    }                                                                                          \
  } while (false)

namespace cylon::testing {

inline std::shared_ptr<arrow::Schema> Numbers() { return arrow::schema({arrow::field("n", arrow::int64())}); }

inline std::shared_ptr<arrow::RecordBatch> Counting(Resources& resources, int64_t first, int64_t rows) {
  std::shared_ptr<arrow::Buffer> buffer = *arrow::AllocateBuffer(8 * rows, resources.memory());
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t value = first + i;
    std::memcpy(buffer->mutable_data() + 8 * i, &value, 8);
  }
  return arrow::RecordBatch::Make(Numbers(), rows,
                                  {arrow::ArrayData::Make(arrow::int64(), rows, {nullptr, std::move(buffer)}, 0)});
}

/// A few numbers of this rank: rank * 1000, ...
inline arrow::Result<Table> Few(Context& context, int64_t rows) {
  return Table::FromBatches(context.resources(), Numbers(),
                            {Counting(*context.resources(), int64_t{1000} * context.rank(), rows)});
}

/// The rows of `table` are those of `expected`, one batch after another.
inline arrow::Status ExpectRows(const Table& table, const std::vector<std::shared_ptr<arrow::RecordBatch>>& expected) {
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

/// What each rank brings, known everywhere.
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

inline Plan MakePlan(const std::shared_ptr<arrow::Schema>& schema, int ranks, uint64_t seed, int64_t most_rows) {
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

/// Two ranks on the world of queues in memory, which has the least overhead.
inline ThreadWorld Pair(int64_t memory = int64_t{64} << 20) {
  ThreadWorld world = MakeThreadWorld({ThreadWorld::Kind::kInproc, 2});
  world.options.memory_bytes = memory;
  return world;
}

/// A test that runs on every kind of world.
class ExchangeWorldTest : public ::testing::TestWithParam<WorldParameter> {
 protected:
  ThreadWorld world() const {
    ThreadWorld world = MakeThreadWorld(GetParam());
    world.options.memory_bytes = int64_t{64} << 20;
    return world;
  }
  int ranks() const { return GetParam().ranks; }
};

}  // namespace cylon::testing
