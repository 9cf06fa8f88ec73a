// Joins against a naive one, over every key type, join type, null rule, budget and number of threads.
#include "cylon/kernels/join.h"

#include <gtest/gtest.h>

#include <functional>
#include <optional>

#include "cylon/kernels/join_merge.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/testing/random_table.h"

namespace cylon {
namespace {

using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;

std::shared_ptr<Resources> MakeResources(int threads = 1, int64_t memory = int64_t{1} << 30, bool spill_always = false,
                                         int64_t morsel_rows = 100) {
  Options options;
  options.threads = threads;
  options.memory_bytes = memory;
  options.spill_always = spill_always;
  options.morsel_rows = morsel_rows;
  return Resources::Make(options).ValueOrDie();
}

constexpr JoinType kJoinTypes[] = {JoinType::kInner, JoinType::kLeft, JoinType::kRight,
                                   JoinType::kFull,  JoinType::kSemi, JoinType::kAnti};

/// All columns of both sides, no merged keys.
JoinKernelOptions OptionsFor(JoinType type, const arrow::Schema& left, const arrow::Schema& right, int keys) {
  JoinKernelOptions options;
  options.type = type;
  std::vector<std::shared_ptr<arrow::Field>> fields;
  for (int i = 0; i < left.num_fields(); ++i) {
    options.left_output.push_back(i);
    fields.push_back(left.field(i)->WithNullable(true));
  }
  for (int i = 0; i < right.num_fields() && type != JoinType::kSemi && type != JoinType::kAnti; ++i) {
    options.right_output.push_back(i);
    fields.push_back(right.field(i)->WithNullable(true)->WithName("right_" + right.field(i)->name()));
  }
  for (int i = 0; i < keys; ++i) {
    options.left_keys.push_back(i);
    options.right_keys.push_back(i);
  }
  options.output_schema = arrow::schema(fields);
  return options;
}

std::vector<std::string> KeyTexts(const Table& table, int keys, std::vector<bool>* nulls) {
  std::vector<int> columns;
  for (int i = 0; i < keys; ++i) {
    columns.push_back(i);
  }
  std::vector<std::string> texts;
  const auto projected = table.SelectColumns(columns).ValueOrDie();
  for (const auto& chunk : projected.chunks()) {
    const auto batch = chunk->Pin().ValueOrDie();
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      std::string text;
      bool null = false;
      for (int k = 0; k < keys; ++k) {
        const std::string value = testing::ValueText(*batch->column(k), i);
        null = null || value == "null";
        text += (value == "-0" ? "0" : value) + "|";
      }
      texts.push_back(text);
      nulls->push_back(null);
    }
  }
  return texts;
}

/// Nested loops. Merged keys (coalesce) of all pairs of keys when asked.
std::vector<std::string> NaiveJoin(const Table& left, const Table& right, JoinType type, NullKeys null_keys, int keys,
                                   bool coalesce, const std::function<bool(size_t, size_t)>& condition = nullptr) {
  std::vector<bool> left_null, right_null;
  const auto left_keys = KeyTexts(left, keys, &left_null);
  const auto right_keys = KeyTexts(right, keys, &right_null);
  const auto left_rows = RowsAsStrings(left);
  const auto right_rows = RowsAsStrings(right);
  const auto nulls = [](int columns) {
    std::string text = "null";
    for (int i = 1; i < columns; ++i) {
      text += "|null";
    }
    return text;
  };
  const auto matches = [&](size_t l, size_t r) {
    return left_keys[l] == right_keys[r] && (null_keys == NullKeys::kMatch || !left_null[l]) &&
           (condition == nullptr || condition(l, r));
  };
  std::vector<std::string> result;
  std::vector<bool> right_found(right_rows.size(), false);
  std::vector<std::string> unmatched_right;
  const auto without_left = [&](size_t r) {
    if (!coalesce) {
      return nulls(left.num_columns()) + "|" + right_rows[r];
    }
    // Test values hold no '|', so the right keys are the first `keys` fields.
    size_t end = 0;
    for (int k = 0; k < keys; ++k) {
      end = right_rows[r].find('|', end) + 1;
    }
    std::string merged = right_rows[r].substr(0, end);
    return merged + nulls(left.num_columns() - keys) + "|" + right_rows[r];
  };
  if (type == JoinType::kRight) {
    for (size_t r = 0; r < right_rows.size(); ++r) {
      bool found = false;
      for (size_t l = 0; l < left_rows.size(); ++l) {
        if (matches(l, r)) {
          found = true;
          result.push_back(left_rows[l] + "|" + right_rows[r]);
        }
      }
      if (!found) {
        result.push_back(without_left(r));
      }
    }
    return result;
  }
  for (size_t l = 0; l < left_rows.size(); ++l) {
    bool found = false;
    for (size_t r = 0; r < right_rows.size(); ++r) {
      if (matches(l, r)) {
        found = true;
        right_found[r] = true;
        if (type != JoinType::kSemi && type != JoinType::kAnti) {
          result.push_back(left_rows[l] + "|" + right_rows[r]);
        }
      }
    }
    if (type == (found ? JoinType::kSemi : JoinType::kAnti)) {
      result.push_back(left_rows[l]);
    } else if (!found && (type == JoinType::kLeft || type == JoinType::kFull)) {
      result.push_back(left_rows[l] + "|" + nulls(right.num_columns()));
    }
  }
  for (size_t r = 0; r < right_rows.size() && type == JoinType::kFull; ++r) {
    if (!right_found[r]) {
      result.push_back(without_left(r));
    }
  }
  return result;
}

RandomSpec SpecFor(const std::vector<std::shared_ptr<arrow::DataType>>& keys, int distinct,
                   std::shared_ptr<arrow::DataType> payload) {
  RandomSpec spec;
  spec.largest_chunk = 60;
  for (const auto& key : keys) {
    spec.columns.push_back(RandomColumn{"key" + std::to_string(spec.columns.size()), key, distinct, 0.1, true});
  }
  spec.columns.push_back(RandomColumn{"payload", std::move(payload), 1000, 0.1});
  return spec;
}

void ExpectSame(std::vector<std::string> actual, std::vector<std::string> expected, const std::string& what) {
  std::sort(actual.begin(), actual.end());
  std::sort(expected.begin(), expected.end());
  ASSERT_EQ(actual.size(), expected.size()) << what;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i], expected[i]) << what << ", row " << i;
  }
}

