/// What both halves of a link agree on.
#pragma once

#include <cstdint>

namespace cylon::internal {

/// A message of up to so many bytes is copied when it leaves: its sender goes on at once, without an acknowledgement,
/// and a copy of this size costs less than the system call that sends it.
inline constexpr int64_t kCopiedBytes = 8 << 10;
/// An acknowledgement of its own for every so many bytes: a sender keeps no more copies than that, and a frame of 64
/// bytes for each does not show.
inline constexpr int64_t kAckBytes = 256 << 10;

}  // namespace cylon::internal
