/// Tables as sets of rows: union, intersection, difference. All rows of several tables, equal ones too, is Concat.
#pragma once

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/table/table.h"

namespace cylon {

/// All are collective. Rows are equal where all columns are, as keys: null equals null, NaN equals NaN, -0.0 equals
/// 0.0. The set of rows does not depend on the number of ranks. Both tables have the same column names and types in the
/// same order: TypeError names the first column that differs. TypeError too for a column that cannot be a key (nested
/// types); Invalid for tables without columns.

/// Every row that is in `left` or in `right`, once. At each rank in the order of `left`, then of `right`; of equal rows
/// the first over (rank, left before right, row) stays.
CYLON_EXPORT arrow::Result<Table> Union(Context& context, const Table& left, const Table& right,
                                        std::source_location location = std::source_location::current());

/// Every row that is in `left` and in `right`, once; in no particular order.
CYLON_EXPORT arrow::Result<Table> Intersect(Context& context, const Table& left, const Table& right,
                                            std::source_location location = std::source_location::current());

/// Every row that is in `left` and not in `right`, once; in no particular order.
CYLON_EXPORT arrow::Result<Table> Subtract(Context& context, const Table& left, const Table& right,
                                           std::source_location location = std::source_location::current());

}  // namespace cylon
