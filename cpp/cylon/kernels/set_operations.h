/// One rank's set operations on whole rows.
#pragma once

#include "cylon/base/export.h"
#include "cylon/table/table.h"

namespace cylon {

/// The distinct rows of `left` that are in `right` (`wanted`) or are not, in no particular order. Rows are equal as
/// keys are: null equals null, NaN NaN, and -0.0 0.0. The tables have the same types, column by column, and at least
/// one column. Errors as UniqueRows and JoinTables.
CYLON_EXPORT arrow::Result<Table> RowsInBoth(const std::shared_ptr<Resources>& resources, const Table& left,
                                             const Table& right, bool wanted);

}  // namespace cylon
