/// Bits that tell which keys a side of a join may have.
#pragma once

#include <arrow/buffer.h>
#include <arrow/result.h>

#include <bit>
#include <cstdint>
#include <memory>
#include <utility>

namespace cylon::internal {

/// A Bloom filter in blocks of 64 bits (Putze, Sanders, Singler: Cache-, hash- and space-efficient Bloom filters,
/// 2007): a key sets four bits of one word, so that a look costs one cache miss. With 12 bits per key about one key in
/// forty that was never added is taken for one that was.
class KeyFilter {
 public:
  static constexpr int64_t kBitsPerKey = 12;

  /// Bytes of a filter for `keys` keys.
  static int64_t NumBytes(int64_t keys) {
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(keys * kBitsPerKey / 64 + 1))) * 8;
  }

  /// Over `bits`, whose size is a power of two of words.
  explicit KeyFilter(std::shared_ptr<arrow::Buffer> bits)
      : bits_(std::move(bits)), mask_(static_cast<uint64_t>(bits_->size()) / 8 - 1) {}

  void Add(uint64_t hash) { bits_->mutable_data_as<uint64_t>()[WordOf(hash)] |= BitsOf(hash); }
  bool MayHave(uint64_t hash) const {
    const uint64_t bits = BitsOf(hash);
    return (bits_->data_as<uint64_t>()[WordOf(hash)] & bits) == bits;
  }
  const std::shared_ptr<arrow::Buffer>& bits() const { return bits_; }

 private:
  uint64_t WordOf(uint64_t hash) const { return (hash >> 24) & mask_; }
  static uint64_t BitsOf(uint64_t hash) {
    return uint64_t{1} << (hash & 63) | uint64_t{1} << (hash >> 6 & 63) | uint64_t{1} << (hash >> 12 & 63) |
           uint64_t{1} << (hash >> 18 & 63);
  }

  std::shared_ptr<arrow::Buffer> bits_;
  uint64_t mask_;
};

}  // namespace cylon::internal
