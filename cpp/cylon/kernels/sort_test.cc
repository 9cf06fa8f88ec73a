// Sorting and merging against a naive stable sort, over every key type, direction, placement of nulls and budget.
#include "cylon/kernels/sort.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "cylon/kernels/testing/compare_values.h"
#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::MakeResources;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;

/// Sorted row texts of one batch.
std::vector<std::string> NaiveSort(const arrow::RecordBatch& batch, const std::vector<SortKey>& keys) {
  std::vector<std::vector<int>> places;  // 0: value, 1: NaN, 2: null
  for (const auto& key : keys) {
    places.emplace_back();
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      const std::string text = testing::ValueText(*batch.column(key.column), i);
      const auto id = batch.column(key.column)->type_id();
      const bool half_nan = id == arrow::Type::HALF_FLOAT && text.find("nan") != std::string::npos;
      places.back().push_back(text == "null" ? 2 : (text == "nan" || half_nan ? 1 : 0));
    }
  }
  std::vector<int64_t> rows(batch.num_rows());
  std::iota(rows.begin(), rows.end(), 0);
  std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) {
    for (size_t k = 0; k < keys.size(); ++k) {
      const int direction = keys[k].nulls == NullPlacement::kFirst ? -1 : 1;
      if (places[k][a] != places[k][b]) {
        return direction * places[k][a] < direction * places[k][b];
      }
      if (places[k][a] != 0) {
        continue;
      }
      int compared = testing::CompareValues(*batch.column(keys[k].column), a, b);
      compared = keys[k].order == SortOrder::kDescending ? -compared : compared;
      if (compared != 0) {
        return compared < 0;
      }
    }
    return false;
  });
  const auto texts = RowsAsStrings(batch);
  std::vector<std::string> sorted;
  for (int64_t row : rows) {
    sorted.push_back(texts[row]);
  }
  return sorted;
}

RandomSpec SpecFor(const std::vector<std::shared_ptr<arrow::DataType>>& keys, int64_t largest_chunk) {
  RandomSpec spec;
  spec.largest_chunk = largest_chunk;
  for (const auto& key : keys) {
    spec.columns.push_back(RandomColumn{"key" + std::to_string(spec.columns.size()), key, 25, 0.1});
  }
  spec.columns.push_back(RandomColumn{"payload", arrow::utf8_view(), 1000, 0.1});
  spec.columns.push_back(RandomColumn{"number", arrow::int64(), 1 << 30, 0});
  return spec;
}

void ExpectSorted(const Table& actual, const std::vector<std::string>& expected, const std::string& what) {
  const auto rows = RowsAsStrings(actual);
  ASSERT_EQ(rows.size(), expected.size()) << what;
  for (size_t i = 0; i < rows.size(); ++i) {
    ASSERT_EQ(rows[i], expected[i]) << what << ", row " << i;
  }
}

TEST(SortTest, EveryTypeInEveryDirection) {
  auto resources = MakeResources();
  uint64_t seed = 1;
  for (const auto& type : testing::KeyTypes()) {
    const auto table = testing::RandomTable(resources, ++seed, 200, SpecFor({type}, 60));
    const auto batch = table.ToBatch().ValueOrDie();
    for (SortOrder order : {SortOrder::kAscending, SortOrder::kDescending}) {
      for (NullPlacement nulls : {NullPlacement::kFirst, NullPlacement::kLast}) {
        const std::vector<SortKey> keys = {{0, order, nulls}};
        const auto sorted = SortTable(resources, table, keys);
        ASSERT_TRUE(sorted.ok()) << sorted.status().ToString();
        ExpectSorted(*sorted, NaiveSort(*batch, keys), type->ToString());
        if (HasFatalFailure()) {
          return;
        }
      }
    }
  }
}

TEST(SortTest, EncodedKeysCompareAsTheRowsDo) {
  auto resources = MakeResources();
  uint64_t seed = 50;
  for (const auto& type : testing::KeyTypes()) {
    std::mt19937_64 rng(++seed);
    const auto batch = testing::RandomBatch(rng, SpecFor({type, arrow::int8()}, 60), 120);
    const std::vector<SortKey> keys = {{0, SortOrder::kDescending, NullPlacement::kFirst},
                                       {1, SortOrder::kAscending, NullPlacement::kLast}};
    std::vector<uint8_t> bytes;
    std::vector<int64_t> offsets;
    ASSERT_TRUE(EncodeSortKeys(*batch, keys, &bytes, &offsets).ok());
    std::vector<int64_t> rows(batch->num_rows());
    std::iota(rows.begin(), rows.end(), 0);
    const auto key = [&](int64_t row) {
      return std::string(bytes.begin() + offsets[row], bytes.begin() + offsets[row + 1]);
    };
    std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return key(a) < key(b); });
    const auto texts = RowsAsStrings(*batch);
    const auto expected = NaiveSort(*batch, keys);
    for (size_t i = 0; i < rows.size(); ++i) {
      ASSERT_EQ(texts[rows[i]], expected[i]) << type->ToString() << " row " << i;
    }
  }
}

