// t-digests of several distributions against sorted values; merging of many; what is exact.
#include "cylon/kernels/t_digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <numbers>
#include <random>

namespace cylon {
namespace {

constexpr double kQuantiles[] = {0, 0.0001, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1};

/// Values that come in blocks of `block`, each of which is merged into what is there.
std::vector<Centroid> DigestOf(const std::vector<double>& values, int compression, size_t block = 300) {
  std::vector<Centroid> digest;
  for (size_t begin = 0; begin < values.size(); begin += block) {
    for (size_t i = begin; i < std::min(begin + block, values.size()); ++i) {
      digest.push_back({values[i], 1});
    }
    std::sort(digest.begin(), digest.end(), [](const Centroid& a, const Centroid& b) { return a.mean < b.mean; });
    MergeCentroids(&digest, compression);
  }
  return digest;
}

/// How far `value` is from being the value at `quantile`, in shares of all values.
double RankError(const std::vector<double>& sorted, double value, double quantile) {
  const auto count = static_cast<double>(sorted.size());
  const auto below = static_cast<double>(std::lower_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
  const auto up_to = static_cast<double>(std::upper_bound(sorted.begin(), sorted.end(), value) - sorted.begin());
  const double place = (count - 1) * quantile;
  // Between two values is a rank between theirs.
  return std::max({0.0, below - 1 - place, place - up_to}) / count;
}

/// A centroid at share q of the values has at most about 2 pi sqrt(q (1 - q)) / compression of them, by the scale k1;
/// near the ends, where the root is steep, as many as reach from q to the end of one unit of k.
double LargestCentroid(double quantile, int compression) {
  const double step = 2 * std::numbers::pi / compression;
  return step * std::sqrt(quantile * (1 - quantile)) + step * step / 4;
}

/// Between two of few values lies none, so that a rank there is off by the centroids of both.
struct Shape {
  const char* name;
  int centroids;  // that a rank may be off by
  std::function<double(std::mt19937_64&, size_t)> draw;
};

const std::vector<Shape> kShapes = {
    {"uniform", 1, [](auto& rng, size_t) { return std::uniform_real_distribution<double>()(rng); }},
    {"normal", 1, [](auto& rng, size_t) { return std::normal_distribution<double>(1e6, 3)(rng); }},
    {"skewed", 1, [](auto& rng, size_t) { return std::exp(std::normal_distribution<double>(0, 4)(rng)); }},
    {"few values", 2, [](auto& rng, size_t) { return static_cast<double>(rng() % 7); }},
    {"ascending", 1, [](auto&, size_t i) { return static_cast<double>(i) * 0.25; }},
    {"descending", 1, [](auto&, size_t i) { return -static_cast<double>(i); }},
    {"a step", 1, [](auto&, size_t i) { return i % 1000 == 0 ? 1e300 : std::sin(static_cast<double>(i)); }}};

TEST(TDigestTest, RanksAreWrongByLessThanTheCentroidsAroundForAnyDistribution) {
  for (const auto& shape : kShapes) {
    for (const int compression : {20, 100, 500}) {
      for (const size_t count : {600, 30'000}) {
        std::mt19937_64 rng(count + compression);
        std::vector<double> values(count);
        for (size_t i = 0; i < count; ++i) {
          values[i] = shape.draw(rng, i);
        }
        const auto digest = DigestOf(values, compression, size_t{3} * compression);
        EXPECT_LE(static_cast<int64_t>(digest.size()), MostCentroids(compression));
        std::sort(values.begin(), values.end());
        for (const double q : kQuantiles) {
          const double error = RankError(values, QuantileOfCentroids(digest, q), q);
          EXPECT_LE(error, shape.centroids * LargestCentroid(q, compression))
              << shape.name << ", compression " << compression << ", " << count << " values, quantile " << q;
        }
        EXPECT_EQ(QuantileOfCentroids(digest, 0), values.front()) << shape.name;
        EXPECT_EQ(QuantileOfCentroids(digest, 1), values.back()) << shape.name;
      }
    }
  }
}

TEST(TDigestTest, MergingManyDigestsIsAsGoodAsOne) {
  constexpr int kCompression = 100;
  for (const auto& shape : kShapes) {
    std::mt19937_64 rng(5);
    std::vector<double> all;
    std::vector<Centroid> merged;
    for (int part = 0; part < 200; ++part) {
      std::vector<double> values(500);
      for (auto& value : values) {
        value = shape.draw(rng, all.size());
        all.push_back(value);
      }
      const auto digest = DigestOf(values, kCompression);
      merged.insert(merged.end(), digest.begin(), digest.end());
      std::sort(merged.begin(), merged.end(), [](const Centroid& a, const Centroid& b) { return a.mean < b.mean; });
      MergeCentroids(&merged, kCompression);
    }
    EXPECT_LE(static_cast<int64_t>(merged.size()), MostCentroids(kCompression));
    double weight = 0;
    for (const auto& centroid : merged) {
      weight += centroid.weight;
    }
    EXPECT_EQ(weight, static_cast<double>(all.size()));
    std::sort(all.begin(), all.end());
    for (const double q : kQuantiles) {
      const double error = RankError(all, QuantileOfCentroids(merged, q), q);
      EXPECT_LE(error, shape.centroids * LargestCentroid(q, kCompression)) << shape.name << ", quantile " << q;
    }
  }
}

TEST(TDigestTest, ValuesThatWereNotMergedAreExact) {
  const std::vector<Centroid> digest = {{1, 1}, {2, 1}, {10, 1}};
  EXPECT_EQ(QuantileOfCentroids(digest, 0), 1);
  EXPECT_EQ(QuantileOfCentroids(digest, 0.25), 1.5);
  EXPECT_EQ(QuantileOfCentroids(digest, 0.5), 2);
  EXPECT_EQ(QuantileOfCentroids(digest, 0.75), 6);
  EXPECT_EQ(QuantileOfCentroids(digest, 1), 10);
  EXPECT_EQ(QuantileOfCentroids(std::vector<Centroid>{{7, 1}}, 0.3), 7);
}

TEST(TDigestTest, EqualValuesStayWhatTheyAre) {
  const auto digest = DigestOf(std::vector<double>(100'000, 0.1), 100);
  for (const double q : kQuantiles) {
    EXPECT_EQ(QuantileOfCentroids(digest, q), 0.1);
  }
}

TEST(TDigestTest, InfinitiesStayAmongTheirLike) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  std::vector<double> values;
  for (int i = 0; i < 30'000; ++i) {
    values.push_back(i % 10 == 0 ? -kInfinity : i % 10 < 3 ? kInfinity : static_cast<double>(i));
  }
  const auto digest = DigestOf(values, 100);
  EXPECT_LE(static_cast<int64_t>(digest.size()), MostCentroids(100));
  EXPECT_EQ(QuantileOfCentroids(digest, 0), -kInfinity);
  EXPECT_EQ(QuantileOfCentroids(digest, 0.0999), -kInfinity);
  EXPECT_NEAR(QuantileOfCentroids(digest, 0.45), 15'000, 300);
  EXPECT_EQ(QuantileOfCentroids(digest, 0.8001), kInfinity);
  EXPECT_EQ(QuantileOfCentroids(digest, 1), kInfinity);
  // Sums of the largest numbers are beyond all numbers.
  constexpr double kLargest = std::numeric_limits<double>::max();
  std::vector<double> large;
  for (int i = 0; i < 2000; ++i) {
    large.push_back(i % 2 == 0 ? -kLargest : kLargest);
  }
  const auto extremes = DigestOf(large, 20);
  EXPECT_EQ(QuantileOfCentroids(extremes, 0), -kLargest);
  EXPECT_TRUE(std::isfinite(QuantileOfCentroids(extremes, 0.5)));
  EXPECT_EQ(QuantileOfCentroids(extremes, 1), kLargest);
}

TEST(TDigestTest, BetweenTwoValuesLiesTheLineThroughThem) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(Between(1, 3, 0.25), 1.5);
  EXPECT_EQ(Between(-kInfinity, 0, 0.5), -kInfinity);
  EXPECT_EQ(Between(0, kInfinity, 0.5), kInfinity);
  EXPECT_EQ(Between(0, kInfinity, 0), 0);
  EXPECT_EQ(Between(kInfinity, kInfinity, 0.5), kInfinity);
  EXPECT_TRUE(std::isnan(Between(-kInfinity, kInfinity, 0.5)));
  EXPECT_EQ(Between(-std::numeric_limits<double>::max(), std::numeric_limits<double>::max(), 0.5), 0);
}

}  // namespace
}  // namespace cylon
