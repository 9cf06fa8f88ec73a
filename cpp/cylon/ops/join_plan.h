/// What a join's result looks like, from the schemas alone.
#pragma once

#include "cylon/kernels/join.h"
#include "cylon/ops/join.h"

namespace cylon::internal {

/// Everything about a join that is known before any row is looked at.
struct JoinPlan {
  JoinKernelOptions kernel;
  /// Key columns that have to be cast first so that both sides are of one type (dictionaries and strings of other
  /// encodings).
  std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>> left_casts;
  std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>> right_casts;
};

/// The plan, or why the join cannot be: KeyError, TypeError, Invalid, each with what to do.
arrow::Result<JoinPlan> PlanJoin(const arrow::Schema& left, const arrow::Schema& right, const JoinOptions& options);

/// "inner", "left", …
const char* JoinTypeName(JoinType type);

}  // namespace cylon::internal
