/// Hashes of rows by some of their columns: equal keys hash equally whatever their chunking, encoding, null slots or
/// rank.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <vector>

#include "cylon/base/export.h"

namespace cylon {

/// One 64-bit hash per row of `batch` over the columns `keys`, into `hashes` (num_rows entries). By value, never by
/// address: null hashes to a constant, NaN and -0.0 are canonical, dictionaries hash as their values, string,
/// large_string and string_view alike. NotImplemented names a key type that cannot be a key (nested types).
CYLON_EXPORT arrow::Status HashRows(const arrow::RecordBatch& batch, const std::vector<int>& keys,
                                    std::vector<uint64_t>* hashes);

/// Index of the partition of a hash among `count`: its high bits scaled (multiply-shift), so that the low bits stay
/// free for hash tables inside the partition.
inline uint32_t PartitionOf(uint64_t hash, uint32_t count) {
  return static_cast<uint32_t>(((hash >> 32) * count) >> 32);
}

}  // namespace cylon
