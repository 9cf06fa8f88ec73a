// The parts of a sort in memory: partitions of words and their order, against the standard library's stable sort.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <random>

#include "cylon/kernels/sort_order.h"
#include "cylon/kernels/sort_partition.h"

namespace cylon {
namespace {

/// Words as they are met: dense, full range, of few values, all the same, heavy at the ends, in clusters far apart.
std::vector<std::vector<uint64_t>> ManyKindsOfWords(size_t count) {
  std::mt19937_64 rng(5);
  std::vector<std::vector<uint64_t>> kinds(8, std::vector<uint64_t>(count));
  for (size_t i = 0; i < count; ++i) {
    kinds[0][i] = rng() % (count + 1);
    kinds[1][i] = rng();
    kinds[2][i] = rng() % 3;
    kinds[3][i] = 7;
    kinds[4][i] = i % 2 == 0 ? 0 : std::numeric_limits<uint64_t>::max() - rng() % 5;
    kinds[5][i] = (rng() % 4 << 60) + rng() % 50;
    kinds[6][i] = count - i;
    kinds[7][i] = i % 5 == 0 ? rng() : rng() % 100000;
  }
  return kinds;
}

TEST(WordSorterTest, OrdersAsAStableSortDoes) {
  WordSorter sorter(arrow::default_memory_pool());
  for (const size_t count : {1, 2, 24, 25, 1000, 70000}) {
    int kind = 0;
    for (const auto& words : ManyKindsOfWords(count)) {
      std::vector<uint32_t> expected(count);
      std::iota(expected.begin(), expected.end(), 0);
      std::stable_sort(expected.begin(), expected.end(), [&](uint32_t a, uint32_t b) { return words[a] < words[b]; });
      std::vector<uint32_t> order(count);
      ASSERT_TRUE(sorter.Order(words, order.data()).ok());
      EXPECT_TRUE(order == expected) << count << " words of kind " << kind;
      ++kind;
    }
  }
}

TEST(WordPartitionsTest, LieOneAfterAnotherAndAreEven) {
  constexpr size_t kRows = 500000;
  int kind = 0;
  for (const auto& words : ManyKindsOfWords(kRows)) {
    std::vector<uint64_t> samples;
    for (size_t i = 0; i < kRows; i += 100) {
      samples.push_back(words[i + (i / 100) % 100]);
    }
    const uint64_t largest = *std::max_element(words.begin(), words.end());
    const auto partitions = WordPartitions::Choose(samples, kRows, std::bit_width(largest));
    std::vector<uint16_t> found(kRows);
    partitions.Find(words, found.data());
    std::vector<uint64_t> low(partitions.count(), std::numeric_limits<uint64_t>::max());
    std::vector<uint64_t> high(partitions.count(), 0);
    std::vector<size_t> sizes(partitions.count(), 0);
    for (size_t i = 0; i < kRows; ++i) {
      ASSERT_LT(found[i], partitions.count());
      low[found[i]] = std::min(low[found[i]], words[i]);
      high[found[i]] = std::max(high[found[i]], words[i]);
      ++sizes[found[i]];
    }
    uint64_t before = 0;
    bool first = true;
    for (uint32_t p = 0; p < partitions.count(); ++p) {
      if (sizes[p] == 0) {
        continue;
      }
      EXPECT_TRUE(first || low[p] > before) << "partition " << p << " of kind " << kind;
      before = high[p];
      first = false;
      // Many rows only where they are all the same, or where nothing tells them apart in a sample.
      EXPECT_TRUE(low[p] == high[p] || sizes[p] < kRows / 4)
          << sizes[p] << " in partition " << p << " of kind " << kind;
    }
    ++kind;
  }
}

TEST(WordPartitionsTest, AValueThatManyRowsHaveIsAlone) {
  std::vector<uint64_t> samples;
  for (uint64_t i = 0; i < 6000; ++i) {
    samples.push_back(i % 3 == 0 ? 1000 : i * 977 % 3000);
  }
  samples.push_back(uint64_t{1} << 60);  // makes the leading bits useless
  const auto partitions = WordPartitions::Choose(samples, 1 << 20, 61);
  ASSERT_TRUE(partitions.searches());
  const std::vector<uint64_t> words = {999, 1000, 1001};
  uint16_t found[3];
  partitions.Find(words, found);
  EXPECT_LT(found[0], found[1]);
  EXPECT_LT(found[1], found[2]);
}

}  // namespace
}  // namespace cylon
