/// Global order.
#pragma once

#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

struct SortColumn {
  std::string name;
  SortOrder order = SortOrder::kAscending;
};

struct SortOptions {
  std::vector<SortColumn> by;
  NullPlacement nulls = NullPlacement::kLast;
};

/// The rows in global order over (rank, row), stable: ties keep the order (rank, row) of the input. Nulls come first or
/// last whatever the directions, NaN between them and the numbers. Collective.
/// Ranges come from a sample of every rank's rows; ties are cut by position, so that one heavy value does not make one
/// heavy rank.
CYLON_EXPORT arrow::Result<Table> Sort(Context& context, const Table& table, const SortOptions& options,
                                       std::source_location location = std::source_location::current());

}  // namespace cylon
