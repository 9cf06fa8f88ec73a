// What stands between this process and others.
#include "gateway.h"

#include <algorithm>
#include <array>

namespace cylon::tools {

namespace {

// The table of docs/nat.md; a test compares them.
constexpr size_t kKinds = 8;
const std::array<std::array<std::string_view, kKinds>, kKinds> kWays = {{
    {"direct", "direct", "direct", "direct", "direct", "direct", "direct", "direct"},
    {"", "direct", "direct", "direct", "direct", "direct", "direct", "relay"},
    {"", "", "punched", "punched", "punched", "punched", "relay", "relay"},
    {"", "", "", "punched", "punched", "punched", "relay", "relay"},
    {"", "", "", "", "punched", "punched", "relay", "relay"},
    {"", "", "", "", "", "relay", "relay", "relay"},
    {"", "", "", "", "", "", "relay", "relay"},
    {"", "", "", "", "", "", "", "punched"},
}};

size_t IndexOf(std::string_view kind) {
  const auto& all = WaysHeader();
  return static_cast<size_t>(std::ranges::find(all, kind) - all.begin());
}

bool IsIpv6(const std::string& host) { return host.find(':') != std::string::npos; }

}  // namespace

const std::vector<std::string_view>& WaysHeader() {
  static const std::vector<std::string_view> header = {"PUBLIC", "FULL_CONE", "RESTRICTED", "TWO_IN_A_ROW",
                                                       "MOVING", "RESETTING", "SYMMETRIC",  "IPV6_ONLY"};
  return header;
}

std::vector<std::string> GatewayKinds(const GatewayEvidence& evidence) {
  if (evidence.seen.addresses.empty()) {
    return {};
  }
  if (evidence.seen.symmetric) {
    return {"SYMMETRIC"};
  }
  const HostPort& seen = evidence.seen.addresses.front();
  const bool own = std::ranges::find(evidence.own, seen.host) != evidence.own.end();
  const bool kept = seen.port == evidence.port;
  const std::string filtering = IsIpv6(seen.host) ? "IPV6_ONLY" : "RESTRICTED";
  switch (evidence.stranger) {
    case Stranger::kArrives:
      return {own ? "PUBLIC" : "FULL_CONE"};
    case Stranger::kRefused:
      return {"RESETTING"};
    case Stranger::kNoAnswer:
      if (!kept) {
        return {"MOVING"};
      }
      return own ? std::vector{filtering} : std::vector<std::string>{"RESTRICTED", "TWO_IN_A_ROW"};
    case Stranger::kNobodyDialled:
      break;
  }
  if (!kept) {
    return {"MOVING"};
  }
  // A firewall before an address of one's own lets answers in as a gateway does.
  return own ? std::vector<std::string>{"PUBLIC", filtering}
             : std::vector<std::string>{"FULL_CONE", "RESTRICTED", "TWO_IN_A_ROW", "RESETTING"};
}

std::vector<std::string> WaysBetween(const std::vector<std::string>& kinds, std::string_view other) {
  std::vector<std::string> ways;
  for (const auto& kind : kinds) {
    const size_t one = IndexOf(kind);
    const size_t two = IndexOf(other);
    const std::string way(kWays[std::min(one, two)][std::max(one, two)]);
    if (std::ranges::find(ways, way) == ways.end()) {
      ways.push_back(way);
    }
  }
  return ways;
}

}  // namespace cylon::tools
