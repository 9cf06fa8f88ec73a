// The frame header as bytes, and every check that it has to pass.
#include "cylon/wire/frame.h"

#include <xxhash.h>

#include <concepts>

#include "cylon/wire/bytes.h"

namespace cylon {

namespace {

constexpr size_t kChecksumAt = 56;

arrow::Status Refuse(Rank peer, const std::string& what) {
  return ProtocolError("rank " + std::to_string(peer) + " sent a bad frame: " + what +
                           "; the connection is dropped. Check that all ranks run the same version of Cylon",
                       peer);
}

}  // namespace

std::array<uint8_t, kFrameHeaderBytes> EncodeFrameHeader(const FrameHeader& header) {
  // Straight into place: this is done for each message, and a string that grows by bytes took 0.2 us.
  std::array<uint8_t, kFrameHeaderBytes> bytes;
  size_t at = 0;
  const auto put = [&](std::integral auto value) {
    for (size_t i = 0; i < sizeof(value); ++i) {
      bytes[at++] = static_cast<uint8_t>(static_cast<uint64_t>(value) >> (8 * i));
    }
  };
  put(kFrameMagic);
  put(kFrameVersion);
  put(header.type);
  put(header.flags);
  put(header.sequence);
  put(header.acknowledged);
  put(header.payload_bytes);
  put(header.epoch);
  put(header.communicator);
  put(header.segments);
  put(header.inline_bytes);
  put(header.kind);
  put(header.channel_sequence);
  put(uint64_t{XXH3_64bits(bytes.data(), kChecksumAt)});
  return bytes;
}

arrow::Result<FrameHeader> DecodeFrameHeader(std::span<const uint8_t, kFrameHeaderBytes> bytes, uint64_t max_payload,
                                             Rank peer) {
  ByteReader in(std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
  const auto magic = in.Number<uint32_t>();
  if (magic != kFrameMagic) {
    return Refuse(peer, "magic is " + std::to_string(magic) + ", not " + std::to_string(kFrameMagic));
  }
  const auto version = in.Number<uint8_t>();
  if (version != kFrameVersion) {
    return Refuse(peer, "version is " + std::to_string(version) + ", not " + std::to_string(kFrameVersion));
  }
  FrameHeader header;
  header.type = in.Number<uint8_t>();
  header.flags = in.Number<uint16_t>();
  header.sequence = in.Number<uint64_t>();
  header.acknowledged = in.Number<uint64_t>();
  header.payload_bytes = in.Number<uint64_t>();
  header.epoch = in.Number<uint32_t>();
  header.communicator = in.Number<uint32_t>();
  header.segments = in.Number<uint32_t>();
  header.inline_bytes = in.Number<uint16_t>();
  header.kind = in.Number<uint16_t>();
  header.channel_sequence = in.Number<uint64_t>();
  if (in.Number<uint64_t>() != XXH3_64bits(bytes.data(), kChecksumAt)) {
    return Refuse(peer, "the checksum of its header does not match");
  }
  if (header.payload_bytes > max_payload) {
    return Refuse(peer, "payload is " + std::to_string(header.payload_bytes) + " bytes, at most " +
                            std::to_string(max_payload) + " are allowed");
  }
  if (header.inline_bytes > kMaxInlineBytes) {
    return Refuse(peer, "inline header is " + std::to_string(header.inline_bytes) + " bytes, at most " +
                            std::to_string(kMaxInlineBytes) + " are allowed");
  }
  if (header.segments > kMaxSegments) {
    return Refuse(peer, "it has " + std::to_string(header.segments) + " segments, at most " +
                            std::to_string(kMaxSegments) + " are allowed");
  }
  if (header.segments == 0 && header.payload_bytes > 0) {
    return Refuse(peer, "it has " + std::to_string(header.payload_bytes) + " bytes of payload and no segment");
  }
  return header;
}

}  // namespace cylon
