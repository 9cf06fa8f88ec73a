// Aggregates of whole columns: overflow, rounding, nothing at all, and agreement with one group of everything.
#include "cylon/kernels/scalar_aggregate.h"

#include <gtest/gtest.h>

#include <numeric>

#include "cylon/kernels/testing/naive_groups.h"
#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::ArrayOf;
using testing::ExpectResult;
using testing::HasTextOfHalf;
using testing::MakeResources;
using testing::NaiveAggregate;
using testing::OneColumn;
using testing::OptionsFor;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::WithStates;

arrow::Result<std::string> Scalar(const Table& table, AggregateOp op) {
  const std::vector<AggregateSpec> specs = {{0, op, "result"}};
  ARROW_ASSIGN_OR_RAISE(auto partial, AggregatePartial(table.resources(), table, specs));
  ARROW_ASSIGN_OR_RAISE(auto merged, AggregateMerge(table.resources(), {partial, partial}, table.schema(), specs));
  return testing::ValueText(*merged->column(0), 0);
}

TEST(ScalarAggregateTest, SumThatOverflowsIsInvalidAndNamesTheColumn) {
  auto resources = MakeResources();
  const int64_t large = std::numeric_limits<int64_t>::max();
  const auto table = OneColumn(resources, ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), {large}));
  const auto status = Scalar(table, AggregateOp::kSum).status();
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_NE(status.message().find("the sum of column 'x' is 18446744073709551614, which does not fit int64; cast the "
                                  "column to float64"),
            std::string::npos)
      << status.message();
  // The same sum fits on the way, and fits in the end.
  const auto back =
      OneColumn(resources, ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), {large, large, -large, -large, 3}));
  EXPECT_EQ(Scalar(back, AggregateOp::kSum).ValueOrDie(), "6");
  const auto unsigned_table =
      OneColumn(resources, ArrayOf<arrow::UInt64Builder, uint64_t>(arrow::uint64(), {uint64_t{1} << 63}));
  EXPECT_TRUE(Scalar(unsigned_table, AggregateOp::kSum).status().IsInvalid());
}

TEST(ScalarAggregateTest, FloatSumsLoseNothingToOrder) {
  auto resources = MakeResources();
  const auto table =
      OneColumn(resources, ArrayOf<arrow::DoubleBuilder, double>(arrow::float64(), {1e16, 1.0, -1e16, 1.0}));
  EXPECT_EQ(Scalar(table, AggregateOp::kSum).ValueOrDie(), "4");
}

TEST(ScalarAggregateTest, NothingSumsToZeroAndHasNoMean) {
  auto resources = MakeResources();
  const auto table = Table::Empty(resources, arrow::schema({arrow::field("x", arrow::float32())}));
  EXPECT_EQ(Scalar(table, AggregateOp::kSum).ValueOrDie(), "0");
  EXPECT_EQ(Scalar(table, AggregateOp::kCount).ValueOrDie(), "0");
  EXPECT_EQ(Scalar(table, AggregateOp::kSize).ValueOrDie(), "0");
  for (AggregateOp op :
       {AggregateOp::kMean, AggregateOp::kMin, AggregateOp::kMax, AggregateOp::kVar, AggregateOp::kStd}) {
    EXPECT_EQ(Scalar(table, op).ValueOrDie(), "null");
  }
}

TEST(ScalarAggregateTest, VariancesOfSmallNoiseOnLargeNumbersAreExact) {
  auto resources = MakeResources({1, int64_t{1} << 30, false, 1000});
  for (const double base : {0.0, 1e9, -1e12}) {
    // An outlier comes first, which is where distances are taken from.
    for (const double first : {base, base + 1e6}) {
      std::vector<double> values = {first};
      for (int i = 0; i < 5000; ++i) {
        values.push_back(base + static_cast<double>(i % 17) / 1024);
      }
      long double mean = 0;
      for (const double value : values) {
        mean += (static_cast<long double>(value) - base) / static_cast<long double>(values.size());
      }
      long double squares = 0;
      for (const double value : values) {
        const long double distance = static_cast<long double>(value) - base - mean;
        squares += distance * distance;
      }
      const auto expected = static_cast<double>(squares / static_cast<long double>(values.size() - 1));
      const auto table = OneColumn(resources, ArrayOf<arrow::DoubleBuilder, double>(arrow::float64(), values));
      const auto row = AggregateLocal(resources, table, {{0, AggregateOp::kVar, "v"}}).ValueOrDie();
      const double actual = static_cast<const arrow::DoubleArray&>(*row->column(0)).Value(0);
      EXPECT_NEAR(actual / expected, 1.0, 1e-12) << base << " " << first;
    }
  }
}

TEST(ScalarAggregateTest, DurationsAddUpAndTimestampsDoNot) {
  auto resources = MakeResources();
  const auto type = arrow::duration(arrow::TimeUnit::SECOND);
  const auto table = OneColumn(resources, ArrayOf<arrow::DurationBuilder, int64_t>(type, {5, 7}));
  EXPECT_EQ(Scalar(table, AggregateOp::kSum).ValueOrDie(), "24");
  const auto times =
      Table::Empty(resources, arrow::schema({arrow::field("when", arrow::timestamp(arrow::TimeUnit::SECOND))}));
  const auto status = Scalar(times, AggregateOp::kSum).status();
  EXPECT_TRUE(status.IsTypeError());
  EXPECT_NE(status.message().find("column 'when' of type timestamp[s] has no sum; that needs numbers"),
            std::string::npos)
      << status.message();
  const auto texts = Table::Empty(resources, arrow::schema({arrow::field("name", arrow::utf8())}));
  EXPECT_TRUE(Scalar(texts, AggregateOp::kMean).status().IsTypeError());
}

TEST(ScalarAggregateTest, AgreesWithOneGroupOfEverything) {
  auto resources = MakeResources({3});
  RandomSpec spec;
  spec.largest_chunk = 80;
  for (const auto& type : testing::KeyTypes()) {
    if (!HasTextOfHalf(*type)) {
      spec.columns.push_back(RandomColumn{"c" + std::to_string(spec.columns.size()), type, 30});
    }
  }
  const auto table = testing::RandomTable(resources, 8, 300, spec);
  const auto specs = WithStates(OptionsFor(*table.schema(), 0)).aggregates;
  const auto partial = AggregatePartial(resources, table, specs).ValueOrDie();
  const auto result = AggregateMerge(resources, {partial}, table.schema(), specs).ValueOrDie();
  const auto batch = table.ToBatch().ValueOrDie();
  std::vector<int64_t> rows(batch->num_rows());
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t a = 0; a < specs.size(); ++a) {
    ExpectResult(testing::ValueText(*result->column(static_cast<int>(a)), 0),
                 NaiveAggregate(*batch->column(std::max(specs[a].column, 0)), rows, specs[a].op, specs[a].ddof),
                 "operation " + std::to_string(static_cast<int>(specs[a].op)));
  }
}

}  // namespace
}  // namespace cylon
