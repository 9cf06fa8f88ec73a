// Aggregates over whole columns: one group that all rows belong to.
#include "cylon/kernels/scalar_aggregate.h"

#include <algorithm>

#include "cylon/kernels/aggregate_state.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

struct States {
  std::vector<AggregatePlan> plans;
  std::vector<std::unique_ptr<AggregateState>> states;

  static arrow::Result<States> Make(const arrow::Schema& schema, const std::vector<AggregateSpec>& aggregates) {
    States result;
    for (const auto& spec : aggregates) {
      ARROW_ASSIGN_OR_RAISE(auto plan, AggregatePlan::Make(schema, spec));
      result.states.push_back(plan.MakeState());
      result.states.back()->Resize(1);
      result.plans.push_back(std::move(plan));
    }
    return result;
  }
};

}  // namespace

arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregatePartial(const std::shared_ptr<Resources>& resources,
                                                                    const Table& input,
                                                                    const std::vector<AggregateSpec>& aggregates) {
  ARROW_ASSIGN_OR_RAISE(auto all, States::Make(*input.schema(), aggregates));
  const int64_t morsel_rows = MorselRows(*resources, RowBytes(input));
  std::vector<uint32_t> groups;
  std::vector<int> columns;  // that are read, each once
  for (const auto& plan : all.plans) {
    if (plan.spec.op != AggregateOp::kSize &&
        std::find(columns.begin(), columns.end(), plan.spec.column) == columns.end()) {
      columns.push_back(plan.spec.column);
    }
  }
  for (const auto& chunk : input.chunks()) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, chunk->Pin());
    for (int64_t offset = 0; offset < batch->num_rows(); offset += morsel_rows) {
      const auto morsel = batch->Slice(offset, morsel_rows);
      groups.resize(std::max<size_t>(groups.size(), morsel->num_rows()), 0);
      const GroupedRows rows{nullptr, groups.data(), morsel->num_rows()};
      std::vector<AggregateInput> inputs(columns.size());
      ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(static_cast<int64_t>(columns.size()), [&](int64_t i) {
        ARROW_ASSIGN_OR_RAISE(inputs[i], AggregateInput::Make(resources->memory(), morsel->column_data(columns[i]),
                                                              morsel->column_name(columns[i])));
        return arrow::Status::OK();
      }));
      // Aggregates side by side, each over the rows in their order: the same bits for any number of threads.
      ARROW_RETURN_NOT_OK(resources->arena().ParallelFor(static_cast<int64_t>(all.states.size()), [&](int64_t i) {
        const auto place = std::find(columns.begin(), columns.end(), all.plans[i].spec.column) - columns.begin();
        static const AggregateInput kNoInput{};  // all that size looks at is how many rows there are
        return all.states[i]->Update(all.plans[i].spec.op == AggregateOp::kSize ? kNoInput : inputs[place], rows);
      }));
    }
  }
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (size_t i = 0; i < all.states.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(auto columns, all.states[i]->StateArrays(resources->memory()));
    arrays.insert(arrays.end(), columns.begin(), columns.end());
    fields.insert(fields.end(), all.plans[i].states.begin(), all.plans[i].states.end());
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), 1, std::move(arrays));
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> AggregateMerge(
    const std::shared_ptr<Resources>& resources, const std::vector<std::shared_ptr<arrow::RecordBatch>>& partials,
    const std::shared_ptr<arrow::Schema>& input_schema, const std::vector<AggregateSpec>& aggregates) {
  ARROW_ASSIGN_OR_RAISE(auto all, States::Make(*input_schema, aggregates));
  for (const auto& partial : partials) {
    const std::vector<uint32_t> groups(partial->num_rows(), 0);
    int column = 0;
    for (size_t i = 0; i < all.states.size(); ++i) {
      std::vector<AggregateInput> states;
      for (size_t k = 0; k < all.plans[i].states.size(); ++k, ++column) {
        if (column >= partial->num_columns()) {
          return arrow::Status::Invalid("a partial state of aggregates has only ", partial->num_columns(),
                                        " columns; it must come from AggregatePartial with the same aggregates");
        }
        ARROW_ASSIGN_OR_RAISE(auto state, AggregateInput::Make(resources->memory(), partial->column_data(column),
                                                               partial->column_name(column)));
        states.push_back(std::move(state));
      }
      ARROW_RETURN_NOT_OK(all.states[i]->Merge(states, GroupedRows{nullptr, groups.data(), partial->num_rows()}));
    }
  }
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (size_t i = 0; i < all.states.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(auto array, all.states[i]->Result(resources->memory()));
    arrays.push_back(std::move(array));
    fields.push_back(all.plans[i].result);
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), 1, std::move(arrays));
}

}  // namespace cylon
