// Group-by and whole-table aggregates against naive ones, on every kind of world; bad input.
#include "cylon/ops/group_by.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "cylon/exchange/exchange.h"
#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::AllWorlds;
using testing::Cell;
using ::testing::ElementsAre;
using testing::ExpectAllOk;
using testing::Gathered;
using ::testing::HasSubstr;
using testing::MakeWorld;
using testing::NumberCell;
using testing::RandomInput;
using testing::Row;
using testing::Rows;
using testing::RowsOf;
using testing::WorldCase;

/// One aggregate of the values that are there, by definition.
Cell NaiveAggregate(const Aggregate& aggregate, const std::vector<Cell>& cells) {
  const AggregateOp op = aggregate.op;
  const int ddof = aggregate.ddof;
  std::vector<Cell> values;
  for (const auto& cell : cells) {
    if (!cell.is_missing()) {
      values.push_back(cell);
    }
  }
  long double sum = 0;
  for (const auto& value : values) {
    sum += value.number;
  }
  const auto count = static_cast<long double>(values.size());
  switch (op) {
    case AggregateOp::kSize:
      return NumberCell(static_cast<long double>(cells.size()));
    case AggregateOp::kCount:
      return NumberCell(count);
    case AggregateOp::kSum:
      return NumberCell(sum);
    case AggregateOp::kMean:
      return values.empty() ? Cell() : NumberCell(sum / count);
    case AggregateOp::kMin:
      return values.empty() ? Cell() : *std::min_element(values.begin(), values.end());
    case AggregateOp::kMax:
      return values.empty() ? Cell() : *std::max_element(values.begin(), values.end());
    case AggregateOp::kVar:
    case AggregateOp::kStd: {
      if (count <= ddof) {
        return {};
      }
      long double squares = 0;
      for (const auto& value : values) {
        squares += (value.number - sum / count) * (value.number - sum / count);
      }
      const long double variance = squares / (count - ddof);
      return NumberCell(op == AggregateOp::kVar ? variance : std::sqrt(variance));
    }
    case AggregateOp::kProd: {
      long double product = 1;
      for (const auto& value : values) {
        product *= value.number;
      }
      return NumberCell(product);
    }
    case AggregateOp::kAny:
      return NumberCell(std::any_of(values.begin(), values.end(), [](const Cell& cell) { return cell.number != 0; }));
    case AggregateOp::kAll:
      return NumberCell(std::all_of(values.begin(), values.end(), [](const Cell& cell) { return cell.number != 0; }));
    case AggregateOp::kFirst:
      return values.empty() ? Cell() : values.front();
    case AggregateOp::kLast:
      return values.empty() ? Cell() : values.back();
    case AggregateOp::kNunique:
      return NumberCell(static_cast<long double>(std::set<Cell>(values.begin(), values.end()).size()));
    case AggregateOp::kMedian:
    case AggregateOp::kQuantile: {
      if (values.empty()) {
        return {};
      }
      std::sort(values.begin(), values.end());
      const double place =
          static_cast<double>(values.size() - 1) * (op == AggregateOp::kMedian ? 0.5 : aggregate.quantile);
      const auto below = static_cast<size_t>(place);
      const long double low = values[below].number;
      const long double high = values[std::min(below + 1, values.size() - 1)].number;
      const long double part = place - static_cast<long double>(below);
      return NumberCell(low == high || part == 0 ? low : low * (1 - part) + high * part);
    }
  }
  return {};
}

struct GroupCase {
  RandomInput input;
  GroupByOptions options;
  std::vector<int> keys;
};

