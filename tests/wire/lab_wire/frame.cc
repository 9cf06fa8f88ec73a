// What a wire looks for in an Ethernet frame: two addresses of 6 bytes, the kind of what follows in 2, and that.
#include "frame.h"

#include <cstddef>

namespace cylon {

namespace {

constexpr size_t kKindAt = 12;
constexpr size_t kPacketAt = 14;
constexpr uint8_t kTcp = 6;
/// Where the number of the protocol above stands in a packet, and how long IPv6's header is.
constexpr size_t kProtocolAt4 = 9;
constexpr size_t kProtocolAt6 = 6;
constexpr size_t kHeader6 = 40;
/// IPv4 says the length of its header in words of 4 bytes, in half a byte.
constexpr size_t kWordBytes = 4;
constexpr uint8_t kLengthMask = 0x0F;
/// Where the flags stand in TCP's header, and two of them.
constexpr size_t kFlagsAt = 13;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kAck = 0x10;

}  // namespace

bool OpensConnection(std::span<const uint8_t> frame) {
  if (frame.size() < kPacketAt) {
    return false;
  }
  const auto packet = frame.subspan(kPacketAt);
  const bool is_4 = frame[kKindAt] == 0x08 && frame[kKindAt + 1] == 0x00;
  const bool is_6 = frame[kKindAt] == 0x86 && frame[kKindAt + 1] == 0xDD;
  const size_t protocol_at = is_4 ? kProtocolAt4 : kProtocolAt6;
  if (!(is_4 || is_6) || packet.size() <= protocol_at || packet[protocol_at] != kTcp) {
    return false;
  }
  const size_t flags_at = (is_4 ? (packet[0] & kLengthMask) * kWordBytes : kHeader6) + kFlagsAt;
  return packet.size() > flags_at && (packet[flags_at] & (kSyn | kAck)) == kSyn;
}

}  // namespace cylon
