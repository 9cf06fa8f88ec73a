// One rank's group-by.
#include "cylon/kernels/group_by.h"

#include <numeric>

#include "cylon/kernels/grouping.h"

namespace cylon {

namespace {

/// The plan of a step. Keys of the second step's input come first, then the states.
arrow::Result<GroupingPlan> PlanFor(const arrow::Schema& input_schema, const GroupByKernelOptions& options, bool merges,
                                    bool finishes) {
  GroupingPlan plan;
  plan.merges = merges;
  plan.finishes = finishes;
  plan.drop_null_keys = options.drop_null_keys && !merges;  // the first step has dropped them
  plan.keys = options.keys;
  ARROW_ASSIGN_OR_RAISE(plan.aggregates, AggregatePlan::Make(input_schema, options.aggregates));
  if ((merges || !finishes) && plan.aggregates.needs_rows()) {
    return arrow::Status::Invalid(
        "median, quantile and nunique have no partial states; bring the rows of a group together first, and use "
        "GroupByLocal");
  }
  auto column = static_cast<int>(options.keys.size());
  for (const auto& states : plan.aggregates.states) {
    auto& inputs = plan.inputs.emplace_back();
    if (merges) {
      inputs.resize(states.Fields().size());
      std::iota(inputs.begin(), inputs.end(), column);
      column += static_cast<int>(inputs.size());
    } else if (states.column >= 0) {
      inputs.push_back(states.column);
    }
  }
  plan.SetOutput(input_schema);
  if (merges) {
    std::iota(plan.keys.begin(), plan.keys.end(), 0);
  }
  return plan;
}

}  // namespace

arrow::Result<Table> GroupByLocal(const std::shared_ptr<Resources>& resources, const Table& input,
                                  const GroupByKernelOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input.schema(), options, false, true));
  return GroupRows(resources, input, plan);
}

arrow::Result<Table> GroupByPartial(const std::shared_ptr<Resources>& resources, const Table& input,
                                    const GroupByKernelOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input.schema(), options, false, false));
  return GroupRows(resources, input, plan);
}

arrow::Result<Table> GroupByMerge(const std::shared_ptr<Resources>& resources, const Table& partials,
                                  const std::shared_ptr<arrow::Schema>& input_schema,
                                  const GroupByKernelOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input_schema, options, true, true));
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
  ARROW_ASSIGN_OR_RAISE(const auto plan, AggregatePlan::Make(*input_schema, options.aggregates));
  const auto results = plan.ResultFields();
  fields.insert(fields.end(), results.begin(), results.end());
  return arrow::schema(std::move(fields));
}

arrow::Result<bool> GroupByNeedsRows(const std::shared_ptr<arrow::Schema>& input_schema,
                                     const GroupByKernelOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, AggregatePlan::Make(*input_schema, options.aggregates));
  return plan.needs_rows();
}

arrow::Result<int64_t> EstimateGroups(const Table& input, const std::vector<int>& keys) {
  return grouping::SampleGroups(input, keys);
}

}  // namespace cylon
