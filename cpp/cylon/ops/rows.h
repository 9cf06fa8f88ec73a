/// Operators on whole rows: unique, filter, head, slice, shuffle, repartition, concat, equality.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/comm/context.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

/// The first, last or only row of each set of rows equal in `columns` (empty: all), first and last in the order (rank,
/// row) of the input. Collective. Kept rows stay in that order, so the result does not depend on the number of ranks.
CYLON_EXPORT arrow::Result<Table> Unique(Context& context, const Table& table, const std::vector<std::string>& columns,
                                         Keep keep, std::source_location location = std::source_location::current());

/// Rows where `mask` is true. Local.
CYLON_EXPORT arrow::Result<Table> Filter(Context& context, const Table& table, const arrow::ChunkedArray& mask,
                                         std::source_location location = std::source_location::current());

/// Columns by name, in that order. Local. KeyError for an unknown one.
CYLON_EXPORT arrow::Result<Table> Select(const Table& table, const std::vector<std::string>& columns);
/// New names for some columns: pairs (old, new). Local. KeyError for an unknown one.
CYLON_EXPORT arrow::Result<Table> Rename(const Table& table,
                                         const std::vector<std::pair<std::string, std::string>>& names);

/// Rows [offset, offset + length) of the distributed table by global position; each rank keeps its part. Collective.
CYLON_EXPORT arrow::Result<Table> SliceRows(Context& context, const Table& table, int64_t offset, int64_t length,
                                            std::source_location location = std::source_location::current());
/// The first `count` rows (SliceRows from 0). Collective.
CYLON_EXPORT arrow::Result<Table> Head(Context& context, const Table& table, int64_t count,
                                       std::source_location location = std::source_location::current());

/// Rows with equal values in `columns` (empty: all) meet on one rank. Collective.
CYLON_EXPORT arrow::Result<Table> Shuffle(Context& context, const Table& table, const std::vector<std::string>& columns,
                                          std::source_location location = std::source_location::current());

/// The same rows in the same global order in even shares, or in the given ones. Collective.
CYLON_EXPORT arrow::Result<Table> Repartition(Context& context, const Table& table,
                                              const std::optional<std::vector<int64_t>>& rows_per_rank = std::nullopt,
                                              std::source_location location = std::source_location::current());

/// Rows of all tables; at each rank its parts one after another. Collective: schemas are compared over ranks. Integer
/// and float columns of different widths are an error that says what to cast.
CYLON_EXPORT arrow::Result<Table> Concat(Context& context, const std::vector<Table>& tables,
                                         std::source_location location = std::source_location::current());

/// Rows of the distributed table. Collective.
CYLON_EXPORT arrow::Result<int64_t> TotalRows(Context& context, const Table& table,
                                              std::source_location location = std::source_location::current());

/// Same schema and same rows in the same global order, however they are spread over ranks (`ordered`), or the same rows
/// as multisets. NaN equals NaN, null equals null. Collective; the same answer at every rank.
CYLON_EXPORT arrow::Result<bool> Equal(Context& context, const Table& left, const Table& right, bool ordered = true,
                                       std::source_location location = std::source_location::current());

}  // namespace cylon
