// What a wire looks for in an Ethernet frame.
#pragma once

#include <cstdint>
#include <span>

namespace cylon {

/// Whether a frame, from its Ethernet header on, is a TCP packet with SYN and without ACK, over IPv4 or IPv6.
bool OpensConnection(std::span<const uint8_t> frame);

}  // namespace cylon
