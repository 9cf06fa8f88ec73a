/// From locally sorted parts to a global order: the distributed half of a sort.
#pragma once

#include "cylon/kernels/sort.h"
#include "cylon/ops/collective_operator.h"

namespace cylon::internal {

/// What a locally sorted part says of itself: rows at regular positions, encoded.
struct SortSamples {
  std::vector<uint8_t> bytes;    ///< encoded keys, one after another
  std::vector<int64_t> offsets;  ///< count + 1 entries into bytes
  std::vector<int64_t> rows;     ///< position of each in its part
};

/// `count` rows of `sorted` (all of them where it has fewer), each the last of an even share of the part.
arrow::Result<SortSamples> TakeSamples(const std::shared_ptr<Resources>& resources, const Table& sorted,
                                       const std::vector<SortKey>& keys, int64_t count);

/// The distributed half, where `sorted` is this rank's part, sorted by `keys`, or why it could not be. Begins with an
/// agreement on `details` (so nothing collective may have gone before without one) and ends with one.
arrow::Result<Table> SortAcrossRanks(CollectiveOperator& operation, const std::string& details,
                                     arrow::Result<Table> sorted, const std::vector<SortKey>& keys);

}  // namespace cylon::internal
