// Aggregates over whole columns: one group that all rows belong to.
#include "cylon/kernels/scalar_aggregate.h"

#include <algorithm>

#include "cylon/kernels/group_rows.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

using grouping::StateSet;

/// Rows that one thread adds up before they are merged with the others'. By no option and no number of threads, so that
/// float sums have the same bits for any.
constexpr int64_t kRangeRows = 1 << 18;

arrow::Result<GroupingPlan> PlanFor(const arrow::Schema& input_schema, const std::vector<AggregateSpec>& aggregates,
                                    bool merges, bool finishes) {
  GroupingPlan plan;
  plan.merges = merges;
  plan.finishes = finishes;
  ARROW_ASSIGN_OR_RAISE(plan.aggregates, AggregatePlan::Make(input_schema, aggregates));
  int column = 0;
  for (const auto& states : plan.aggregates.states) {
    auto& inputs = plan.inputs.emplace_back();
    for (size_t k = 0; merges && k < states.Fields().size(); ++k) {
      inputs.push_back(column++);
    }
    if (!merges && states.column >= 0) {
      inputs.push_back(states.column);
    }
  }
  plan.SetOutput(input_schema);
  return plan;
}

/// Adds all rows of `batch` to group 0.
arrow::Status AddAll(Resources& resources, const arrow::RecordBatch& batch, StateSet* states) {
  static constexpr uint32_t kFirstGroup[kValueBlockRows] = {};
  ARROW_RETURN_NOT_OK(states->Open(resources.memory(), batch));
  for (int64_t begin = 0; begin < batch.num_rows(); begin += kValueBlockRows) {
    const int64_t count = std::min(kValueBlockRows, batch.num_rows() - begin);
    ARROW_RETURN_NOT_OK(states->Add(begin, count, kFirstGroup, 1, {}));
  }
  return arrow::Status::OK();
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> OneRow(Resources& resources, const GroupingPlan& plan,
                                                          StateSet* states) {
  ARROW_RETURN_NOT_OK(states->Resize(1));
  auto columns = states->MakeColumns(resources.memory());
  ARROW_RETURN_NOT_OK(states->Append(columns));
  arrow::ArrayVector arrays;
  for (auto& column : columns) {
    ARROW_ASSIGN_OR_RAISE(auto array, column.Finish(1));
    arrays.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(plan.output_schema, 1, std::move(arrays));
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateRows(const std::shared_ptr<Resources>& resources,
                                                                 const Table& input, const GroupingPlan& plan) {
  StateSet all(resources->memory(), plan);
  ARROW_RETURN_NOT_OK(all.Resize(1));
  const uint32_t first_group = 0;
  std::vector<std::unique_ptr<StateSet>> wave(resources->arena().threads());
  ARROW_RETURN_NOT_OK(ForEachMorsel(
      *resources, input, kRangeRows,
      [&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t index) {
        auto& states = wave[index % static_cast<int64_t>(wave.size())];
        states = std::make_unique<StateSet>(resources->memory(), plan);
        return AddAll(*resources, *batch, states.get());
      },
      [&](int64_t index) { return all.MergeFrom(*wave[index % static_cast<int64_t>(wave.size())], &first_group, 1); }));
  return OneRow(*resources, plan, &all);
}

}  // namespace

arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateLocal(const std::shared_ptr<Resources>& resources,
                                                                  const Table& input,
                                                                  const std::vector<AggregateSpec>& aggregates) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input.schema(), aggregates, false, true));
  return AggregateRows(resources, input, plan);
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregatePartial(const std::shared_ptr<Resources>& resources,
                                                                    const Table& input,
                                                                    const std::vector<AggregateSpec>& aggregates) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input.schema(), aggregates, false, false));
  return AggregateRows(resources, input, plan);
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateMerge(
    const std::shared_ptr<Resources>& resources, const std::vector<std::shared_ptr<arrow::RecordBatch>>& partials,
    const std::shared_ptr<arrow::Schema>& input_schema, const std::vector<AggregateSpec>& aggregates) {
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanFor(*input_schema, aggregates, true, true));
  const auto columns = static_cast<int>(plan.aggregates.StateFields().size());
  StateSet all(resources->memory(), plan);
  for (const auto& partial : partials) {
    if (partial->num_columns() != columns) {
      return arrow::Status::Invalid("a partial state of aggregates has ", partial->num_columns(), " columns; ", columns,
                                    " were expected, as AggregatePartial gives them with the same aggregates");
    }
    ARROW_RETURN_NOT_OK(AddAll(*resources, *partial, &all));
  }
  return OneRow(*resources, plan, &all);
}

}  // namespace cylon
