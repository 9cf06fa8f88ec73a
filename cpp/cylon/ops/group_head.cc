// First and last rows of each group.
#include "cylon/ops/group_head.h"

#include <numeric>

#include "cylon/kernels/group_by.h"
#include "cylon/kernels/unique.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/key_marks.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;

/// The bytes of the rows that are sent: among this rank's they are the first (or last) of their groups, if these are
/// few. nullptr where all are.
arrow::Result<std::shared_ptr<arrow::Buffer>> Thin(Context& context, const Table& keys,
                                                   const GroupHeadKernelOptions& options) {
  if (options.count < 0) {
    return nullptr;  // how many rows follow a row of this rank elsewhere is not known here
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t groups, EstimateGroups(keys, options.keys));
  const double kept = static_cast<double>(groups) * static_cast<double>(options.count);
  // Finding them takes about as long as what it spares.
  constexpr double kMostSent = 0.6;
  if (kept > kMostSent * static_cast<double>(keys.num_rows())) {
    return nullptr;
  }
  return MarkGroupHeads(context.resources(), keys, options);
}

arrow::Result<Table> KeepWhereKeysMeet(CollectiveOperator& operation, const Table& table,
                                       const GroupHeadKernelOptions& options) {
  const auto& resources = operation.context().resources();
  GroupHeadKernelOptions of_keys = options;
  std::iota(of_keys.keys.begin(), of_keys.keys.end(), 0);
  // Every rank has the same schema, so this fails at all or at none.
  ARROW_ASSIGN_OR_RAISE(const auto keys, table.SelectColumns(options.keys));
  ARROW_ASSIGN_OR_RAISE(const auto kept,
                        internal::MarkWhereKeysMeet(
                            operation, keys, [&] { return Thin(operation.context(), keys, of_keys); },
                            [&](const Table& met) { return MarkGroupHeads(resources, met, of_keys); }));
  return KeepRows(resources, table, kept->data());
}

}  // namespace

arrow::Result<Table> GroupHead(Context& context, const Table& table, const GroupHeadOptions& options,
                               std::source_location location) {
  CallSite site(context.communicator(), location);
  const bool tail = options.side == GroupSide::kTail;
  CollectiveOperator operation(context, tail ? "GroupTail" : "GroupHead");
  GroupHeadKernelOptions kernel;
  kernel.count = options.count;
  kernel.side = options.side;
  kernel.drop_null_keys = options.drop_null_keys;
  const auto prepare = [&]() -> arrow::Result<Table> {
    ARROW_RETURN_NOT_OK(internal::CheckTable(table));
    ARROW_ASSIGN_OR_RAISE(kernel.keys, internal::FindGroupKeys(*table.schema(), options.keys, "Head"));
    return operation.alone() ? GroupHeadRows(context.resources(), table, kernel) : table;
  };
  auto prepared = prepare();
  const std::string details = std::to_string(options.count) + " rows, keys " + internal::OneLine(options.keys) +
                              (options.drop_null_keys ? "" : ", null keys too") + ", " +
                              internal::OneLine(table.schema());
  ARROW_RETURN_NOT_OK(operation.Begin(details, prepared.status()).status());
  if (operation.alone()) {
    return prepared;
  }
  return operation.End(KeepWhereKeysMeet(operation, table, kernel));
}

}  // namespace cylon
