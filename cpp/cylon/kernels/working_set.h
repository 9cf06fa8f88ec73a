/// How much a kernel takes on at a time, so that what it works on fits the rank's budget.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "cylon/table/table.h"

namespace cylon {

/// Bytes per row of `table`, about; at least 8, for the row number that every kernel keeps.
int64_t RowBytes(const Table& table);

/// As few rows as are worked on at a time, whatever the budget: fewer would cost more for each than their values do.
constexpr int64_t kLeastRows = 16;

/// Rows of `row_bytes` each that every thread may hold at once: options().morsel_rows, fewer where the budget is small.
int64_t MorselRows(Resources& resources, int64_t row_bytes);

/// Whether a state of `bytes` is too large to be kept in memory at once: more than a quarter of the budget, which
/// leaves room for the chunks that are read and written meanwhile.
bool TooLargeForMemory(Resources& resources, int64_t bytes);

/// The batches of `table` cut to at most `rows` rows, handed to function(batch, index) by ParallelFor in waves, so that
/// few are in memory at once. `merge(index)` is called for each in order, in the calling thread, after its wave; until
/// then the batches of the wave stay pinned.
arrow::Status ForEachMorsel(
    Resources& resources, const Table& table, int64_t rows,
    const std::function<arrow::Status(const std::shared_ptr<arrow::RecordBatch>&, int64_t)>& function,
    const std::function<arrow::Status(int64_t)>& merge);

/// Cuts `input` by the hash of `keys` (another one on each `level`) into `count` tables, which spill as they grow. With
/// `number_rows` an int64 column with the row's number is added at the end.
arrow::Result<std::vector<Table>> PartitionTable(const std::shared_ptr<Resources>& resources, const Table& input,
                                                 const std::vector<int>& keys, int level, uint32_t count,
                                                 bool number_rows = false);

/// How many partitions bring `bytes` down to an eighth of the budget each: 2 to 64.
uint32_t PartitionsFor(Resources& resources, int64_t bytes);

}  // namespace cylon
