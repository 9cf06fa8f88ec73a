/// One byte for each row of a distributed table, told where all rows with its key meet.
#pragma once

#include <memory>

#include "cylon/kernels/marked_rows.h"
#include "cylon/ops/collective_operator.h"

namespace cylon::internal {

/// One byte for each row of `keys`, all columns of which are keys: 1 where `mark` keeps it once the rows of all ranks
/// with its key are at one rank in their order (rank, row). Keys and row numbers travel, and the numbers of kept rows
/// come back. Only rows whose byte in `sent` (nullptr: all) is 1 take part; the others are not kept. Collective.
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkWhereKeysMeet(CollectiveOperator& operation, const Table& keys,
                                                                const std::shared_ptr<arrow::Buffer>& sent,
                                                                const KeyMarker& mark);

}  // namespace cylon::internal
