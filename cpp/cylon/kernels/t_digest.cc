// The merging t-digest.
#include "cylon/kernels/t_digest.h"

#include <algorithm>
#include <numbers>

namespace cylon {

namespace {

/// How far a centroid that begins at share q may reach: k1 one unit on. With s = 2 q - 1 = sin(a) that is
/// sin(a + 2 pi / compression), by the addition theorem without an arc sine.
class Reach {
 public:
  explicit Reach(int compression)
      : sine_(std::sin(2 * std::numbers::pi / compression)), cosine_(std::cos(2 * std::numbers::pi / compression)) {}

  double From(double share) const {
    const double s = 2 * share - 1;
    if (s >= cosine_) {
      return 1;
    }
    return (s * cosine_ + std::sqrt(std::max(1 - s * s, 0.0)) * sine_ + 1) / 2;
  }

 private:
  double sine_;
  double cosine_;
};

/// Both means are finite, or the same; the second is not smaller.
void Join(Centroid* into, const Centroid& more) {
  into->weight += more.weight;
  if (into->mean != more.mean) {
    into->mean = std::min(Between(into->mean, more.mean, more.weight / into->weight), more.mean);
  }
}

}  // namespace

void MergeCentroids(std::vector<Centroid>* sorted, int compression) {
  auto& centroids = *sorted;
  if (centroids.size() < 3) {
    return;
  }
  const Reach reach(compression);
  double total = 0;
  for (const auto& centroid : centroids) {
    total += centroid.weight;
  }
  size_t last = 0;  // of those that are done, the one that still grows
  double before = 0;
  double limit = 0;  // the smallest stays alone
  for (size_t i = 1; i < centroids.size(); ++i) {
    const Centroid next = centroids[i];
    Centroid& current = centroids[last];
    const bool alike = current.mean == next.mean || (std::isfinite(current.mean) && std::isfinite(next.mean));
    const bool is_largest = i + 1 == centroids.size();
    if (alike && !is_largest && before + current.weight + next.weight <= limit) {
      Join(&current, next);
      continue;
    }
    before += current.weight;
    limit = total * reach.From(before / total);
    centroids[++last] = next;
  }
  centroids.resize(last + 1);
}

int64_t MostCentroids(int compression) { return int64_t{compression} + 8; }

double QuantileOfCentroids(std::span<const Centroid> sorted, double quantile) {
  double total = 0;
  for (const auto& centroid : sorted) {
    total += centroid.weight;
  }
  const double place = (total - 1) * quantile;
  // Centroid i stands at the places begin to begin + weight - 1; its mean is the value of the middle one. Of infinities
  // it is that of each.
  double begin = 0;
  double low_place = 0;
  double low = sorted[0].mean;
  for (const auto& [mean, weight] : sorted) {
    const double middle = begin + (weight - 1) / 2;
    const double from = std::isinf(mean) ? begin : middle;
    if (place < from) {
      return Between(low, mean, (place - low_place) / (from - low_place));
    }
    low = mean;
    low_place = std::isinf(mean) ? begin + weight - 1 : middle;
    begin += weight;
    if (place <= low_place) {
      return mean;
    }
  }
  return low;
}

}  // namespace cylon