int ColumnOf(const RandomInput& input, const std::string& name) {
  for (size_t i = 0; i < input.spec.columns.size(); ++i) {
    if (input.spec.columns[i].name == name) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

Row NaiveAggregates(const RandomInput& input, const Rows& rows, const std::vector<Aggregate>& aggregates) {
  Row out;
  for (const auto& aggregate : aggregates) {
    std::vector<Cell> cells;
    for (const auto& row : rows) {
      cells.push_back(aggregate.op == AggregateOp::kSize ? Cell() : row[ColumnOf(input, aggregate.column)]);
    }
    out.push_back(NaiveAggregate(aggregate, cells));
  }
  return out;
}

/// Groups in the order of their keys.
Rows Expected(const GroupCase& group, const std::shared_ptr<Resources>& resources) {
  std::map<Row, Rows> groups;
  for (const auto& row : group.input.Whole(resources)) {
    auto key = testing::Pick(row, group.keys);
    const bool missing = std::any_of(key.begin(), key.end(), [](const Cell& cell) { return cell.is_missing(); });
    if (!missing || !group.options.drop_null_keys) {
      groups[std::move(key)].push_back(row);
    }
  }
  Rows out;
  for (const auto& [key, rows] : groups) {
    Row row = key;
    const auto values = NaiveAggregates(group.input, rows, group.options.aggregates);
    row.insert(row.end(), values.begin(), values.end());
    out.push_back(std::move(row));
  }
  return out;
}

void ExpectNear(const Rows& actual, const Rows& expected, const std::string& name) {
  ASSERT_EQ(actual.size(), expected.size()) << name;
  for (size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(testing::Near(actual[i], expected[i]))
        << name << ", row " << i << ": " << ::testing::PrintToString(actual[i]) << " where "
        << ::testing::PrintToString(expected[i]) << " was expected";
  }
}

const std::vector<Aggregate> kEverything = {{"i", AggregateOp::kSum, "", 1},
                                            {"i", AggregateOp::kMean, "", 1},
                                            {"f", AggregateOp::kSum, "", 1},
                                            {"f", AggregateOp::kMean, "", 1},
                                            {"f", AggregateOp::kVar, "", 1},
                                            {"f", AggregateOp::kStd, "", 0},
                                            {"f", AggregateOp::kMin, "", 1},
                                            {"i", AggregateOp::kMax, "", 1},
                                            {"s", AggregateOp::kMin, "", 1},
                                            {"s", AggregateOp::kMax, "last", 1},
                                            {"s", AggregateOp::kCount, "", 1},
                                            {"", AggregateOp::kSize, "", 1},
                                            {"b", AggregateOp::kSum, "", 1},
                                            {"b", AggregateOp::kProd, "", 1},
                                            {"f", AggregateOp::kProd, "", 1},
                                            {"b", AggregateOp::kAny, "", 1},
                                            {"i", AggregateOp::kAll, "", 1},
                                            {"s", AggregateOp::kFirst, "", 1},
                                            {"i", AggregateOp::kFirst, "", 1},
                                            {"f", AggregateOp::kLast, "", 1},
                                            // Exact for groups as small as these.
                                            {"f", AggregateOp::kMedian, "near", 1, 0.5, false, true},
                                            {"i", AggregateOp::kQuantile, "nearly", 1, 0.7, false, true}};

/// The same, and what needs all rows of a group at one rank.
std::vector<Aggregate> WithRows() {
  std::vector<Aggregate> all = kEverything;
  all.insert(all.end(), {{"s", AggregateOp::kNunique, "", 1},
                         {"f", AggregateOp::kNunique, "", 1},
                         {"i", AggregateOp::kMedian, "", 1},
                         {"f", AggregateOp::kQuantile, "low", 1, 0.1},
                         {"i", AggregateOp::kQuantile, "high", 1, 0.875}});
  return all;
}

/// Columns to aggregate, next to the keys; infinity and NaN among them.
testing::RandomSpec WithValues(std::vector<testing::RandomColumn> keys) {
  keys.push_back({"i", arrow::int32(), 50, 0.2});
  keys.push_back({"f", arrow::float64(), 40, 0.2});
  keys.push_back({"s", arrow::utf8(), 30, 0.2});
  keys.push_back({"b", arrow::boolean(), 2, 0.2});
  return {std::move(keys), 60};
}

class GroupByWorldTest : public ::testing::TestWithParam<WorldCase> {};

TEST_P(GroupByWorldTest, EveryKeyTypeGroupsAsTheNaiveGroupByDoes) {
  const WorldCase world = GetParam();
  std::vector<GroupCase> cases;
  uint64_t seed = static_cast<uint64_t>(world.ranks) * 17 + (world.spill_always ? 7 : 0);
  for (const auto& type : testing::KeyTypesFor(GetParam())) {
    ++seed;
    GroupCase group{RandomInput(WithValues({{"key", type, 15, 0.1}}), seed, world.ranks, 160), {}, {0}};
    group.options.keys = {"key"};
    group.options.aggregates = kEverything;
    group.options.drop_null_keys = seed % 2 == 0;
    group.options.sort = seed % 3 == 0;
    cases.push_back(std::move(group));
  }
  for (int i = 0; i < 4; ++i) {
    ++seed;
    GroupCase group{RandomInput(WithValues({{"k", arrow::utf8(), 5, 0.1, true}, {"l", arrow::float64(), 6, 0.1}}), seed,
                                world.ranks, 300),
                    {},
                    {1, 0}};
    group.options.keys = {"l", "k"};
    group.options.aggregates = i % 2 == 0 ? WithRows() : kEverything;
    group.options.drop_null_keys = i % 2 == 0;
    group.options.sort = i > 1;
    cases.push_back(std::move(group));
  }
  // Mostly distinct keys, of which the rows travel instead of states.
  GroupCase distinct{RandomInput(WithValues({{"key", arrow::int64(), 5000, 0.01}}), ++seed, world.ranks, 300), {}, {0}};
  distinct.options.keys = {"key"};
  distinct.options.aggregates = kEverything;
  cases.push_back(std::move(distinct));
  const auto results = testing::RunCases<GroupCase>(
      world, cases,
      [](Context& context, const Table& part, const GroupCase& one) { return GroupBy(context, part, one.options); });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < cases.size(); ++i) {
    const auto actual = cases[i].options.sort ? results[i].InOrder() : testing::Sorted(results[i].InOrder());
    ExpectNear(
        actual, Expected(cases[i], resources),
        "key " + cases[i].input.spec.columns[0].type->ToString() + ", seed " + std::to_string(cases[i].input.seed));
  }
}

TEST_P(GroupByWorldTest, AggregatesOfAllRowsAreTheSameAtEveryRank) {
  const WorldCase world = GetParam();
  for (uint64_t seed = 0; seed < 4; ++seed) {
    const RandomInput input(WithValues({}), seed, world.ranks, 200);
    std::vector<Rows> results(world.ranks);
    ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
      const auto part = input.Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto row, AggregateAll(context, part, WithRows()));
      ARROW_ASSIGN_OR_RAISE(const auto table, Table::FromBatches(context.resources(), row->schema(), {row}));
      results[context.rank()] = RowsOf(table);
      return arrow::Status::OK();
    });
    const Rows expected = {NaiveAggregates(input, input.Whole(testing::TestResources()), WithRows())};
    for (int rank = 0; rank < world.ranks; ++rank) {
      ExpectNear(results[rank], expected, "rank " + std::to_string(rank) + ", seed " + std::to_string(seed));
      EXPECT_EQ(results[rank], results[0]);
    }
  }
}

