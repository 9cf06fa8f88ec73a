// First and last rows of groups against naive ones, on every kind of world; bad input.
#include "cylon/ops/group_head.h"

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

struct HeadCase {
  RandomInput input;
  std::vector<int> keys;
  GroupHeadOptions options;
};

/// The rows that stay, in the order of the whole.
Rows Expected(const HeadCase& head, const std::shared_ptr<Resources>& resources) {
  const Rows whole = head.input.Whole(resources);
  std::map<Row, std::vector<size_t>> groups;
  for (size_t i = 0; i < whole.size(); ++i) {
    auto key = testing::Pick(whole[i], head.keys);
    const bool missing = std::any_of(key.begin(), key.end(), [](const Cell& cell) { return cell.is_missing(); });
    if (!missing || !head.options.drop_null_keys) {
      groups[std::move(key)].push_back(i);
    }
  }
  std::vector<size_t> kept;
  for (const auto& [key, rows] : groups) {
    const auto size = static_cast<int64_t>(rows.size());
    const int64_t asked = head.options.count;
    const int64_t count = std::min(size, asked < 0 ? std::max<int64_t>(size + asked, 0) : asked);
    const auto begin = head.options.side == GroupSide::kHead ? rows.begin() : rows.end() - count;
    kept.insert(kept.end(), begin, begin + count);
  }
  std::sort(kept.begin(), kept.end());
  Rows out;
  for (const size_t row : kept) {
    out.push_back(whole[row]);
  }
  return out;
}

class GroupHeadWorldTest : public ::testing::TestWithParam<WorldCase> {};

TEST_P(GroupHeadWorldTest, RowsOfEveryKeyTypeStayWhereTheyAre) {
  const WorldCase world = GetParam();
  std::vector<HeadCase> cases;
  uint64_t seed = static_cast<uint64_t>(world.ranks) * 13 + (world.spill_always ? 5 : 0);
  constexpr int64_t kCounts[] = {2, 1, -1, 0, 5, -3};
  for (const auto& type : testing::KeyTypesFor(world)) {
    ++seed;
    const testing::RandomSpec spec{{{"key", type, 15, 0.1}, {"value", arrow::utf8(), 50, 0.1}}, 60};
    cases.push_back({RandomInput(spec, seed, world.ranks, 160),
                     {0},
                     {{"key"}, kCounts[seed % 6], seed % 4 < 2 ? GroupSide::kHead : GroupSide::kTail, seed % 3 > 0}});
  }
  // Many rows of few groups, of which only few are sent; two keys, one of them with half of the rows.
  for (const int64_t count : {3, -40}) {
    const testing::RandomSpec spec{
        {{"k", arrow::utf8(), 5, 0.1, true}, {"v", arrow::int64(), 50, 0.1}, {"l", arrow::float64(), 3, 0.1}}, 60};
    cases.push_back(
        {RandomInput(spec, ++seed, world.ranks, 600), {2, 0}, {{"l", "k"}, count, GroupSide::kTail, count > 0}});
  }
  const auto results = testing::RunCases<HeadCase>(
      world, cases,
      [](Context& context, const Table& part, const HeadCase& one) { return GroupHead(context, part, one.options); });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < cases.size(); ++i) {
    testing::ExpectRows(
        results[i].InOrder(), Expected(cases[i], resources),
        cases[i].input.spec.columns[0].type->ToString() + ", " + std::to_string(cases[i].options.count) + " rows");
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, GroupHeadWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

TEST(GroupHeadTest, UnknownMissingAndNestedKeysAreRefused) {
  ASSERT_OK_AND_ASSIGN(auto context, Context::Local());
  const auto table = testing::IntTable(context->resources(), {"k"}, {{1, 2}});
  EXPECT_THAT(GroupHead(*context, table, {}).status().message(), HasSubstr("asked for without keys"));
  const auto unknown = GroupHead(*context, table, {{"z"}}).status();
  EXPECT_TRUE(unknown.IsKeyError());
  EXPECT_THAT(unknown.message(), HasSubstr("group key 'z' is not a column of the table; it has k"));
  const auto nested =
      Table::Empty(context->resources(), arrow::schema({arrow::field("k", arrow::list(arrow::int64()))}));
  EXPECT_TRUE(GroupHead(*context, nested, {{"k"}}).status().IsTypeError());
  EXPECT_THAT(GroupHead(*context, Table(), {{"k"}}).status().message(), HasSubstr("without a schema"));
}

TEST(GroupHeadTest, RanksThatAskForOtherRowsAreToldSo) {
  std::vector<std::string> messages(2);
  ExpectAllOk(MakeWorld({.ranks = 2}), [&](Context& context) -> arrow::Status {
    const auto part = testing::IntTable(context.resources(), {"k"}, {{1, 2}});
    messages[context.rank()] = GroupHead(context, part, {{"k"}, context.rank() + 1}).status().message();
    return arrow::Status::OK();
  });
  EXPECT_THAT(messages[0], HasSubstr("2 rows, keys k"));
  EXPECT_THAT(messages[1], HasSubstr("1 rows, keys k"));
}

}  // namespace
}  // namespace cylon
