/// Bytes of values as words, and the bits of them that differ.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

#include "cylon/kernels/key_layout.h"

namespace cylon {

/// Up to eight bytes of `bytes` from `byte` on, little-endian, zeros where there are none. Two loads that overlap where
/// a loop over the bytes would be guessed wrong; nothing beyond the value is read.
inline uint64_t EightBytes(std::string_view bytes, int64_t byte) {
  const auto length = static_cast<int64_t>(bytes.size()) - byte;
  if (length <= 0) {
    return 0;
  }
  const char* from = bytes.data() + byte;
  const auto load = [](const char* at, auto value) {
    std::memcpy(&value, at, sizeof value);
    return static_cast<uint64_t>(value);
  };
  if (length >= 8) {
    return load(from, uint64_t{0});
  }
  if (length >= 4) {
    return load(from, uint32_t{0}) | load(from + length - 4, uint32_t{0}) << (8 * (length - 4));
  }
  if (length >= 2) {
    return load(from, uint16_t{0}) | load(from + length - 2, uint16_t{0}) << (8 * (length - 2));
  }
  return load(from, uint8_t{0});
}

/// EightBytes of every row of `column` (of kind kDecimal or later) that is not null; `out` of the others stays as it
/// is.
void ReadEightBytes(const KeyColumn& column, int64_t byte, uint64_t* out);

/// The lengths of the values of `column` that are not null: how many there are, the least and the most of them.
struct LengthBounds {
  int64_t values = 0;
  int64_t least = std::numeric_limits<int64_t>::max();
  int64_t most = 0;
};
LengthBounds FindLengthBounds(const KeyColumn& column);

/// What a word of a packed key has of a part.
inline uint64_t PartOf(const KeyPart& part, uint64_t word) {
  return part.bits == 0 ? 0 : (word >> part.shift) & (~uint64_t{0} >> (64 - part.bits));
}

}  // namespace cylon
