// Comparisons of columns of both sides of a join.
#include "cylon/kernels/join_condition.h"

#include <arrow/compute/api.h>

#include <limits>

namespace cylon {

namespace {

const char* FunctionName(Comparison comparison) {
  switch (comparison) {
    case Comparison::kEqual:
      return "equal";
    case Comparison::kNotEqual:
      return "not_equal";
    case Comparison::kLess:
      return "less";
    case Comparison::kLessEqual:
      return "less_equal";
    case Comparison::kGreater:
      return "greater";
    default:
      return "greater_equal";
  }
}

std::shared_ptr<arrow::Schema> ValueSchema(const std::vector<JoinComparison>& comparisons, const arrow::Schema& left,
                                           const arrow::Schema& right) {
  arrow::FieldVector fields;
  for (const auto& comparison : comparisons) {
    fields.push_back(left.field(comparison.left));
    fields.push_back(right.field(comparison.right));
  }
  return arrow::schema(std::move(fields));
}

/// Arrow compares no half floats; as floats they have the same order.
arrow::Result<arrow::Datum> Widened(const std::shared_ptr<arrow::Array>& values, arrow::compute::ExecContext* compute) {
  if (values->type_id() != arrow::Type::HALF_FLOAT) {
    return values;
  }
  return arrow::compute::Cast(values, arrow::float32(), arrow::compute::CastOptions::Safe(), compute);
}

/// A boolean for each pair of values, null where one of them is.
arrow::Result<arrow::Datum> Compare(Comparison comparison, const std::shared_ptr<arrow::Array>& left,
                                    const std::shared_ptr<arrow::Array>& right, arrow::compute::ExecContext* compute) {
  ARROW_ASSIGN_OR_RAISE(const auto left_values, Widened(left, compute));
  ARROW_ASSIGN_OR_RAISE(const auto right_values, Widened(right, compute));
  return arrow::compute::CallFunction(FunctionName(comparison), {left_values, right_values}, nullptr, compute);
}

}  // namespace

const char* ComparisonSign(Comparison comparison) {
  switch (comparison) {
    case Comparison::kEqual:
      return "==";
    case Comparison::kNotEqual:
      return "!=";
    case Comparison::kLess:
      return "<";
    case Comparison::kLessEqual:
      return "<=";
    case Comparison::kGreater:
      return ">";
    default:
      return ">=";
  }
}

arrow::Status CheckComparable(const arrow::Field& left, Comparison comparison, const arrow::Field& right) {
  ARROW_ASSIGN_OR_RAISE(const auto left_value, arrow::MakeEmptyArray(left.type()));
  ARROW_ASSIGN_OR_RAISE(const auto right_value, arrow::MakeEmptyArray(right.type()));
  const auto result = Compare(comparison, left_value, right_value, arrow::compute::default_exec_context());
  if (!result.ok() || result->type()->id() != arrow::Type::BOOL) {
    return arrow::Status::TypeError("the join condition '", left.name(), "' ", ComparisonSign(comparison), " '",
                                    right.name(), "' compares ", left.type()->ToString(), " with ",
                                    right.type()->ToString(),
                                    "; both have to be numbers, or both strings, or times of one kind; cast one side");
  }
  return arrow::Status::OK();
}

std::vector<JoinColumn> JoinCondition::Columns(const std::vector<JoinComparison>& comparisons, bool build_left) {
  std::vector<JoinColumn> columns;
  for (const auto& comparison : comparisons) {
    columns.push_back({build_left ? kBuild : kProbe, comparison.left, -1});
    columns.push_back({build_left ? kProbe : kBuild, comparison.right, -1});
  }
  return columns;
}

JoinCondition::JoinCondition(std::shared_ptr<Resources> resources, const std::vector<JoinComparison>& comparisons,
                             bool build_left, const arrow::Schema& left, const arrow::Schema& right,
                             const std::array<SidePlan, 2>& plans)
    : resources_(std::move(resources)),
      comparisons_(comparisons),
      // Pairs come some thousands at a time, and are judged as they come.
      values_(resources_, ValueSchema(comparisons, left, right), Columns(comparisons, build_left), plans,
              std::numeric_limits<int32_t>::max()) {}

arrow::Status JoinCondition::Keep(const std::array<JoinRows, 2>& pairs, int64_t count,
                                  std::array<std::vector<uint32_t>, 2>* kept) {
  fulfilled_.clear();
  const auto evaluate = [this](const std::shared_ptr<arrow::RecordBatch>& batch) { return Evaluate(*batch); };
  ARROW_RETURN_NOT_OK(values_.Append(pairs, count, evaluate));
  ARROW_RETURN_NOT_OK(values_.Finish(evaluate));
  for (const JoinSide side : {kProbe, kBuild}) {
    (*kept)[side].clear();
    for (int64_t i = 0; i < count; ++i) {
      if (fulfilled_[i] != 0) {
        (*kept)[side].push_back(pairs[side].places[i]);
      }
    }
  }
  return arrow::Status::OK();
}

arrow::Status JoinCondition::Evaluate(const arrow::RecordBatch& batch) {
  const auto begin = fulfilled_.size();
  fulfilled_.resize(begin + batch.num_rows(), 1);
  arrow::compute::ExecContext compute(resources_->memory());
  compute.set_use_threads(false);
  for (size_t k = 0; k < comparisons_.size(); ++k) {
    const auto column = static_cast<int>(2 * k);
    ARROW_ASSIGN_OR_RAISE(const auto result, Compare(comparisons_[k].comparison, batch.column(column),
                                                     batch.column(column + 1), &compute));
    const arrow::BooleanArray holds(result.array());
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      fulfilled_[begin + i] &= static_cast<uint8_t>(holds.IsValid(i) && holds.Value(i));
    }
  }
  return arrow::Status::OK();
}

}  // namespace cylon
