// Numbers of keys against a map.
#include "cylon/kernels/word_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace cylon {
namespace {

/// Numbers `count` random words below `most`, in blocks, and compares with a map; also what `add` is told.
void Check(WordTable* table, uint64_t most, int64_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::map<uint64_t, uint32_t> expected;
  constexpr int64_t kBlock = 1000;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    std::vector<uint64_t> words(kBlock);
    for (uint64_t& word : words) {
      word = random() % most;
    }
    std::vector<uint32_t> numbers(kBlock);
    int64_t added = 0;
    ASSERT_TRUE(table
                    ->Find(
                        words.data(), nullptr, nullptr, kBlock, numbers.data(), [](uint32_t, int64_t) { return true; },
                        [&](int64_t) { ++added; })
                    .ok());
    const size_t before = expected.size();
    for (int64_t i = 0; i < kBlock; ++i) {
      const auto found = expected.emplace(words[i], static_cast<uint32_t>(expected.size())).first;
      ASSERT_EQ(numbers[i], found->second);
      ASSERT_EQ(table->keys(0)[numbers[i]], words[i]);
    }
    EXPECT_EQ(added, static_cast<int64_t>(expected.size() - before));
    ASSERT_EQ(table->size(), static_cast<int64_t>(expected.size()));
  }
}

TEST(WordTableTest, NumbersKeysInTheOrderOfTheirComing) {
  for (const uint64_t most : {uint64_t{1}, uint64_t{100}, uint64_t{30000}, uint64_t{1} << 60}) {
    WordTable table(arrow::default_memory_pool(), 1);
    for (const uint64_t seed : {1, 2}) {
      ASSERT_TRUE(table.Clear(10).ok());
      Check(&table, most, 50000, seed);
    }
  }
}

TEST(WordTableTest, SmallKeysAreSlots) {
  for (const int bits : {0, 1, 7, 14}) {
    WordTable table(arrow::default_memory_pool(), 1, bits);
    for (const uint64_t seed : {1, 2}) {
      ASSERT_TRUE(table.Clear(10).ok());
      Check(&table, uint64_t{1} << bits, 50000, seed);
    }
  }
}

}  // namespace
}  // namespace cylon