TEST_P(GroupByWorldTest, ReproducibleSumsHaveTheBitsOfOneRankInAnyOrder) {
  const WorldCase world = GetParam();
  // Values of all sizes, which a plain sum gives other bits for in any other order.
  std::vector<int64_t> keys;
  std::vector<double> values;
  for (int i = 0; i < 600; ++i) {
    keys.push_back(i % 7);
    values.push_back(std::ldexp(std::sin(i), i * 37 % 120 - 60));
  }
  const std::vector<Aggregate> aggregates = {{"v", AggregateOp::kSum, "", 1, 0.5, true},
                                             {"v", AggregateOp::kMean, "", 1, 0.5, true},
                                             {"v", AggregateOp::kVar, "", 1, 0.5, true},
                                             {"k", AggregateOp::kStd, "", 0, 0.5, true}};
  const auto table_of = [&](const std::shared_ptr<Resources>& resources, int64_t begin, int64_t end, bool backwards) {
    arrow::Int64Builder key_builder;
    arrow::DoubleBuilder value_builder;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = backwards ? static_cast<int64_t>(keys.size()) - 1 - i : i;
      ARROW_CHECK_OK(key_builder.Append(keys[row]));
      ARROW_CHECK_OK(value_builder.Append(values[row]));
    }
    const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("v", arrow::float64())});
    const auto batch = arrow::RecordBatch::Make(
        schema, end - begin, {key_builder.Finish().ValueOrDie(), value_builder.Finish().ValueOrDie()});
    return Table::FromBatches(resources, schema, {batch}).ValueOrDie();
  };
  const auto bits_of = [](const Table& table) {
    std::vector<std::string> bits;
    const auto batch = table.ToBatch().ValueOrDie();
    for (const auto& column : batch->columns()) {
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        const auto& data = *column->data();
        bits.push_back(std::to_string(data.GetValues<uint64_t>(1)[i]));
      }
    }
    return bits;
  };
  ASSERT_OK_AND_ASSIGN(auto alone, Context::Local());
  const auto rows = static_cast<int64_t>(keys.size());
  const auto whole = table_of(alone->resources(), 0, rows, false);
  ASSERT_OK_AND_ASSIGN(const auto groups, GroupBy(*alone, whole, {{"k"}, aggregates, true, /*sort=*/true}));
  ASSERT_OK_AND_ASSIGN(const auto row, AggregateAll(*alone, whole, aggregates));
  const auto expected = bits_of(groups);
  ASSERT_OK_AND_ASSIGN(const auto row_table, Table::FromBatches(alone->resources(), row->schema(), {row}));
  const auto expected_row = bits_of(row_table);
  std::vector<std::vector<std::string>> group_bits(world.ranks);
  std::vector<std::vector<std::string>> row_bits(world.ranks);
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    const auto part = table_of(context.resources(), rows * context.rank() / world.ranks,
                               rows * (context.rank() + 1) / world.ranks, /*backwards=*/true);
    ARROW_ASSIGN_OR_RAISE(const auto some, GroupBy(context, part, {{"k"}, aggregates, true, /*sort=*/true}));
    ARROW_ASSIGN_OR_RAISE(const auto all, AllGatherTable(context, some));
    group_bits[context.rank()] = bits_of(all);
    ARROW_ASSIGN_OR_RAISE(const auto one, AggregateAll(context, part, aggregates));
    ARROW_ASSIGN_OR_RAISE(const auto one_table, Table::FromBatches(context.resources(), one->schema(), {one}));
    row_bits[context.rank()] = bits_of(one_table);
    return arrow::Status::OK();
  });
  for (int rank = 0; rank < world.ranks; ++rank) {
    EXPECT_EQ(group_bits[rank], expected);
    EXPECT_EQ(row_bits[rank], expected_row);
  }
}

