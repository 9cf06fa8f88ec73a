// Approximate quantiles of groups: how far off, how large, what is exact, and that neither threads nor parts matter.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "cylon/kernels/group_by.h"
#include "cylon/kernels/scalar_aggregate.h"
#include "cylon/kernels/testing/naive_groups.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::ArrayOf;
using testing::MakeResources;

constexpr double kQuantiles[] = {0, 0.01, 0.25, 0.5, 0.9, 0.999, 1};

AggregateSpec Quantile(double quantile, int compression = kDefaultCompression) {
  AggregateSpec spec{1, AggregateOp::kQuantile, "q" + std::to_string(quantile), 1, quantile};
  spec.approximate = true;
  spec.compression = compression;
  return spec;
}

GroupByKernelOptions AllQuantiles(int compression = kDefaultCompression) {
  GroupByKernelOptions options;
  options.keys = {0};
  for (const double quantile : kQuantiles) {
    options.aggregates.push_back(Quantile(quantile, compression));
  }
  return options;
}

Table TwoColumns(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Array>& keys,
                 const std::shared_ptr<arrow::Array>& values) {
  const auto schema = arrow::schema({arrow::field("k", keys->type()), arrow::field("v", values->type())});
  return Table::FromBatches(resources, schema, {arrow::RecordBatch::Make(schema, keys->length(), {keys, values})})
      .ValueOrDie();
}

/// Groups 0, 1, 2 of 60, 30 and 10 % of the rows, skewed.
struct Skewed {
  std::vector<int64_t> keys;
  std::vector<double> values;

  explicit Skewed(int64_t rows) {
    std::mt19937_64 rng(11);
    std::normal_distribution<double> normal(0, 3);
    for (int64_t i = 0; i < rows; ++i) {
      keys.push_back(i % 10 < 6 ? 0 : i % 10 < 9 ? 1 : 2);
      values.push_back(std::exp(normal(rng)));
    }
  }
  Table Rows(const std::shared_ptr<Resources>& resources) const {
    return TwoColumns(resources, ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), keys),
                      ArrayOf<arrow::DoubleBuilder, double>(arrow::float64(), values));
  }
  std::vector<double> Sorted(int64_t key) const {
    std::vector<double> sorted;
    for (size_t i = 0; i < keys.size(); ++i) {
      if (keys[i] == key) {
        sorted.push_back(values[i]);
      }
    }
    std::sort(sorted.begin(), sorted.end());
    return sorted;
  }
};

/// Every quantile of each group has a rank less than 2 pi sqrt(q (1 - q)) / compression of the group away.
void ExpectNearRanks(const Table& groups, const Skewed& rows, int compression) {
  const auto batch = groups.ToBatch().ValueOrDie();
  ASSERT_EQ(batch->num_rows(), 3);
  for (int64_t g = 0; g < 3; ++g) {
    const auto sorted = rows.Sorted(static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(g));
    for (size_t i = 0; i < std::size(kQuantiles); ++i) {
      const double q = kQuantiles[i];
      const double value = static_cast<const arrow::DoubleArray&>(*batch->column(static_cast<int>(i) + 1)).Value(g);
      const auto rank = static_cast<double>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
      const auto count = static_cast<double>(sorted.size());
      const double step = 2 * M_PI / compression;
      EXPECT_LE(std::abs(rank / count - q), step * std::sqrt(q * (1 - q)) + step * step / 4 + 1 / count)
          << "group " << g << ", quantile " << q;
    }
  }
}

