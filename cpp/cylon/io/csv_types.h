/// The types that CSV text may have, and the one that holds two of them.
#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cylon/base/export.h"

namespace cylon::csv {

/// In the order in which they are tried. Travels between ranks as a number.
enum class Kind : int8_t {
  kNull,
  kInt64,
  kBool,
  kDate,
  kTime,
  kTimestamp,      ///< whole seconds
  kTimestampNano,  ///< with a fraction
  kTimestampUtc,   ///< with a zone, shown in UTC
  kTimestampUtcNano,
  kDouble,
  kString,
};
inline constexpr int kKinds = 11;

CYLON_EXPORT std::shared_ptr<arrow::DataType> TypeOf(Kind kind);

/// The least kind that text of both can be read as: null < int64 < double < string, date < timestamp, seconds <
/// nanoseconds; anything else that is mixed is string, as in pandas (a bool and a number too).
CYLON_EXPORT Kind Promote(Kind one, Kind other);

/// Kinds above `kind`, in the order in which they are tried; string is the last.
CYLON_EXPORT std::vector<Kind> Above(Kind kind);

}  // namespace cylon::csv
