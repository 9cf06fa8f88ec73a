/// The part of a join that is not about equal keys: comparisons of columns of both sides.
#pragma once

#include <arrow/api.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cylon/kernels/join.h"
#include "cylon/kernels/join_columns.h"

namespace cylon {

/// "<=" for kLessEqual, and so on.
const char* ComparisonSign(Comparison comparison);

/// TypeError where values of these types cannot be compared.
arrow::Status CheckComparable(const arrow::Field& left, Comparison comparison, const arrow::Field& right);

/// Tells which pairs of rows fulfil all comparisons, many at a time. Used by one thread.
class JoinCondition {
 public:
  /// The columns that comparisons read, to be planned for like those of the result.
  static std::vector<JoinColumn> Columns(const std::vector<JoinComparison>& comparisons, bool build_left);

  JoinCondition(std::shared_ptr<Resources> resources, const std::vector<JoinComparison>& comparisons, bool build_left,
                const arrow::Schema& left, const arrow::Schema& right, const std::array<SidePlan, 2>& plans);

  /// Those of `pairs` (places, as JoinBatch::Append takes them) that fulfil it, into `kept`, by side.
  arrow::Status Keep(const std::array<JoinRows, 2>& pairs, int64_t count, std::array<std::vector<uint32_t>, 2>* kept);

 private:
  arrow::Status Evaluate(const arrow::RecordBatch& batch);

  std::shared_ptr<Resources> resources_;
  const std::vector<JoinComparison>& comparisons_;
  JoinBatch values_;
  std::vector<uint8_t> fulfilled_;  // by pair
};

}  // namespace cylon