TEST(SortTest, SeveralKeysAnyBudgetAndThreads) {
  const auto spec = SpecFor({arrow::utf8(), arrow::float64(), arrow::int32()}, 50);
  const std::vector<SortKey> keys = {{0, SortOrder::kDescending, NullPlacement::kFirst},
                                     {1, SortOrder::kAscending, NullPlacement::kLast},
                                     {2, SortOrder::kDescending, NullPlacement::kLast}};
  std::vector<std::string> expected;
  for (const bool small : {false, true}) {
    for (const bool spill_always : {false, true}) {
      for (const int threads : {1, 3}) {
        auto resources = MakeResources({threads, small ? 256 << 10 : 1 << 30, spill_always});
        const auto table = testing::RandomTable(resources, 77, 3000, spec);
        if (expected.empty()) {
          expected = NaiveSort(*table.ToBatch().ValueOrDie(), keys);
        }
        const auto sorted = SortTable(resources, table, keys);
        ASSERT_TRUE(sorted.ok()) << sorted.status().ToString();
        ExpectSorted(*sorted, expected, std::to_string(threads) + (small ? " small" : ""));
      }
    }
  }
}

TEST(SortTest, ManyRowsAreSortedSideBySide) {
  RandomSpec spec;
  spec.largest_chunk = 20000;
  spec.columns.push_back(RandomColumn{"key", arrow::int64(), 1000, 0.01});
  spec.columns.push_back(RandomColumn{"second", arrow::float32(), 1000, 0.01});
  for (const auto& keys : {std::vector<SortKey>{{0}}, std::vector<SortKey>{{0}, {1, SortOrder::kDescending}}}) {
    std::vector<std::string> expected;
    for (const int threads : {1, 3}) {
      auto resources = MakeResources({threads, int64_t{1} << 30, false, 10000});
      const auto sorted = SortTable(resources, testing::RandomTable(resources, 9, 70000, spec), keys).ValueOrDie();
      const auto rows = RowsAsStrings(sorted);
      expected = threads == 1 ? rows : expected;
      EXPECT_TRUE(rows == expected);
    }
  }
}

/// More rows than one partition takes, so that they are dealt; types of words, which are had back, carried or gathered.
TEST(SortTest, DealtRowsOfEveryWordType) {
  uint64_t seed = 300;
  for (const auto& type : testing::KeyTypes()) {
    ++seed;
    auto resources = MakeResources({static_cast<int>(1 + seed % 3), int64_t{1} << 30});
    RandomSpec spec;
    spec.largest_chunk = 7000;
    spec.columns = {{"key", type, 25, 0.1},
                    {"number", arrow::int64(), 1 << 30, 0.1},
                    {"small", arrow::float32(), 1 << 20, 0},
                    {"text", arrow::utf8(), 1000, 0.1},
                    {"flag", arrow::boolean(), 2, 0.1}};
    const auto whole = testing::RandomTable(resources, seed, 20100, spec);
    const auto table = whole.Slice(13, 20000).ValueOrDie();
    const std::vector<SortKey> keys = {{0, seed % 2 == 0 ? SortOrder::kAscending : SortOrder::kDescending,
                                        seed % 4 < 2 ? NullPlacement::kFirst : NullPlacement::kLast}};
    const auto sorted = SortTable(resources, table, keys);
    ASSERT_TRUE(sorted.ok()) << sorted.status().ToString();
    ASSERT_TRUE(sorted->ToBatch().ValueOrDie()->ValidateFull().ok());
    ExpectSorted(*sorted, NaiveSort(*table.ToBatch().ValueOrDie(), keys), type->ToString());
    if (HasFatalFailure()) {
      return;
    }
  }
}

std::shared_ptr<arrow::Array> Numbers(const std::vector<int64_t>& values) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

