// Global order: agree on ranges, exchange them, sort what came.
#include "cylon/ops/sort.h"

#include "cylon/ops/sort_columns.h"
#include "cylon/ops/sort_exchange.h"

namespace cylon {

arrow::Result<Table> Sort(Context& context, const Table& table, const SortOptions& options,
                          std::source_location location) {
  CallSite site(context.communicator(), location);
  internal::CollectiveOperator operation(context, "Sort");
  std::vector<SortKey> keys;
  const auto check = [&]() -> arrow::Result<Table> {
    ARROW_ASSIGN_OR_RAISE(keys, internal::FindSortKeys(table, options));
    return table;
  };
  return internal::SortAcrossRanks(operation, internal::DescribeSort(table, options), check(), keys);
}

}  // namespace cylon
