/// From parts in any order to a global order: the distributed half of a sort.
#pragma once

#include "cylon/kernels/sort.h"
#include "cylon/ops/collective_operator.h"

namespace cylon::internal {

/// Rows of this rank's part in global order by `keys`: `part` is this rank's, in any order, or why there is none.
/// Begins with an agreement on `details` (so nothing collective may have gone before without one) and ends with one.
arrow::Result<Table> SortAcrossRanks(CollectiveOperator& operation, const std::string& details,
                                     arrow::Result<Table> part, const std::vector<SortKey>& keys);

}  // namespace cylon::internal
