// Distinct rows and filters against naive ones.
#include "cylon/kernels/unique.h"

#include <gtest/gtest.h>

#include <map>

#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::MakeResources;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;

std::vector<std::string> NaiveUnique(const Table& table, const std::vector<int>& keys, Keep keep) {
  auto texts = RowsAsStrings(table.SelectColumns(keys).ValueOrDie());
  for (auto& text : texts) {
    text = "|" + text + "|";
    for (size_t at = 0; (at = text.find("|-0|")) != std::string::npos;) {
      text.replace(at, 4, "|0|");
    }
  }
  const auto rows = RowsAsStrings(table);
  std::map<std::string, std::vector<size_t>> places;
  for (size_t i = 0; i < texts.size(); ++i) {
    places[texts[i]].push_back(i);
  }
  std::vector<size_t> chosen;
  for (const auto& [text, where] : places) {
    if (keep != Keep::kNone) {
      chosen.push_back(keep == Keep::kFirst ? where.front() : where.back());
    } else if (where.size() == 1) {
      chosen.push_back(where.front());
    }
  }
  std::sort(chosen.begin(), chosen.end());
  std::vector<std::string> result;
  for (size_t row : chosen) {
    result.push_back(rows[row]);
  }
  return result;
}

TEST(UniqueTest, EveryKeyTypeKeepsFirstLastOrLonely) {
  auto resources = MakeResources();
  uint64_t seed = 1;
  for (const auto& type : testing::KeyTypes()) {
    if (type->id() == arrow::Type::HALF_FLOAT) {
      continue;  // Arrow's text of it tells -0.0 from 0.0 in a way of its own
    }
    RandomSpec spec;
    spec.largest_chunk = 50;
    spec.columns = {RandomColumn{"payload", arrow::list(arrow::int32()), 20}, RandomColumn{"key", type, 60}};
    const auto table = testing::RandomTable(resources, ++seed, 150, spec);
    for (Keep keep : {Keep::kFirst, Keep::kLast, Keep::kNone}) {
      const auto unique = UniqueRows(resources, table, {1}, keep);
      ASSERT_TRUE(unique.ok()) << unique.status().ToString();
      ASSERT_EQ(RowsAsStrings(*unique), NaiveUnique(table, {1}, keep)) << type->ToString();
    }
  }
}

TEST(UniqueTest, SmallBudgetKeepsRowsAndTheirOrder) {
  RandomSpec spec;
  spec.largest_chunk = 50;
  spec.columns = {RandomColumn{"a", arrow::utf8(), 60}, RandomColumn{"b", arrow::float64(), 30},
                  RandomColumn{"payload", arrow::binary_view(), 200}};
  for (const bool spill_always : {false, true}) {
    for (const int threads : {1, 3}) {
      auto resources = MakeResources({threads, 128 << 10, spill_always});
      const auto table = testing::RandomTable(resources, 5, 2000, spec);
      for (Keep keep : {Keep::kFirst, Keep::kLast, Keep::kNone}) {
        const auto unique = UniqueRows(resources, table, {0, 1}, keep);
        ASSERT_TRUE(unique.ok()) << unique.status().ToString();
        EXPECT_TRUE(RowsAsStrings(*unique) == NaiveUnique(table, {0, 1}, keep));
        EXPECT_EQ(unique->num_columns(), 3);
      }
    }
  }
}

TEST(UniqueTest, EmptyTableStaysEmpty) {
  auto resources = MakeResources();
  const auto table = Table::Empty(resources, arrow::schema({arrow::field("a", arrow::utf8())}));
  EXPECT_EQ(UniqueRows(resources, table, {0}, Keep::kFirst).ValueOrDie().num_rows(), 0);
  EXPECT_TRUE(UniqueRows(resources, table, {1}, Keep::kFirst).status().IsIndexError());
}

TEST(FilterTest, RowsWhereTheMaskIsTrueStay) {
  auto resources = MakeResources();
  RandomSpec spec;
  spec.largest_chunk = 40;
  for (const auto& type : testing::PayloadTypes()) {
    spec.columns.push_back(RandomColumn{"c" + std::to_string(spec.columns.size()), type});
  }
  const auto table = testing::RandomTable(resources, 3, 300, spec);
  std::mt19937_64 rng(4);
  const RandomColumn bits{"mask", arrow::boolean(), 2, 0.3};
  const arrow::ChunkedArray mask(
      {testing::RandomArray(rng, bits, 170), testing::RandomArray(rng, bits, 0), testing::RandomArray(rng, bits, 130)},
      arrow::boolean());
  std::vector<std::string> expected;
  const auto rows = RowsAsStrings(table);
  for (int64_t i = 0; i < 300; ++i) {
    if (mask.GetScalar(i).ValueOrDie()->ToString() == "true") {
      expected.push_back(rows[i]);
    }
  }
  EXPECT_EQ(RowsAsStrings(FilterRows(resources, table, mask).ValueOrDie()), expected);
}

TEST(FilterTest, MaskOfTheWrongLengthOrTypeIsRefused) {
  auto resources = MakeResources();
  const auto table = Table::Empty(resources, arrow::schema({arrow::field("a", arrow::utf8())}));
  std::mt19937_64 rng(4);
  const arrow::ChunkedArray longer({testing::RandomArray(rng, RandomColumn{"m", arrow::boolean()}, 3)});
  EXPECT_NE(
      FilterRows(resources, table, longer).status().message().find("a mask of 3 values cannot filter a table of 0"),
      std::string::npos);
  const arrow::ChunkedArray numbers({testing::RandomArray(rng, RandomColumn{"m", arrow::int8()}, 0)});
  EXPECT_TRUE(FilterRows(resources, table, numbers).status().IsTypeError());
}

}  // namespace
}  // namespace cylon
