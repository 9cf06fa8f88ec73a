// Which rows of a table stand for their key: dealt to partitions whose hash tables stay in the cache.
#include "cylon/kernels/distinct.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <limits>

#include "cylon/kernels/radix_partition.h"

namespace cylon {

namespace {

/// What a partition costs in the cache beside its words and row numbers: two slots of four bytes.
constexpr int64_t kBytesPerRow = 8 + 4 + 8;

/// The distinct keys of one partition after the other: open addressing with linear probing over row places.
class DistinctTable {
 public:
  DistinctTable(const RadixPartitions& rows, Keep keep) : rows_(rows), keep_(keep) {}

  /// Sets kept[row] for the rows of `partition` that stand for their keys.
  void Mark(int64_t partition, uint8_t* kept) {
    first_ = rows_.begin(partition);
    const int64_t count = rows_.rows(partition);
    const auto slots = std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(2 * count, 1)));
    slots_.assign(slots, kEmpty);
    mask_ = slots - 1;
    switch (rows_.form()) {
      case KeyForm::kWord:
        Fill(count, kept, [words = rows_.words() + first_](uint32_t a, uint32_t b) { return words[a] == words[b]; });
        break;
      case KeyForm::kTwoWords:
        Fill(count, kept,
             [words = rows_.words() + first_, second = rows_.second_words() + first_](uint32_t a, uint32_t b) {
               return words[a] == words[b] && second[a] == second[b];
             });
        break;
      case KeyForm::kHash:
        Fill(count, kept, [this, words = rows_.words() + first_](uint32_t a, uint32_t b) {
          const uint32_t* numbers = rows_.row_numbers() + first_;
          return words[a] == words[b] && rows_.SameKey(numbers[a], rows_, numbers[b]);
        });
        break;
    }
  }

 private:
  static constexpr uint32_t kEmpty = std::numeric_limits<uint32_t>::max();

  template <typename Same>
  void Fill(int64_t count, uint8_t* kept, const Same& same) {
    const uint32_t* numbers = rows_.row_numbers() + first_;
    uint32_t* const slots = slots_.data();
    for (uint32_t i = 0; i < count; ++i) {
      uint64_t slot = (rows_.HashAt(first_ + i) >> rows_.bits()) & mask_;
      while (slots[slot] != kEmpty && !same(slots[slot], i)) {
        slot = (slot + 1) & mask_;
      }
      if (slots[slot] == kEmpty) {
        slots[slot] = i;
        kept[numbers[i]] = 1;
      } else if (keep_ != Keep::kFirst) {
        kept[numbers[slots[slot]]] = 0;
        slots[slot] = keep_ == Keep::kLast ? i : slots[slot];
        kept[numbers[i]] = keep_ == Keep::kLast ? 1 : 0;
      }
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
  RadixPlan plan{.keys = keys, .form = KeyForm::kHash, .carried = {}, .row_numbers = true, .bits = 0};
  ARROW_ASSIGN_OR_RAISE(plan.form, KeyFormOf(input, keys));
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
