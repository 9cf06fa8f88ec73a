/// Frames whose checksums are right.
#pragma once

#include <xxhash.h>

#include <array>

#include "cylon/wire/frame.h"

namespace cylon::fuzz {

/// The checksum is the last 8 bytes, of all before.
inline void MendChecksum(std::array<uint8_t, kFrameHeaderBytes>& header) {
  constexpr size_t kChecked = kFrameHeaderBytes - sizeof(uint64_t);
  const uint64_t checksum = XXH3_64bits(header.data(), kChecked);
  for (size_t i = 0; i < sizeof(checksum); ++i) {
    header[kChecked + i] = static_cast<uint8_t>(checksum >> (8 * i));
  }
}

}  // namespace cylon::fuzz
