/// What the kernels of one rank have in common: row numbers and key options.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/export.h"

namespace cylon {

/// Whether null keys match each other in joins and form a group (NaN always equals NaN, and -0.0 equals 0.0, as keys).
enum class NullKeys : uint8_t { kMatch, kNeverMatch };

enum class JoinType : uint8_t { kInner, kLeft, kRight, kFull, kSemi, kAnti, kCross };

/// How two values are compared. Not with a null on either side; NaN as IEEE 754 says.
enum class Comparison : uint8_t { kEqual, kNotEqual, kLess, kLessEqual, kGreater, kGreaterEqual };

enum class AggregateOp : uint8_t {
  kSum,
  kCount,
  kSize,
  kMean,
  kMin,
  kMax,
  kVar,
  kStd,
  kProd,
  kAny,
  kAll,
  kFirst,
  kLast,
  kNunique,
  kMedian,
  kQuantile
};

/// The word for an operation, as users write it. Words end in a null character, as literals do.
CYLON_EXPORT std::string_view AggregateName(AggregateOp op);

/// Centroids of a t-digest, about, at most: an approximate median of more than some 400 values is then a value whose
/// rank is less than 6 % of the values off, and mostly less than 0.5 %; half of that with twice as many.
inline constexpr int kDefaultCompression = 100;
inline constexpr int kLeastCompression = 10;
inline constexpr int kMostCompression = 10000;

enum class SortOrder : uint8_t { kAscending, kDescending };
enum class NullPlacement : uint8_t { kFirst, kLast };

enum class Keep : uint8_t { kFirst, kLast, kNone };

}  // namespace cylon
