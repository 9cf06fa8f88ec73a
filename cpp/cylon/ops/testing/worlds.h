/// Worlds to run operators in, and distributed tables to run them on, for tests.
#pragma once

#include <arrow/util/logging.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cylon/comm/context.h"
#include "cylon/ops/testing/cells.h"

// NOLINTBEGIN(bugprone-macro-parentheses): `lhs` declares a variable
#define CYLON_TEST_CONCAT_(a, b) a##b
#define CYLON_TEST_CONCAT(a, b) CYLON_TEST_CONCAT_(a, b)
#define CYLON_TEST_ASSIGN_(result, lhs, expr)                           \
  auto result = (expr);                                                 \
  ASSERT_TRUE(result.ok()) << #expr ": " << result.status().ToString(); \
  lhs = std::move(result).ValueUnsafe()
/// `lhs` gets the value of `expr`, or the test ends.
#define ASSERT_OK_AND_ASSIGN(lhs, expr) CYLON_TEST_ASSIGN_(CYLON_TEST_CONCAT(test_result_, __COUNTER__), lhs, expr)
// NOLINTEND(bugprone-macro-parentheses)

namespace cylon::testing {

/// One way to run ranks.
struct WorldCase {
  ThreadWorld::Kind kind = ThreadWorld::Kind::kSim;
  int ranks = 1;
  bool spill_always = false;
};

inline std::string WorldName(const WorldCase& world) {
  const char* kind = world.kind == ThreadWorld::Kind::kSim      ? "Sim"
                     : world.kind == ThreadWorld::Kind::kInproc ? "Inproc"
                                                                : "Tcp";
  return std::string(kind) + std::to_string(world.ranks) + (world.spill_always ? "Spilled" : "");
}

inline void PrintTo(const WorldCase& world, std::ostream* out) { *out << WorldName(world); }

/// sim, in-process and TCP, on 1, 2, 3 and 7 ranks, with and without forced spilling. One rank uses no transport, so it
/// is tried once.
inline std::vector<WorldCase> AllWorlds() {
  std::vector<WorldCase> worlds = {{ThreadWorld::Kind::kSim, 1, false}, {ThreadWorld::Kind::kSim, 1, true}};
  for (const auto kind : {ThreadWorld::Kind::kSim, ThreadWorld::Kind::kInproc, ThreadWorld::Kind::kTcp}) {
    for (const int ranks : {2, 3, 7}) {
      for (const bool spill_always : {false, true}) {
        worlds.push_back({kind, ranks, spill_always});
      }
    }
  }
  return worlds;
}

/// Key types to try in `world`: every one on a single rank; elsewhere a quarter of them, others in each world, so that
/// every type meets every transport.
inline std::vector<std::shared_ptr<arrow::DataType>> KeyTypesFor(const WorldCase& world) {
  auto all = KeyTypes();
  if (world.ranks == 1) {
    return all;
  }
  const size_t turn =
      static_cast<size_t>(world.ranks % 4 % 3) * 2 + (world.spill_always ? 1 : 0) + static_cast<size_t>(world.kind);
  std::vector<std::shared_ptr<arrow::DataType>> some;
  for (size_t i = turn % 4; i < all.size(); i += 4) {
    some.push_back(all[i]);
  }
  return some;
}

inline ThreadWorld MakeWorld(const WorldCase& world, uint64_t seed = 1) {
  ThreadWorld made;
  made.kind = world.kind;
  made.ranks = world.ranks;
  made.seed = seed;
  made.options.spill_always = world.spill_always;
  made.options.memory_bytes = 256 << 20;
  made.options.threads = 1;
  return made;
}

/// Runs `body` at every rank and expects OK of each.
inline void ExpectAllOk(const ThreadWorld& world, const std::function<arrow::Status(Context&)>& body) {
  const auto statuses = RunRanks(world, body);
  ASSERT_EQ(static_cast<int>(statuses.size()), world.ranks);
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    EXPECT_TRUE(statuses[rank].ok()) << "rank " << rank << ": " << statuses[rank].ToString();
  }
}

