/// Sort keys in normalised form.
#pragma once

#include <vector>

#include "cylon/kernels/key_column.h"
#include "cylon/kernels/sort.h"

namespace cylon {

inline bool IsFloat(KeyKind kind) {
  return kind == KeyKind::kHalf || kind == KeyKind::kFloat || kind == KeyKind::kDouble;
}

/// Flipped in the words of signed integers so that they compare unsigned.
inline constexpr uint64_t kAscendingSign = uint64_t{1} << 63;
/// NaN's ascending word: above that of every number.
inline constexpr uint64_t kAscendingNan = 0xFFF8000000000000u;

/// Words of values of `kind` (KeyColumn::LoadWords) to ones that compare unsigned as the values do.
void MakeAscending(KeyKind kind, uint64_t* words, int64_t count);

/// Words that compare unsigned as the values of `column` do, ascending; under nulls is anything. Only for words.
void LoadAscendingWords(const KeyColumn& column, uint64_t* out);

/// One key of some rows: words that compare as the values do, direction included (0 under NaN and null), and where the
/// rows stand among the values: 0, 1 or 2.
struct WordKeys {
  std::vector<uint64_t> words;
  std::vector<uint8_t> places;
};

/// The keys of some rows as bytes, as EncodeSortKeys gives them.
struct ByteKeys {
  std::shared_ptr<arrow::Buffer> bytes;
  std::shared_ptr<arrow::Buffer> offsets;

  std::string_view key(int64_t i) const {
    const int64_t* ends = offsets->data_as<int64_t>() + i;
    return std::string_view(*bytes).substr(ends[0], ends[1] - ends[0]);
  }
};

/// Whether every key is one word and one place. Errors as EncodeSortKeys.
arrow::Result<bool> AreWordSortKeys(const arrow::Schema& schema, const std::vector<SortKey>& keys);

arrow::Status EncodeWordKey(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, const SortKey& key,
                            WordKeys* out);
arrow::Result<ByteKeys> EncodeByteKeys(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                       const std::vector<SortKey>& keys);

}  // namespace cylon
