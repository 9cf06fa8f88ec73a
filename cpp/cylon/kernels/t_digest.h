/// The merging t-digest: a distribution in a bounded number of weighted means, of which quantiles are read
/// (Dunning, Ertl: Computing extremely accurate quantiles using t-digests, 2019).
#pragma once

#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

namespace cylon {

/// Values that lie side by side, as their mean and how many they are.
struct Centroid {
  double mean = 0;
  double weight = 0;
};

/// The value at share `part` (0 to 1) of the way from `low` to `high`, which is at least as large. An infinite end
/// takes all that is not exactly the other end; between both infinities there is nothing: NaN.
inline double Between(double low, double high, double part) {
  if (part == 0 || low == high) {
    return low;
  }
  const double step = high - low;
  return std::isfinite(step) ? low + step * part : low * (1 - part) + high * part;
}

/// The scale k1 of the paper, k(q) = compression / (2 pi) * asin(2 q - 1), lets a centroid hold the values between
/// shares q0 and q1 of all where k(q1) - k(q0) <= 1: about 2 pi sqrt(q (1 - q)) / compression of them, few at the ends.
/// The smallest and the largest value stay alone, so that both are exact, and infinities stay among their like.
///
/// `sorted` by mean; what comes out is too.
void MergeCentroids(std::vector<Centroid>* sorted, int compression);

/// More than MergeCentroids ever leaves: two of them span more than one unit of k, of which there are compression / 2;
/// and those that stay alone.
int64_t MostCentroids(int compression);

/// The value at place (count - 1) * quantile of the sorted values that `sorted` stands for (at least one), on the line
/// between the middles of the two centroids around it. Exact where every weight is 1. Else it lies among the values of
/// these two, so that its rank is wrong by less than their weights.
double QuantileOfCentroids(std::span<const Centroid> sorted, double quantile);

}  // namespace cylon
