// The largest or smallest rows: every rank's own, gathered, and the best of those.
#include "cylon/ops/top_k.h"

#include <numeric>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/top_k.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/sort_columns.h"

namespace cylon {

namespace {

/// A row's origin in one number: the rank above 40 bits of row number.
constexpr int kRowNumberBits = 40;

}  // namespace

arrow::Result<Table> TopK(Context& context, const Table& table, const SortOptions& options, int64_t count,
                          KeepTies ties, std::source_location location) {
  CallSite site(context.communicator(), location);
  internal::CollectiveOperator operation(context, "TopK");
  const auto& resources = context.resources();
  std::vector<SortKey> keys;
  const auto find_here = [&]() -> arrow::Result<Table> {
    ARROW_ASSIGN_OR_RAISE(keys, internal::FindSortKeys(table, options));
    if (count < 0) {
      return arrow::Status::Invalid("the first ", count, " rows were asked for; the number has to be 0 or more");
    }
    Table numbered = table;
    if (ties == KeepTies::kLast) {
      // Of equal rows those that come later in the order (rank, row) are wanted first.
      const int64_t first = static_cast<int64_t>(context.rank()) << kRowNumberBits;
      ARROW_ASSIGN_OR_RAISE(numbered, internal::AppendRowNumbers(resources, table, first, "row"));
      keys.push_back({table.num_columns(), SortOrder::kDescending, NullPlacement::kLast});
    }
    return TopRows(resources, numbered, keys, count, ties == KeepTies::kAll);
  };
  auto found = find_here();
  const std::string details = std::to_string(count) + " rows, ties " +
                              (ties == KeepTies::kFirst  ? "first"
                               : ties == KeepTies::kLast ? "last"
                                                         : "all") +
                              ", " + internal::DescribeSort(table, options);
  ARROW_RETURN_NOT_OK(operation.Begin(details, found.status()).status());
  if (!operation.alone()) {
    ARROW_ASSIGN_OR_RAISE(found, GatherTable(context, *found, 0));
    found = TopRows(resources, *found, keys, count, ties == KeepTies::kAll);
  }
  std::vector<int> columns(table.num_columns());
  std::iota(columns.begin(), columns.end(), 0);
  return operation.End(found.ok() ? found->SelectColumns(columns) : std::move(found));
}

}  // namespace cylon
