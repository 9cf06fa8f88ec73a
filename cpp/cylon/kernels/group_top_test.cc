// What is left for the first rows of groups: few rows, and the same first ones as of all.
#include "cylon/kernels/group_top.h"

#include <gtest/gtest.h>

#include "cylon/kernels/group_head.h"
#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::MakeResources;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;

std::vector<std::string> FirstOf(const std::shared_ptr<Resources>& resources, const Table& table,
                                 const GroupTopKernelOptions& options) {
  const auto sorted = SortTable(resources, table, {options.by}).ValueOrDie();
  return RowsAsStrings(
      GroupHeadRows(resources, sorted, {options.keys, options.count, GroupSide::kHead, false}).ValueOrDie());
}

TEST(GroupTopTest, TheFirstRowsAreAmongThoseLeft) {
  auto resources = MakeResources({3, int64_t{1} << 30, false, 500});
  uint64_t seed = 1;
  for (const auto& type : testing::KeyTypes()) {
    RandomSpec spec;
    spec.largest_chunk = 300;
    spec.columns = {RandomColumn{"k", arrow::utf8(), 10, 0.1}, RandomColumn{"x", type, 60, 0.1},
                    RandomColumn{"i", arrow::int32(), 1000}};
    const auto table = testing::RandomTable(resources, ++seed, 1000, spec);
    for (const SortOrder order : {SortOrder::kAscending, SortOrder::kDescending}) {
      for (const int64_t count : {0, 1, 3, 40}) {
        for (const std::vector<int>& keys : {std::vector<int>{0}, std::vector<int>{1}, std::vector<int>{2, 1}}) {
          const GroupTopKernelOptions options{keys, {1, order, NullPlacement::kLast}, count};
          const auto left = GroupTopRows(resources, table, options);
          ASSERT_TRUE(left.ok()) << left.status().ToString();
          ASSERT_EQ(FirstOf(resources, *left, options), FirstOf(resources, table, options))
              << type->ToString() << ", " << count << " rows";
        }
      }
    }
  }
}

TEST(GroupTopTest, FewRowsAreLeftOfFewGroups) {
  auto resources = MakeResources({2, int64_t{1} << 30, false, 1 << 20});
  for (const auto& type :
       {arrow::int64(), arrow::int8(), arrow::uint8(), arrow::uint64(), arrow::float16(), arrow::float32(),
        arrow::float64(), arrow::date32(), arrow::timestamp(arrow::TimeUnit::NANO)}) {
    RandomSpec spec;
    spec.columns = {RandomColumn{"k", arrow::int64(), 20}, RandomColumn{"x", type, 100}};
    const auto table = testing::RandomTable(resources, 5, 20000, spec);
    for (const SortOrder order : {SortOrder::kAscending, SortOrder::kDescending}) {
      const auto left = GroupTopRows(resources, table, {{0}, {1, order}, 2}).ValueOrDie();
      EXPECT_GE(left.num_rows(), 2);
      EXPECT_LE(left.num_rows(), table.num_rows() / 10) << type->ToString();
    }
  }
}

TEST(GroupTopTest, AllRowsAreLeftWhereNoneCanBeToldCheaply) {
  auto resources = MakeResources({2, int64_t{1} << 30, false, 1 << 20});
  RandomSpec spec;
  spec.columns = {RandomColumn{"k", arrow::int64(), 100000}, RandomColumn{"x", arrow::int64(), 100},
                  RandomColumn{"s", arrow::utf8(), 100}};
  const auto table = testing::RandomTable(resources, 5, 2000, spec);
  EXPECT_EQ(GroupTopRows(resources, table, {{0}, {1}, 2}).ValueOrDie().num_rows(), 2000);   // groups of one row
  EXPECT_EQ(GroupTopRows(resources, table, {{1}, {2}, 2}).ValueOrDie().num_rows(), 2000);   // text
  EXPECT_EQ(GroupTopRows(resources, table, {{1}, {0}, 33}).ValueOrDie().num_rows(), 2000);  // many of each
  EXPECT_EQ(GroupTopRows(resources, table, {{1}, {0}, 0}).ValueOrDie().num_rows(), 0);
  auto small = MakeResources({1, 128 << 10, false, 1 << 20});
  const auto large = testing::RandomTable(small, 5, 2000, spec);
  EXPECT_EQ(GroupTopRows(small, large, {{1}, {0}, 2}).ValueOrDie().num_rows(), 2000);  // what would not fit
  EXPECT_TRUE(GroupTopRows(resources, table, {{7}, {0}, 1}).status().IsIndexError());
}

}  // namespace
}  // namespace cylon
