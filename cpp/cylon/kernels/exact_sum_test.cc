// Exact sums against sums in whole numbers, and their rounding.
#include "cylon/kernels/exact_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>
#include <vector>

namespace cylon::aggregate {
namespace {

double SumOfAll(const std::vector<double>& values) {
  ExactSum sum;
  for (const double value : values) {
    sum.Add(value);
  }
  return sum.Round();
}

TEST(ExactSumTest, OneValueComesBackToTheBit) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 20000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (std::isfinite(value)) {
      ASSERT_EQ(SumOfAll({value}), value);
    }
  }
  for (const double value : {0.0, std::numeric_limits<double>::denorm_min(), std::numeric_limits<double>::max(),
                             -std::numeric_limits<double>::min(), -1.0}) {
    EXPECT_EQ(SumOfAll({value}), value);
  }
}

TEST(ExactSumTest, NothingIsLostToValuesThatCancel) {
  EXPECT_EQ(SumOfAll({1e308, 1.0, 1e308, -1e308, 1e-300, -1e308}), 1.0);
  EXPECT_EQ(SumOfAll({1e308, 1e-300, -1e308}), 1e-300);
  EXPECT_EQ(SumOfAll({std::numeric_limits<double>::max(), std::numeric_limits<double>::max(),
                      -std::numeric_limits<double>::max()}),
            std::numeric_limits<double>::max());
}

TEST(ExactSumTest, TiesGoToEven) {
  EXPECT_EQ(SumOfAll({0x1p53, 1.0}), 0x1p53);
  EXPECT_EQ(SumOfAll({0x1p53 + 2, 1.0}), 0x1p53 + 4);
  EXPECT_EQ(SumOfAll({0x1p53, 1.0, 1e-300}), 0x1p53 + 2);
  EXPECT_EQ(SumOfAll({-0x1p53, -1.0, -1e-300}), -0x1p53 - 2);
}

TEST(ExactSumTest, OrderAndPartsDoNotShow) {
  std::mt19937_64 random(2);
  std::vector<double> values;
  for (int i = 0; i < 5000; ++i) {
    values.push_back(
        std::ldexp(static_cast<double>(static_cast<int64_t>(random())), static_cast<int>(random() % 600) - 300));
  }
  const double expected = SumOfAll(values);
  for (int i = 0; i < 5; ++i) {
    std::shuffle(values.begin(), values.end(), random);
    EXPECT_EQ(SumOfAll(values), expected);
    ExactSum first;
    ExactSum second;
    for (size_t k = 0; k < values.size(); ++k) {
      (k % 3 == 0 ? first : second).Add(values[k]);
    }
    first.Add(second);
    EXPECT_EQ(first.Round(), expected);
  }
}

TEST(ExactSumTest, IntegersOf128BitsAreAdded) {
  ExactSum sum;
  const Uint128 large = Uint128{1} << 127;
  sum.AddInteger(large, false);
  sum.AddInteger(large, true);
  sum.AddInteger(12345, true);
  EXPECT_EQ(sum.Round(), -12345.0);
  sum.AddInteger(large, false);
  EXPECT_EQ(sum.Round(), 0x1p127);
}

TEST(ExactSumTest, InfinitiesStay) {
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(SumOfAll({1.0, infinity}), infinity);
  EXPECT_EQ(SumOfAll({-infinity, 1.0}), -infinity);
  EXPECT_TRUE(std::isnan(SumOfAll({-infinity, infinity})));
}

TEST(ExactSumTest, SquaresFromTheMeanAreExact) {
  ExactSum sum;
  ExactSum squares;
  // 1e9 and 1e9 + 1/1024: half of (1/1024)^2 apart from their mean, in sum.
  for (const double value : {1e9, 1e9 + 1.0 / 1024}) {
    sum.Add(value);
    const DoubleDouble square = TwoSquare(value);
    squares.Add(square.high);
    squares.Add(square.low);
  }
  EXPECT_EQ(ExactSquares(2, sum, squares), 0x1p-20);
}

}  // namespace
}  // namespace cylon::aggregate
