// Joins: agree on sizes, bring equal keys to one rank (or a small side to all), join there.
#include "cylon/ops/join.h"

#include <algorithm>

#include "cylon/exchange/exchange.h"
#include "cylon/kernels/join_condition.h"
#include "cylon/kernels/join_merge.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/column.h"
#include "cylon/ops/join_plan.h"
#include "cylon/ops/join_shuffle.h"

namespace cylon {

namespace {

using internal::CollectiveOperator;
using internal::JoinPlan;

enum class Movement : uint8_t { kShuffle, kBroadcastLeft, kBroadcastRight };

/// A side is sent to all ranks when that costs less than a quarter of moving the other (on a mesh each rank takes in
/// the whole side, so bytes times ranks), and fits an eighth of the smallest budget, since its hash table and the
/// join's result need room too.
constexpr int64_t kBroadcastGain = 4;
constexpr int64_t kBroadcastBudgetShare = 8;

/// Rows of both sides over all ranks from which on their keys are looked at before they are sent (ShuffleForJoin).
constexpr int64_t kLookRows = 1 << 18;

/// Which side may be sent to all: the one whose unmatched rows are not part of the result, or every rank would show
/// them. Without keys one has to be; a full join without keys happens at one rank, where the hash of no keys is.
Movement ChooseMovement(JoinType type, bool has_keys, int ranks, int64_t left_bytes, int64_t right_bytes,
                        int64_t budget) {
  const auto pays = [&](int64_t small, int64_t other) {
    return small < other / kBroadcastGain / ranks && small < budget / kBroadcastBudgetShare;
  };
  const bool may_both = type == JoinType::kInner || type == JoinType::kCross;
  const bool may_left = may_both || type == JoinType::kRight;
  const bool may_right = may_both || type == JoinType::kLeft || type == JoinType::kSemi || type == JoinType::kAnti;
  if (!has_keys && (may_left || may_right)) {
    return may_right && (!may_left || right_bytes <= left_bytes) ? Movement::kBroadcastRight : Movement::kBroadcastLeft;
  }
  if (may_right && right_bytes <= left_bytes && pays(right_bytes, left_bytes)) {
    return Movement::kBroadcastRight;
  }
  if (may_left && pays(left_bytes, right_bytes)) {
    return Movement::kBroadcastLeft;
  }
  return Movement::kShuffle;
}

/// What this rank brings: the plan, and the tables with their keys cast to common types.
struct PreparedJoin {
  JoinPlan plan;
  internal::JoinSides sides;
  internal::KeySamples samples;
};

arrow::Result<PreparedJoin> PrepareJoin(Context& context, const Table& left, const Table& right,
                                        const JoinOptions& options) {
  ARROW_RETURN_NOT_OK(internal::CheckTable(left));
  ARROW_RETURN_NOT_OK(internal::CheckTable(right));
  PreparedJoin prepared;
  ARROW_ASSIGN_OR_RAISE(prepared.plan, internal::PlanJoin(*left.schema(), *right.schema(), options));
  ARROW_ASSIGN_OR_RAISE(prepared.sides.left, CastColumns(left, prepared.plan.left_casts));
  ARROW_ASSIGN_OR_RAISE(prepared.sides.right, CastColumns(right, prepared.plan.right_casts));
  const int ranks = context.world_size();
  const auto& kernel = prepared.plan.kernel;
  if (ranks > 1 && !kernel.left_keys.empty()) {
    const int64_t count = internal::SampleSize(ranks);
    ARROW_ASSIGN_OR_RAISE(prepared.samples.left, internal::SampleKeys(prepared.sides.left, kernel.left_keys, count));
    ARROW_ASSIGN_OR_RAISE(prepared.samples.right, internal::SampleKeys(prepared.sides.right, kernel.right_keys, count));
  }
  return prepared;
}

std::string Describe(const std::vector<ColumnComparison>& condition) {
  std::string text;
  for (const auto& comparison : condition) {
    text += ", left " + comparison.left + " " + ComparisonSign(comparison.comparison) + " right " + comparison.right;
  }
  return text;
}

std::string Describe(const Table& left, const Table& right, const JoinOptions& options) {
  return std::string(internal::JoinTypeName(options.type)) + ", left keys " + internal::OneLine(options.left_keys) +
         ", right keys " + internal::OneLine(options.right_keys) +
         (options.algorithm == JoinAlgorithm::kSort ? ", by sorting" : "") +
         (options.null_keys == NullKeys::kMatch ? ", null keys match" : ", null keys do not match") + ", suffixes '" +
         options.left_suffix + "' '" + options.right_suffix + "'" + Describe(options.condition) + ", left " +
         internal::OneLine(left.schema()) + ", right " + internal::OneLine(right.schema());
}

arrow::Result<Table> Distribute(CollectiveOperator& operation, const Agreement& agreement, const PreparedJoin& prepared,
                                const JoinLimits& limits) {
  Context& context = operation.context();
  const auto& kernel = prepared.plan.kernel;
  int64_t budget = INT64_MAX;
  std::vector<std::vector<int64_t>> rows;
  for (const auto& values : agreement.values) {
    budget = std::min(budget, values[2]);
    rows.push_back({values[3], values[4]});
  }
  const auto movement = ChooseMovement(kernel.type, !kernel.left_keys.empty(), context.world_size(), agreement.Sum(0),
                                       agreement.Sum(1), budget);
  internal::JoinSides sides = prepared.sides;
  switch (movement) {
    case Movement::kBroadcastLeft: {
      ARROW_ASSIGN_OR_RAISE(sides.left, AllGatherTable(context, sides.left));
      break;
    }
    case Movement::kBroadcastRight: {
      ARROW_ASSIGN_OR_RAISE(sides.right, AllGatherTable(context, sides.right));
      break;
    }
    case Movement::kShuffle: {
      const int64_t least_rows = limits.look_rows > 0 ? limits.look_rows : kLookRows;
      ARROW_ASSIGN_OR_RAISE(
          sides, internal::ShuffleForJoin(context, kernel, sides, prepared.samples, rows, budget, least_rows));
      break;
    }
  }
  return operation.End(JoinTables(context.resources(), sides.left, sides.right, kernel));
}

/// On one rank, where nothing has to move.
arrow::Result<Table> JoinAlone(const std::shared_ptr<Resources>& resources, const internal::JoinSides& sides,
                               JoinKernelOptions kernel, bool may_choose) {
  const auto in_memory = [](const Table& table) {
    return std::none_of(table.chunks().begin(), table.chunks().end(),
                        [](const auto& chunk) { return chunk->spilled(); });
  };
  if (may_choose && !kernel.left_keys.empty() && in_memory(sides.left) && in_memory(sides.right)) {
    ARROW_ASSIGN_OR_RAISE(bool sorted, IsSortedByKeys(sides.left, kernel.left_keys));
    if (sorted) {
      ARROW_ASSIGN_OR_RAISE(sorted, IsSortedByKeys(sides.right, kernel.right_keys));
    }
    kernel.algorithm = sorted ? JoinAlgorithm::kSort : JoinAlgorithm::kHash;
  }
  return JoinTables(resources, sides.left, sides.right, kernel);
}

}  // namespace

arrow::Result<Table> Join(Context& context, const Table& left, const Table& right, const JoinOptions& options,
                          std::source_location location) {
  CallSite site(context.communicator(), location);
  CollectiveOperator operation(context, "Join");
  auto prepared = PrepareJoin(context, left, right, options);
  std::vector<int64_t> sizes = {0, 0, context.resources()->memory()->limit(), 0, 0};
  if (prepared.ok()) {
    sizes[0] = prepared->sides.left.num_bytes();
    sizes[1] = prepared->sides.right.num_bytes();
    sizes[3] = prepared->sides.left.num_rows();
    sizes[4] = prepared->sides.right.num_rows();
  }
  ARROW_ASSIGN_OR_RAISE(const auto agreement,
                        operation.Begin(Describe(left, right, options), prepared.status(), std::move(sizes)));
  if (operation.alone()) {
    return operation.End(
        JoinAlone(context.resources(), prepared->sides, prepared->plan.kernel, !options.algorithm.has_value()));
  }
  return Distribute(operation, agreement, *prepared, options.limits);
}

}  // namespace cylon
