/// Grouping of rows with running aggregates, within the rank's budget: what group-by is made of.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "cylon/kernels/aggregate_plan.h"
#include "cylon/kernels/radix_partition.h"
#include "cylon/table/table.h"

namespace cylon {

/// What to group, and how.
struct GroupingPlan {
  std::vector<int> keys;  ///< columns of the input
  bool drop_null_keys = true;
  AggregatePlan aggregates;
  std::vector<std::vector<int>> inputs;  ///< per states: the columns of the input that they read (none for kRows)
  bool merges = false;                   ///< the input holds states
  bool finishes = false;                 ///< results come out, else states
  std::shared_ptr<arrow::Schema> output_schema;

  /// Keys of `input_schema`, then what comes out.
  void SetOutput(const arrow::Schema& input_schema);
};

/// Key columns, then the states or results; the order of the groups is unspecified.
///
/// A sample of the rows tells about how many groups there are. Few: rows are added in their order to a table of groups
/// that stays in the cache, by ranges of rows whose groups are merged in order. Many: rows are dealt by the hash of
/// their keys into partitions whose groups stay in the cache (RadixPartitions). What does not fit the budget so is cut
/// by hash to disk first, and the parts are grouped one after the other. None of it looks at the number of threads, so
/// any number gives the same bits.
arrow::Result<Table> GroupRows(const std::shared_ptr<Resources>& resources, const Table& input,
                               const GroupingPlan& plan);

namespace grouping {

/// Tells the number of groups, about, from a sample.
arrow::Result<int64_t> SampleGroups(const Table& input, const std::vector<int>& keys);

/// The rows in their order, into one table of groups. Nothing where it gave up: more groups than a cache holds.
/// `may_give_up` is false where there is no other way left.
arrow::Result<std::optional<Table>> GroupInOrder(const std::shared_ptr<Resources>& resources, const Table& input,
                                                 const GroupingPlan& plan, const KeyLayout& layout,
                                                 int64_t expected_groups, bool may_give_up);

/// By partitions. The input is in memory while it works.
arrow::Result<Table> GroupInPartitions(const std::shared_ptr<Resources>& resources, const Table& input,
                                       const GroupingPlan& plan, const KeyLayout& layout, int64_t expected_groups);

}  // namespace grouping

}  // namespace cylon