/// Rows (key, second key, number of the row), sorted by both.
void ExpectPairsSorted(const std::vector<int64_t>& first, const std::vector<int64_t>& second, SortOrder order) {
  auto resources = MakeResources({2, int64_t{1} << 30, false, 5000});
  std::vector<int64_t> rows(first.size());
  std::iota(rows.begin(), rows.end(), 0);
  const auto schema = arrow::schema({arrow::field("first", arrow::int64()), arrow::field("second", arrow::int64()),
                                     arrow::field("row", arrow::int64())});
  const auto batch = arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()),
                                              {Numbers(first), Numbers(second), Numbers(rows)});
  const auto table = Table::FromBatches(resources, schema, {batch}).ValueOrDie();
  const auto sorted = SortTable(resources, table, {{0, order}, {1}}).ValueOrDie().ToBatch().ValueOrDie();
  std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) {
    return first[a] != first[b] ? (first[a] < first[b]) == (order == SortOrder::kAscending) : second[a] < second[b];
  });
  ASSERT_EQ(sorted->num_rows(), static_cast<int64_t>(rows.size()));
  const auto value = [&](int column, int64_t i) {
    return static_cast<const arrow::Int64Array&>(*sorted->column(column)).Value(i);
  };
  for (int64_t i = 0; i < sorted->num_rows(); ++i) {
    ASSERT_EQ(value(2, i), rows[i]) << "row " << i;
    ASSERT_EQ(value(0, i), first[rows[i]]);
    ASSERT_EQ(value(1, i), second[rows[i]]);
  }
}

TEST(SortTest, SkewedKeysAndKeysWiderThanAWord) {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  std::mt19937_64 rng(3);
  for (const int64_t count : {100, 50000}) {
    std::vector<int64_t> narrow(count);
    std::vector<int64_t> full(count);
    std::vector<int64_t> sentinel(count);
    std::vector<int64_t> heavy(count);
    std::vector<int64_t> ends(count);
    for (int64_t i = 0; i < count; ++i) {
      narrow[i] = static_cast<int64_t>(rng() % 5) - 2;
      full[i] = static_cast<int64_t>(rng());
      sentinel[i] = i % 7 == 0 ? kMost : static_cast<int64_t>(rng() % 1000);
      heavy[i] = i % 10 != 0 ? 42 : static_cast<int64_t>(rng());
      ends[i] = i % 2 == 0 ? kLeast : kMost;
    }
    for (const auto order : {SortOrder::kAscending, SortOrder::kDescending}) {
      ExpectPairsSorted(narrow, narrow, order);
      ExpectPairsSorted(narrow, full, order);
      ExpectPairsSorted(full, narrow, order);
      ExpectPairsSorted(sentinel, full, order);
      ExpectPairsSorted(heavy, sentinel, order);
      ExpectPairsSorted(ends, heavy, order);
      ExpectPairsSorted(ends, ends, order);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

/// Null has no code among the values where these take all 64 bits.
TEST(SortTest, NullsBesideTheFullRange) {
  auto resources = MakeResources();
  const auto table = testing::RandomTable(
      resources, 4, 20000,
      RandomSpec{{{"filler", arrow::int64(), 1 << 30, 0}, {"number", arrow::int32(), 1 << 30, 0}}, 6000});
  const auto batch = table.ToBatch().ValueOrDie();
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < batch->num_rows(); ++i) {
    const auto value = i % 3 == 0   ? std::numeric_limits<int64_t>::min() + i % 2
                       : i % 3 == 1 ? std::numeric_limits<int64_t>::max() - i % 2
                                    : i;
    ASSERT_TRUE((i % 5 == 0 ? builder.AppendNull() : builder.Append(value)).ok());
  }
  const auto mixed =
      batch->SetColumn(0, arrow::field("key", arrow::int64()), builder.Finish().ValueOrDie()).ValueOrDie();
  const auto input = Table::FromBatches(resources, mixed->schema(), {mixed}).ValueOrDie();
  for (const auto order : {SortOrder::kAscending, SortOrder::kDescending}) {
    for (const auto nulls : {NullPlacement::kFirst, NullPlacement::kLast}) {
      ExpectSorted(SortTable(resources, input, {{0, order, nulls}}).ValueOrDie(),
                   NaiveSort(*mixed, {{0, order, nulls}}), "full range");
    }
  }
}

TEST(SortTest, TextsThatDifferLate) {
  auto resources = MakeResources();
  std::mt19937_64 rng(8);
  arrow::StringBuilder texts;
  std::vector<std::string> values;
  for (int64_t i = 0; i < 20000; ++i) {
    std::string text = "customer number " + std::string(rng() % 3 * 60, 'x') + std::to_string(rng() % 5000);
    text.resize(text.size() + rng() % 2, '\0');
    values.push_back(text);
    ASSERT_TRUE(texts.Append(text).ok());
  }
  std::vector<int64_t> rows(values.size());
  std::iota(rows.begin(), rows.end(), 0);
  const auto schema = arrow::schema({arrow::field("text", arrow::utf8()), arrow::field("row", arrow::int64())});
  const auto batch =
      arrow::RecordBatch::Make(schema, static_cast<int64_t>(rows.size()), {texts.Finish().ValueOrDie(), Numbers(rows)});
  const auto table = Table::FromBatches(resources, schema, {batch}).ValueOrDie();
  const auto sorted = SortTable(resources, table, {{0}}).ValueOrDie().ToBatch().ValueOrDie();
  std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return values[a] < values[b]; });
  for (int64_t i = 0; i < sorted->num_rows(); ++i) {
    ASSERT_EQ(static_cast<const arrow::Int64Array&>(*sorted->column(1)).Value(i), rows[i]) << "row " << i;
  }
}