void CheckJoin(const std::shared_ptr<Resources>& resources, const Table& left, const Table& right, int keys,
               bool coalesce = false, const JoinLimits& limits = {}, JoinAlgorithm algorithm = JoinAlgorithm::kHash) {
  for (JoinType type : kJoinTypes) {
    for (NullKeys null_keys : {NullKeys::kMatch, NullKeys::kNeverMatch}) {
      auto options = OptionsFor(type, *left.schema(), *right.schema(), keys);
      options.null_keys = null_keys;
      options.limits = limits;
      for (int k = 0; k < keys && coalesce; ++k) {
        options.coalesce.push_back(k);
      }
      options.algorithm = algorithm;
      const auto joined = JoinTables(resources, left, right, options);
      ASSERT_TRUE(joined.ok()) << joined.status().ToString();
      for (const auto& chunk : joined->chunks()) {
        ASSERT_TRUE(chunk->Pin().ValueOrDie()->ValidateFull().ok());
      }
      ExpectSame(
          RowsAsStrings(*joined), NaiveJoin(left, right, type, null_keys, keys, coalesce),
          "join type " + std::to_string(static_cast<int>(type)) + " on " + left.schema()->field(0)->type()->ToString());
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(JoinTest, EveryKeyTypeMatchesByValue) {
  auto resources = MakeResources();
  uint64_t seed = 1;
  for (const auto& type : testing::KeyTypes()) {
    const auto spec = SpecFor({type}, 40, arrow::int32());
    CheckJoin(resources, testing::RandomTable(resources, seed, 70, spec),
              testing::RandomTable(resources, seed + 1, 50, spec), 1, true);
    seed += 2;
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(JoinTest, SeveralKeysMatchTogether) {
  const std::vector<std::vector<std::shared_ptr<arrow::DataType>>> combinations = {
      {arrow::int64(), arrow::int32()},
      {arrow::utf8(), arrow::timestamp(arrow::TimeUnit::SECOND)},
      {arrow::float64(), arrow::utf8_view(), arrow::boolean()},
      {arrow::decimal128(20, 2), arrow::fixed_size_binary(5)},
      {arrow::null(), arrow::dictionary(arrow::int8(), arrow::utf8())}};
  auto resources = MakeResources(3);
  uint64_t seed = 100;
  for (const auto& types : combinations) {
    const auto spec = SpecFor(types, 6, arrow::utf8_view());
    CheckJoin(resources, testing::RandomTable(resources, seed, 120, spec),
              testing::RandomTable(resources, seed + 1, 90, spec), static_cast<int>(types.size()), true);
    seed += 2;
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(JoinTest, EmptySidesAndOneRowAreOrdinary) {
  auto resources = MakeResources();
  const auto spec = SpecFor({arrow::utf8()}, 5, arrow::list(arrow::int32()));
  for (int64_t left_rows : {0, 1, 30}) {
    for (int64_t right_rows : {0, 1, 30}) {
      CheckJoin(resources, testing::RandomTable(resources, 7, left_rows, spec),
                testing::RandomTable(resources, 8, right_rows, spec), 1);
    }
  }
}

/// What is one partition, piece, wave and task for few rows, and many for many.
TEST(JoinTest, HoweverItIsCutTheRowsAreTheSame) {
  const std::vector<JoinLimits> cuts = {
      {.bits = 0, .task_rows = 7},  {.bits = 3},
      {.bits = 3, .task_rows = 1},  {.bits = 1, .piece_rows = 13},
      {.bits = 2, .wave_rows = 17}, {.bits = 4, .piece_rows = 20, .wave_rows = 25, .task_rows = 2}};
  const std::vector<std::vector<std::shared_ptr<arrow::DataType>>> keys = {
      {arrow::int64()}, {arrow::int16()}, {arrow::utf8()}, {arrow::int32(), arrow::float64()}};
  uint64_t seed = 500;
  for (const int threads : {1, 3}) {
    auto resources = MakeResources(threads);
    for (const auto& types : keys) {
      for (const double null_share : {0.0, 0.2}) {
        for (const auto& limits : cuts) {
          auto spec = SpecFor(types, 20, seed % 2 == 0 ? arrow::utf8() : arrow::boolean());
          for (auto& column : spec.columns) {
            column.null_share = null_share;
          }
          CheckJoin(resources, testing::RandomTable(resources, seed, 90, spec),
                    testing::RandomTable(resources, seed + 1, 60 + seed % 2 * 60, spec), static_cast<int>(types.size()),
                    true, limits);
          ++seed;
          if (HasFatalFailure()) {
            return;
          }
        }
      }
    }
  }
}

bool HasOrder(const arrow::DataType& type) { return !arrow::is_interval(type.id()); }

TEST(JoinTest, SortedAndMergedTheRowsAreTheSame) {
  uint64_t seed = 700;
  const std::vector<JoinLimits> cuts = {{}, {.piece_rows = 13, .wave_rows = 17, .task_rows = 5}};
  for (const int threads : {1, 3}) {
    auto resources = MakeResources(threads);
    for (const auto& type : testing::KeyTypes()) {
      if (HasOrder(*type)) {
        const auto spec = SpecFor({type}, 25, arrow::utf8());
        seed += 2;
        CheckJoin(resources, testing::RandomTable(resources, seed, 70, spec),
                  testing::RandomTable(resources, seed + 1, 90, spec), 1, true, cuts[seed / 2 % 2],
                  JoinAlgorithm::kSort);
      }
      if (HasFatalFailure()) {
        return;
      }
    }
    for (const double null_share : {0.0, 0.2}) {
      auto spec = SpecFor({arrow::float64(), arrow::int16()}, 5, arrow::int32());
      for (auto& column : spec.columns) {
        column.null_share = null_share;
      }
      seed += 2;
      CheckJoin(resources, testing::RandomTable(resources, seed, 70, spec),
                testing::RandomTable(resources, seed + 1, 50, spec), 2, true, cuts[1], JoinAlgorithm::kSort);
    }
  }
}

TEST(JoinTest, SortedTablesAreToldFromOthers) {
  auto resources = MakeResources();
  for (const auto& type : {arrow::int64(), arrow::float64(), arrow::utf8()}) {
    const auto table = testing::RandomTable(resources, 4, 500, SpecFor({type}, 60, arrow::int32()));
    EXPECT_FALSE(IsSortedByKeys(table, {0}).ValueOrDie());
    const auto sorted = SortTable(resources, table, {{0, SortOrder::kAscending, NullPlacement::kLast}}).ValueOrDie();
    EXPECT_TRUE(IsSortedByKeys(sorted, {0}).ValueOrDie());
    const auto backwards =
        SortTable(resources, table, {{0, SortOrder::kDescending, NullPlacement::kLast}}).ValueOrDie();
    EXPECT_FALSE(IsSortedByKeys(backwards, {0}).ValueOrDie());
  }
}

/// The int32 values of a column; nullopt for nulls.
std::vector<std::optional<int32_t>> Int32Values(const Table& table, int column) {
  std::vector<std::optional<int32_t>> values;
  for (const auto& chunk : table.chunks()) {
    const auto batch = chunk->Pin().ValueOrDie();
    const auto& array = static_cast<const arrow::Int32Array&>(*batch->column(column));
    for (int64_t i = 0; i < array.length(); ++i) {
      values.push_back(array.IsNull(i) ? std::nullopt : std::optional<int32_t>(array.Value(i)));
    }
  }
  return values;
}

TEST(JoinTest, RowsWithoutAPairThatFulfilsTheConditionHaveNoMatch) {
  uint64_t seed = 900;
  for (const int threads : {1, 3}) {
    auto resources = MakeResources(threads);
    for (const int keys : {0, 1, 2}) {
      for (const JoinLimits& limits : {JoinLimits{}, JoinLimits{.bits = 2, .piece_rows = 20, .wave_rows = 30},
                                       JoinLimits{.bits = 3, .task_rows = 5}}) {
        const std::vector<std::shared_ptr<arrow::DataType>> types = {arrow::int64(), arrow::utf8()};
        const auto spec = SpecFor({types.begin(), types.begin() + keys}, 4, arrow::int32());
        const auto left = testing::RandomTable(resources, ++seed, 80, spec);
        const int64_t right_rows = seed % 4 < 2 ? 40 : 120;
        const auto right = testing::RandomTable(resources, ++seed, right_rows, spec);
        const auto left_values = Int32Values(left, keys);
        const auto right_values = Int32Values(right, keys);
        const auto holds = [&](size_t l, size_t r) {
          return left_values[l].has_value() && right_values[r].has_value() && *left_values[l] < *right_values[r] &&
                 *left_values[l] != *right_values[r];
        };
        for (JoinType type : kJoinTypes) {
          auto options = OptionsFor(type, *left.schema(), *right.schema(), keys);
          options.condition = {{keys, Comparison::kLess, keys}, {keys, Comparison::kNotEqual, keys}};
          options.limits = limits;
          const auto joined = JoinTables(resources, left, right, options);
          ASSERT_TRUE(joined.ok()) << joined.status().ToString();
          ExpectSame(RowsAsStrings(*joined), NaiveJoin(left, right, type, NullKeys::kMatch, keys, false, holds),
                     "join type " + std::to_string(static_cast<int>(type)) + ", " + std::to_string(keys) + " keys");
          if (HasFatalFailure()) {
            return;
          }
        }
      }
    }
  }
}

TEST(JoinTest, ComparisonsOfTypesThatCannotBeComparedAreRefused) {
  auto resources = MakeResources();
  const auto left = testing::RandomTable(resources, 5, 10, SpecFor({arrow::int64()}, 5, arrow::int32()));
  const auto right = testing::RandomTable(resources, 5, 10, SpecFor({arrow::int64()}, 5, arrow::utf8()));
  auto options = OptionsFor(JoinType::kInner, *left.schema(), *right.schema(), 1);
  options.condition = {{1, Comparison::kLess, 1}};
  const auto status = JoinTables(resources, left, right, options).status();
  EXPECT_TRUE(status.IsTypeError());
  EXPECT_NE(status.message().find("the join condition 'payload' < 'payload' compares int32 with string; both have to "
                                  "be numbers, or both strings, or times of one kind; cast one side"),
            std::string::npos)
      << status.message();
}

TEST(JoinTest, WithoutKeysEveryRowMatchesEveryRow) {
  auto resources = MakeResources(3);
  const auto spec = SpecFor({}, 5, arrow::int32());
  const auto left = testing::RandomTable(resources, 5, 130, spec);
  const auto right = testing::RandomTable(resources, 6, 90, spec);
  CheckJoin(resources, left, right, 0);
  CheckJoin(resources, left, right, 0, false, {.piece_rows = 40, .wave_rows = 50, .task_rows = 9});
}

TEST(JoinTest, NullKeysMatchOnlyWhenAsked) {
  auto resources = MakeResources();
  RandomSpec spec;
  spec.columns.push_back(RandomColumn{"key", arrow::int64(), 5, 1.0});
  const auto table = testing::RandomTable(resources, 3, 4, spec);
  auto options = OptionsFor(JoinType::kInner, *table.schema(), *table.schema(), 1);
  EXPECT_EQ(JoinTables(resources, table, table, options)->num_rows(), 16);
  options.null_keys = NullKeys::kNeverMatch;
  EXPECT_EQ(JoinTables(resources, table, table, options)->num_rows(), 0);
}

TEST(JoinTest, SmallBudgetGivesTheSameRows) {
  for (const bool spill_always : {false, true}) {
    for (const int threads : {1, 3}) {
      auto resources = MakeResources(threads, 128 << 10, spill_always);
      auto spec = SpecFor({arrow::int64(), arrow::utf8()}, 40, arrow::utf8());
      spec.largest_chunk = 40;
      CheckJoin(resources, testing::RandomTable(resources, 5, 600, spec), testing::RandomTable(resources, 6, 500, spec),
                2, true);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(JoinTest, ManyRowsAreBuiltSideBySideWithTheSameResult) {
  RandomSpec spec;
  spec.largest_chunk = 20000;
  spec.columns.push_back(RandomColumn{"key", arrow::int64(), 100000, 0.01});
  std::vector<std::string> expected;
  for (const int threads : {1, 3}) {
    auto resources = MakeResources(threads, int64_t{1} << 30, false, 10000);
    const auto left = testing::RandomTable(resources, 5, 3000, spec);
    const auto right = testing::RandomTable(resources, 6, 70000, spec);
    const auto joined =
        JoinTables(resources, left, right, OptionsFor(JoinType::kFull, *left.schema(), *right.schema(), 1))
            .ValueOrDie();
    auto rows = RowsAsStrings(joined);
    std::sort(rows.begin(), rows.end());
    if (threads == 1) {
      expected = rows;
      EXPECT_GT(rows.size(), 70000u);
    }
    EXPECT_TRUE(rows == expected);
  }
}

TEST(JoinTest, KeysOfDifferentTypesAreRefusedByName) {
  auto resources = MakeResources();
  const auto left = testing::RandomTable(resources, 5, 10, SpecFor({arrow::int64()}, 5, arrow::int32()));
  const auto right = testing::RandomTable(resources, 5, 10, SpecFor({arrow::utf8()}, 5, arrow::int32()));
  const auto status =
      JoinTables(resources, left, right, OptionsFor(JoinType::kInner, *left.schema(), *right.schema(), 1)).status();
  EXPECT_TRUE(status.IsTypeError());
  EXPECT_NE(status.message().find("join key 'key0' is int64 on the left and 'key0' is string on the right"),
            std::string::npos)
      << status.message();
}

}  // namespace
}  // namespace cylon
