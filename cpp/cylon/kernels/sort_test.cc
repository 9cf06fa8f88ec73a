// Sorting and merging against a naive stable sort, over every key type, direction, placement of nulls and budget.
#include "cylon/kernels/sort.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

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