TEST(SortTest, WhatIsSortedComesBackAsItIs) {
  const auto spec = SpecFor({arrow::utf8(), arrow::float64(), arrow::int32()}, 50);
  auto resources = MakeResources();
  for (const auto& keys : {std::vector<SortKey>{{0}, {1}}, std::vector<SortKey>{{1, SortOrder::kDescending}},
                           std::vector<SortKey>{{2, SortOrder::kAscending, NullPlacement::kFirst}, {1}}}) {
    const auto once = SortTable(resources, testing::RandomTable(resources, 5, 9000, spec), keys).ValueOrDie();
    const auto parts = Table::Concatenate({once.Slice(0, 5000).ValueOrDie(), once.Slice(5000, 4000).ValueOrDie()});
    const auto twice = SortTable(resources, *parts, keys).ValueOrDie();
    EXPECT_TRUE(twice.chunks() == parts->chunks());
    const auto swapped = Table::Concatenate({once.Slice(4500, 4500).ValueOrDie(), once.Slice(0, 4500).ValueOrDie()});
    EXPECT_FALSE(SortTable(resources, *swapped, keys).ValueOrDie().chunks() == swapped->chunks());
  }
}

TEST(SortTest, NothingAndOneRowAreOrdinary) {
  auto resources = MakeResources();
  const auto spec = SpecFor({arrow::utf8()}, 50);
  EXPECT_EQ(SortTable(resources, testing::RandomTable(resources, 1, 0, spec), {{0}}).ValueOrDie().num_rows(), 0);
  EXPECT_EQ(SortTable(resources, testing::RandomTable(resources, 1, 1, spec), {{0}}).ValueOrDie().num_rows(), 1);
}

TEST(SortTest, ColumnWithoutOrderIsRefusedByName) {
  auto resources = MakeResources();
  for (const auto& type : {arrow::list(arrow::int32()), arrow::day_time_interval()}) {
    const auto table = Table::Empty(resources, arrow::schema({arrow::field("odd", type)}));
    const auto status = SortTable(resources, table, {{0}}).status();
    EXPECT_TRUE(status.IsNotImplemented());
    EXPECT_NE(status.message().find("column 'odd' of type"), std::string::npos) << status.message();
  }
}

TEST(MergeSortedTest, EqualRowsComeInTheOrderOfTheInputs) {
  const auto spec = SpecFor({arrow::int16(), arrow::dictionary(arrow::int8(), arrow::utf8())}, 40);
  for (const int64_t memory : {int64_t{1} << 30, int64_t{256} << 10}) {
    auto resources = MakeResources({1, memory});
    const std::vector<SortKey> keys = {{0, SortOrder::kDescending, NullPlacement::kLast}, {1}};
    std::vector<Table> inputs;
    for (int i = 0; i < 20; ++i) {
      inputs.push_back(
          SortTable(resources, testing::RandomTable(resources, 100 + i, i == 3 ? 0 : 50, spec), keys).ValueOrDie());
    }
    const auto merged = MergeSorted(resources, inputs, keys);
    ASSERT_TRUE(merged.ok()) << merged.status().ToString();
    std::vector<std::string> all;
    const auto batch = SortTable(resources, Table::Concatenate(inputs).ValueOrDie(), keys).ValueOrDie();
    ExpectSorted(*merged, RowsAsStrings(batch), "merged");
  }
  EXPECT_TRUE(MergeSorted(MakeResources(), {}, {{0}}).status().IsInvalid());
}

}  // namespace
}  // namespace cylon
