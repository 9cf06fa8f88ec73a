/// Numbers distinct keys of one word or two: a hash table that is as small as can be, so that it fits the cache.
#pragma once

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/result.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>

namespace cylon {

/// Keys are numbered 0, 1, 2 ... in the order of their first appearance. Open addressing with linear probing over
/// 32-bit numbers; the keys lie by number beside it, ready to become a column. Where keys are small numbers themselves,
/// each has its own slot instead, and neither hashing nor comparing is left. Memory comes from the pool.
class WordTable {
 public:
  static constexpr uint32_t kNone = 0xFFFFFFFFu;

  /// `words`: per key, 1 or 2; of two, neither may be null. `direct_bits`: where not negative, keys are of one word and
  /// below 2^direct_bits, none is null, and each has a slot of its own.
  WordTable(arrow::MemoryPool* pool, int words, int direct_bits = -1)
      : pool_(pool), words_(words), direct_bits_(direct_bits) {}

  int64_t size() const { return size_; }
  /// The first, or second, word of each key, by number.
  const uint64_t* keys(int word) const { return keys_[word]; }
  int64_t num_bytes() const { return slot_count_ * 4 + capacity_ * 8 * words_; }

  /// The number of null, which has no words; kNone where it has not come.
  uint32_t null_number() const { return null_number_; }

  /// Forgets all keys; room for `count` is made.
  arrow::Status Clear(int64_t count) {
    size_ = 0;
    null_number_ = kNone;
    ARROW_RETURN_NOT_OK(ReserveKeys(count));
    return Rehash(direct() ? int64_t{1} << direct_bits_ : SlotsFor(std::max<int64_t>(count, 16)));
  }

  /// The number of each of `count` keys into `numbers`; new ones are added. Null where `valid` (nullptr: nowhere) is 0.
  /// `same(number, i)`: whether key i is that of `number` when their words are equal. `add(i)` is called for each new
  /// one.
  template <typename Same, typename Add>
  arrow::Status Find(const uint64_t* first, const uint64_t* second, const uint8_t* valid, int64_t count,
                     uint32_t* numbers, const Same& same, const Add& add) {
    ARROW_RETURN_NOT_OK(ReserveKeys(size_ + count));
    if (direct()) {
      FindDirectly(first, count, numbers, add);
      return arrow::Status::OK();
    }
    if (SlotsFor(size_ + count) > slot_count_) {
      ARROW_RETURN_NOT_OK(Rehash(SlotsFor(size_ + count)));
    }
    if (words_ == 2) {
      FindAll<2, false>(first, second, valid, count, numbers, same, add);
    } else if (valid == nullptr) {
      FindAll<1, false>(first, second, valid, count, numbers, same, add);
    } else {
      FindAll<1, true>(first, second, valid, count, numbers, same, add);
    }
    return arrow::Status::OK();
  }
  arrow::Status Find(const uint64_t* first, const uint64_t* second, const uint8_t* valid, int64_t count,
                     uint32_t* numbers) {
    return Find(first, second, valid, count, numbers, [](uint32_t, int64_t) { return true; }, [](int64_t) {});
  }

 private:
  bool direct() const { return direct_bits_ >= 0; }

