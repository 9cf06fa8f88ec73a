// One rank's join: cut to disk where memory is short, then joined in memory.
#include "cylon/kernels/join.h"

#include <algorithm>

#include "cylon/kernels/join_condition.h"
#include "cylon/kernels/join_partitions.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/working_set.h"

namespace cylon {

namespace {

/// More levels than this only happen where a few keys have nearly all rows, which no hash can cut.
constexpr int kDeepestLevel = 4;

class Join {
 public:
  Join(const std::shared_ptr<Resources>& resources, const JoinKernelOptions& options)
      : resources_(resources), options_(options), output_(resources, options.output_schema) {}

  arrow::Result<Table> Run(const Table& left, const Table& right) {
    ARROW_RETURN_NOT_OK(Check(left, right));
    ARROW_RETURN_NOT_OK(JoinParts(left, right, 0));
    return output_.Finish();
  }

 private:
  arrow::Status Check(const Table& left, const Table& right) const;
  arrow::Status JoinInMemory(const Table& left, const Table& right);
  arrow::Status JoinParts(const Table& left, const Table& right, int level);

  std::shared_ptr<Resources> resources_;
  const JoinKernelOptions& options_;
  TableBuilder output_;
};

arrow::Status Join::Check(const Table& left, const Table& right) const {
  if (options_.left_keys.size() != options_.right_keys.size()) {
    return arrow::Status::Invalid("a join has ", options_.left_keys.size(), " left keys and ",
                                  options_.right_keys.size(), " right keys; give them in pairs");
  }
  const auto in_range = [](const std::vector<int>& columns, const Table& table) {
    return std::all_of(columns.begin(), columns.end(), [&](int c) { return c >= 0 && c < table.num_columns(); });
  };
  if (!in_range(options_.left_keys, left) || !in_range(options_.left_output, left) ||
      !in_range(options_.right_keys, right) || !in_range(options_.right_output, right)) {
    return arrow::Status::IndexError("a join names a column that its tables of ", left.num_columns(), " and ",
                                     right.num_columns(), " columns do not have; columns are numbered from 0");
  }
  for (const auto& comparison : options_.condition) {
    if (!in_range({comparison.left}, left) || !in_range({comparison.right}, right)) {
      return arrow::Status::IndexError("a join condition compares column ", comparison.left, " of ", left.num_columns(),
                                       " with column ", comparison.right, " of ", right.num_columns(),
                                       "; columns are numbered from 0");
    }
    ARROW_RETURN_NOT_OK(CheckComparable(*left.schema()->field(comparison.left), comparison.comparison,
                                        *right.schema()->field(comparison.right)));
  }
  for (size_t k = 0; k < options_.left_keys.size(); ++k) {
    const auto& left_field = left.schema()->field(options_.left_keys[k]);
    const auto& right_field = right.schema()->field(options_.right_keys[k]);
    if (!left_field->type()->Equals(right_field->type())) {
      return arrow::Status::TypeError("join key '", left_field->name(), "' is ", left_field->type()->ToString(),
                                      " on the left and '", right_field->name(), "' is ",
                                      right_field->type()->ToString(), " on the right; cast one side");
    }
  }
  if (!options_.right_output.empty() && (options_.type == JoinType::kSemi || options_.type == JoinType::kAnti)) {
    return arrow::Status::Invalid("a semi or anti join was to give ", options_.right_output.size(),
                                  " columns of its right side; it gives columns of the left side only");
  }
  const size_t outputs = options_.left_output.size() + options_.right_output.size();
  if (options_.output_schema == nullptr || options_.output_schema->num_fields() != static_cast<int>(outputs)) {
    return arrow::Status::Invalid("a join gives ", outputs, " columns, but its output schema has ",
                                  options_.output_schema == nullptr ? 0 : options_.output_schema->num_fields(),
                                  "; name each column once");
  }
  return arrow::Status::OK();
}

arrow::Status Join::JoinInMemory(const Table& left, const Table& right) {
  if (options_.algorithm == JoinAlgorithm::kHash || options_.left_keys.empty()) {
    return PartitionedJoin(resources_, options_, &output_).Run(left, right);
  }
  const auto sorted = [this](const Table& table, const std::vector<int>& keys) {
    std::vector<SortKey> sort_keys;
    for (const int key : keys) {
      sort_keys.push_back({key, SortOrder::kAscending, NullPlacement::kLast});
    }
    return SortTable(resources_, table, sort_keys);
  };
  ARROW_ASSIGN_OR_RAISE(const auto sorted_left, sorted(left, options_.left_keys));
  ARROW_ASSIGN_OR_RAISE(const auto sorted_right, sorted(right, options_.right_keys));
  return PartitionedJoin(resources_, options_, &output_).Run(sorted_left, sorted_right);
}

arrow::Status Join::JoinParts(const Table& left, const Table& right, int level) {
  const Table& smaller = left.num_rows() < right.num_rows() ? left : right;
  const int64_t bytes = PartitionedJoin::SideBytes(smaller);
  if (options_.left_keys.empty() || level >= kDeepestLevel || smaller.num_rows() < 256 ||
      !TooLargeForMemory(*resources_, bytes)) {
    return JoinInMemory(left, right);
  }
  const uint32_t count = PartitionsFor(*resources_, bytes);
  ARROW_ASSIGN_OR_RAISE(auto left_parts, PartitionTable(resources_, left, options_.left_keys, level + 1, count));
  ARROW_ASSIGN_OR_RAISE(auto right_parts, PartitionTable(resources_, right, options_.right_keys, level + 1, count));
  for (uint32_t k = 0; k < count; ++k) {
    // A part that is still more than half of both sides has a key that has them: another cut would not help.
    const bool stuck =
        left_parts[k].num_rows() > left.num_rows() / 2 && right_parts[k].num_rows() > right.num_rows() / 2;
    ARROW_RETURN_NOT_OK(JoinParts(left_parts[k], right_parts[k], stuck ? kDeepestLevel : level + 1));
    left_parts[k] = Table();
    right_parts[k] = Table();
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Result<Table> JoinTables(const std::shared_ptr<Resources>& resources, const Table& left, const Table& right,
                                const JoinKernelOptions& options) {
  return Join(resources, options).Run(left, right);
}

}  // namespace cylon
