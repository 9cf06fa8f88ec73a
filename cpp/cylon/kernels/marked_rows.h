/// One byte for each row of a table, told from its key alone, also where the keys do not fit the memory.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cylon/table/table.h"

namespace cylon {

/// One byte for each row of a table of key columns, which it pins, and needs some 24 bytes per row beside.
using KeyMarker = std::function<arrow::Result<std::shared_ptr<arrow::Buffer>>(const Table& keys)>;

/// What `mark` makes of columns `keys` of `input`. What it says of a row may depend on all rows with an equal key, and
/// on the order of these, but on no others: keys that are too many for the memory are cut by hash into parts on disk,
/// which are marked one after the other. Errors of KeyEncoder::Make.
arrow::Result<std::shared_ptr<arrow::Buffer>> MarkRows(const std::shared_ptr<Resources>& resources, const Table& input,
                                                       const std::vector<int>& keys, const KeyMarker& mark);

}  // namespace cylon
