/// Grouping of rows with running aggregates, within the rank's budget: what group-by is made of.
#pragma once

#include <memory>
#include <vector>

#include "cylon/kernels/aggregate_state.h"
#include "cylon/kernels/row_key.h"
#include "cylon/table/table.h"

namespace cylon {

/// What to group, and how.
struct GroupingPlan {
  std::vector<int> keys;  ///< columns of the input
  bool drop_null_keys = true;
  std::vector<AggregatePlan> aggregates;
  std::vector<std::vector<int>> inputs;  ///< per aggregate: the columns of the input that it reads (none for size)
  bool merges = false;                   ///< the input holds states
  bool finishes = false;                 ///< results come out, else states
  int first_row_column = -1;             ///< of the input: where its rows come from (int64); -1: they are numbered here
};

/// Key columns, then the states or results of each aggregate, groups in the order of their first row.
///
/// Keys are dealt to one part per thread by their hash, and each part takes the rows of a morsel in their order, so the
/// result is the same to the last bit for any number of threads. When the groups outgrow a quarter of the budget, their
/// states so far go to disk and it begins anew; in the end those are cut by hash and merged part by part.
arrow::Result<Table> GroupRows(const std::shared_ptr<Resources>& resources, const Table& input,
                               const GroupingPlan& plan);

}  // namespace cylon
