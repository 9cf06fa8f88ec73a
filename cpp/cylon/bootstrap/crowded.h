/// How long a client of a server that is full tries again.
#pragma once

#include <arrow/status.h>

#include <optional>

#include "cylon/base/error.h"
#include "cylon/base/executor.h"

namespace cylon {

/// A process that has died may have its place at a server for half a minute more, until its silence is noticed. Who
/// finds no place after that finds none by waiting either.
inline constexpr Duration kCrowdPatience = std::chrono::seconds(35);

/// True where the server has been full for so long. `since`: when that was first seen, kept between the attempts.
inline bool IsCrowded(const arrow::Status& status, TimePoint now, std::optional<TimePoint>* since) {
  if (!status.IsCapacityError()) {
    since->reset();
    return false;
  }
  if (!*since) {
    *since = now;
  }
  return now - **since >= kCrowdPatience;
}

inline arrow::Status NoPlace(const arrow::Status& status) {
  return DeadlineError("no place was free in the time that there was: " + status.message());
}

}  // namespace cylon
