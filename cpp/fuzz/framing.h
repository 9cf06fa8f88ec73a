/// Streams of frames whose checksums are right.
#pragma once

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "cylon/wire/frame.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {

/// The checksum is the last 8 bytes, of all before.
inline void MendChecksum(std::array<uint8_t, kFrameHeaderBytes>& header) {
  constexpr size_t kChecked = kFrameHeaderBytes - sizeof(uint64_t);
  const uint64_t checksum = XXH3_64bits(header.data(), kChecked);
  for (size_t i = 0; i < sizeof(checksum); ++i) {
    header[kChecked + i] = static_cast<uint8_t>(checksum >> (8 * i));
  }
}

/// The bytes of a stream as an input has them: bytes as they are (kind 0), or the fields of a frame whose checksum is
/// right, and what follows it.
inline std::string FramesOf(Input& in, uint32_t epoch) {
  std::string out;
  uint64_t sequence = 0;
  while (!in.empty()) {
    const uint8_t kind = in.Byte();
    if (kind == 0) {
      out.append(in.Text());
      continue;
    }
    FrameHeader header;
    header.type = in.Byte();
    header.sequence = (kind & 2) != 0 ? in.Number(8) : ++sequence;
    header.payload_bytes = (kind & 4) != 0 ? in.Number(8) : in.Number(2);
    header.epoch = (kind & 8) != 0 ? static_cast<uint32_t>(in.Number(4)) : epoch;
    header.segments = (kind & 16) != 0 ? static_cast<uint32_t>(in.Number(4)) : in.Byte();
    header.inline_bytes = (kind & 32) != 0 ? static_cast<uint16_t>(in.Number(2)) : in.Byte();
    header.acknowledged = (kind & 64) != 0 ? in.Number(8) : 0;
    header.kind = in.Byte();
    const auto encoded = EncodeFrameHeader(header);
    out.append(encoded.begin(), encoded.end());
    out.append(in.Text());
  }
  return out;
}

/// What a frame is followed by: inline header, sizes, segments.
inline std::string FrameBody(size_t inline_bytes, const std::vector<uint64_t>& sizes) {
  Output out;
  out.Raw(std::string(inline_bytes, 'i'));
  size_t total = 0;
  for (const uint64_t size : sizes) {
    out.Number(size, 8);
    total += std::min<uint64_t>(size, 100);
  }
  return out.Raw(std::string(total, 'b')).bytes();
}

/// Seeds of FramesOf.
inline std::vector<std::string> FrameScripts() {
  std::vector<std::string> seeds;
  Output good;
  good.Byte(1).Byte(1).Number(30, 2).Byte(2).Byte(40).Byte(4).Text(FrameBody(40, {10, 20}));
  good.Byte(1).Byte(1).Number(0, 2).Byte(0).Byte(0).Byte(4).Text("");
  good.Byte(1).Byte(2).Number(0, 2).Byte(0).Byte(0).Byte(0).Text("");
  seeds.push_back(good.bytes());
  // 2^60 bytes; sizes that do not add up; another run; a sequence with a gap; no frame at all.
  seeds.push_back(Output()
                      .Byte(1 + 4)
                      .Byte(1)
                      .Number(1ULL << 60, 8)
                      .Byte(1)
                      .Byte(0)
                      .Byte(4)
                      .Text(FrameBody(0, {1ULL << 60}))
                      .bytes());
  seeds.push_back(Output().Byte(1).Byte(1).Number(30, 2).Byte(2).Byte(0).Byte(4).Text(FrameBody(0, {10, 10})).bytes());
  seeds.push_back(Output().Byte(1 + 8).Byte(1).Number(0, 2).Number(9, 4).Byte(0).Byte(0).Byte(4).Text("").bytes());
  seeds.push_back(Output().Byte(1 + 2).Byte(1).Number(5, 8).Number(0, 2).Byte(0).Byte(0).Byte(4).Text("").bytes());
  seeds.push_back(Output().Byte(0).Text("GET / HTTP/1.1\r\n\r\n").bytes());
  return seeds;
}

}  // namespace cylon::fuzz
