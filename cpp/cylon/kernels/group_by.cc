// One rank's group-by, in the two steps that a distributed one needs.
#include "cylon/kernels/group_by.h"

#include <numeric>

#include "cylon/kernels/grouping.h"

namespace cylon {

namespace {

/// The plan of either step. Keys of the second step's input come first, then the states.
arrow::Result<GroupingPlan> PlanFor(const arrow::Schema& input_schema, const GroupByKernelOptions& options,
                                    bool merges) {
  GroupingPlan plan;
  plan.merges = merges;
  plan.finishes = merges;
  plan.drop_null_keys = options.drop_null_keys;
  plan.keys = options.keys;
  auto column = static_cast<int>(options.keys.size());
  for (const auto& spec : options.aggregates) {
    ARROW_ASSIGN_OR_RAISE(auto aggregate, AggregatePlan::Make(input_schema, spec));
    plan.inputs.emplace_back();
    if (!merges && spec.op != AggregateOp::kSize) {
      plan.inputs.back().push_back(spec.column);
    }
    for (size_t k = 0; merges && k < aggregate.states.size(); ++k) {
      plan.inputs.back().push_back(column++);
    }
    plan.aggregates.push_back(std::move(aggregate));
  }
  if (merges) {
    std::iota(plan.keys.begin(), plan.keys.end(), 0);
  }
  return plan;
}

}  // namespace

arrow::Result<Table> GroupByPartial(const std::shared_ptr<Resources>& resources, const Table& input,
                                    const GroupByKernelOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input.schema(), options, false));
  return GroupRows(resources, input, plan);
}

arrow::Result<Table> GroupByMerge(const std::shared_ptr<Resources>& resources, const Table& partials,
                                  const std::shared_ptr<arrow::Schema>& input_schema,
                                  const GroupByKernelOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input_schema, options, true));
  size_t columns = plan.keys.size();
  for (const auto& inputs : plan.inputs) {
    columns += inputs.size();
  }
  if (partials.num_columns() != static_cast<int>(columns)) {
    return arrow::Status::Invalid("partial states of a group-by have ", partials.num_columns(), " columns; ", columns,
                                  " were expected, as GroupByPartial gives them with the same options");
  }
  return GroupRows(resources, partials, plan);
}

arrow::Result<std::shared_ptr<arrow::Schema>> GroupBySchema(const std::shared_ptr<arrow::Schema>& input_schema,
                                                            const GroupByKernelOptions& options) {
  arrow::FieldVector fields;
  for (int key : options.keys) {
    if (key < 0 || key >= input_schema->num_fields()) {
      return arrow::Status::IndexError("key column ", key, " was asked for of a table of ", input_schema->num_fields(),
                                       " columns; columns are numbered from 0");
    }
    fields.push_back(input_schema->field(key));
  }
  for (const auto& spec : options.aggregates) {
    ARROW_ASSIGN_OR_RAISE(auto aggregate, AggregatePlan::Make(*input_schema, spec));
    fields.push_back(aggregate.result);
  }
  return arrow::schema(std::move(fields));
}

}  // namespace cylon
