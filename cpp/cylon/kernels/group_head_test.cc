// First and last rows of groups against naive ones, over key types, budgets and threads.
#include "cylon/kernels/group_head.h"

#include <gtest/gtest.h>

#include <limits>

#include "cylon/kernels/testing/naive_groups.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::MakeResources;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;

/// Keys come first in `table`.
std::vector<std::string> NaiveHeads(const Table& table, const GroupHeadKernelOptions& options) {
  const auto batch = table.ToBatch().ValueOrDie();
  const auto groups = testing::NaiveGroups(*batch, static_cast<int>(options.keys.size()), options.drop_null_keys);
  std::vector<int64_t> rows;
  for (const auto& group : groups) {
    const auto size = static_cast<int64_t>(group.size());
    const int64_t wanted = options.count < 0 ? std::max<int64_t>(size + options.count, 0) : options.count;
    const int64_t count = std::min(size, wanted);
    const auto begin = options.side == GroupSide::kHead ? group.begin() : group.end() - count;
    rows.insert(rows.end(), begin, begin + count);
  }
  std::sort(rows.begin(), rows.end());
  const auto all = RowsAsStrings(table);
  std::vector<std::string> expected;
  for (const int64_t row : rows) {
    expected.push_back(all[row]);
  }
  return expected;
}

/// Each side, several counts, with and without null keys. `reference` has the rows of `table` outside its budget.
void CheckHeads(const std::shared_ptr<Resources>& resources, const Table& table, const Table& reference, int keys) {
  for (const GroupSide side : {GroupSide::kHead, GroupSide::kTail}) {
    for (const int64_t count : {0, 1, 3, -1, -4}) {
      for (const bool drop_null_keys : {true, false}) {
        GroupHeadKernelOptions options{{}, count, side, drop_null_keys};
        for (int k = 0; k < keys; ++k) {
          options.keys.push_back(k);
        }
        const auto heads = GroupHeadRows(resources, table, options);
        ASSERT_TRUE(heads.ok()) << heads.status().ToString();
        ASSERT_TRUE(RowsAsStrings(*heads) == NaiveHeads(reference, options))
            << table.schema()->field(0)->ToString() << ", " << count << " rows, null keys " << !drop_null_keys;
      }
    }
  }
}

TEST(GroupHeadTest, EveryKeyTypeHasItsFirstAndLastRows) {
  auto resources = MakeResources();
  uint64_t seed = 1;
  for (const auto& type : testing::KeyTypes()) {
    if (testing::HasTextOfHalf(*type)) {
      continue;
    }
    RandomSpec spec;
    spec.largest_chunk = 60;
    spec.columns = {RandomColumn{"key", type, 20}, RandomColumn{"payload", arrow::list(arrow::int32()), 20}};
    const auto table = testing::RandomTable(resources, ++seed, 150, spec);
    CheckHeads(resources, table, table, 1);
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(GroupHeadTest, SeveralKeysAndAnyBudgetKeepTheOrder) {
  RandomSpec spec;
  spec.largest_chunk = 50;
  spec.columns = {RandomColumn{"a", arrow::utf8(), 30}, RandomColumn{"b", arrow::float64(), 8},
                  RandomColumn{"payload", arrow::binary_view(), 200}};
  const auto reference = testing::RandomTable(MakeResources(), 5, 2000, spec);
  for (const bool spill_always : {false, true}) {
    for (const int threads : {1, 3}) {
      auto resources = MakeResources({threads, 256 << 10, spill_always});
      CheckHeads(resources, testing::RandomTable(resources, 5, 2000, spec), reference, 2);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(GroupHeadTest, ManyGroupsAreDealtIntoPartitions) {
  RandomSpec spec;
  spec.largest_chunk = 9000;
  spec.columns = {RandomColumn{"k", arrow::int64(), 9000, 0.01}, RandomColumn{"i", arrow::int32(), 1000}};
  auto resources = MakeResources({3, int64_t{1} << 30, false, 3000});
  const auto table = testing::RandomTable(resources, 6, 36000, spec);
  CheckHeads(resources, table, table, 1);
}

TEST(GroupHeadTest, CountsOfAnySizeAreTaken) {
  auto resources = MakeResources();
  RandomSpec spec;
  spec.columns = {RandomColumn{"k", arrow::int64(), 5}};
  const auto table = testing::RandomTable(resources, 7, 100, spec);
  GroupHeadKernelOptions options{{0}, std::numeric_limits<int64_t>::max(), GroupSide::kHead, false};
  EXPECT_EQ(GroupHeadRows(resources, table, options).ValueOrDie().num_rows(), 100);
  options.count = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(GroupHeadRows(resources, table, options).ValueOrDie().num_rows(), 0);
  const auto empty = Table::Empty(resources, table.schema());
  EXPECT_EQ(GroupHeadRows(resources, empty, options).ValueOrDie().num_rows(), 0);
  options.keys = {1};
  EXPECT_TRUE(GroupHeadRows(resources, table, options).status().IsIndexError());
}

}  // namespace
}  // namespace cylon
