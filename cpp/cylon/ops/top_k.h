/// The largest or smallest rows.
#pragma once

#include "cylon/ops/sort.h"

namespace cylon {

/// Which of the rows that equal the last one TopK takes: the first or the last of the input's, or all of them, however
/// many.
enum class KeepTies : uint8_t { kFirst, kLast, kAll };

/// The first `count` rows that Sort would give, in that order, all of them on rank 0; equal rows in the order of the
/// input (kLast: in the reverse). Every rank finds its own first ones in one pass, and only those travel. Collective.
/// Errors as Sort; Invalid for a negative count.
CYLON_EXPORT arrow::Result<Table> TopK(Context& context, const Table& table, const SortOptions& options, int64_t count,
                                       KeepTies ties = KeepTies::kFirst,
                                       std::source_location location = std::source_location::current());

}  // namespace cylon
