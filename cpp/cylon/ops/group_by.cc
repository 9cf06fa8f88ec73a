// Group-by: aggregate locally, bring the partial states of a group to one rank, merge them there.
#include "cylon/ops/group_by.h"

#include <set>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/group_by.h"
#include "cylon/kernels/scalar_aggregate.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/sort_exchange.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;

const char* OpName(AggregateOp op) {
  switch (op) {
    case AggregateOp::kSum:
      return "sum";
    case AggregateOp::kCount:
      return "count";
    case AggregateOp::kSize:
      return "size";
    case AggregateOp::kMean:
      return "mean";
    case AggregateOp::kMin:
      return "min";
    case AggregateOp::kMax:
      return "max";
    case AggregateOp::kVar:
      return "var";
    case AggregateOp::kStd:
      return "std";
  }
  return "unknown";
}

std::string ResultName(const Aggregate& aggregate) {
  if (!aggregate.name.empty()) {
    return aggregate.name;
  }
  return aggregate.op == AggregateOp::kSize ? "size" : aggregate.column + "_" + OpName(aggregate.op);
}

std::string Describe(const std::vector<Aggregate>& aggregates) {
  std::string text;
  for (const auto& aggregate : aggregates) {
    text += (text.empty() ? "" : ", ") + ResultName(aggregate) + " = " + OpName(aggregate.op) + "(" + aggregate.column +
            ")";
    if (aggregate.op == AggregateOp::kVar || aggregate.op == AggregateOp::kStd) {
      text += " ddof " + std::to_string(aggregate.ddof);
    }
  }
  return text;
}

arrow::Result<std::vector<AggregateSpec>> FindAggregates(const Table& table, const std::vector<Aggregate>& aggregates,
                                                         std::set<std::string> names) {
  std::vector<AggregateSpec> specs;
  for (const auto& aggregate : aggregates) {
    AggregateSpec spec;
    spec.op = aggregate.op;
    spec.name = ResultName(aggregate);
    spec.ddof = aggregate.ddof;
    if (aggregate.op != AggregateOp::kSize) {
      ARROW_ASSIGN_OR_RAISE(const auto index, internal::FindColumns(*table.schema(), {aggregate.column},
                                                                    "aggregated column", "the table"));
      spec.column = index[0];
    }
    if (!names.insert(spec.name).second) {
      return arrow::Status::Invalid("the result would have two columns '", spec.name,
                                    "'; names have to differ; name one of the aggregates otherwise");
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

/// What this rank knows before anything travels.
struct Prepared {
  GroupByKernelOptions kernel;
  Table partials;
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
  ARROW_ASSIGN_OR_RAISE(kernel.aggregates,
                        FindAggregates(table, options.aggregates, {options.keys.begin(), options.keys.end()}));
  kernel.drop_null_keys = options.drop_null_keys;
  // Refuses what cannot be aggregated before any work is done.
  ARROW_RETURN_NOT_OK(GroupBySchema(table.schema(), kernel).status());
  ARROW_ASSIGN_OR_RAISE(prepared.partials, GroupByPartial(context.resources(), table, kernel));
  return prepared;
}

arrow::Result<Table> MergeGroups(CollectiveOperator& operation, const Table& table, const GroupByOptions& options,
                                 const Prepared& prepared, Table partials) {
  const auto& resources = operation.context().resources();
  auto merged = GroupByMerge(resources, partials, table.schema(), prepared.kernel);
  partials = Table();
  if (!options.sort) {
    return operation.End(std::move(merged));
  }
  std::vector<SortKey> keys;
  for (size_t i = 0; i < options.keys.size(); ++i) {
    keys.push_back({static_cast<int>(i), SortOrder::kAscending, NullPlacement::kLast});
  }
  if (merged.ok()) {
    merged = SortTable(resources, *merged, keys);
  }
  return internal::SortAcrossRanks(operation, "sorted by the keys", std::move(merged), keys);
}

}  // namespace

arrow::Result<Table> GroupBy(Context& context, const Table& table, const GroupByOptions& options) {
  CollectiveOperator operation(context, "GroupBy");
  auto prepared = Prepare(context, table, options);
  const std::string details = "keys " + internal::OneLine(options.keys) +
                              (options.drop_null_keys ? "" : ", null keys too") + (options.sort ? ", sorted" : "") +
                              ", " + Describe(options.aggregates) + ", " + internal::OneLine(table.schema());
  ARROW_RETURN_NOT_OK(operation.Begin(details, prepared.status()).status());
  Table partials = std::move(prepared->partials);
  prepared->partials = Table();
  if (!operation.alone()) {
    std::vector<int> keys(options.keys.size());
    for (size_t i = 0; i < keys.size(); ++i) {
      keys[i] = static_cast<int>(i);  // partial states begin with the keys
    }
    ARROW_ASSIGN_OR_RAISE(partials, ShuffleByHash(context, "GroupBy, partial groups", partials, keys));
  }
  return MergeGroups(operation, table, options, *prepared, std::move(partials));
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateAll(Context& context, const Table& table,
                                                                const std::vector<Aggregate>& aggregates) {
  CollectiveOperator operation(context, "AggregateAll");
  const auto& resources = context.resources();
  std::vector<AggregateSpec> specs;
  const auto prepare = [&]() -> arrow::Result<Table> {
    ARROW_RETURN_NOT_OK(internal::CheckTable(table));
    ARROW_ASSIGN_OR_RAISE(specs, FindAggregates(table, aggregates, {}));
    GroupByKernelOptions kernel;
    kernel.aggregates = specs;
    ARROW_RETURN_NOT_OK(GroupBySchema(table.schema(), kernel).status());
    ARROW_ASSIGN_OR_RAISE(auto partial, AggregatePartial(resources, table, specs));
    return Table::FromBatches(resources, partial->schema(), {partial});
  };
  auto partial = prepare();
  ARROW_RETURN_NOT_OK(
      operation.Begin(Describe(aggregates) + ", " + internal::OneLine(table.schema()), partial.status()).status());
  Table all = *partial;
  if (!operation.alone()) {
    ARROW_ASSIGN_OR_RAISE(all, AllGatherTable(context, all));
  }
  const auto merge = [&]() -> arrow::Result<std::shared_ptr<arrow::RecordBatch>> {
    // Merged row by row in the order of the ranks, so that every rank has the same bits.
    std::vector<std::shared_ptr<arrow::RecordBatch>> rows;
    ARROW_RETURN_NOT_OK(all.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
      for (int64_t i = 0; i < batch->num_rows(); ++i) {
        rows.push_back(batch->Slice(i, 1));
      }
      return arrow::Status::OK();
    }));
    return AggregateMerge(resources, rows, table.schema(), specs);
  };
  auto result = merge();
  ARROW_RETURN_NOT_OK(operation.End(result.status()).status());
  return result;
}

}  // namespace cylon
