// The first rows of each group in some order: few of each rank, sorted, and the first of those.
#include "cylon/ops/group_top.h"

#include "cylon/kernels/group_top.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/group_head.h"
#include "cylon/ops/sort_columns.h"

namespace cylon {

arrow::Result<Table> GroupTop(Context& context, const Table& table, const GroupTopOptions& options,
                              std::source_location location) {
  CallSite site(context.communicator(), location);
  const SortOptions order{options.by, NullPlacement::kLast};
  const auto find_here = [&]() -> arrow::Result<Table> {
    ARROW_ASSIGN_OR_RAISE(const auto by, internal::FindSortKeys(table, order));
    ARROW_ASSIGN_OR_RAISE(const auto keys, internal::FindGroupKeys(*table.schema(), options.keys, "TopK"));
    if (options.count < 0) {
      return arrow::Status::Invalid("the first ", options.count,
                                    " rows of each group were asked for; the number has to be 0 or more");
    }
    return GroupTopRows(context.resources(), table, {keys, by.front(), options.count});
  };
  const auto leave_out = [&]() -> arrow::Result<Table> {
    internal::CollectiveOperator operation(context, "GroupTop");
    auto left = find_here();
    const std::string details = std::to_string(options.count) + " rows, keys " + internal::OneLine(options.keys) +
                                (options.drop_null_keys ? "" : ", null keys too") + ", " +
                                internal::DescribeSort(table, order);
    ARROW_RETURN_NOT_OK(operation.Begin(details, left.status()).status());
    return left;
  };
  ARROW_ASSIGN_OR_RAISE(Table rows, leave_out());
  ARROW_ASSIGN_OR_RAISE(rows, Sort(context, rows, order));
  return GroupHead(context, rows, {options.keys, options.count, GroupSide::kHead, options.drop_null_keys});
}

}  // namespace cylon
