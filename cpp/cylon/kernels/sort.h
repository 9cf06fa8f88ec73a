/// One rank's sort, by normalised keys.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

struct SortKey {
  int column = 0;
  SortOrder order = SortOrder::kAscending;
  NullPlacement nulls =
      NullPlacement::kLast;  ///< whatever the order; NaN counts as the largest number, before the nulls
};

/// One byte string per row that compares (memcmp) as the rows do under `keys`: null placement and direction included.
/// Layout: per key a null byte, then the value big-endian with the sign flipped; strings escaped and ended; inverted
/// when descending. `offsets` gets num_rows + 1 entries into `bytes`.
CYLON_EXPORT arrow::Status EncodeSortKeys(const arrow::RecordBatch& batch, const std::vector<SortKey>& keys,
                                          std::vector<uint8_t>* bytes, std::vector<int64_t>* offsets);

/// Sorted, stable. Larger than the budget: sorted runs are spilled and merged.
CYLON_EXPORT arrow::Result<Table> SortTable(const std::shared_ptr<Resources>& resources, const Table& input,
                                            const std::vector<SortKey>& keys);

/// Merges tables that are each sorted by `keys`; equal rows in the order of the inputs.
CYLON_EXPORT arrow::Result<Table> MergeSorted(const std::shared_ptr<Resources>& resources,
                                              const std::vector<Table>& inputs, const std::vector<SortKey>& keys);

}  // namespace cylon
