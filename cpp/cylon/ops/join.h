/// Joins of two distributed tables.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/kernels/join.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

/// A column of the left table compared with a column of the right one.
struct ColumnComparison {
  std::string left;
  Comparison comparison = Comparison::kEqual;
  std::string right;
};

struct JoinOptions {
  JoinType type = JoinType::kInner;
  std::vector<std::string> left_keys;
  std::vector<std::string> right_keys;  ///< pairwise with left_keys; names may differ
  NullKeys null_keys = NullKeys::kMatch;
  /// What a pair of rows has to fulfil beside equal keys, all of it; a row without such a pair has no match. With it
  /// there need not be keys.
  std::vector<ColumnComparison> condition;
  std::string left_suffix = "_x";  ///< for names that both sides have and that are not shared keys
  std::string right_suffix = "_y";
  /// Unless it is given: by hash, or by going through both sides at the same time where they are sorted by the keys.
  std::optional<JoinAlgorithm> algorithm;
  JoinLimits limits;  ///< for tests
};

/// Inner, left, right, full, semi, anti or cross join of two distributed tables. Collective. Columns of the result as
/// in pandas: the left ones, then the right ones; a key with the same name on both sides appears once (for right and
/// full joins with the value of whichever side has the row); keys with different names both appear; semi and anti give
/// the left columns. A cross join has no keys: every row meets every row. The set of rows does not depend on the number
/// of ranks; their order is unspecified. KeyError for an unknown column (lists the columns there are); TypeError for
/// keys of different types (says how to cast) and for columns that cannot be compared; Invalid for names that clash
/// even with suffixes, and for a cross join with keys.
CYLON_EXPORT arrow::Result<Table> Join(Context& context, const Table& left, const Table& right,
                                       const JoinOptions& options,
                                       std::source_location location = std::source_location::current());

}  // namespace cylon
