// Aggregates over all rows of a distributed table.
#include <cmath>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/scalar_aggregate.h"
#include "cylon/ops/aggregates.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/group_by.h"
#include "cylon/ops/rows.h"
#include "cylon/ops/sort.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;
using Row = std::shared_ptr<arrow::RecordBatch>;

bool NeedsRows(const AggregateSpec& spec) {
  const bool quantile = spec.op == AggregateOp::kMedian || spec.op == AggregateOp::kQuantile;
  return (quantile && !spec.approximate) || spec.op == AggregateOp::kNunique;
}

/// The states of all ranks, merged in the order of the ranks, so that every rank has the same bits.
arrow::Result<Row> MergeStates(CollectiveOperator& operation, const Table& table, const Row& partial,
                               const std::vector<AggregateSpec>& specs) {
  Context& context = operation.context();
  const auto& resources = context.resources();
  ARROW_ASSIGN_OR_RAISE(auto all, Table::FromBatches(resources, partial->schema(), {partial}));
  ARROW_ASSIGN_OR_RAISE(all, AllGatherTable(context, all));
  std::vector<Row> rows;
  ARROW_RETURN_NOT_OK(all.ForEachBatch([&](const Row& batch, int64_t) {
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      rows.push_back(batch->Slice(i, 1));
    }
    return arrow::Status::OK();
  }));
  return AggregateMerge(resources, rows, table.schema(), specs);
}

/// One value of a row, as a row.
Row OnlyColumn(const Row& row, int column) {
  return arrow::RecordBatch::Make(arrow::schema({row->schema()->field(column)}), 1, {row->column(column)});
}

/// Distinct values meet at one rank each, and are counted there.
arrow::Result<Row> CountDistinct(Context& context, const Table& column, const std::string& name) {
  ARROW_ASSIGN_OR_RAISE(const auto distinct, Unique(context, column, {}, Keep::kFirst));
  return AggregateAll(context, distinct, {{column.schema()->field(0)->name(), AggregateOp::kCount, name, 1}});
}

/// The values in global order, of which only the two that are asked for travel on.
arrow::Result<Row> FindQuantile(Context& context, const Table& column, const AggregateSpec& spec) {
  const std::string& name = column.schema()->field(0)->name();
  ARROW_ASSIGN_OR_RAISE(const auto counted, AggregateAll(context, column, {{name, AggregateOp::kCount, "", 1}}));
  const int64_t count = static_cast<const arrow::Int64Array&>(*counted->column(0)).Value(0);
  ARROW_ASSIGN_OR_RAISE(auto sorted, Sort(context, column, {{{name}}, NullPlacement::kLast}));
  const double quantile = spec.op == AggregateOp::kMedian ? 0.5 : spec.quantile;
  const double place = static_cast<double>(std::max<int64_t>(count - 1, 0)) * quantile;
  const auto below = static_cast<int64_t>(place);
  ARROW_ASSIGN_OR_RAISE(auto around, SliceRows(context, sorted, below, std::min<int64_t>(2, count - below)));
  ARROW_ASSIGN_OR_RAISE(around, AllGatherTable(context, around));
  AggregateSpec between = spec;
  between.column = 0;
  between.op = AggregateOp::kQuantile;
  between.quantile = place - static_cast<double>(below);
  return AggregateLocal(context.resources(), around, {between});
}

/// Both need calls that all ranks make together, one aggregate after the other.
arrow::Result<Row> AcrossRanks(Context& context, const Table& table, const AggregateSpec& spec) {
  ARROW_ASSIGN_OR_RAISE(const auto column, table.SelectColumns({spec.column}));
  return spec.op == AggregateOp::kNunique ? CountDistinct(context, column, spec.name)
                                          : FindQuantile(context, column, spec);
}

}  // namespace

arrow::Result<Row> AggregateAll(Context& context, const Table& table, const std::vector<Aggregate>& aggregates,
                                std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "AggregateAll");
  const auto& resources = context.resources();
  std::vector<AggregateSpec> specs;
  std::vector<AggregateSpec> with_states;
  const auto prepare = [&]() -> arrow::Result<Row> {
    ARROW_RETURN_NOT_OK(internal::CheckTable(table));
    ARROW_ASSIGN_OR_RAISE(specs, internal::FindAggregates(*table.schema(), aggregates, {}));
    GroupByKernelOptions kernel;
    kernel.aggregates = specs;
    ARROW_RETURN_NOT_OK(GroupBySchema(table.schema(), kernel).status());
    if (operation.alone()) {
      return AggregateLocal(resources, table, specs);
    }
    std::copy_if(specs.begin(), specs.end(), std::back_inserter(with_states),
                 [](const AggregateSpec& spec) { return !NeedsRows(spec); });
    return AggregatePartial(resources, table, with_states);
  };
  const auto prepared = prepare();
  ARROW_RETURN_NOT_OK(
      operation.Begin(internal::Describe(aggregates) + ", " + internal::OneLine(table.schema()), prepared.status())
          .status());
  const auto finish = [&]() -> arrow::Result<Row> {
    if (operation.alone()) {
      return prepared;
    }
    Row merged;
    if (!with_states.empty()) {
      ARROW_ASSIGN_OR_RAISE(merged, MergeStates(operation, table, *prepared, with_states));
    }
    arrow::FieldVector fields;
    arrow::ArrayVector arrays;
    int next = 0;  // of what was merged
    for (const auto& spec : specs) {
      Row row;
      if (NeedsRows(spec)) {
        ARROW_ASSIGN_OR_RAISE(row, AcrossRanks(context, table, spec));
      } else {
        row = OnlyColumn(merged, next++);
      }
      fields.push_back(row->schema()->field(0));
      arrays.push_back(row->column(0));
    }
    return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), 1, std::move(arrays));
  };
  auto result = finish();
  ARROW_RETURN_NOT_OK(operation.End(result.status()).status());
  return result;
}

}  // namespace cylon
