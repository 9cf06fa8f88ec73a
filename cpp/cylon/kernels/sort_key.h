/// Sort keys in normalised form.
#pragma once

#include <vector>

#include "cylon/kernels/key_column.h"
#include "cylon/kernels/sort.h"

namespace cylon {

/// The sort keys of some rows: `bytes` and `offsets` as EncodeSortKeys gives them, or `words` where there is one key
/// whose values fit a word: those compare as the values do, direction included, and `places` is 0, 1 or 2: before the
/// values (or with them, where nothing comes before), NaN or null.
struct SortKeys {
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets;
  std::vector<uint64_t> words;
  std::vector<uint8_t> places;
};

/// Whether every key is one word and one place. Errors as EncodeSortKeys.
arrow::Result<bool> AreWordSortKeys(const arrow::Schema& schema, const std::vector<SortKey>& keys);

arrow::Status EncodeWordSortKey(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, const SortKey& key,
                                SortKeys* out);
arrow::Status EncodeSortKeys(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, const std::vector<SortKey>& keys,
                             std::vector<uint8_t>* bytes, std::vector<int64_t>* offsets);

}  // namespace cylon
