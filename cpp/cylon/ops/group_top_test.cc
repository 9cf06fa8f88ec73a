// First rows of groups in some order, against naive ones, on every kind of world; bad input.
#include "cylon/ops/group_top.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::AllWorlds;
using testing::Cell;
using testing::ExpectAllOk;
using testing::Gathered;
using ::testing::HasSubstr;
using testing::MakeWorld;
using testing::RandomInput;
using testing::Row;
using testing::Rows;
using testing::RowsOf;
using testing::WorldCase;

/// Keys in column 0, the order in column 1.
struct TopCase {
  RandomInput input;
  GroupTopOptions options;
};

/// All rows in the order that is asked for, and of these the first of each key.
Rows Expected(const TopCase& top, const std::shared_ptr<Resources>& resources) {
  Rows rows = top.input.Whole(resources);
  const bool ascending = top.options.by[0].order == SortOrder::kAscending;
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) {
    if (a[1] == b[1]) {
      return false;
    }
    return (a[1] < b[1]) == (ascending || a[1].is_missing() || b[1].is_missing());  // missing ones are last
  });
  std::map<Cell, int64_t> seen;
  Rows first;
  for (const Row& row : rows) {
    if (!(top.options.drop_null_keys && row[0].is_missing()) && seen[row[0]]++ < top.options.count) {
      first.push_back(row);
    }
  }
  return first;
}

class GroupTopWorldTest : public ::testing::TestWithParam<WorldCase> {};

TEST_P(GroupTopWorldTest, RowsAreThoseOfSortAndHead) {
  const WorldCase world = GetParam();
  std::vector<TopCase> cases;
  uint64_t seed = static_cast<uint64_t>(world.ranks) * 17 + (world.spill_always ? 3 : 0);
  constexpr int64_t kCounts[] = {2, 1, 0, 5};
  for (const auto& type : {arrow::int64(), arrow::uint16(), arrow::float64(), arrow::float32(), arrow::utf8(),
                           arrow::decimal128(20, 2), arrow::boolean()}) {
    for (const SortOrder order : {SortOrder::kAscending, SortOrder::kDescending}) {
      ++seed;
      const testing::RandomSpec spec{
          {{"k", seed % 2 == 0 ? arrow::utf8() : arrow::float64(), 6, 0.1}, {"x", type, 40, 0.1}}, 60};
      cases.push_back(
          {RandomInput(spec, seed, world.ranks, 300), {{"k"}, {{"x", order}}, kCounts[seed % 4], seed % 3 > 0}});
    }
  }
  const auto results = testing::RunCases<TopCase>(
      world, cases,
      [](Context& context, const Table& part, const TopCase& one) { return GroupTop(context, part, one.options); });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < cases.size(); ++i) {
    testing::ExpectRows(
        results[i].InOrder(), Expected(cases[i], resources),
        cases[i].input.spec.columns[1].type->ToString() + ", " + std::to_string(cases[i].options.count) + " rows");
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, GroupTopWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

TEST(GroupTopTest, WhatCannotBeOrderedOrGroupedIsNamed) {
  ASSERT_OK_AND_ASSIGN(auto context, Context::Local());
  const auto table = testing::IntTable(context->resources(), {"k", "x"}, {{1, 2}, {3, 4}});
  const auto refusal = [&](const GroupTopOptions& options) { return GroupTop(*context, table, options).status(); };
  EXPECT_THAT(refusal({{}, {{"x"}}}).message(), HasSubstr("asked for without keys"));
  EXPECT_THAT(refusal({{"k"}, {}}).message(), HasSubstr("a sort was given no columns"));
  EXPECT_TRUE(refusal({{"z"}, {{"x"}}}).IsKeyError());
  EXPECT_TRUE(refusal({{"k"}, {{"z"}}}).IsKeyError());
  EXPECT_THAT(refusal({{"k"}, {{"x"}}, -1}).message(),
              HasSubstr("the first -1 rows of each group were asked for; the number has to be 0 or more"));
  EXPECT_THAT(GroupTop(*context, Table(), {{"k"}, {{"x"}}}).status().message(), HasSubstr("without a schema"));
}

TEST(GroupTopTest, RanksThatAskForOtherRowsAreToldSo) {
  std::vector<std::string> messages(2);
  ExpectAllOk(MakeWorld({.ranks = 2}), [&](Context& context) -> arrow::Status {
    const auto part = testing::IntTable(context.resources(), {"k", "x"}, {{1, 2}, {3, 4}});
    messages[context.rank()] = GroupTop(context, part, {{"k"}, {{"x"}}, context.rank() + 1}).status().message();
    return arrow::Status::OK();
  });
  EXPECT_THAT(messages[0], HasSubstr("2 rows, keys k"));
  EXPECT_THAT(messages[1], HasSubstr("1 rows, keys k"));
}

}  // namespace
}  // namespace cylon
