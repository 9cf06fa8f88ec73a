/// One rank's distinct rows.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

/// The rows whose values in `keys` appear first, last, or once only (kNone), in their order. Null equals null.
CYLON_EXPORT arrow::Result<Table> UniqueRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                             const std::vector<int>& keys, Keep keep);

/// Rows where `mask` (boolean, one value per row of the table, chunked as it likes) is true; null counts as false.
CYLON_EXPORT arrow::Result<Table> FilterRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                             const arrow::ChunkedArray& mask);

}  // namespace cylon
