/// Cuts of an order, and which range between them a row belongs to: what a distributed sort sends rows by.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <string_view>
#include <vector>

#include "cylon/kernels/sort_key.h"

namespace cylon {

/// Keys that compare (memcmp) as the rows do under `keys`, in a form that SortRanges takes: EncodeSortKeys' bytes, or
/// where every key is a word:   | place (1 byte) | word (8 bytes, big-endian) | the next key's | ... |
CYLON_EXPORT arrow::Result<ByteKeys> EncodeRangeKeys(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                                     const std::vector<SortKey>& keys);

/// A place in the order of the rows of a table: above the rows whose key is smaller than `key`, and of those with an
/// equal key above the ones up to number `last_row` of the table (-1: none).
struct RangeCut {
  std::string_view key;  ///< as of EncodeRangeKeys
  int64_t last_row = 0;
};

/// Finds rows' ranges: range r lies between cuts r - 1 and r.
class CYLON_EXPORT SortRanges {
 public:
  /// `cuts` ascend, and `keys` outlive this. Errors as EncodeSortKeys.
  static arrow::Result<SortRanges> Make(const arrow::Schema& schema, const std::vector<SortKey>& keys,
                                        const std::vector<RangeCut>& cuts);

  /// The range of each row of `batch`, whose first row is number `first_row` of the table.
  arrow::Status Find(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, int64_t first_row,
                     std::vector<uint32_t>* ranges) const;

 private:
  explicit SortRanges(const std::vector<SortKey>& keys) : keys_(&keys) {}
  arrow::Status FindByWord(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, int64_t first_row,
                           uint32_t* ranges) const;

  const std::vector<SortKey>* keys_;
  bool is_word_ = false;
  std::vector<std::string> cut_keys_;
  std::vector<int64_t> last_rows_;
  std::vector<uint8_t> cut_places_;  // of the only key, where it is a word
  std::vector<uint64_t> cut_words_;
};

}  // namespace cylon
