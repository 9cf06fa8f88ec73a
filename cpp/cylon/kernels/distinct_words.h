/// Which of many words stand for themselves: the first, the last or the only one of each.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/kernels/types.h"

namespace cylon {

/// Words that lie together, and a byte for each of them.
struct WordRun {
  const uint64_t* words = nullptr;
  int64_t count = 0;
  uint8_t* kept = nullptr;
};

/// Marks the words of one partition after the other, in a table of their hashes (one to one: equal hashes are equal
/// words) that grows with the distinct ones: open addressing with linear probing.
class CYLON_EXPORT DistinctWords {
 public:
  /// Partitions are the low `bits`, at least one, of HashOfWord.
  DistinctWords(Keep keep, int bits) : keep_(keep), bits_(bits) {}

  /// Sets kept[i] of every run to 1 where the word is the first, the last or the only one (kNone) of its kind in all
  /// runs, in their order, and to 0 elsewhere. All words are of one partition, or all are the same.
  void Mark(std::span<const WordRun> runs);

 private:
  template <Keep kKeep>
  void Add(const WordRun& run);
  void Reset(std::span<const WordRun> runs);
  void Grow();
  /// What is in `slot`, or `hash` where it is empty; in arithmetic, since compilers make a branch of a choice.
  uint64_t InOr(uint64_t slot, uint64_t hash) const {
    const uint64_t empty = 0 - static_cast<uint64_t>(slot == empty_);
    return (slot & ~empty) | (hash & empty);
  }
  /// The slot that has `hash`, or that it goes to.
  uint64_t SlotOf(uint64_t hash) const;

  Keep keep_;
  int bits_;
  uint64_t empty_ = 0;           // the hash of no word of the partition
  std::vector<uint64_t> slots_;  // hashes
  std::vector<uint8_t> again_;   // by slot: whether its word came more than once; kNone
  uint64_t mask_ = 0;
  uint64_t size_ = 0;
};

}  // namespace cylon
