// The largest and smallest rows, on every kind of world, against a sort.
#include "cylon/ops/top_k.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::AllWorlds;
using testing::ExpectAllOk;
using testing::Gathered;
using testing::RandomInput;
using testing::Rows;
using testing::RowsOf;
using testing::WorldCase;

class TopKWorldTest : public ::testing::TestWithParam<WorldCase> {};

/// Keys repeat and row numbers do not, so that it shows which of equal rows were taken.
TEST_P(TopKWorldTest, TakesTheRowsThatASortHasFirst) {
  const WorldCase world = GetParam();
  for (uint64_t seed = 3; seed < 6; ++seed) {
    const RandomInput input({{{"key", arrow::int64(), 12, 0.1}, {"row", arrow::int64(), 1 << 30, 0}}, 40}, seed,
                            world.ranks, 300);
    const SortOptions options = {{{"key", SortOrder::kDescending}}, NullPlacement::kLast};
    Gathered sorted(world.ranks);
    std::vector<Gathered> top(9, Gathered(world.ranks));
    const std::vector<int64_t> counts = {0, 17, 1000};
    ExpectAllOk(testing::MakeWorld(world), [&](Context& context) -> arrow::Status {
      const auto part = input.Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto all, Sort(context, part, options));
      sorted.Set(context.rank(), RowsOf(all));
      for (size_t i = 0; i < 9; ++i) {
        ARROW_ASSIGN_OR_RAISE(const auto found,
                              TopK(context, part, options, counts[i / 3], static_cast<KeepTies>(i % 3)));
        top[i].Set(context.rank(), RowsOf(found));
      }
      return arrow::Status::OK();
    });
    const Rows all = sorted.InOrder();
    // The rows of each key the other way round.
    Rows reversed;
    for (size_t begin = 0, end = 0; begin < all.size(); begin = end) {
      while (end < all.size() && all[end][0] == all[begin][0]) {
        ++end;
      }
      reversed.insert(reversed.end(), all.rbegin() + static_cast<int64_t>(all.size() - end),
                      all.rbegin() + static_cast<int64_t>(all.size() - begin));
    }
    for (size_t i = 0; i < 9; ++i) {
      const Rows& from = i % 3 == 1 ? reversed : all;
      size_t count = std::min<size_t>(counts[i / 3], from.size());
      while (i % 3 == 2 && count > 0 && count < from.size() && from[count][0] == from[count - 1][0]) {
        ++count;
      }
      testing::ExpectRows(top[i].InOrder(), Rows(from.begin(), from.begin() + static_cast<int64_t>(count)),
                          "case " + std::to_string(i) + ", seed " + std::to_string(seed));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, TopKWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

TEST(TopKTest, NegativeCountIsRefused) {
  const auto table = testing::IntTable(testing::TestResources(), {"k"}, {{1}, {3}});
  auto context = Context::Local().ValueOrDie();
  const auto status = TopK(*context, table, {{{"k"}}, NullPlacement::kLast}, -1).status();
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_THAT(status.message(), ::testing::HasSubstr("the first -1 rows were asked for"));
}

}  // namespace
}  // namespace cylon
