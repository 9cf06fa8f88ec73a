// Grouping against naive aggregates, over key and value types, budgets and threads; products; what is refused.
#include "cylon/kernels/group_by.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cylon/kernels/testing/naive_groups.h"
#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::ArrayOf;
using testing::CheckGroups;
using testing::HasTextOfHalf;
using testing::MakeResources;
using testing::OneGroup;
using testing::OptionsFor;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;
using testing::WithStates;

/// `reference` has the rows of `table` outside its budget.
void CheckGroupBy(const std::shared_ptr<Resources>& resources, const Table& table, const Table& reference, int keys,
                  bool drop_null_keys) {
  auto options = OptionsFor(*table.schema(), keys);
  options.drop_null_keys = drop_null_keys;
  // In three parts, as three ranks would.
  const auto with_states = WithStates(options);
  std::vector<Table> partials;
  for (int part = 0; part < 3; ++part) {
    const int64_t begin = table.num_rows() * part / 3;
    const auto slice = table.Slice(begin, table.num_rows() * (part + 1) / 3 - begin).ValueOrDie();
    auto partial = GroupByPartial(resources, slice, with_states);
    ASSERT_TRUE(partial.ok()) << partial.status().ToString();
    partials.push_back(*partial);
  }
  const auto all = Table::Concatenate(partials).ValueOrDie();
  const auto merged = GroupByMerge(resources, all, table.schema(), with_states);
  ASSERT_TRUE(merged.ok()) << merged.status().ToString();
  CheckGroups(*merged, table.schema(), reference, with_states);
  // And at once.
  const auto at_once = GroupByLocal(resources, table, options);
  ASSERT_TRUE(at_once.ok()) << at_once.status().ToString();
  CheckGroups(*at_once, table.schema(), reference, options);
}

