/// What stands between this process and others, told by what a server sees of it (docs/nat.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cylon/bootstrap/courier.h"
#include "cylon/wire/stream.h"

namespace cylon::tools {

/// What became of a dial, by somebody to whom nothing was sent before, to the address that the server sees.
enum class Stranger : uint8_t { kNobodyDialled, kArrives, kNoAnswer, kRefused };

/// One port of this process, by one kind of address (IPv4 or IPv6).
struct GatewayEvidence {
  std::vector<std::string> own;  ///< this host's addresses
  uint16_t port = 0;             ///< local
  SeenAddresses seen;            ///< of that port
  Stranger stranger = Stranger::kNobodyDialled;
};

/// The rows of the table of kinds that fit, by their names; several where the evidence does not tell them apart.
std::vector<std::string> GatewayKinds(const GatewayEvidence& evidence);

/// The kinds that the table of ways has, in its order.
const std::vector<std::string_view>& WaysHeader();

/// How one of `kinds` and one of kind `other` connect: "direct", "punched", "relay"; several where that depends on
/// which of `kinds` it is.
std::vector<std::string> WaysBetween(const std::vector<std::string>& kinds, std::string_view other);

}  // namespace cylon::tools
