// Free ranges against a plain set of free numbers.
#include "cylon/base/free_ranges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <vector>

namespace cylon {
namespace {

TEST(FreeRangesTest, MergesNeighboursAndTakesTheShortestThatFits) {
  FreeRanges free;
  free.Add({0, 100});
  EXPECT_EQ(free.Take(100).begin, 0);
  EXPECT_EQ(free.Take(1).begin, -1);
  free.Add({10, 20});
  free.Add({40, 44});
  free.Add({60, 66});
  EXPECT_EQ(free.Take(5).begin, 60);
  EXPECT_EQ(free.Take(4).begin, 40);
  const auto merged = free.Add({20, 60});
  EXPECT_EQ(merged.begin, 10);
  EXPECT_EQ(merged.end, 60);
  EXPECT_EQ(free.total(), 51);  // and number 65
  EXPECT_EQ(free.TakeLongest().length(), 50);
  EXPECT_EQ(free.TakeLongest().begin, 65);
  EXPECT_EQ(free.TakeLongest().length(), 0);
}

TEST(FreeRangesTest, TakesAPlaceOnlyWhereAllOfItIsFree) {
  FreeRanges free;
  free.Add({10, 20});
  EXPECT_FALSE(free.TakeAt(9, 2));
  EXPECT_FALSE(free.TakeAt(19, 2));
  EXPECT_TRUE(free.TakeAt(12, 3));
  EXPECT_FALSE(free.TakeAt(12, 1));
  EXPECT_FALSE(free.TakeAt(11, 2));
  EXPECT_TRUE(free.TakeAt(10, 2));
  EXPECT_TRUE(free.TakeAt(15, 5));
  EXPECT_EQ(free.total(), 0);
}

TEST(FreeRangesTest, AgreesWithASetOfNumbers) {
  constexpr int64_t kNumbers = 400;
  std::mt19937_64 random(1);
  FreeRanges free;
  std::vector<bool> is_free(kNumbers, false);
  std::vector<FreeRanges::Range> taken = {{0, kNumbers}};
  const auto longest_gap = [&] {
    int64_t longest = 0;
    int64_t length = 0;
    for (const bool one : is_free) {
      length = one ? length + 1 : 0;
      longest = std::max(longest, length);
    }
    return longest;
  };
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0 && !taken.empty()) {
      const size_t which = random() % taken.size();
      const auto range = taken[which];
      taken[which] = taken.back();
      taken.pop_back();
      const auto merged = free.Add(range);
      std::fill(is_free.begin() + range.begin, is_free.begin() + range.end, true);
      ASSERT_TRUE(merged.begin <= range.begin && merged.end >= range.end);
      ASSERT_TRUE(merged.begin == 0 || !is_free[merged.begin - 1]);
      ASSERT_TRUE(merged.end == kNumbers || !is_free[merged.end]);
    } else {
      const auto length = static_cast<int64_t>(random() % 40) + 1;
      const auto range = free.Take(length);
      ASSERT_EQ(range.begin >= 0, longest_gap() >= length);
      if (range.begin >= 0) {
        ASSERT_EQ(range.length(), length);
        for (int64_t i = range.begin; i < range.end; ++i) {
          ASSERT_TRUE(is_free[i]);
          is_free[i] = false;
        }
        taken.push_back(range);
      }
    }
    ASSERT_EQ(free.total(), std::count(is_free.begin(), is_free.end(), true));
  }
}

}  // namespace
}  // namespace cylon