TEST(DigestTest, LargeGroupsAreNearInOneStepAndInTwo) {
  const Skewed rows(300'000);
  for (const int compression : {20, 100, 1000}) {
    const auto options = AllQuantiles(compression);
    std::vector<std::string> expected;
    for (const int threads : {1, 3}) {
      auto resources = MakeResources({threads, int64_t{1} << 30, false, 5000});
      const auto table = rows.Rows(resources);
      const auto at_once = GroupByLocal(resources, table, options).ValueOrDie();
      ExpectNearRanks(at_once, rows, compression);
      // As three ranks would.
      std::vector<Table> partials;
      for (int part = 0; part < 3; ++part) {
        const auto slice = table.Slice(table.num_rows() * part / 3, table.num_rows() / 3).ValueOrDie();
        partials.push_back(GroupByPartial(resources, slice, options).ValueOrDie());
        // Of 10000 values and more, at most the centroids travel.
        EXPECT_LE(partials.back().num_bytes(), 3 * (16 * (compression + 8) + 64));
      }
      const auto all = Table::Concatenate(partials).ValueOrDie();
      const auto merged = GroupByMerge(resources, all, table.schema(), options).ValueOrDie();
      ExpectNearRanks(merged, rows, compression);
      auto texts = testing::RowsAsStrings(at_once);
      const auto merged_texts = testing::RowsAsStrings(merged);
      texts.insert(texts.end(), merged_texts.begin(), merged_texts.end());
      EXPECT_TRUE(threads == 1 || texts == expected);
      expected = texts;
    }
  }
}

TEST(DigestTest, ManySmallGroupsAreExactWhateverTheBudget) {
  testing::RandomSpec spec;
  spec.largest_chunk = 9000;
  spec.columns = {testing::RandomColumn{"k", arrow::int64(), 3000, 0.01},
                  testing::RandomColumn{"v", arrow::float64(), 1000}};
  const auto reference = testing::RandomTable(MakeResources(), 12, 40000, spec);
  for (const bool small : {false, true}) {
    auto resources = MakeResources({2, small ? 4 << 20 : 1 << 30, small, 3000});
    const auto table = testing::RandomTable(resources, 12, 40000, spec);
    auto options = testing::OneGroup(AggregateOp::kMedian);
    options.aggregates[0].approximate = true;
    testing::CheckGroups(GroupByLocal(resources, table, options).ValueOrDie(), table.schema(), reference, options);
    const auto partial = GroupByPartial(resources, table, options).ValueOrDie();
    testing::CheckGroups(GroupByMerge(resources, partial, table.schema(), options).ValueOrDie(), table.schema(),
                         reference, options);
  }
}

TEST(DigestTest, NullAndNaNAreNoValues) {
  auto resources = MakeResources();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  arrow::DoubleBuilder builder;
  ASSERT_TRUE(builder.AppendValues({nan, 3, nan, 5, 7}).ok());
  ASSERT_TRUE(builder.AppendNull().ok());
  const auto table = TwoColumns(resources, ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), {1, 1, 2, 1, 3, 2}),
                                builder.Finish().ValueOrDie());
  GroupByKernelOptions options;
  options.keys = {0};
  options.aggregates = {Quantile(0.5)};
  auto rows = testing::RowsAsStrings(GroupByLocal(resources, table, options).ValueOrDie());
  std::sort(rows.begin(), rows.end());
  EXPECT_EQ(rows, (std::vector<std::string>{"1|4", "2|null", "3|7"}));
  const auto empty = Table::Empty(resources, table.schema());
  const auto row = AggregateLocal(resources, empty, {Quantile(0.5)}).ValueOrDie();
  EXPECT_TRUE(row->column(0)->IsNull(0));
}

TEST(DigestTest, MillionsOfValuesOfOneColumnFitAFewKiB) {
  const Skewed rows(300'000);
  auto resources = MakeResources({2, int64_t{1} << 30, false, 5000});
  const auto table = rows.Rows(resources);
  const auto partial = AggregatePartial(resources, table, {Quantile(0.25), Quantile(0.75)}).ValueOrDie();
  ASSERT_EQ(partial->num_columns(), 1);  // both are read from one
  const auto& states = static_cast<const arrow::LargeBinaryArray&>(*partial->column(0));
  EXPECT_LE(states.GetView(0).size(), 8 + 16 * (kDefaultCompression + 8));
  const auto two = AggregatePartial(resources, table, {Quantile(0.25), Quantile(0.75, 50)}).ValueOrDie();
  EXPECT_EQ(two->num_columns(), 2);  // of different compressions
}

TEST(DigestTest, ACompressionHasToBeOneThatMakesSense) {
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("v", arrow::int64())});
  for (const int compression : {-1, 0, 9, 10001}) {
    GroupByKernelOptions options;
    options.keys = {0};
    options.aggregates = {Quantile(0.5, compression)};
    const auto status = GroupBySchema(schema, options).status();
    EXPECT_TRUE(status.IsInvalid());
    EXPECT_NE(status.message().find("a compression of " + std::to_string(compression) +
                                    " was asked for column 'v'; it has to be between 10 and 10000 centroids"),
              std::string::npos)
        << status.message();
    options.aggregates[0].approximate = false;
    EXPECT_TRUE(GroupBySchema(schema, options).ok());
  }
}

}  // namespace
}  // namespace cylon
