/// Failpoints: named places in the library where a test makes something fail. Not in release builds.
#pragma once

#include <arrow/status.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "cylon/base/export.h"

namespace cylon {

struct FailpointRow {
  std::string_view name;
  std::string_view meaning;  ///< what fails there
};

/// Every failpoint; empty where this build has none (the CMake option CYLON_FAILPOINTS is on in all but release
/// builds).
CYLON_EXPORT std::span<const FailpointRow> FailpointTable();

/// Arms failpoints for this process, instead of those that were; "" disarms all. The option `failpoints` comes here.
///
///   text:    point | point | ...       "spill.write=return(No space left)@3|net.write=short(1)%10|seed=7"
///   point:   name=action, then @n (the n-th time only) or @n+ (from then on), and %p (so many times in a hundred)
///   action:  return(message)  the operation fails with `message`
///            sleep(ms)        the calling thread sleeps
///            short(bytes)     a write moves at most so many bytes (1 without a number), and goes on after that
///            panic            the process aborts
///   seed=n:  what probabilities are drawn from, 1 without it
///
/// Invalid says what is wrong with the text, or that this build has none.
CYLON_EXPORT arrow::Status SetFailpoints(std::string_view text);

namespace internal {

/// Does what is asked for at `name`: OK where nothing is, or nothing that is an error.
CYLON_EXPORT arrow::Status HitFailpoint(std::string_view name);
/// The bytes of `size` that a write at `name` may move.
CYLON_EXPORT size_t ShortenAtFailpoint(std::string_view name, size_t size);

}  // namespace internal

#ifdef CYLON_FAILPOINTS
/// Returns the error that is asked for at `name` from the calling function.
#define CYLON_FAILPOINT(name)                                                      \
  do {                                                                             \
    if (auto cylon_hit = ::cylon::internal::HitFailpoint(name); !cylon_hit.ok()) { \
      return cylon_hit;                                                            \
    }                                                                              \
  } while (false)
/// The status that is asked for at `name`, OK where nothing is.
#define CYLON_FAILPOINT_STATUS(name) ::cylon::internal::HitFailpoint(name)
/// `size`, or what a write may move of it.
#define CYLON_FAILPOINT_SIZE(name, size) ::cylon::internal::ShortenAtFailpoint(name, size)
#else
#define CYLON_FAILPOINT(name) static_cast<void>(0)
#define CYLON_FAILPOINT_STATUS(name) ::arrow::Status::OK()
#define CYLON_FAILPOINT_SIZE(name, size) (size)
#endif

}  // namespace cylon
