/// The frame: how a message lies in a byte stream.
#pragma once

#include <arrow/result.h>

#include <array>
#include <cstdint>
#include <span>

#include "cylon/base/error.h"
#include "cylon/base/export.h"

namespace cylon {

/// A frame is this header of 64 bytes, then `inline_bytes` of inline header, then `segments` lengths of 8 bytes each,
/// then the segments' bytes one after another. Little-endian throughout.
///
///   0        4   5   6     8              16             24             32
///   +--------+---+---+-----+--------------+--------------+--------------+
///   | magic  | v | t |flags|   sequence   | acknowledged | payload bytes|
///   +--------+---+---+-----+--------------+--------------+--------------+
///   +--------+--------+--------+---+------+--------------+--------------+
///   | epoch  | commu- |segments|inl| kind | channel      | checksum of  |
///   |        | nicator|        |ine|      | sequence     | bytes 0-55   |
///   +--------+--------+--------+---+------+--------------+--------------+
///   32       36       40       44  46     48             56             64
///
/// `sequence` counts the frames of this direction of the connection from 1; `acknowledged` is the last one that the
/// sender of this frame has received, so that a stream can be resumed on another connection.
struct FrameHeader {
  uint8_t type = 0;  ///< meaning is the transport's: message, goodbye
  uint16_t flags = 0;
  uint64_t sequence = 0;
  uint64_t acknowledged = 0;
  uint64_t payload_bytes = 0;  ///< of all segments together
  uint32_t epoch = 0;
  uint32_t communicator = 0;
  uint32_t segments = 0;
  uint16_t inline_bytes = 0;
  uint16_t kind = 0;
  uint64_t channel_sequence = 0;
};

inline constexpr size_t kFrameHeaderBytes = 64;
inline constexpr uint32_t kFrameMagic = 0x4e4c5943;  // "CYLN"
inline constexpr uint8_t kFrameVersion = 1;
inline constexpr uint16_t kMaxInlineBytes = 256;
inline constexpr uint32_t kMaxSegments = 1 << 20;

CYLON_EXPORT std::array<uint8_t, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header);

/// Checks magic, version, checksum and every size against its limit (`max_payload` for payload_bytes) before anyone
/// takes memory for it. ProtocolError says which field is wrong, what it was and what it may be.
CYLON_EXPORT arrow::Result<FrameHeader> DecodeFrameHeader(std::span<const uint8_t, kFrameHeaderBytes> bytes,
                                                          uint64_t max_payload, Rank peer);

}  // namespace cylon