TEST(GroupByTest, EveryKeyTypeFormsGroupsByValue) {
  auto resources = MakeResources();
  uint64_t seed = 1;
  for (const auto& type : testing::KeyTypes()) {
    if (HasTextOfHalf(*type)) {
      continue;
    }
    for (const bool drop_null_keys : {false, true}) {
      RandomSpec spec;
      spec.largest_chunk = 60;
      spec.columns = {RandomColumn{"key", type, 20}, RandomColumn{"value", arrow::int32(), 100}};
      const auto table = testing::RandomTable(resources, ++seed, 150, spec);
      CheckGroupBy(resources, table, table, 1, drop_null_keys);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(GroupByTest, EveryValueTypeIsAggregated) {
  auto resources = MakeResources();
  uint64_t seed = 100;
  for (const auto& type : testing::KeyTypes()) {
    if (HasTextOfHalf(*type)) {
      continue;
    }
    for (const double null_share : {0.0, 0.3}) {
      RandomSpec spec;
      spec.largest_chunk = 60;
      spec.columns = {RandomColumn{"key", arrow::utf8(), 20}, RandomColumn{"value", type, 30, null_share}};
      const auto table = testing::RandomTable(resources, ++seed, 150, spec);
      CheckGroupBy(resources, table, table, 1, true);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(GroupByTest, AnyBudgetAndThreadsGiveTheSameBits) {
  RandomSpec spec;
  spec.largest_chunk = 50;
  spec.columns = {RandomColumn{"a", arrow::utf8(), 60}, RandomColumn{"b", arrow::int16(), 20},
                  RandomColumn{"number", arrow::float64(), 5000}, RandomColumn{"text", arrow::utf8_view(), 500}};
  const auto reference = testing::RandomTable(MakeResources(), 3, 2000, spec);
  for (const bool spill_always : {false, true}) {
    for (const int threads : {1, 3}) {
      auto resources = MakeResources({threads, 560 << 10, spill_always});
      CheckGroupBy(resources, testing::RandomTable(resources, 3, 2000, spec), reference, 2, true);
      EXPECT_GT(resources->memory()->spilled_bytes() + static_cast<int64_t>(spill_always), 0);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
  // Enough rows to be dealt to several parts.
  std::vector<std::string> expected;
  spec.largest_chunk = 9000;
  for (const int threads : {1, 3}) {
    auto resources = MakeResources({threads, int64_t{1} << 30, false, 3000});
    const auto table = testing::RandomTable(resources, 4, 40000, spec);
    const auto options = WithStates(OptionsFor(*table.schema(), 2));
    const auto partial = GroupByPartial(resources, table, options).ValueOrDie();
    const auto rows = RowsAsStrings(GroupByMerge(resources, partial, table.schema(), options).ValueOrDie());
    expected = threads == 1 ? rows : expected;
    EXPECT_TRUE(rows == expected);
  }
}

TEST(GroupByTest, ManyGroupsOfEveryKindOfKeyAreDealtIntoPartitions) {
  const std::vector<std::vector<RandomColumn>> key_columns = {
      {RandomColumn{"k", arrow::int64(), 30000, 0.01}},
      {RandomColumn{"k", arrow::float64(), 30000, 0.01}},
      {RandomColumn{"k", arrow::utf8(), 30000, 0.01}},
      {RandomColumn{"k", arrow::int32(), 30000, 0.0}, RandomColumn{"l", arrow::float32(), 3, 0.0}},
      {RandomColumn{"k", arrow::int32(), 30000, 0.01}, RandomColumn{"l", arrow::float32(), 3, 0.1}}};
  uint64_t seed = 500;
  for (const auto& keys : key_columns) {
    RandomSpec spec;
    spec.largest_chunk = 9000;
    spec.columns = keys;
    spec.columns.push_back(RandomColumn{"i", arrow::int16(), 1000});
    spec.columns.push_back(RandomColumn{"s", arrow::utf8(), 50});
    const bool drop_null_keys = ++seed % 2 == 0;
    const auto reference = testing::RandomTable(MakeResources(), seed, 36000, spec);
    GroupByKernelOptions options;
    options.drop_null_keys = drop_null_keys;
    for (size_t k = 0; k < keys.size(); ++k) {
      options.keys.push_back(static_cast<int>(k));
    }
    const int i = static_cast<int>(keys.size());
    options.aggregates = {{i, AggregateOp::kMedian, "median"},  {i + 1, AggregateOp::kNunique, "nunique"},
                          {i + 1, AggregateOp::kLast, "last"},  {i, AggregateOp::kFirst, "first"},
                          {i, AggregateOp::kMean, "mean"},      {i, AggregateOp::kStd, "std"},
                          {i, AggregateOp::kMin, "min"},        {i + 1, AggregateOp::kMax, "max"},
                          {i + 1, AggregateOp::kCount, "count"}};
    std::vector<std::string> expected;
    for (const int threads : {1, 3}) {
      // All in memory.
      auto resources = MakeResources({threads, int64_t{1} << 30, false, 3000});
      const auto table = testing::RandomTable(resources, seed, 36000, spec);
      const auto rows = RowsAsStrings(GroupByLocal(resources, table, options).ValueOrDie());
      ASSERT_TRUE(threads == 1 || rows == expected);
      expected = rows;
    }
    // Too much for half of the budget: parts on disk, one after the other.
    auto small = MakeResources({1, 6 << 20, true, 3000});
    const auto table = testing::RandomTable(small, seed, 36000, spec);
    auto cut = RowsAsStrings(GroupByLocal(small, table, options).ValueOrDie());
    std::sort(cut.begin(), cut.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_TRUE(cut == expected);
    CheckGroups(GroupByLocal(small, table, options).ValueOrDie(), table.schema(), reference, options);
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(GroupByTest, EmptyTableGivesNoGroups) {
  auto resources = MakeResources();
  const auto schema = arrow::schema({arrow::field("key", arrow::utf8()), arrow::field("value", arrow::int8())});
  const auto options = WithStates(OptionsFor(*schema, 1));
  const auto partial = GroupByPartial(resources, Table::Empty(resources, schema), options).ValueOrDie();
  const auto result = GroupByMerge(resources, partial, schema, options).ValueOrDie();
  EXPECT_EQ(result.num_rows(), 0);
  EXPECT_TRUE(result.schema()->Equals(*GroupBySchema(schema, options).ValueOrDie()));
}

/// One aggregate of int64 values under one key, in two steps and at once.
arrow::Result<std::string> Product(const std::vector<int64_t>& values) {
  auto resources = MakeResources();
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", arrow::int64())});
  const auto keys = ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), std::vector<int64_t>(values.size(), 7));
  const auto array = ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), values);
  ARROW_ASSIGN_OR_RAISE(
      const auto table,
      Table::FromBatches(resources, schema,
                         {arrow::RecordBatch::Make(schema, static_cast<int64_t>(values.size()), {keys, array})}));
  const auto options = OneGroup(AggregateOp::kProd);
  std::vector<Table> partials;
  for (int64_t i = 0; i < table.num_rows(); ++i) {
    ARROW_ASSIGN_OR_RAISE(const auto row, table.Slice(i, 1));
    ARROW_ASSIGN_OR_RAISE(auto partial, GroupByPartial(resources, row, options));
    partials.push_back(std::move(partial));
  }
  ARROW_ASSIGN_OR_RAISE(const auto all, Table::Concatenate(partials));
  ARROW_ASSIGN_OR_RAISE(const auto merged, GroupByMerge(resources, all, schema, options));
  ARROW_ASSIGN_OR_RAISE(const auto at_once, GroupByLocal(resources, table, options));
  ARROW_ASSIGN_OR_RAISE(const auto merged_batch, merged.ToBatch());
  ARROW_ASSIGN_OR_RAISE(const auto batch, at_once.ToBatch());
  EXPECT_EQ(testing::ValueText(*merged_batch->column(1), 0), testing::ValueText(*batch->column(1), 0));
  return testing::ValueText(*batch->column(1), 0);
}

TEST(GroupByTest, IntegerProductsAreExactOrAnError) {
  const int64_t smallest = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(Product({-2, 3, 5}).ValueOrDie(), "-30");
  EXPECT_EQ(Product({int64_t{1} << 62, -2}).ValueOrDie(), std::to_string(smallest));
  // A zero makes it zero, wherever it comes.
  EXPECT_EQ(Product({int64_t{1} << 62, 4, 4, 0, smallest, smallest}).ValueOrDie(), "0");
  for (const auto& values :
       {std::vector<int64_t>{int64_t{1} << 62, 2}, {smallest, -1}, {smallest, smallest, smallest}}) {
    const auto status = Product(values).status();
    EXPECT_TRUE(status.IsInvalid());
    EXPECT_NE(status.message().find("the product of column 'x' does not fit int64; cast the column to float64"),
              std::string::npos)
        << status.message();
  }
}

TEST(GroupByTest, AQuantileHasToLieBetweenZeroAndOne) {
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", arrow::int64())});
  for (const double quantile : {-0.001, 1.001, std::numeric_limits<double>::quiet_NaN()}) {
    const auto status = GroupBySchema(schema, OneGroup(AggregateOp::kQuantile, quantile)).status();
    EXPECT_TRUE(status.IsInvalid());
    EXPECT_NE(status.message().find("it has to be between 0 and 1"), std::string::npos) << status.message();
  }
  EXPECT_TRUE(GroupBySchema(schema, OneGroup(AggregateOp::kQuantile, 0)).ok());
  EXPECT_TRUE(GroupBySchema(schema, OneGroup(AggregateOp::kQuantile, 1)).ok());
}

TEST(GroupByTest, WhatATypeDoesNotSupportIsRefusedByName) {
  const auto refusal = [](const std::shared_ptr<arrow::DataType>& type, AggregateOp op) {
    const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", type)});
    const auto status = GroupBySchema(schema, OneGroup(op)).status();
    EXPECT_TRUE(status.IsTypeError()) << status.ToString();
    return status.message();
  };
  EXPECT_NE(refusal(arrow::utf8(), AggregateOp::kMedian).find("column 'x' of type string has no median"),
            std::string::npos);
  EXPECT_NE(refusal(arrow::date32(), AggregateOp::kProd).find("has no prod; that needs integers, floats or booleans"),
            std::string::npos);
  EXPECT_NE(refusal(arrow::utf8(), AggregateOp::kAny).find("has no any"), std::string::npos);
  EXPECT_NE(refusal(arrow::list(arrow::int8()), AggregateOp::kFirst).find("values that are not nested"),
            std::string::npos);
  EXPECT_NE(refusal(arrow::list(arrow::int8()), AggregateOp::kNunique).find("has no nunique"), std::string::npos);
}

TEST(GroupByTest, WhatNeedsAllRowsHasNoPartialStates) {
  auto resources = MakeResources();
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", arrow::int64())});
  const auto options = OneGroup(AggregateOp::kMedian);
  EXPECT_TRUE(GroupByNeedsRows(schema, options).ValueOrDie());
  EXPECT_FALSE(GroupByNeedsRows(schema, OneGroup(AggregateOp::kFirst)).ValueOrDie());
  const auto status = GroupByPartial(resources, Table::Empty(resources, schema), options).status();
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_NE(status.message().find("bring the rows of a group together first"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace cylon
