/// One rank's sort, by normalised keys.
#pragma once

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"
#include "cylon/table/table.h"

namespace cylon {

struct SortKey {
  int column = 0;
  SortOrder order = SortOrder::kAscending;
  NullPlacement nulls = NullPlacement::kLast;  ///< whatever the order; NaN stands between the numbers and the nulls
};

/// One byte string per row that compares (memcmp) as the rows do under `keys`: null placement and direction included.
/// Layout: per key a byte that places null, NaN and value, then the value big-endian with the sign flipped; strings
/// with 0 escaped as 0 255 and ended by 0 0; inverted when descending. `offsets` gets num_rows + 1 entries into
/// `bytes`. NotImplemented names a column that has no order (nested types, intervals). -0.0 equals 0.0.
CYLON_EXPORT arrow::Status EncodeSortKeys(const arrow::RecordBatch& batch, const std::vector<SortKey>& keys,
                                          std::vector<uint8_t>* bytes, std::vector<int64_t>* offsets);

/// Sorted; always stable, since that costs nothing here. What is sorted already comes back as it is. Else rows are
/// dealt to partitions that fit the cache, by the leading bits of their keys, and ordered there by radix (SortRun).
/// What takes more than half of the budget to sort: sorted runs go to disk and are merged.
CYLON_EXPORT arrow::Result<Table> SortTable(const std::shared_ptr<Resources>& resources, const Table& input,
                                            const std::vector<SortKey>& keys);

/// Merges tables that are each sorted by `keys`; equal rows in the order of the inputs.
CYLON_EXPORT arrow::Result<Table> MergeSorted(const std::shared_ptr<Resources>& resources,
                                              const std::vector<Table>& inputs, const std::vector<SortKey>& keys);

}  // namespace cylon
