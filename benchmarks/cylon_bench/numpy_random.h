/// numpy's default generator, so that the published workload has the published values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace cylon::bench {

__extension__ typedef unsigned __int128 Word128;

/// numpy.random.default_rng(seed).integers(0, bound) for bounds below 2^32: PCG64 (O'Neill, PCG XSL-RR 128/64) seeded
/// through numpy's SeedSequence, bounded by Lemire's method over 32-bit halves.
class NumpyRandom {
 public:
  explicit NumpyRandom(uint32_t seed);
  /// Uniform in [0, bound), 1 < bound < 2^32.
  uint64_t Integer(uint64_t bound);

 private:
  uint64_t Next64();
  uint32_t Next32();
  void Step();

  Word128 state_ = 0;
  Word128 increment_ = 0;
  bool has_half_ = false;
  uint32_t half_ = 0;
};

}  // namespace cylon::bench
