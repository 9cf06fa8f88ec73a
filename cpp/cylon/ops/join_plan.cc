// What a join's result looks like: pandas' rules for columns and suffixes.
#include "cylon/ops/join_plan.h"

#include <algorithm>
#include <map>
#include <set>

#include "cylon/kernels/join_condition.h"
#include "cylon/kernels/sort.h"
#include "cylon/ops/collective_operator.h"

namespace cylon::internal {

namespace {

/// The type that values of `type` have when their encoding is taken off: dictionaries decoded, every string a
/// large_string.
std::shared_ptr<arrow::DataType> PlainType(const std::shared_ptr<arrow::DataType>& type) {
  switch (type->id()) {
    case arrow::Type::DICTIONARY:
      return PlainType(static_cast<const arrow::DictionaryType&>(*type).value_type());
    case arrow::Type::STRING:
    case arrow::Type::STRING_VIEW:
      return arrow::large_utf8();
    case arrow::Type::BINARY:
    case arrow::Type::BINARY_VIEW:
      return arrow::large_binary();
    default:
      return type;
  }
}

/// The type to which both keys are cast: the plain side's own where one side is a dictionary of it, so that little
/// changes.
std::shared_ptr<arrow::DataType> CommonType(const std::shared_ptr<arrow::DataType>& left,
                                            const std::shared_ptr<arrow::DataType>& right) {
  const auto decoded = [](const std::shared_ptr<arrow::DataType>& type) {
    return type->id() == arrow::Type::DICTIONARY ? static_cast<const arrow::DictionaryType&>(*type).value_type() : type;
  };
  if (decoded(left)->Equals(decoded(right))) {
    return decoded(left);
  }
  const auto plain = PlainType(left);
  return plain->Equals(PlainType(right)) ? plain : nullptr;
}

/// The name that the user of pandas or pyarrow would write for the type in a cast.
std::string CastName(const arrow::DataType& type) {
  return type.id() == arrow::Type::DICTIONARY ? static_cast<const arrow::DictionaryType&>(type).value_type()->ToString()
                                              : type.ToString();
}

arrow::Status CheckKeyCounts(const JoinOptions& options) {
  if (options.left_keys.size() != options.right_keys.size()) {
    return arrow::Status::Invalid("a join was given ", options.left_keys.size(), " left keys (",
                                  OneLine(options.left_keys), ") and ", options.right_keys.size(), " right keys (",
                                  OneLine(options.right_keys),
                                  "); keys are matched pairwise; give as many on both sides");
  }
  if (options.type == JoinType::kCross && !options.left_keys.empty()) {
    return arrow::Status::Invalid("a cross join was given the keys ", OneLine(options.left_keys),
                                  "; it pairs every row with every row; leave the keys out, or choose another type");
  }
  if (options.type != JoinType::kCross && options.left_keys.empty() && options.condition.empty()) {
    return arrow::Status::Invalid(
        "a join was given no keys; at least one column of each side has to be named; give keys or a condition, or "
        "choose a cross join");
  }
  return arrow::Status::OK();
}

/// TypeError where a join that sorts was given a key that has no order.
arrow::Status CheckOrder(const arrow::Schema& schema, const std::vector<int>& keys) {
  for (const int key : keys) {
    const auto& field = schema.field(key);
    ARROW_ASSIGN_OR_RAISE(auto column, arrow::MakeEmptyArray(field->type()));
    const auto batch = arrow::RecordBatch::Make(arrow::schema({field}), 0, {std::move(column)});
    std::vector<uint8_t> bytes;
    std::vector<int64_t> offsets;
    const auto status = EncodeSortKeys(*batch, {{0, SortOrder::kAscending, NullPlacement::kLast}}, &bytes, &offsets);
    if (status.IsNotImplemented()) {
      return arrow::Status::TypeError("join key '", field->name(), "' is ", field->type()->ToString(),
                                      ", which has no order; a join by sorting needs keys that can be sorted; choose "
                                      "the algorithm 'hash'");
    }
    ARROW_RETURN_NOT_OK(status);
  }
  return arrow::Status::OK();
}

/// Casts that bring the keys to common types; TypeError where there is none.
arrow::Status PlanCasts(const arrow::Schema& left, const arrow::Schema& right, const JoinOptions& options,
                        JoinPlan* plan) {
  for (size_t i = 0; i < options.left_keys.size(); ++i) {
    const auto& left_name = options.left_keys[i];
    const auto& right_name = options.right_keys[i];
    const auto& left_type = left.field(plan->kernel.left_keys[i])->type();
    const auto& right_type = right.field(plan->kernel.right_keys[i])->type();
    if (left_type->Equals(right_type)) {
      continue;
    }
    const auto common = CommonType(left_type, right_type);
    if (common == nullptr) {
      const auto key = left_name == right_name ? "'" + left_name + "'" : "'" + left_name + "' = '" + right_name + "'";
      return arrow::Status::TypeError("join key ", key, " is ", left_type->ToString(), " on the left and ",
                                      right_type->ToString(),
                                      " on the right; both sides have to have one type; cast one side, for "
                                      "example left.astype({'",
                                      left_name, "': '", CastName(*right_type), "'})");
    }
    if (!left_type->Equals(common)) {
      plan->left_casts.emplace_back(left_name, common);
    }
    if (!right_type->Equals(common)) {
      plan->right_casts.emplace_back(right_name, common);
    }
  }
  return arrow::Status::OK();
}

/// The fields of `schema` as they are after `casts`.
arrow::FieldVector CastFields(const arrow::Schema& schema,
                              const std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>>& casts) {
  auto fields = schema.fields();
  for (auto& field : fields) {
    for (const auto& [name, type] : casts) {
      if (field->name() == name) {
        field = field->WithType(type);
      }
    }
  }
  return fields;
}

/// The condition's columns; TypeError where they cannot be compared.
arrow::Status PlanCondition(const arrow::Schema& left, const arrow::Schema& right, const JoinOptions& options,
                            JoinKernelOptions* kernel) {
  for (const auto& comparison : options.condition) {
    ARROW_ASSIGN_OR_RAISE(const auto left_index,
                          FindColumns(left, {comparison.left}, "condition column", "the left table"));
    ARROW_ASSIGN_OR_RAISE(const auto right_index,
                          FindColumns(right, {comparison.right}, "condition column", "the right table"));
    ARROW_RETURN_NOT_OK(
        CheckComparable(*left.field(left_index[0]), comparison.comparison, *right.field(right_index[0])));
    kernel->condition.push_back({left_index[0], comparison.comparison, right_index[0]});
  }
  return arrow::Status::OK();
}

/// Result columns and their names. Pads: which side may be filled with nulls.
arrow::Status PlanOutput(const arrow::FieldVector& left, const arrow::FieldVector& right, const JoinOptions& options,
                         JoinPlan* plan) {
  auto& kernel = plan->kernel;
  const bool left_padded = options.type == JoinType::kRight || options.type == JoinType::kFull;
  const bool right_padded = options.type == JoinType::kLeft || options.type == JoinType::kFull;
  const bool left_only = options.type == JoinType::kSemi || options.type == JoinType::kAnti;

  // Right columns of shared keys are not shown; by right column index, the left one that stands for it.
  std::map<int, int> shared;
  kernel.coalesce.assign(kernel.left_keys.size(), -1);
  for (size_t i = 0; i < options.left_keys.size(); ++i) {
    if (options.left_keys[i] == options.right_keys[i]) {
      shared[kernel.right_keys[i]] = kernel.left_keys[i];
      if (left_padded) {
        kernel.coalesce[i] = kernel.left_keys[i];  // all left columns are shown, in their order
      }
    }
  }
  std::set<int> shared_left;
  for (const auto& [right_index, left_index] : shared) {
    shared_left.insert(left_index);
  }

  std::set<std::string> left_names;
  std::set<std::string> right_names;
  for (size_t i = 0; i < left.size(); ++i) {
    if (!shared_left.contains(static_cast<int>(i))) {
      left_names.insert(left[i]->name());
    }
  }
  if (!left_only) {
    for (size_t i = 0; i < right.size(); ++i) {
      if (!shared.contains(static_cast<int>(i))) {
        right_names.insert(right[i]->name());
      }
    }
  }

  arrow::FieldVector fields;
  for (size_t i = 0; i < left.size(); ++i) {
    const auto& field = left[i];
    const int index = static_cast<int>(i);
    const bool clashes = !shared_left.contains(index) && right_names.contains(field->name());
    auto out = clashes ? field->WithName(field->name() + options.left_suffix) : field;
    kernel.left_output.push_back(index);
    if (shared_left.contains(index)) {
      for (const auto& [right_index, left_index] : shared) {
        if (left_index == index && right[right_index]->nullable() && left_padded) {
          out = out->WithNullable(true);
        }
      }
    } else if (left_padded) {
      out = out->WithNullable(true);
    }
    fields.push_back(std::move(out));
  }
  if (!left_only) {
    for (size_t i = 0; i < right.size(); ++i) {
      const int index = static_cast<int>(i);
      if (shared.contains(index)) {
        continue;
      }
      const auto& field = right[i];
      auto out = left_names.contains(field->name()) ? field->WithName(field->name() + options.right_suffix) : field;
      kernel.right_output.push_back(index);
      fields.push_back(right_padded ? out->WithNullable(true) : out);
    }
  }

  std::set<std::string> names;
  for (const auto& field : fields) {
    if (!names.insert(field->name()).second && !left_only) {
      return arrow::Status::Invalid("the join's result would have two columns '", field->name(), "' with suffixes '",
                                    options.left_suffix, "' and '", options.right_suffix,
                                    "'; names have to differ; choose other suffixes or rename a column");
    }
  }
  kernel.output_schema = arrow::schema(std::move(fields));
  return arrow::Status::OK();
}

}  // namespace

const char* JoinTypeName(JoinType type) {
  switch (type) {
    case JoinType::kInner:
      return "inner";
    case JoinType::kLeft:
      return "left";
    case JoinType::kRight:
      return "right";
    case JoinType::kFull:
      return "full";
    case JoinType::kSemi:
      return "semi";
    case JoinType::kAnti:
      return "anti";
    case JoinType::kCross:
      return "cross";
  }
  return "unknown";
}

arrow::Result<JoinPlan> PlanJoin(const arrow::Schema& left, const arrow::Schema& right, const JoinOptions& options) {
  ARROW_RETURN_NOT_OK(CheckKeyCounts(options));
  JoinPlan plan;
  plan.kernel.type = options.type;
  plan.kernel.null_keys = options.null_keys;
  plan.kernel.limits = options.limits;
  // A key may be named twice when it meets two columns of the other side, so each is looked up alone.
  for (size_t i = 0; i < options.left_keys.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(auto left_index, FindColumns(left, {options.left_keys[i]}, "join key", "the left table"));
    ARROW_ASSIGN_OR_RAISE(auto right_index, FindColumns(right, {options.right_keys[i]}, "join key", "the right table"));
    plan.kernel.left_keys.push_back(left_index[0]);
    plan.kernel.right_keys.push_back(right_index[0]);
  }
  ARROW_RETURN_NOT_OK(CheckKeyTypes(left, plan.kernel.left_keys, "join key"));
  ARROW_RETURN_NOT_OK(CheckKeyTypes(right, plan.kernel.right_keys, "join key"));
  if (options.algorithm == JoinAlgorithm::kSort) {
    plan.kernel.algorithm = JoinAlgorithm::kSort;
    ARROW_RETURN_NOT_OK(CheckOrder(left, plan.kernel.left_keys));
  }
  ARROW_RETURN_NOT_OK(PlanCasts(left, right, options, &plan));
  const auto left_fields = CastFields(left, plan.left_casts);
  const auto right_fields = CastFields(right, plan.right_casts);
  for (size_t i = 0; i < options.left_keys.size(); ++i) {
    if (!left_fields[plan.kernel.left_keys[i]]->type()->Equals(right_fields[plan.kernel.right_keys[i]]->type())) {
      return arrow::Status::TypeError("join key '", options.left_keys[i],
                                      "' meets columns of different types on the other side, '", options.right_keys[i],
                                      "' among them; cast them to one type first");
    }
  }
  ARROW_RETURN_NOT_OK(PlanCondition(*arrow::schema(left_fields), *arrow::schema(right_fields), options, &plan.kernel));
  ARROW_RETURN_NOT_OK(PlanOutput(left_fields, right_fields, options, &plan));
  return plan;
}

}  // namespace cylon::internal
