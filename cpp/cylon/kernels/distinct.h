/// Which rows of a table stand for their key.
#pragma once

#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

/// One byte per row of `input`, 1 where the row is the first, the last or the only one (kNone) with its values in
/// `keys`. Null equals null. Needs the keys and a few bytes per row in memory at once.
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkDistinctRows(const std::shared_ptr<Resources>& resources,
                                                               const Table& input, const std::vector<int>& keys,
                                                               Keep keep);

}  // namespace cylon
