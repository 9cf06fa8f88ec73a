// Cuts of an order, and which range between them a row belongs to.
#include "cylon/kernels/sort_range.h"

#include <algorithm>
#include <cstring>

namespace cylon {

namespace {

constexpr int64_t kWordKeyBytes = 9;

/// Adds 1 to the range of every row that lies above a cut. Looking at every cut beats a binary search up to some dozens
/// of cuts, since it has no branches; a distributed sort has one cut fewer than ranks.
CYLON_CLONES void CountAbove(const uint64_t* words, int64_t count, uint64_t cut, int64_t rows_not_above,
                             uint32_t* ranges) {
  for (int64_t i = 0; i < count; ++i) {
    const bool above = words[i] > cut || (words[i] == cut && i >= rows_not_above);
    ranges[i] += static_cast<uint32_t>(above);
  }
}

}  // namespace

arrow::Result<ByteKeys> EncodeRangeKeys(arrow::MemoryPool* pool, const arrow::RecordBatch& batch,
                                        const std::vector<SortKey>& keys) {
  ARROW_ASSIGN_OR_RAISE(const bool is_word, AreWordSortKeys(*batch.schema(), keys));
  if (!is_word) {
    return EncodeByteKeys(pool, batch, keys);
  }
  const int64_t count = batch.num_rows();
  const auto stride = static_cast<int64_t>(keys.size()) * kWordKeyBytes;
  ByteKeys result;
  ARROW_ASSIGN_OR_RAISE(result.offsets, arrow::AllocateBuffer((count + 1) * 8, pool));
  ARROW_ASSIGN_OR_RAISE(result.bytes, arrow::AllocateBuffer(count * stride, pool));
  for (int64_t i = 0; i <= count; ++i) {
    result.offsets->mutable_data_as<int64_t>()[i] = i * stride;
  }
  WordKeys encoded;
  uint8_t* out = result.bytes->mutable_data();
  for (const auto& key : keys) {
    ARROW_RETURN_NOT_OK(EncodeWordKey(pool, batch, key, &encoded));
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t word = __builtin_bswap64(encoded.words[i]);
      out[i * stride] = encoded.places[i];
      std::memcpy(out + i * stride + 1, &word, 8);
    }
    out += kWordKeyBytes;
  }
  return result;
}

arrow::Result<SortRanges> SortRanges::Make(const arrow::Schema& schema, const std::vector<SortKey>& keys,
                                           const std::vector<RangeCut>& cuts) {
  SortRanges ranges(keys);
  ARROW_ASSIGN_OR_RAISE(ranges.is_word_, AreWordSortKeys(schema, keys));
  for (const RangeCut& cut : cuts) {
    ranges.cut_keys_.emplace_back(cut.key);
    ranges.last_rows_.push_back(cut.last_row);
    if (ranges.is_word_) {
      if (static_cast<int64_t>(cut.key.size()) != static_cast<int64_t>(keys.size()) * kWordKeyBytes) {
        return arrow::Status::Invalid("a cut of an order has ", cut.key.size(), " bytes, expected ",
                                      keys.size() * kWordKeyBytes,
                                      "; take cuts from EncodeRangeKeys with the same keys");
      }
      uint64_t word = 0;
      std::memcpy(&word, cut.key.data() + 1, 8);
      ranges.cut_places_.push_back(static_cast<uint8_t>(cut.key[0]));
      ranges.cut_words_.push_back(__builtin_bswap64(word));
    }
  }
  return ranges;
}

arrow::Status SortRanges::FindByWord(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, int64_t first_row,
                                     uint32_t* ranges) const {
  const int64_t count = batch.num_rows();
  WordKeys encoded;
  ARROW_RETURN_NOT_OK(EncodeWordKey(pool, batch, (*keys_)[0], &encoded));
  const bool one_place = std::all_of(encoded.places.begin(), encoded.places.end(),
                                     [&](uint8_t place) { return place == encoded.places[0]; });
  for (size_t c = 0; c < cut_words_.size(); ++c) {
    // The last row may be the largest number there is.
    const int64_t not_above = last_rows_[c] < first_row ? 0 : std::min(last_rows_[c] - first_row, count - 1) + 1;
    if (one_place && encoded.places[0] == cut_places_[c]) {
      CountAbove(encoded.words.data(), count, cut_words_[c], not_above, ranges);
      continue;
    }
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t place = encoded.places[i];
      const uint64_t word = encoded.words[i];
      const bool above = place != cut_places_[c] ? place > cut_places_[c]
                         : word != cut_words_[c] ? word > cut_words_[c]
                                                 : i >= not_above;
      ranges[i] += static_cast<uint32_t>(above);
    }
  }
  return arrow::Status::OK();
}

arrow::Status SortRanges::Find(arrow::MemoryPool* pool, const arrow::RecordBatch& batch, int64_t first_row,
                               std::vector<uint32_t>* ranges) const {
  const int64_t count = batch.num_rows();
  ranges->assign(count, 0);
  if (cut_keys_.empty() || count == 0) {
    return arrow::Status::OK();
  }
  constexpr size_t kMostCutsCounted = 64;
  if (is_word_ && keys_->size() == 1 && cut_keys_.size() <= kMostCutsCounted) {
    return FindByWord(pool, batch, first_row, ranges->data());
  }
  ARROW_ASSIGN_OR_RAISE(const auto encoded, EncodeRangeKeys(pool, batch, *keys_));
  for (int64_t i = 0; i < count; ++i) {
    const std::string_view key = encoded.key(i);
    size_t low = 0;
    for (size_t high = cut_keys_.size(); low < high;) {
      const size_t middle = (low + high) / 2;
      const int compared = key.compare(cut_keys_[middle]);
      if (compared > 0 || (compared == 0 && first_row + i > last_rows_[middle])) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    (*ranges)[i] = static_cast<uint32_t>(low);
  }
  return arrow::Status::OK();
}

}  // namespace cylon
