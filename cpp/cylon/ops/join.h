/// Joins of two distributed tables.
#pragma once

#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

enum class JoinAlgorithm : uint8_t { kHash };

struct JoinOptions {
  JoinType type = JoinType::kInner;
  std::vector<std::string> left_keys;
  std::vector<std::string> right_keys;  ///< pairwise with left_keys; names may differ
  NullKeys null_keys = NullKeys::kMatch;
  std::string left_suffix = "_x";  ///< for names that both sides have and that are not shared keys
  std::string right_suffix = "_y";
  JoinAlgorithm algorithm = JoinAlgorithm::kHash;
};

/// Inner, left, right, full, semi or anti join of two distributed tables. Collective. Columns of the result as in
/// pandas: the left ones, then the right ones; a key with the same name on both sides appears once (for right and full
/// joins with the value of whichever side has the row); keys with different names both appear; semi and anti give the
/// left columns. The set of rows does not depend on the number of ranks; their order is unspecified. KeyError for an
/// unknown column (lists the columns there are); TypeError for keys of different types (says how to cast); Invalid for
/// names that clash even with suffixes.
CYLON_EXPORT arrow::Result<Table> Join(Context& context, const Table& left, const Table& right,
                                       const JoinOptions& options);

}  // namespace cylon