  /// At most half full, so that chains of probes stay short.
  static int64_t SlotsFor(int64_t keys) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(keys * 2))); }

  /// Fibonacci hashing (Knuth, The Art of Computer Programming 3, 6.4): the high bits of a product. Partitions are cut
  /// by another hash, so that keys which share a partition spread here.
  template <int kWords>
  uint64_t Place(uint64_t first, uint64_t second) const {
    uint64_t mixed = first ^ (first >> 32);
    if constexpr (kWords == 2) {
      mixed = mixed * 0xD6E8FEB86659FD93u ^ second ^ (second >> 32);
    }
    return (mixed * 0x9E3779B97F4A7C15u) >> shift_;
  }

  template <typename Add>
  void FindDirectly(const uint64_t* words, int64_t count, uint32_t* numbers, const Add& add) {
    uint32_t* const slots = slots_;
    for (int64_t i = 0; i < count; ++i) {
      uint32_t& slot = slots[words[i]];
      if (slot == kNone) [[unlikely]] {
        slot = static_cast<uint32_t>(size_);
        keys_[0][size_++] = words[i];
        add(i);
      }
      numbers[i] = slot;
    }
  }

  template <int kWords, bool kNullable, typename Same, typename Add>
  void FindAll(const uint64_t* first, const uint64_t* second, const uint8_t* valid, int64_t count, uint32_t* numbers,
               const Same& same, const Add& add) {
    const uint64_t mask = slot_count_ - 1;
    uint32_t* const slots = slots_;
    uint64_t* const keys = keys_[0];
    uint64_t* const others = keys_[1];
    for (int64_t i = 0; i < count; ++i) {
      if (kNullable && valid[i] == 0) {
        if (null_number_ == kNone) {
          null_number_ = static_cast<uint32_t>(size_++);
          keys[null_number_] = 0;
          add(i);
        }
        numbers[i] = null_number_;
        continue;
      }
      const uint64_t word = first[i];
      const uint64_t other = kWords == 2 ? second[i] : 0;
      uint64_t place = Place<kWords>(word, other);
      uint32_t number = slots[place];
      while (number != kNone &&
             !(keys[number] == word && (kWords == 1 || others[number] == other) && same(number, i))) {
        place = (place + 1) & mask;
        number = slots[place];
      }
      if (number == kNone) {
        number = static_cast<uint32_t>(size_++);
        slots[place] = number;
        keys[number] = word;
        if constexpr (kWords == 2) {
          others[number] = other;
        }
        add(i);
      }
      numbers[i] = number;
    }
  }

  arrow::Status ReserveKeys(int64_t count) {
    if (count <= capacity_) {
      return arrow::Status::OK();
    }
    capacity_ = std::max<int64_t>(count, capacity_ * 2);
    for (int word = 0; word < words_; ++word) {
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> grown, arrow::AllocateBuffer(capacity_ * 8, pool_));
      auto* keys = grown->mutable_data_as<uint64_t>();
      std::copy(keys_[word], keys_[word] + size_, keys);
      key_buffers_[word] = std::move(grown);
      keys_[word] = keys;
    }
    return arrow::Status::OK();
  }

  arrow::Status Rehash(int64_t slots) {
    if (slots > allocated_slots_) {
      ARROW_ASSIGN_OR_RAISE(slot_buffer_, arrow::AllocateBuffer(slots * 4, pool_));
      slots_ = slot_buffer_->mutable_data_as<uint32_t>();
      allocated_slots_ = slots;
    }
    slot_count_ = slots;
    shift_ = 64 - std::countr_zero(static_cast<uint64_t>(slots));
    std::memset(slots_, 0xFF, slots * 4);
    if (direct()) {
      return arrow::Status::OK();  // only of an empty table
    }
    const uint64_t mask = slots - 1;
    for (int64_t number = 0; number < size_; ++number) {
      if (number == null_number_) {
        continue;
      }
      uint64_t place = words_ == 1 ? Place<1>(keys_[0][number], 0) : Place<2>(keys_[0][number], keys_[1][number]);
      while (slots_[place] != kNone) {
        place = (place + 1) & mask;
      }
      slots_[place] = static_cast<uint32_t>(number);
    }
    return arrow::Status::OK();
  }

  arrow::MemoryPool* pool_;
  int words_;
  int direct_bits_;
  int64_t size_ = 0;
  int64_t capacity_ = 0;         // keys
  int64_t slot_count_ = 0;       // a power of two
  int64_t allocated_slots_ = 0;  // at least as many
  int shift_ = 0;
  uint32_t null_number_ = kNone;
  uint32_t* slots_ = nullptr;
  uint64_t* keys_[2] = {nullptr, nullptr};
  std::shared_ptr<arrow::Buffer> slot_buffer_;
  std::shared_ptr<arrow::Buffer> key_buffers_[2];
};

}  // namespace cylon
