// Hashes of rows: splitmix64 for what fits a word, XXH3 for bytes, chained over the columns.
#include "cylon/kernels/hash.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>

#include "cylon/kernels/hash_columns.h"

namespace cylon {

namespace {

constexpr uint64_t kNullHash = 0x9AE16A3B2F90404Fu;  // an arbitrary constant, the same on every rank

CYLON_CLONES void MixAll(uint64_t* words, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    words[i] = HashOfWord(words[i]);
  }
}

CYLON_CLONES void ChainAll(uint64_t* hashes, const uint64_t* next, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    hashes[i] = ChainHash(hashes[i], next[i]);
  }
}

void HashColumn(const KeyColumn& column, uint64_t* out) {
  const int64_t count = column.length();
  if (column.is_word()) {
    column.LoadWords(out);
    MixAll(out, count);
  } else if (column.kind() != KeyKind::kNull) {
    column.VisitBytes([out](int64_t i, std::string_view bytes) { out[i] = XXH3_64bits(bytes.data(), bytes.size()); });
  }
  if (column.may_have_nulls()) {
    for (int64_t i = 0; i < count; ++i) {
      if (column.IsNull(i)) {
        out[i] = kNullHash;
      }
    }
  }
}

}  // namespace

void HashColumns(const std::vector<KeyColumn>& columns, int64_t num_rows, std::vector<uint64_t>* hashes) {
  hashes->resize(num_rows);
  if (columns.empty()) {
    std::fill(hashes->begin(), hashes->end(), kNullHash);
    return;
  }
  HashColumn(columns[0], hashes->data());
  std::vector<uint64_t> next(columns.size() > 1 ? num_rows : 0);
  for (size_t k = 1; k < columns.size(); ++k) {
    HashColumn(columns[k], next.data());
    ChainAll(hashes->data(), next.data(), num_rows);
  }
}

uint64_t RehashForLevel(uint64_t hash, int level) {
  return HashOfWord(hash ^ (static_cast<uint64_t>(level) * 0xD6E8FEB86659FD93u));
}

arrow::Status HashRows(const arrow::RecordBatch& batch, const std::vector<int>& keys, std::vector<uint64_t>* hashes) {
  ARROW_ASSIGN_OR_RAISE(const auto columns, KeyColumn::MakeAll(arrow::default_memory_pool(), batch, keys));
  HashColumns(columns, batch.num_rows(), hashes);
  return arrow::Status::OK();
}

}  // namespace cylon
