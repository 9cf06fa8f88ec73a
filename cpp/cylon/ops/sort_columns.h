/// The columns that a sort names, found in a table.
#pragma once

#include <string>
#include <vector>

#include "cylon/kernels/sort.h"
#include "cylon/ops/sort.h"

namespace cylon::internal {

/// The keys of `options`. KeyError, Invalid or TypeError name what is wrong with them.
arrow::Result<std::vector<SortKey>> FindSortKeys(const Table& table, const SortOptions& options);

/// Options and schema in one line, for the agreement of the ranks.
std::string DescribeSort(const Table& table, const SortOptions& options);

}  // namespace cylon::internal
