// Variances out of exact sums, by the arithmetic of long integers.
#include "cylon/kernels/exact_sum.h"

namespace cylon::aggregate {

namespace {

using Limbs = std::vector<uint32_t>;  // of 32 bits, the lowest first

Limbs Product(const Limbs& a, const Limbs& b) {
  Limbs out(a.size() + b.size(), 0);
  for (size_t i = 0; i < a.size(); ++i) {
    uint64_t carry = 0;
    for (size_t k = 0; k < b.size(); ++k) {
      carry += static_cast<uint64_t>(a[i]) * b[k] + out[i + k];
      out[i + k] = static_cast<uint32_t>(carry);
      carry >>= 32;
    }
    out[i + b.size()] = static_cast<uint32_t>(carry);
  }
  return out;
}

Limbs ShiftedLeft(const Limbs& a, int bits) {
  Limbs out(static_cast<size_t>(bits / 32), 0);
  uint64_t carry = 0;
  for (const uint32_t limb : a) {
    carry |= static_cast<uint64_t>(limb) << bits % 32;
    out.push_back(static_cast<uint32_t>(carry));
    carry >>= 32;
  }
  out.push_back(static_cast<uint32_t>(carry));
  return out;
}

/// a - b; nothing where that is less than nothing.
Limbs Difference(Limbs a, const Limbs& b) {
  a.resize(std::max(a.size(), b.size()), 0);
  int64_t borrow = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    borrow += static_cast<int64_t>(a[i]) - (i < b.size() ? b[i] : 0);
    a[i] = static_cast<uint32_t>(borrow);
    borrow >>= 32;
  }
  if (borrow < 0) {
    return {};
  }
  while (!a.empty() && a.back() == 0) {
    a.pop_back();
  }
  return a;
}

}  // namespace

double ExactSquares(int64_t count, const ExactSum& sum, const ExactSum& squares) {
  if (!sum.finite()) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (!squares.finite()) {
    return std::numeric_limits<double>::infinity();
  }
  const ExactSum::Size total = sum.FindSize();
  const ExactSum::Size squared = squares.FindSize();
  const Limbs counts = {static_cast<uint32_t>(count), static_cast<uint32_t>(static_cast<uint64_t>(count) >> 32)};
  // Both in units of the smaller exponent.
  const int larger_exponent = squared.exponent;
  const int smaller_exponent = 2 * total.exponent;
  const int exponent = std::min(larger_exponent, smaller_exponent);
  const Limbs larger = ShiftedLeft(Product(squared.limbs, counts), larger_exponent - exponent);
  const Limbs smaller = ShiftedLeft(Product(total.limbs, total.limbs), smaller_exponent - exponent);
  return ExactSum::RoundLimbs(Difference(larger, smaller), exponent);
}

}  // namespace cylon::aggregate
