/// First and last rows of each group of a distributed table.
#pragma once

#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/kernels/group_head.h"
#include "cylon/table/table.h"

namespace cylon {

struct GroupHeadOptions {
  std::vector<std::string> keys;
  int64_t count = 5;  ///< rows of each group; negative: all but so many at the other end
  GroupSide side = GroupSide::kHead;
  bool drop_null_keys = true;  ///< leaves out rows with a null key, or with NaN in a float key column
};

/// The first (kHead) or last (kTail) rows of each group, by the order (rank, row). Collective. Kept rows stay where
/// they are and in that order, so the result does not depend on the number of ranks: keys and row numbers travel.
/// KeyError, TypeError as in Join.
CYLON_EXPORT arrow::Result<Table> GroupHead(Context& context, const Table& table, const GroupHeadOptions& options,
                                            std::source_location location = std::source_location::current());

}  // namespace cylon
