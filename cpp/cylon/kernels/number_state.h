/// The running state of one group's numbers: count, sum, moments and range, in one struct of at most a cache line.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace cylon::aggregate {

__extension__ typedef __int128 Int128;
__extension__ typedef unsigned __int128 Uint128;

/// A number as the unevaluated sum of two doubles, of which the second is what rounding took from the first.
struct DoubleDouble {
  double high = 0;
  double low = 0;
};

/// The exact sum of two doubles (Knuth, The Art of Computer Programming 2, 4.2.2).
inline DoubleDouble TwoSum(double a, double b) {
  const double sum = a + b;
  const double part = sum - a;
  return {sum, (a - (sum - part)) + (b - part)};
}

/// The exact square. Written as two fused operations, so that no compiler joins the product with the sum around it.
inline DoubleDouble TwoSquare(double a) {
  const double square = std::fma(a, a, 0.0);
  return {square, std::fma(a, a, -square)};
}

inline DoubleDouble Normal(Int128 value) {
  const auto small = static_cast<int64_t>(value);
  const bool fits = static_cast<Int128>(small) == value;
  const double high = fits ? static_cast<double>(small) : static_cast<double>(value);
  if (fits && std::abs(high) < 0x1p53) {
    return {high, 0};
  }
  return {high, static_cast<double>(value - static_cast<Int128>(high))};
}

/// Integers: exact in 128 bits, so that nothing overflows on the way, whatever the order. In two halves, which need no
/// alignment to 16 bytes.
struct IntegerSum {
  uint64_t low = 0;
  uint64_t high = 0;

  Int128 value() const { return static_cast<Int128>(static_cast<Uint128>(high) << 64 | low); }
  void Add(Int128 more) {
    const Int128 sum = value() + more;
    low = static_cast<uint64_t>(sum);
    high = static_cast<uint64_t>(sum >> 64);
  }
  double AsDouble() const { return Normal(value()).high; }
};

/// Floats: every rounding error is kept beside the sum (Ogita, Rump, Oishi: Accurate sum and dot product, 2005), so
/// that the error does not grow with the number of rows.
struct FloatSum {
  double sum = 0;
  double error = 0;

  void Add(double value) {
    const DoubleDouble total = TwoSum(sum, value);
    sum = total.high;
    error += total.low;
  }
  /// Beyond infinity there is nothing to compensate.
  double AsDouble() const { return std::isfinite(sum) ? sum + error : sum; }
};

template <typename T>
using SumOf = std::conditional_t<std::is_same_v<T, double>, FloatSum, IntegerSum>;

inline double Distance(double value, double from) { return value - from; }
inline double Distance(int64_t value, int64_t from) {
  int64_t distance;
  return __builtin_sub_overflow(value, from, &distance) ? static_cast<double>(value) - static_cast<double>(from)
                                                        : static_cast<double>(distance);
}
inline double Distance(uint64_t value, uint64_t from) {
  const auto distance = static_cast<int64_t>(value - from);
  return (distance < 0) != (value < from) ? static_cast<double>(value) - static_cast<double>(from)
                                          : static_cast<double>(distance);
}

/// Squares of distances from one value of the group, its first: no division per row, and since that value is one of the
/// group's own, the sum is at most count + 1 times the sum of squared distances from the mean, so that subtracting
/// loses at most that factor of the 106 bits that are kept (Chan, Golub, LeVeque: Algorithms for computing the sample
/// variance, 1983, on shifted data).
template <typename T>
struct Moments {
  T shift = 0;
  double squares = 0;
  double squares_error = 0;

  void Add(double high, double low) {
    const DoubleDouble total = TwoSum(squares, high);
    squares = total.high;
    squares_error += total.low + low;
  }
};

template <typename T>
struct Range {
  static constexpr T kHighest =
      std::is_same_v<T, double> ? std::numeric_limits<T>::infinity() : std::numeric_limits<T>::max();
  static constexpr T kLowest =
      std::is_same_v<T, double> ? -std::numeric_limits<T>::infinity() : std::numeric_limits<T>::lowest();
  T low = kHighest;
  T high = kLowest;
};

template <int>
struct Nothing {};

/// All three parts: | count | sum, 16 bytes | shift, squares, their error | low, high |, 64 bytes.
template <typename T, bool kSum, bool kMoments, bool kRange>
struct NumberState {
  int64_t count = 0;
  [[no_unique_address]] std::conditional_t<kSum, SumOf<T>, Nothing<0>> sum;
  [[no_unique_address]] std::conditional_t<kMoments, Moments<T>, Nothing<1>> moments;
  [[no_unique_address]] std::conditional_t<kRange, Range<T>, Nothing<2>> range;
};

/// The sum of distances from the shift.
inline DoubleDouble SumFromShift(int64_t count, const IntegerSum& sum, int64_t shift) {
  return Normal(sum.value() - static_cast<Int128>(count) * shift);
}
inline DoubleDouble SumFromShift(int64_t count, const IntegerSum& sum, uint64_t shift) {
  return Normal(sum.value() - static_cast<Int128>(count) * static_cast<Int128>(shift));
}
inline DoubleDouble SumFromShift(int64_t count, const FloatSum& sum, double shift) {
  const auto n = static_cast<double>(count);
  const double product = std::fma(n, shift, 0.0);
  const double product_error = std::fma(n, shift, -product);
  const DoubleDouble rest = TwoSum(sum.sum, -product);
  return TwoSum(rest.high, rest.low + (sum.error - product_error));
}

/// `sum` squared over `count`.
inline DoubleDouble SquareOver(const DoubleDouble& sum, double count) {
  const DoubleDouble square = TwoSquare(sum.high);
  const double quotient = square.high / count;
  const double rest = std::fma(-quotient, count, square.high) + square.low + 2 * sum.high * sum.low;
  return {quotient, rest / count};
}

/// The sum of squared distances from the mean, of the sum and the sum of squares of distances from a shift.
inline DoubleDouble SquaresFromMean(double count, const DoubleDouble& sum, const DoubleDouble& squares) {
  const DoubleDouble excess = SquareOver(sum, count);
  const DoubleDouble rest = TwoSum(squares.high, -excess.high);
  const double low = rest.low + (squares.low - excess.low);
  // Rounding may leave a little less than nothing; what is not a number stays so.
  const bool negative = rest.high + low < 0;
  return {negative ? 0.0 : rest.high, negative ? 0.0 : low};
}

template <typename State>
inline DoubleDouble SquaresFromMean(const State& state) {
  return SquaresFromMean(static_cast<double>(state.count), SumFromShift(state.count, state.sum, state.moments.shift),
                         {state.moments.squares, state.moments.squares_error});
}

}  // namespace cylon::aggregate
