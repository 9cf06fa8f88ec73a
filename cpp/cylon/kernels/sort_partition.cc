// Which partition a word belongs to.
#include "cylon/kernels/sort_partition.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace cylon {

namespace {

/// Words, entries and a payload column of a partition of so many rows are 300 KiB: they fit a second-level cache of 1
/// MiB or 512 KiB. Partitions of half or twice that are as fast.
constexpr int64_t kPartitionRows = 8192;

/// More partitions have write buffers that leave the second-level cache.
constexpr int kMostBits = 11;

/// How much larger than the average a partition of different words may be before the leading bits are given up.
constexpr int64_t kUneven = 6;

/// Leading bits that a table maps to partitions: 65536 entries of 2 bytes stay in the second-level cache. Evenly spread
/// doubles, whose leading bits are not even, need no more.
constexpr int kTableBits = 16;

/// The most samples in one partition, not counting partitions whose samples are all equal. `samples` ascend.
template <typename PartitionOf>
int64_t LargestShare(const std::vector<uint64_t>& samples, const PartitionOf& partition_of) {
  int64_t largest = 0;
  for (size_t begin = 0, end = 0; begin < samples.size(); begin = end) {
    while (end < samples.size() && partition_of(samples[end]) == partition_of(samples[begin])) {
      ++end;
    }
    if (samples[begin] != samples[end - 1]) {
      largest = std::max(largest, static_cast<int64_t>(end - begin));
    }
  }
  return largest;
}

}  // namespace

WordPartitions WordPartitions::Choose(std::vector<uint64_t> samples, int64_t rows, int bits) {
  WordPartitions result;
  const int wanted = std::clamp<int>(std::bit_width(static_cast<uint64_t>(rows / kPartitionRows)), 1, kMostBits);
  result.count_ = 1u << std::min(wanted, bits);
  result.shift_ = std::max(0, bits - wanted);
  std::sort(samples.begin(), samples.end());
  const auto taken = static_cast<int64_t>(samples.size());
  const auto even = [&](const auto& partition_of) {
    return LargestShare(samples, partition_of) <= std::max<int64_t>(8, (taken >> wanted) * kUneven);
  };
  if (result.shift_ == 0 || even([&](uint64_t word) { return word >> result.shift_; })) {
    return result;
  }
  result.count_ = 1u << wanted;
  for (int64_t i = 1; i < result.count_; ++i) {
    const uint64_t sample = samples[i * taken / result.count_];
    if (result.splitters_.empty() || sample > result.splitters_.back()) {
      result.splitters_.push_back(sample);
    } else if (sample == result.splitters_.back() && sample != std::numeric_limits<uint64_t>::max()) {
      result.splitters_.push_back(sample + 1);  // the second time: what is equal to it has a partition
    }
  }
  if (bits > kTableBits) {
    // Splitters moved down to where the leading bits change.
    std::vector<uint16_t> table(size_t{1} << kTableBits, 0);
    const int shift = bits - kTableBits;
    uint16_t partition = 0;
    size_t filled = 0;
    for (const uint64_t splitter : result.splitters_) {
      if (splitter >> shift > filled) {
        std::fill(table.begin() + static_cast<int64_t>(filled), table.begin() + static_cast<int64_t>(splitter >> shift),
                  partition++);
        filled = splitter >> shift;
      }
    }
    std::fill(table.begin() + static_cast<int64_t>(filled), table.end(), partition);
    if (even([&](uint64_t word) { return table[word >> shift]; })) {
      result.shift_ = shift;
      result.table_ = std::move(table);
      result.splitters_.clear();
      return result;
    }
  }
  result.splitters_.resize(result.count_ - 1, std::numeric_limits<uint64_t>::max());
  return result;
}

void WordPartitions::Find(std::span<const uint64_t> words, uint16_t* out) const {
  if (!table_.empty()) {
    for (size_t i = 0; i < words.size(); ++i) {
      out[i] = table_[words[i] >> shift_];
    }
    return;
  }
  if (!searches()) {
    for (size_t i = 0; i < words.size(); ++i) {
      out[i] = static_cast<uint16_t>(words[i] >> shift_);
    }
    return;
  }
  const uint64_t* splitters = splitters_.data();
  for (size_t i = 0; i < words.size(); ++i) {
    // Splitters up to the word, without a branch: 9 ns for ten steps, where the table takes 1.
    uint32_t found = 0;
    for (uint32_t step = count_ / 2; step > 0; step /= 2) {
      found += splitters[found + step - 1] <= words[i] ? step : 0;
    }
    out[i] = static_cast<uint16_t>(found);
  }
}

}  // namespace cylon
