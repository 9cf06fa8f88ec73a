// Aggregates as users name them.
#include "cylon/ops/aggregates.h"

#include "cylon/ops/collective_operator.h"

namespace cylon::internal {

namespace {

std::string ResultName(const Aggregate& aggregate) {
  if (!aggregate.name.empty()) {
    return aggregate.name;
  }
  return aggregate.op == AggregateOp::kSize ? "size"
                                            : aggregate.column + "_" + std::string(AggregateName(aggregate.op));
}

}  // namespace

arrow::Result<std::vector<AggregateSpec>> FindAggregates(const arrow::Schema& schema,
                                                         const std::vector<Aggregate>& aggregates,
                                                         std::set<std::string> taken) {
  std::vector<AggregateSpec> specs;
  for (const auto& aggregate : aggregates) {
    AggregateSpec spec;
    spec.op = aggregate.op;
    spec.name = ResultName(aggregate);
    spec.ddof = aggregate.ddof;
    spec.quantile = aggregate.quantile;
    spec.reproducible = aggregate.reproducible;
    spec.approximate = aggregate.approximate;
    spec.compression = aggregate.compression;
    if (aggregate.op != AggregateOp::kSize) {
      ARROW_ASSIGN_OR_RAISE(const auto index,
                            FindColumns(schema, {aggregate.column}, "aggregated column", "the table"));
      spec.column = index[0];
    }
    if (!taken.insert(spec.name).second) {
      return arrow::Status::Invalid("the result would have two columns '", spec.name,
                                    "'; names have to differ; name one of the aggregates otherwise");
    }
    specs.push_back(std::move(spec));
  }
  return specs;
}

std::string Describe(const std::vector<Aggregate>& aggregates) {
  std::string text;
  for (const auto& aggregate : aggregates) {
    text += (text.empty() ? "" : ", ") + ResultName(aggregate) + " = " + std::string(AggregateName(aggregate.op)) +
            "(" + aggregate.column + ")";
    if (aggregate.op == AggregateOp::kVar || aggregate.op == AggregateOp::kStd) {
      text += " ddof " + std::to_string(aggregate.ddof);
    }
    text += aggregate.reproducible ? " reproducible" : "";
    if (aggregate.op == AggregateOp::kQuantile) {
      text += " " + std::to_string(aggregate.quantile);
    }
    if (aggregate.approximate) {
      text += " approximate " + std::to_string(aggregate.compression);
    }
  }
  return text;
}

}  // namespace cylon::internal
