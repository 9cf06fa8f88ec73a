/// The first rows of an order, without sorting the rest.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/sort.h"

namespace cylon {

/// The first `count` rows in the order of `keys` (all, where there are fewer), sorted, equal ones in their former
/// order; `with_ties`: and those that equal the last of them. A row is compared with the last of the `count` best so
/// far; the few that come before it are collected and sorted when they have doubled. Errors as EncodeSortKeys.
CYLON_EXPORT arrow::Result<Table> TopRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                          const std::vector<SortKey>& keys, int64_t count, bool with_ties);

}  // namespace cylon
