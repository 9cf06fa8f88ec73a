/// One byte for each row of a distributed table, told where all rows with its key meet.
#pragma once

#include <functional>
#include <memory>

#include "cylon/kernels/marked_rows.h"
#include "cylon/ops/collective_operator.h"

namespace cylon::internal {

/// One byte for each row, 1 where it is to be sent; nullptr: all are.
using RowsToSend = std::function<arrow::Result<std::shared_ptr<arrow::Buffer>>()>;

/// One byte for each row of `keys`, all columns of which are keys: 1 where `mark` keeps it once the rows of all ranks
/// with its key are at one rank in their order (rank, row). Keys travel to the rank that their hash names, and a bit
/// for each comes back. Rows that `thin` leaves out take no part and are not kept. Collective.
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkWhereKeysMeet(CollectiveOperator& operation, const Table& keys,
                                                                const RowsToSend& thin, const KeyMarker& mark);

}  // namespace cylon::internal
