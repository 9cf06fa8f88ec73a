// A frame's header: whatever its bytes, it is refused or within every limit.
#include "cylon/wire/frame.h"

#include <algorithm>

#include "fuzz/framing.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

constexpr uint64_t kMostPayload = 1 << 20;

// The first byte: 1, the checksum is put right, so that the search gets past it.
void RunFrame(std::string_view bytes) {
  Input in(bytes);
  const bool mend = (in.Byte() & 1) != 0;
  std::string padded(in.Bytes(kFrameHeaderBytes));
  padded.resize(kFrameHeaderBytes);
  std::array<uint8_t, kFrameHeaderBytes> header;
  std::copy(padded.begin(), padded.end(), header.begin());
  if (mend) {
    MendChecksum(header);
  }
  const auto decoded = DecodeFrameHeader(header, kMostPayload, 3);
  if (!decoded.ok()) {
    Require(IsError(decoded.status(), ErrorKind::kProtocol), "a refusal that is no ProtocolError");
    return;
  }
  Require(decoded->payload_bytes <= kMostPayload && decoded->inline_bytes <= kMaxInlineBytes &&
              decoded->segments <= kMaxSegments,
          "a header beyond its limits was taken");
  Require(EncodeFrameHeader(*decoded) == header, "a header that was taken is not what its fields are written as");
}

std::vector<std::string> FrameSeeds() {
  std::vector<std::string> seeds;
  for (const FrameHeader& header :
       {FrameHeader{.type = 1, .sequence = 1, .payload_bytes = 100, .epoch = 7, .segments = 2, .inline_bytes = 40},
        FrameHeader{.type = 2, .sequence = 2, .epoch = 7},
        FrameHeader{.type = 1, .payload_bytes = UINT64_MAX, .segments = UINT32_MAX, .inline_bytes = UINT16_MAX}}) {
    const auto encoded = EncodeFrameHeader(header);
    seeds.push_back(Output().Byte(1).Raw({reinterpret_cast<const char*>(encoded.data()), encoded.size()}).bytes());
  }
  return seeds;
}

const Registration kFrame({"frame", RunFrame, FrameSeeds});

}  // namespace
}  // namespace cylon::fuzz
