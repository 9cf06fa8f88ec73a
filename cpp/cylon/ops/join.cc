// Joins: agree on sizes, bring equal keys to one rank (or a small side to all), join there.
#include "cylon/ops/join.h"

#include <algorithm>

#include "cylon/exchange/exchange.h"
#include "cylon/ops/collective_operator.h"
#include "cylon/ops/column.h"
#include "cylon/ops/join_plan.h"

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

/// Which side may be sent to all: the one whose unmatched rows are not part of the result, or every rank would show
/// them.
Movement ChooseMovement(JoinType type, int ranks, int64_t left_bytes, int64_t right_bytes, int64_t budget) {
  const auto pays = [&](int64_t small, int64_t other) {
    return small < other / kBroadcastGain / ranks && small < budget / kBroadcastBudgetShare;
  };
  const bool may_left = type == JoinType::kInner || type == JoinType::kRight;
  const bool may_right =
      type == JoinType::kInner || type == JoinType::kLeft || type == JoinType::kSemi || type == JoinType::kAnti;
  if (may_right && right_bytes <= left_bytes && pays(right_bytes, left_bytes)) {
    return Movement::kBroadcastRight;
  }
  if (may_left && pays(left_bytes, right_bytes)) {
    return Movement::kBroadcastLeft;
  }
  return Movement::kShuffle;
}

/// What this rank brings: the plan, and the tables with their keys cast to common types.
struct Prepared {
  JoinPlan plan;
  Table left;
  Table right;
};

arrow::Result<Prepared> Prepare(const Table& left, const Table& right, const JoinOptions& options) {
  ARROW_RETURN_NOT_OK(internal::CheckTable(left));
  ARROW_RETURN_NOT_OK(internal::CheckTable(right));
  Prepared prepared;
  ARROW_ASSIGN_OR_RAISE(prepared.plan, internal::PlanJoin(*left.schema(), *right.schema(), options));
  ARROW_ASSIGN_OR_RAISE(prepared.left, CastColumns(left, prepared.plan.left_casts));
  ARROW_ASSIGN_OR_RAISE(prepared.right, CastColumns(right, prepared.plan.right_casts));
  return prepared;
}

std::string Describe(const Table& left, const Table& right, const JoinOptions& options) {
  return std::string(internal::JoinTypeName(options.type)) + ", left keys " + internal::OneLine(options.left_keys) +
         ", right keys " + internal::OneLine(options.right_keys) +
         (options.null_keys == NullKeys::kMatch ? ", null keys match" : ", null keys do not match") + ", suffixes '" +
         options.left_suffix + "' '" + options.right_suffix + "', left " + internal::OneLine(left.schema()) +
         ", right " + internal::OneLine(right.schema());
}

arrow::Result<Table> Distribute(CollectiveOperator& operation, const Agreement& agreement, const Prepared& prepared) {
  Context& context = operation.context();
  const auto& kernel = prepared.plan.kernel;
  int64_t budget = INT64_MAX;
  for (const auto& values : agreement.values) {
    budget = std::min(budget, values[2]);
  }
  const auto movement = ChooseMovement(kernel.type, context.world_size(), agreement.Sum(0), agreement.Sum(1), budget);
  Table left = prepared.left;
  Table right = prepared.right;
  switch (movement) {
    case Movement::kBroadcastLeft: {
      ARROW_ASSIGN_OR_RAISE(left, AllGatherTable(context, left));
      break;
    }
    case Movement::kBroadcastRight: {
      ARROW_ASSIGN_OR_RAISE(right, AllGatherTable(context, right));
      break;
    }
    case Movement::kShuffle: {
      ARROW_ASSIGN_OR_RAISE(right, ShuffleByHash(context, "Join, right side", right, kernel.right_keys));
      ARROW_ASSIGN_OR_RAISE(left, ShuffleByHash(context, "Join, left side", left, kernel.left_keys));
      break;
    }
  }
  return operation.End(HashJoin(context.resources(), left, right, kernel));
}

}  // namespace

arrow::Result<Table> Join(Context& context, const Table& left, const Table& right, const JoinOptions& options) {
  CollectiveOperator operation(context, "Join");
  auto prepared = Prepare(left, right, options);
  const std::vector<int64_t> sizes = {prepared.ok() ? prepared->left.num_bytes() : 0,
                                      prepared.ok() ? prepared->right.num_bytes() : 0,
                                      context.resources()->memory()->limit()};
  ARROW_ASSIGN_OR_RAISE(const auto agreement,
                        operation.Begin(Describe(left, right, options), prepared.status(), sizes));
  if (operation.alone()) {
    return operation.End(HashJoin(context.resources(), prepared->left, prepared->right, prepared->plan.kernel));
  }
  return Distribute(operation, agreement, *prepared);
}

}  // namespace cylon
