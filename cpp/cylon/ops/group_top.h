/// The first rows of each group of a distributed table in some order.
#pragma once

#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/ops/sort.h"
#include "cylon/table/table.h"

namespace cylon {

struct GroupTopOptions {
  std::vector<std::string> keys;
  std::vector<SortColumn> by;  ///< missing values last, whatever the directions
  int64_t count = 5;           ///< rows of each group; not negative
  bool drop_null_keys = true;  ///< leaves out rows with a null key, or with NaN in a float key column
};

/// The first `count` rows of each group in the order of `by`, all of them in that global order: what Sort and then
/// GroupHead give, but every rank first leaves out rows that cannot be among them, so that few are sorted and travel.
/// Of equal rows those that come first in the order (rank, row). Collective. KeyError, TypeError as in Sort and
/// GroupHead; Invalid for a negative count.
CYLON_EXPORT arrow::Result<Table> GroupTop(Context& context, const Table& table, const GroupTopOptions& options,
                                           std::source_location location = std::source_location::current());

}  // namespace cylon