/// The same rows in the same order; tells the first difference.
inline void ExpectRows(const Rows& actual, const Rows& expected, const std::string& name) {
  EXPECT_EQ(actual.size(), expected.size()) << name;
  for (size_t i = 0; i < std::min(actual.size(), expected.size()); ++i) {
    if (actual[i] != expected[i]) {
      ADD_FAILURE() << name << ", row " << i << ": " << ::testing::PrintToString(actual[i]) << " where "
                    << ::testing::PrintToString(expected[i]) << " was expected";
      return;
    }
  }
}

/// How many rows each rank begins with: even, all on one rank, some without any, one row in all, or none at all.
inline std::vector<int64_t> Shares(uint64_t seed, int ranks, int64_t total) {
  std::mt19937_64 rng(seed * 7919 + 17);
  std::vector<int64_t> shares(ranks, 0);
  switch (seed % 8) {
    case 0:
      shares[rng() % ranks] = total;
      break;
    case 1:
      shares[rng() % ranks] = 1;
      break;
    case 2:
      break;
    case 3:
      for (int64_t i = 0; i < total; ++i) {
        ++shares[rng() % ((ranks + 1) / 2)];
      }
      break;
    default:
      for (int64_t i = 0; i < total; ++i) {
        ++shares[rng() % ranks];
      }
  }
  return shares;
}

/// A distributed table that every rank can make its part of, and the test the whole.
struct RandomInput {
  RandomSpec spec;
  uint64_t seed = 0;
  std::vector<int64_t> shares;

  RandomInput(RandomSpec table_spec, uint64_t table_seed, int ranks, int64_t total)
      : spec(std::move(table_spec)), seed(table_seed), shares(Shares(table_seed, ranks, total)) {}

  Table Part(const std::shared_ptr<Resources>& resources, int rank) const {
    return RandomTable(resources, seed * 1000 + static_cast<uint64_t>(rank), shares[rank], spec);
  }
  /// All rows in the global order (rank, row).
  Rows Whole(const std::shared_ptr<Resources>& resources) const {
    Rows rows;
    for (size_t rank = 0; rank < shares.size(); ++rank) {
      const auto part = RowsOf(Part(resources, static_cast<int>(rank)));
      rows.insert(rows.end(), part.begin(), part.end());
    }
    return rows;
  }
};

/// Results of all ranks; each writes its own place.
class Gathered {
 public:
  explicit Gathered(int ranks) : parts_(ranks) {}
  void Set(int rank, Rows rows) { parts_[rank] = std::move(rows); }
  const Rows& part(int rank) const { return parts_[rank]; }
  Rows InOrder() const {
    Rows rows;
    for (const auto& part : parts_) {
      rows.insert(rows.end(), part.begin(), part.end());
    }
    return rows;
  }

 private:
  std::vector<Rows> parts_;
};

/// Runs an operator on the parts of every case's `input` at every rank of `world`; the results by case.
template <typename Case>
std::vector<Gathered> RunCases(const WorldCase& world, const std::vector<Case>& cases,
                               const std::function<arrow::Result<Table>(Context&, const Table&, const Case&)>& run) {
  std::vector<Gathered> results(cases.size(), Gathered(world.ranks));
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    for (size_t i = 0; i < cases.size(); ++i) {
      const auto part = cases[i].input.Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto result, run(context, part, cases[i]));
      results[i].Set(context.rank(), RowsOf(result));
    }
    return arrow::Status::OK();
  });
  return results;
}

inline std::shared_ptr<Resources> TestResources() {
  Options options;
  options.memory_bytes = 1 << 30;
  options.threads = 1;
  return Resources::Make(options).ValueOrDie();
}

/// A small table from columns of int64, for tests that want to see the values.
inline Table IntTable(const std::shared_ptr<Resources>& resources, const std::vector<std::string>& names,
                      const std::vector<std::vector<int64_t>>& columns) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (size_t i = 0; i < names.size(); ++i) {
    arrow::Int64Builder builder;
    ARROW_CHECK_OK(builder.AppendValues(columns[i]));
    fields.push_back(arrow::field(names[i], arrow::int64()));
    arrays.push_back(builder.Finish().ValueOrDie());
  }
  const auto schema = arrow::schema(fields);
  const auto batch = arrow::RecordBatch::Make(schema, static_cast<int64_t>(columns[0].size()), arrays);
  return Table::FromBatches(resources, schema, {batch}).ValueOrDie();
}

}  // namespace cylon::testing
