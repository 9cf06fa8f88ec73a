/// Sums of doubles without any rounding, so that neither the order of the terms nor how they were dealt to ranks shows.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "cylon/kernels/number_state.h"

namespace cylon::aggregate {

/// A fixed-point number that has room for every double, and for 2^63 of the largest (Kulisch's long accumulator; in
/// small chunks as in Neal: Fast exact summation using small and large superaccumulators, 2015):
///
///   value = sum of chunks[i] * 2^(32 i - 1074)
///
/// A chunk has 64 bits for its 32, so that carries have to be passed on only once in kAddsPerCarry terms. Equal sums
/// have equal chunks once carries are passed on. Infinities are counted apart.
class ExactSum {
 public:
  static constexpr int kChunks = 69;

  void Add(double value) {
    const auto bits = std::bit_cast<uint64_t>(value);
    const auto exponent = static_cast<int>(bits >> 52 & 0x7FF);
    const bool negative = bits >> 63 != 0;
    if (exponent == 0x7FF) [[unlikely]] {
      flags_ = static_cast<uint16_t>(flags_ | (negative ? kNegativeInfinity : kPositiveInfinity));
      return;
    }
    const uint64_t fraction = bits & ((uint64_t{1} << 52) - 1);
    const uint64_t mantissa = exponent == 0 ? fraction : fraction | uint64_t{1} << 52;
    const int place = std::max(exponent - 1, 0);
    const int shift = place % 32;
    const auto low = static_cast<int64_t>(mantissa << shift & 0xFFFFFFFFu);
    const auto high = static_cast<int64_t>(mantissa >> (32 - shift));
    chunks_[place / 32] += negative ? -low : low;
    chunks_[place / 32 + 1] += negative ? -high : high;
    Use(place / 32, place / 32 + 1);
    CountAdd();
  }

  /// Adds an integer of up to 128 bits.
  void AddInteger(Uint128 size, bool negative) {
    constexpr int kOne = 1074;  // the bit that stands for 1
    Use(kOne / 32, kOne / 32 + 3);
    for (int i = kOne / 32; size != 0; ++i, size >>= 32) {
      const int64_t part = static_cast<int64_t>(static_cast<uint32_t>(size)) << kOne % 32;
      chunks_[i] += negative ? -part : part;
    }
    CountAdd();
  }

  void Add(const ExactSum& other) {
    ExactSum more = other;
    more.PassCarries();
    PassCarries();
    for (int i = more.first_; i <= more.last_; ++i) {
      chunks_[i] += more.chunks_[i];
    }
    Use(more.first_, more.last_);
    flags_ = static_cast<uint16_t>(flags_ | more.flags_);
    CountAdd();
  }

  /// The nearest double, ties to even.
  double Round() const {
    if (flags_ != 0) {
      const double infinity = std::numeric_limits<double>::infinity();
      return flags_ == kPositiveInfinity   ? infinity
             : flags_ == kNegativeInfinity ? -infinity
                                           : std::numeric_limits<double>::quiet_NaN();
    }
    const Size size = FindSize();
    const double rounded = RoundLimbs(size.limbs, size.exponent);
    return size.negative ? -rounded : rounded;
  }

  bool finite() const { return flags_ == 0; }

  /// The number as a sign and a long integer: limbs of 32 bits, the lowest first, times 2^exponent. No zeros at the
  /// end.
  struct Size {
    std::vector<uint32_t> limbs;
    int exponent = 0;
    bool negative = false;
  };
  Size FindSize() const {
    ExactSum sum = *this;
    sum.PassCarries();
    Size size;
    size.negative = sum.first_ <= sum.last_ && sum.chunks_[sum.last_] < 0;
    if (size.negative) {
      for (int i = sum.first_; i <= sum.last_; ++i) {
        sum.chunks_[i] = -sum.chunks_[i];
      }
      sum.PassCarries();
    }
    int first = sum.first_;
    int last = sum.last_;
    while (last >= first && sum.chunks_[last] == 0) {
      --last;
    }
    while (first < last && sum.chunks_[first] == 0) {
      ++first;
    }
    size.exponent = 32 * first - 1074;
    if (first <= last) {
      size.limbs.assign(sum.chunks_ + first, sum.chunks_ + last + 1);
    }
    return size;
  }

  /// The double that is nearest to limbs * 2^exponent.
  static double RoundLimbs(const std::vector<uint32_t>& limbs, int exponent) {
    if (limbs.empty()) {
      return 0;
    }
    // The highest 64 bits, of which the lowest also stands for all that are left out.
    const auto limb = [&](int64_t i) { return i >= 0 ? limbs[i] : 0u; };
    const auto top = static_cast<int64_t>(limbs.size()) - 1;
    const int zeros = std::countl_zero(limbs[top]);
    const Uint128 window =
        static_cast<Uint128>(limb(top)) << 64 | static_cast<Uint128>(limb(top - 1)) << 32 | limb(top - 2);
    auto bits = static_cast<uint64_t>(window >> (32 - zeros));
    bool rest = (window & ((Uint128{1} << (32 - zeros)) - 1)) != 0;
    for (int64_t i = top - 3; i >= 0 && !rest; --i) {
      rest = limbs[i] != 0;
    }
    bits |= rest ? 1 : 0;
    return std::ldexp(static_cast<double>(bits), static_cast<int>(top - 2) * 32 + 32 - zeros + exponent);
  }

 private:
  static constexpr uint32_t kAddsPerCarry = 1 << 10;
  static constexpr uint32_t kPositiveInfinity = 1;
  static constexpr uint32_t kNegativeInfinity = 2;

  void CountAdd() {
    if (++adds_ == kAddsPerCarry) {
      PassCarries();
    }
  }
  void Use(int first, int last) {
    first_ = std::min(first_, static_cast<uint8_t>(first));
    last_ = std::max(last_, static_cast<uint8_t>(last));
  }
  /// Leaves 32 bits in every chunk, of which only the last may be negative.
  void PassCarries() {
    for (int i = first_; i <= last_ && i + 1 < kChunks; ++i) {
      const int64_t carry = chunks_[i] >> 32;
      if (i == last_ && (carry == 0 || carry == -1)) {
        break;
      }
      chunks_[i] -= carry * (int64_t{1} << 32);
      chunks_[i + 1] += carry;
      last_ = std::max(last_, static_cast<uint8_t>(i + 1));
    }
    adds_ = 1;
  }

  int64_t chunks_[kChunks] = {};
  uint32_t adds_ = 0;
  uint16_t flags_ = 0;
  uint8_t first_ = kChunks - 1;  // of the chunks that were used
  uint8_t last_ = 0;
};

/// The sum of squared distances from the mean, times `count`: count * squares - sum * sum, without rounding until the
/// end. Squares of more than a double holds make it infinite.
double ExactSquares(int64_t count, const ExactSum& sum, const ExactSum& squares);

}  // namespace cylon::aggregate
