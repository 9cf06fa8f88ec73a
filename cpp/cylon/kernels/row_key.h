/// Keys of rows in a form that can be compared by bytes, and the hash table that numbers distinct ones.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cylon/kernels/key_column.h"

namespace cylon {

/// The keys of one batch's rows. A row's key is
///   - its hash alone, where there is one column whose values fit a word (then equal hashes mean equal values), or
///   - `stride` bytes where all columns are fixed:   | null bits, padded to 8 | word or bytes, padded to 8 | ... |, or
///   - the bytes between two offsets:                | null bits | words and fixed bytes | (32-bit length, bytes) | ...
///   |
/// Values under nulls are zero, so that null equals null.
struct KeyBatch {
  int64_t num_rows = 0;
  std::vector<uint64_t> hashes;
  std::vector<uint8_t> nulls;  ///< 1 where any key of the row is null; empty: none is
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets;

  bool IsNull(int64_t row) const { return !nulls.empty() && nulls[row] != 0; }
};

/// Makes KeyBatches of batches of one schema.
class KeyEncoder {
 public:
  /// NotImplemented names a column that cannot be a key; IndexError one that does not exist.
  static arrow::Result<KeyEncoder> Make(const arrow::Schema& schema, std::vector<int> keys);

  arrow::Result<KeyBatch> Encode(arrow::MemoryPool* pool, const arrow::RecordBatch& batch) const;

  bool hash_is_key() const { return hash_is_key_; }
  int64_t stride() const { return stride_; }  ///< 0: the length varies, or the hash is the key

 private:
  arrow::Status EncodeFixed(const std::vector<KeyColumn>& columns, KeyBatch* out) const;
  arrow::Status EncodeVariable(const std::vector<KeyColumn>& columns, KeyBatch* out) const;

  std::vector<int> keys_;
  bool hash_is_key_ = false;
  int64_t stride_ = 0;
};

/// Numbers distinct keys 0, 1, 2 ... in the order of their first appearance. Open addressing with linear probing over
/// (hash, number) slots of 16 bytes, the home slot by the hash's low bits; looked up in batches of 32 with prefetch,
/// which is where misses overlap without overflowing the line-fill buffers. Memory comes from the pool that it is
/// given.
class GroupMap {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFFu;

  GroupMap(arrow::MemoryPool* pool, const KeyEncoder& encoder);

  /// Makes room for `count` keys in all.
  arrow::Status Reserve(int64_t count);

  /// The numbers of the keys of `rows` of `batch` (nullptr: rows 0 to count - 1) into `numbers`; new keys are added,
  /// and their rows appended to `added`.
  arrow::Status FindOrInsert(const KeyBatch& batch, const uint32_t* rows, int64_t count, uint32_t* numbers,
                             std::vector<uint32_t>* added);

  int64_t size() const { return size_; }
  /// Bytes that it holds.
  int64_t num_bytes() const;

 private:
  struct Slot {
    uint64_t hash;
    uint32_t number;
    uint32_t padding;
  };

  bool SameKey(uint32_t number, const KeyBatch& batch, int64_t row) const;
  arrow::Status AddKey(const KeyBatch& batch, int64_t row);
  arrow::Status Grow(int64_t slots);

  arrow::MemoryPool* pool_;
  bool hash_is_key_;
  int64_t stride_;
  std::shared_ptr<arrow::Buffer> slot_buffer_;
  Slot* slots_ = nullptr;
  uint64_t mask_ = 0;
  int64_t size_ = 0;
  uint32_t null_number_ = kNone;  // where the hash is the key, null has no hash of its own
  std::unique_ptr<arrow::BufferBuilder> key_bytes_;
  std::unique_ptr<arrow::TypedBufferBuilder<int64_t>> key_ends_;
};

}  // namespace cylon
