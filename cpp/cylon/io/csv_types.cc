// The types that CSV text may have, and the one that holds two of them.
#include "cylon/io/csv_types.h"

#include <arrow/type.h>

#include <algorithm>

namespace cylon::csv {

std::shared_ptr<arrow::DataType> TypeOf(Kind kind) {
  switch (kind) {
    case Kind::kNull:
      return arrow::null();
    case Kind::kInt64:
      return arrow::int64();
    case Kind::kBool:
      return arrow::boolean();
    case Kind::kDate:
      return arrow::date32();
    case Kind::kTime:
      return arrow::time32(arrow::TimeUnit::SECOND);
    case Kind::kTimestamp:
      return arrow::timestamp(arrow::TimeUnit::SECOND);
    case Kind::kTimestampNano:
      return arrow::timestamp(arrow::TimeUnit::NANO);
    case Kind::kTimestampUtc:
      return arrow::timestamp(arrow::TimeUnit::SECOND, "UTC");
    case Kind::kTimestampUtcNano:
      return arrow::timestamp(arrow::TimeUnit::NANO, "UTC");
    case Kind::kDouble:
      return arrow::float64();
    case Kind::kString:
      return arrow::utf8();
  }
  return arrow::utf8();
}

Kind Promote(Kind one, Kind other) {
  const auto [low, high] = std::minmax(one, other);
  if (low == high || low == Kind::kNull) {
    return high;
  }
  const bool holds = (low == Kind::kInt64 && high == Kind::kDouble) ||
                     (low == Kind::kDate && (high == Kind::kTimestamp || high == Kind::kTimestampNano)) ||
                     (low == Kind::kTimestamp && high == Kind::kTimestampNano) ||
                     (low == Kind::kTimestampUtc && high == Kind::kTimestampUtcNano);
  return holds ? high : Kind::kString;
}

std::vector<Kind> Above(Kind kind) {
  std::vector<Kind> above;
  for (int i = static_cast<int>(kind) + 1; i < kKinds; ++i) {
    const auto candidate = static_cast<Kind>(i);
    if (Promote(kind, candidate) == candidate) {
      above.push_back(candidate);
    }
  }
  return above;
}

}  // namespace cylon::csv
