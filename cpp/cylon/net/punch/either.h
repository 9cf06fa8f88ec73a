/// A wait that one of two events ends.
#pragma once

#include <arrow/util/future.h>

namespace cylon::internal {

/// Finishes as the first of the two does, in the same task.
inline arrow::Future<> Either(const arrow::Future<>& one, const arrow::Future<>& other) {
  auto first = arrow::Future<>::Make();
  const auto finish = [first](const arrow::Status& status) mutable {
    if (!first.is_finished()) {
      first.MarkFinished(status);
    }
  };
  one.AddCallback(finish);
  other.AddCallback(finish);
  return first;
}

}  // namespace cylon::internal