TEST_P(GroupByWorldTest, ApproximateQuantilesOfLargeGroupsAreNearOnAnyNumberOfRanks) {
  const WorldCase world = GetParam();
  // Rank r has every row i with i % ranks == r: group g the values of a parabola, 4000 of them, in ascending order.
  constexpr int64_t kRows = 12'000;
  constexpr double kQuantiles[] = {0, 0.05, 0.5, 0.99, 1};
  std::vector<Aggregate> aggregates;
  for (const double q : kQuantiles) {
    aggregates.push_back({"v", AggregateOp::kQuantile, "q" + std::to_string(q), 1, q, false, true, 50});
  }
  std::vector<Rows> groups(world.ranks);
  std::vector<Rows> all(world.ranks);
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    std::vector<int64_t> keys;
    std::vector<int64_t> values;
    for (int64_t i = context.rank(); i < kRows; i += world.ranks) {
      keys.push_back(i / 4000);
      values.push_back((i % 4000) * (i % 4000));
    }
    const auto part = testing::IntTable(context.resources(), {"k", "v"}, {keys, values});
    ARROW_ASSIGN_OR_RAISE(const auto some, GroupBy(context, part, {{"k"}, aggregates}));
    groups[context.rank()] = RowsOf(some);
    ARROW_ASSIGN_OR_RAISE(const auto row, AggregateAll(context, part, aggregates));
    ARROW_ASSIGN_OR_RAISE(const auto table, Table::FromBatches(context.resources(), row->schema(), {row}));
    all[context.rank()] = RowsOf(table);
    return arrow::Status::OK();
  });
  const auto expect_near = [&](const Row& row, size_t first) {
    for (size_t i = 0; i < std::size(kQuantiles); ++i) {
      const double q = kQuantiles[i];
      const double rank = std::sqrt(static_cast<double>(row[first + i].number)) / 3999;
      EXPECT_NEAR(rank, q, 2 * M_PI / 50 * std::sqrt(q * (1 - q)) + 1e-12) << "quantile " << q;
    }
  };
  size_t seen = 0;
  for (const auto& rows : groups) {
    for (const auto& row : rows) {
      expect_near(row, 1);
      ++seen;
    }
  }
  EXPECT_EQ(seen, 3);
  for (const auto& rows : all) {
    expect_near(rows[0], 0);  // three times the same values
    EXPECT_EQ(rows, all[0]);
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, GroupByWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

class GroupByTest : public ::testing::Test {
 protected:
  arrow::Result<Table> GroupHere(const GroupByOptions& options) {
    ARROW_ASSIGN_OR_RAISE(auto context, Context::Local());
    return GroupBy(*context, table_, options);
  }
  std::shared_ptr<Resources> resources_ = testing::TestResources();
  Table table_ = testing::IntTable(resources_, {"k", "v"}, {{1, 2, 1}, {3, 4, INT64_MAX}});
};

TEST_F(GroupByTest, ResultColumnsAreTheKeysThenTheAggregates) {
  ASSERT_OK_AND_ASSIGN(const auto groups, GroupHere({{"k"},
                                                     {{"v", AggregateOp::kMean, "", 1},
                                                      {"", AggregateOp::kSize, "", 1},
                                                      {"v", AggregateOp::kMax, "largest", 1}}}));
  EXPECT_THAT(groups.schema()->field_names(), ElementsAre("k", "v_mean", "size", "largest"));
}

TEST_F(GroupByTest, AnIntegerSumThatOverflowsIsAnError) {
  const auto status = GroupHere({{"k"}, {{"v", AggregateOp::kSum, "", 1}}}).status();
  EXPECT_TRUE(status.IsInvalid()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("does not fit int64"));
}

TEST_F(GroupByTest, UnknownColumnsNameTheColumnsThereAre) {
  const auto key = GroupHere({{"z"}, {}}).status();
  EXPECT_TRUE(key.IsKeyError()) << key.ToString();
  EXPECT_THAT(key.message(), HasSubstr("group key 'z' is not a column of the table; it has k, v"));
  const auto value = GroupHere({{"k"}, {{"z", AggregateOp::kSum, "", 1}}}).status();
  EXPECT_TRUE(value.IsKeyError()) << value.ToString();
  EXPECT_THAT(value.message(), HasSubstr("aggregated column 'z'"));
}

TEST_F(GroupByTest, AQuantileOutsideZeroToOneIsRefusedAtEveryRankBeforeRowsTravel) {
  ASSERT_OK_AND_ASSIGN(auto context, Context::Local());
  for (const double quantile : {-0.5, 1.5, std::nan("")}) {
    const auto groups = GroupHere({{"k"}, {{"v", AggregateOp::kQuantile, "", 1, quantile}}}).status();
    EXPECT_TRUE(groups.IsInvalid()) << groups.ToString();
    EXPECT_THAT(groups.message(), HasSubstr("of column 'v' was asked for; it has to be between 0 and 1"));
    const auto all = AggregateAll(*context, table_, {{"v", AggregateOp::kQuantile, "", 1, quantile}}).status();
    EXPECT_THAT(all.message(), HasSubstr("it has to be between 0 and 1"));
  }
  std::vector<std::string> messages(3);
  ExpectAllOk(MakeWorld({.ranks = 3}), [&](Context& world) -> arrow::Status {
    const auto part = testing::IntTable(world.resources(), {"k", "v"}, {{1, 2}, {3, 4}});
    messages[world.rank()] =
        GroupBy(world, part, {{"k"}, {{"v", AggregateOp::kQuantile, "", 1, 2}}}).status().message();
    return arrow::Status::OK();
  });
  for (const auto& message : messages) {
    EXPECT_THAT(message, HasSubstr("between 0 and 1"));
  }
}

TEST_F(GroupByTest, ACompressionThatMakesNoSenseIsRefused) {
  const Aggregate median{"v", AggregateOp::kMedian, "", 1, 0.5, false, true, 3};
  const auto status = GroupHere({{"k"}, {median}}).status();
  EXPECT_TRUE(status.IsInvalid()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("a compression of 3 was asked for column 'v'; it has to be between 10"));
}

TEST_F(GroupByTest, AnIntegerProductThatOverflowsIsAnError) {
  const auto table = testing::IntTable(resources_, {"k", "v"}, {{1, 1}, {INT64_MAX, 2}});
  ASSERT_OK_AND_ASSIGN(auto context, Context::Local());
  const auto status = GroupBy(*context, table, {{"k"}, {{"v", AggregateOp::kProd, "", 1}}}).status();
  EXPECT_TRUE(status.IsInvalid()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("the product of column 'v' does not fit int64"));
}

TEST_F(GroupByTest, NestedKeysAreRefused) {
  ASSERT_OK_AND_ASSIGN(auto context, Context::Local());
  const auto table = Table::Empty(resources_, arrow::schema({arrow::field("k", arrow::list(arrow::int64()))}));
  const auto status = GroupBy(*context, table, {{"k"}, {{"", AggregateOp::kSize, "", 1}}}).status();
  EXPECT_TRUE(status.IsTypeError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("group key 'k' is list<item: int64>"));
}

TEST_F(GroupByTest, NamesThatClashAreRefused) {
  const auto status = GroupHere({{"k"}, {{"v", AggregateOp::kSum, "k", 1}}}).status();
  EXPECT_THAT(status.message(), HasSubstr("two columns 'k'"));
  const auto twice = GroupHere({{"k"}, {{"v", AggregateOp::kMin, "a", 1}, {"v", AggregateOp::kMax, "a", 1}}}).status();
  EXPECT_THAT(twice.message(), HasSubstr("two columns 'a'"));
}

TEST_F(GroupByTest, NoKeysAreRefused) {
  EXPECT_THAT(GroupHere({{}, {}}).status().message(), HasSubstr("use AggregateAll"));
}

TEST_F(GroupByTest, ASumOfTextIsRefused) {
  ASSERT_OK_AND_ASSIGN(auto context, Context::Local());
  const auto table =
      Table::Empty(resources_, arrow::schema({arrow::field("k", arrow::int64()), arrow::field("s", arrow::utf8())}));
  const auto status = GroupBy(*context, table, {{"k"}, {{"s", AggregateOp::kSum, "", 1}}}).status();
  EXPECT_TRUE(status.IsTypeError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("'s'"));
}

}  // namespace
}  // namespace cylon
