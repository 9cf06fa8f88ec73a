/// Which partition a word belongs to: the first step of a sort, after which every partition fits a core's cache.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace cylon {

/// Partitions of words that lie one after another: every word of one is smaller than every word of the next.
class WordPartitions {
 public:
  /// For `rows` words below 2^bits, of which `samples` are some.
  /// The leading bits, where those make even partitions; else what a table has for them; else the partitions between
  /// splitters, which are samples: that costs a binary search for each word, and gives a value that many rows have a
  /// partition of its own.
  static WordPartitions Choose(std::vector<uint64_t> samples, int64_t rows, int bits);

  /// At most 2^11.
  uint32_t count() const { return count_; }

  /// Whether Find searches.
  bool searches() const { return !splitters_.empty(); }

  void Find(std::span<const uint64_t> words, uint16_t* out) const;

 private:
  uint32_t count_ = 1;
  int shift_ = 0;
  std::vector<uint16_t> table_;      // by the word without its last shift_ bits; empty: these are the partition
  std::vector<uint64_t> splitters_;  // 2^k - 1 of them, ascending; the last ones repeat the largest number
};

}  // namespace cylon
