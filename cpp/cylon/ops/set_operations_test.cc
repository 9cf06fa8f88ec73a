// Union, intersection and difference on every kind of world, against sets of the standard library; bad input.
#include "cylon/ops/set_operations.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::AllWorlds;
using testing::ExpectAllOk;
using testing::Gathered;
using ::testing::HasSubstr;
using testing::RandomInput;
using testing::Row;
using testing::Rows;
using testing::RowsOf;
using testing::WorldCase;

class SetOperationsWorldTest : public ::testing::TestWithParam<WorldCase> {};

TEST_P(SetOperationsWorldTest, AreThoseOfSetsOfRows) {
  const WorldCase world = GetParam();
  for (const auto& type : testing::KeyTypesFor(world)) {
    const testing::RandomSpec spec = {{{"a", type, 9, 0.2}, {"b", arrow::float64(), 5, 0.1}}, 30};
    const RandomInput left(spec, 5, world.ranks, 120);
    const RandomInput right(spec, 6, world.ranks, 60);
    std::vector<Gathered> results(3, Gathered(world.ranks));
    ExpectAllOk(testing::MakeWorld(world), [&](Context& context) -> arrow::Status {
      const auto mine = left.Part(context.resources(), context.rank());
      const auto theirs = right.Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto both, Union(context, mine, theirs));
      ARROW_ASSIGN_OR_RAISE(const auto common, Intersect(context, mine, theirs));
      ARROW_ASSIGN_OR_RAISE(const auto rest, Subtract(context, mine, theirs));
      results[0].Set(context.rank(), RowsOf(both));
      results[1].Set(context.rank(), RowsOf(common));
      results[2].Set(context.rank(), RowsOf(rest));
      return arrow::Status::OK();
    });
    const auto resources = testing::TestResources();
    const Rows all_left = left.Whole(resources);
    const Rows all_right = right.Whole(resources);
    const std::set<Row> in_left(all_left.begin(), all_left.end());
    const std::set<Row> in_right(all_right.begin(), all_right.end());
    std::vector<Rows> expected(3);
    std::set_union(in_left.begin(), in_left.end(), in_right.begin(), in_right.end(), std::back_inserter(expected[0]));
    std::set_intersection(in_left.begin(), in_left.end(), in_right.begin(), in_right.end(),
                          std::back_inserter(expected[1]));
    std::set_difference(in_left.begin(), in_left.end(), in_right.begin(), in_right.end(),
                        std::back_inserter(expected[2]));
    for (size_t i = 0; i < 3; ++i) {
      Rows actual = results[i].InOrder();
      std::sort(actual.begin(), actual.end());
      testing::ExpectRows(actual, expected[i], "operation " + std::to_string(i) + " of " + type->ToString());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, SetOperationsWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

TEST(SetOperationsTest, SchemasThatDifferAreRefusedByColumn) {
  const auto resources = testing::TestResources();
  auto context = Context::Local().ValueOrDie();
  const auto left = testing::IntTable(resources, {"k", "v"}, {{1, 2}, {3, 4}});
  const auto renamed = testing::IntTable(resources, {"k", "w"}, {{1, 2}, {3, 4}});
  const auto narrow = testing::IntTable(resources, {"k"}, {{1}, {3}});
  const auto status = Intersect(*context, left, renamed).status();
  EXPECT_TRUE(status.IsTypeError());
  EXPECT_THAT(status.message(),
              HasSubstr("Intersect compares whole rows, but column 1 is 'v' of type int64 on the left "
                        "and 'w' of type int64 on the right"));
  EXPECT_THAT(Subtract(*context, left, narrow).status().message(), HasSubstr("missing on the right"));
  EXPECT_THAT(Union(*context, narrow, left).status().message(), HasSubstr("missing on the left"));
}

TEST(SetOperationsTest, TablesWithoutColumnsAreRefused) {
  const auto none = Table::Empty(testing::TestResources(), arrow::schema({}));
  auto context = Context::Local().ValueOrDie();
  EXPECT_THAT(Union(*context, none, none).status().message(), HasSubstr("a table without columns"));
}

TEST(SetOperationsTest, NestedColumnsAreRefusedByName) {
  const auto nested =
      Table::Empty(testing::TestResources(), arrow::schema({arrow::field("odd", arrow::list(arrow::int8()))}));
  auto context = Context::Local().ValueOrDie();
  EXPECT_THAT(Subtract(*context, nested, nested).status().message(), HasSubstr("odd"));
}

}  // namespace
}  // namespace cylon
