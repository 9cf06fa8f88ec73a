/// One rank's distinct rows.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

/// One byte per row of `input`: 1 where its values in `keys` appear first, last, or once only (kNone), else 0. Null
/// equals null. Keys that are too many for the memory are cut into parts on disk.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::Buffer>> MarkUniqueRows(const std::shared_ptr<Resources>& resources,
                                                                          const Table& input,
                                                                          const std::vector<int>& keys, Keep keep);

/// The rows of `input` whose byte in `kept` is not 0, in their order.
CYLON_EXPORT arrow::Result<Table> KeepRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                           const uint8_t* kept);

/// The rows whose values in `keys` appear first, last, or once only (kNone), in their order. Null equals null.
CYLON_EXPORT arrow::Result<Table> UniqueRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                             const std::vector<int>& keys, Keep keep);

/// Rows where `mask` (boolean, one value per row of the table, chunked as it likes) is true; null counts as false.
CYLON_EXPORT arrow::Result<Table> FilterRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                             const arrow::ChunkedArray& mask);

}  // namespace cylon
