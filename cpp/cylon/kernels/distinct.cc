// Which rows of a table stand for their key: dealt to partitions whose hash tables stay in the cache.
#include "cylon/kernels/distinct.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>

#include "cylon/kernels/hash_columns.h"
#include "cylon/kernels/radix_partition.h"

namespace cylon {

namespace {

/// Slots per row, at least: with 2, so many are taken by another key that the processor guesses wrong.
constexpr int64_t kSlotsPerRow = 4;

/// What a row costs in the cache: its word, its number and its slots.
constexpr int64_t kBytesPerRow = 8 + 4 + 4 * kSlotsPerRow;

/// The distinct keys of one partition after the other: open addressing with linear probing over row places.
class DistinctTable {
 public:
  DistinctTable(const RadixPartitions& rows, Keep keep) : rows_(rows), keep_(keep) {}

  /// Sets kept[row] for the rows of `partition` that stand for their keys.
  void Mark(int64_t partition, uint8_t* kept) {
    first_ = rows_.begin(partition);
    const int64_t count = rows_.rows(partition);
    const auto slots = std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(kSlotsPerRow * count, 1)));
    slots_.assign(slots, kEmpty);
    mask_ = slots - 1;
    const uint64_t* words = rows_.words() + first_;
    const uint64_t* second = rows_.second_words() == nullptr ? nullptr : rows_.second_words() + first_;
    const uint32_t* numbers = rows_.row_numbers() + first_;
    switch (rows_.form()) {
      case KeyForm::kWord:
        FillByKeep(
            count, kept, [words](uint32_t i) { return HashOfWord(words[i]); },
            [words](uint32_t a, uint32_t b) { return words[a] == words[b]; });
        break;
      case KeyForm::kTwoWords:
        FillByKeep(
            count, kept, [words, second](uint32_t i) { return HashOfWords(words[i], second[i]); },
            [words, second](uint32_t a, uint32_t b) { return words[a] == words[b] && second[a] == second[b]; });
        break;
      case KeyForm::kHash:
        FillByKeep(
            count, kept, [words](uint32_t i) { return words[i]; },
            [this, words, numbers](uint32_t a, uint32_t b) {
              return words[a] == words[b] && rows_.SameKey(numbers[a], rows_, numbers[b]);
            });
        break;
    }
  }

 private:
  static constexpr uint32_t kEmpty = std::numeric_limits<uint32_t>::max();

  /// What is in `slot`, or `other` where it is empty; in arithmetic, since compilers make a branch of a choice.
  static uint32_t InOr(uint32_t slot, uint32_t other) {
    const uint32_t empty = 0u - static_cast<uint32_t>(slot == kEmpty);
    return (slot & ~empty) | (other & empty);
  }

  template <typename Hash, typename Same>
  void FillByKeep(int64_t count, uint8_t* kept, const Hash& hash, const Same& same) {
    keep_ == Keep::kFirst  ? Fill<Keep::kFirst>(count, kept, hash, same)
    : keep_ == Keep::kLast ? Fill<Keep::kLast>(count, kept, hash, same)
                           : Fill<Keep::kNone>(count, kept, hash, same);
  }

  /// Whether a key is new is anybody's guess, so nothing branches on it; only a slot that another key has is rare.
  template <Keep kKeep, typename Hash, typename Same>
  void Fill(int64_t count, uint8_t* kept, const Hash& hash, const Same& same) {
    const uint32_t* numbers = rows_.row_numbers() + first_;
    uint32_t* const slots = slots_.data();
    const uint64_t mask = mask_;
    const int shift = rows_.bits();
    for (uint32_t i = 0; i < count; ++i) {
      uint64_t slot = (hash(i) >> shift) & mask;
      uint32_t there = InOr(slots[slot], i);
      while (!same(there, i)) [[unlikely]] {
        slot = (slot + 1) & mask;
        there = InOr(slots[slot], i);
      }
      const auto is_new = static_cast<uint8_t>(there == i);
      if constexpr (kKeep != Keep::kFirst) {
        kept[numbers[there]] = 0;
      }
      kept[numbers[i]] = kKeep == Keep::kLast ? 1 : is_new;
      slots[slot] = kKeep == Keep::kLast ? i : there;
    }
  }

  const RadixPartitions& rows_;
  Keep keep_;
  int64_t first_ = 0;
  std::vector<uint32_t> slots_;  // a place in the partition, or kEmpty
  uint64_t mask_ = 0;
};

}  // namespace

arrow::Result<std::shared_ptr<arrow::Buffer>> MarkDistinctRows(const std::shared_ptr<Resources>& resources,
                                                               const Table& input, const std::vector<int>& keys,
                                                               Keep keep) {
  RadixPlan plan{.keys = keys, .layout = {}, .carried = {}, .row_numbers = true, .bits = 0};
  ARROW_ASSIGN_OR_RAISE(plan.layout, KeyLayout::Packed(*resources, input, keys));
  plan.bits = RadixBits(input.num_rows(), kBytesPerRow);
  ARROW_ASSIGN_OR_RAISE(const auto rows, RadixPartitions::Make(resources, input, plan));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> kept,
                        arrow::AllocateBuffer(input.num_rows(), resources->memory()));
  std::fill_n(kept->mutable_data(), input.num_rows(), 0);
  std::atomic<int64_t> next{0};
  const int64_t partitions = rows->count() + 1;  // the last has the null keys
  ARROW_RETURN_NOT_OK(
      resources->arena().ParallelFor(std::min<int64_t>(resources->arena().threads(), partitions), [&](int64_t) {
        DistinctTable table(*rows, keep);
        for (int64_t p = next.fetch_add(1); p < partitions; p = next.fetch_add(1)) {
          table.Mark(p, kept->mutable_data());
        }
        return arrow::Status::OK();
      }));
  return kept;
}

}  // namespace cylon
