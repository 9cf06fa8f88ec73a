// Group-by: groups are made at each rank and their states brought together, or rows are, where few have a key in
// common.
#include "cylon/ops/group_by.h"

#include <algorithm>
#include <numeric>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/group_by.h"
#include "cylon/ops/aggregates.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/sort_exchange.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;

/// More groups than this share of the rows are not aggregated before they travel: the states are larger than the values
/// that went into them, and making them costs more than it spares.
constexpr double kDistinctShare = 0.5;

/// What this rank knows before anything travels.
struct Prepared {
  GroupByKernelOptions kernel;
  bool needs_rows = false;  // some aggregate has no states that could travel
  int64_t groups = 0;       // about
};

arrow::Result<Prepared> Prepare(Context& context, const Table& table, const GroupByOptions& options) {
  ARROW_RETURN_NOT_OK(internal::CheckTable(table));
  if (options.keys.empty()) {
    return arrow::Status::Invalid("a group-by was given no keys; name at least one, or use AggregateAll for all rows");
  }
  Prepared prepared;
  auto& kernel = prepared.kernel;
  ARROW_ASSIGN_OR_RAISE(kernel.keys, internal::FindColumns(*table.schema(), options.keys, "group key", "the table"));
  ARROW_RETURN_NOT_OK(internal::CheckKeyTypes(*table.schema(), kernel.keys, "group key"));
  ARROW_ASSIGN_OR_RAISE(kernel.aggregates, internal::FindAggregates(*table.schema(), options.aggregates,
                                                                    {options.keys.begin(), options.keys.end()}));
  kernel.drop_null_keys = options.drop_null_keys;
  // Refuses what cannot be aggregated before any work is done.
  ARROW_ASSIGN_OR_RAISE(prepared.needs_rows, GroupByNeedsRows(table.schema(), kernel));
  if (context.world_size() > 1) {
    ARROW_ASSIGN_OR_RAISE(prepared.groups, EstimateGroups(table, kernel.keys));
  }
  return prepared;
}

/// The columns that `kernel` reads, and the options that read them there.
std::pair<std::vector<int>, GroupByKernelOptions> Narrowed(const GroupByKernelOptions& kernel) {
  std::vector<int> columns;
  const auto place = [&](int column) {
    const auto found = std::find(columns.begin(), columns.end(), column);
    if (found != columns.end()) {
      return static_cast<int>(found - columns.begin());
    }
    columns.push_back(column);
    return static_cast<int>(columns.size()) - 1;
  };
  GroupByKernelOptions narrow = kernel;
  std::transform(kernel.keys.begin(), kernel.keys.end(), narrow.keys.begin(), place);
  for (auto& spec : narrow.aggregates) {
    spec.column = spec.column < 0 ? spec.column : place(spec.column);
  }
  return {std::move(columns), std::move(narrow)};
}

/// Rows travel, and are grouped where they arrive.
arrow::Result<Table> GroupTravelled(Context& context, const Table& table, const GroupByKernelOptions& kernel) {
  const auto [columns, narrow] = Narrowed(kernel);
  ARROW_ASSIGN_OR_RAISE(auto rows, table.SelectColumns(columns));
  ARROW_ASSIGN_OR_RAISE(rows, ShuffleByHash(context, "GroupBy, rows", rows, narrow.keys));
  return GroupByLocal(context.resources(), rows, narrow);
}

/// Groups are made here, and their states travel.
arrow::Result<Table> GroupThenTravel(CollectiveOperator& operation, const Table& table,
                                     const GroupByKernelOptions& kernel) {
  Context& context = operation.context();
  auto partials = GroupByPartial(context.resources(), table, kernel);
  ARROW_RETURN_NOT_OK(operation.Begin("partial groups", partials.status()).status());
  std::vector<int> keys(kernel.keys.size());
  std::iota(keys.begin(), keys.end(), 0);  // partial states begin with the keys
  ARROW_ASSIGN_OR_RAISE(auto arrived, ShuffleByHash(context, "GroupBy, partial groups", *partials, keys));
  partials = Table();
  return GroupByMerge(context.resources(), arrived, table.schema(), kernel);
}

}  // namespace

arrow::Result<Table> GroupBy(Context& context, const Table& table, const GroupByOptions& options,
                             std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "GroupBy");
  const auto prepared = Prepare(context, table, options);
  const std::string details = "keys " + internal::OneLine(options.keys) +
                              (options.drop_null_keys ? "" : ", null keys too") + (options.sort ? ", sorted" : "") +
                              ", " + internal::Describe(options.aggregates) + ", " + internal::OneLine(table.schema());
  ARROW_ASSIGN_OR_RAISE(const auto agreement,
                        operation.Begin(details, prepared.status(),
                                        {prepared.ok() ? table.num_rows() : 0, prepared.ok() ? prepared->groups : 0}));
  const bool rows_travel = prepared->needs_rows || static_cast<double>(agreement.Sum(1)) >
                                                       static_cast<double>(agreement.Sum(0)) * kDistinctShare;
  auto groups = operation.alone() ? GroupByLocal(context.resources(), table, prepared->kernel)
                : rows_travel     ? GroupTravelled(context, table, prepared->kernel)
                                  : GroupThenTravel(operation, table, prepared->kernel);
  if (!options.sort) {
    return operation.End(std::move(groups));
  }
  std::vector<SortKey> keys;
  for (size_t i = 0; i < options.keys.size(); ++i) {
    keys.push_back({static_cast<int>(i), SortOrder::kAscending, NullPlacement::kLast});
  }
  return internal::SortAcrossRanks(operation, "sorted by the keys", std::move(groups), keys);
}

}  // namespace cylon
