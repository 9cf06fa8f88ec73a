// Where a process may be reached.
#include "cylon/net/punch/candidates.h"

#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <asio/ip/address.hpp>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>

namespace cylon::internal {

namespace {

/// The longest IPv6 address has 45 characters, and a zone may follow.
constexpr size_t kLongestHost = 64;

bool InRange(const asio::ip::address_v4& address, uint32_t network, int bits) {
  return (address.to_uint() ^ network) >> (32 - bits) == 0;
}

AddressKind KindOfV4(const asio::ip::address_v4& address) {
  if (address.is_loopback()) {
    return AddressKind::kLoopback;
  }
  const bool never = InRange(address, 0, 8) || InRange(address, 0xa9fe0000, 16) || address.to_uint() >= 0xe0000000;
  const bool is_private = InRange(address, 0x0a000000, 8) || InRange(address, 0xac100000, 12) ||
                          InRange(address, 0xc0a80000, 16) || InRange(address, 0x64400000, 10);
  return never ? AddressKind::kNever : is_private ? AddressKind::kPrivate : AddressKind::kPublic;
}

AddressKind KindOfV6(const asio::ip::address_v6& address) {
  if (address.is_loopback()) {
    return AddressKind::kLoopback;
  }
  const bool is_public = (address.to_bytes()[0] & 0xe0) == 0x20 && address.scope_id() == 0;
  return is_public ? AddressKind::kPublic : AddressKind::kNever;
}

/// The one way to write a host; nothing for what is no address.
std::optional<std::string> Canonical(const std::string& host) {
  asio::error_code error;
  const auto address = asio::ip::make_address(host, error);
  return error ? std::nullopt : std::optional<std::string>(address.to_string());
}

std::vector<HostPort> AllCanonical(const std::vector<HostPort>& all) {
  std::vector<HostPort> out;
  for (const auto& each : all) {
    if (auto host = Canonical(each.host)) {
      out.push_back({*host, each.port});
    }
  }
  return out;
}

bool Has(const std::vector<HostPort>& all, const HostPort& one) {
  return std::ranges::any_of(all, [&](const auto& each) { return each.host == one.host && each.port == one.port; });
}

void AddCandidate(const HostPort& one, std::vector<HostPort>* out) {
  if (out->size() < kMostCandidates && one.port != 0 && !Has(*out, one)) {
    out->push_back(one);
  }
}

}  // namespace

AddressKind KindOf(const std::string& host) {
  asio::error_code error;
  const auto address = asio::ip::make_address(host, error);
  if (error) {
    return AddressKind::kNever;
  }
  return address.is_v4() ? KindOfV4(address.to_v4()) : KindOfV6(address.to_v6());
}

arrow::Result<std::vector<std::string>> InterfaceHosts() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) {
    return arrow::Status::IOError("cannot list the addresses of this host: ", std::strerror(errno),
                                  "; check that this process may open netlink sockets");
  }
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(first, &::freeifaddrs);
  std::vector<std::string> hosts;
  for (const ifaddrs* each = all.get(); each != nullptr; each = each->ifa_next) {
    const bool is_up = (each->ifa_flags & IFF_UP) != 0;
    if (!is_up || each->ifa_addr == nullptr ||
        (each->ifa_addr->sa_family != AF_INET && each->ifa_addr->sa_family != AF_INET6)) {
      continue;
    }
    const socklen_t size = each->ifa_addr->sa_family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(each->ifa_addr, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0) {
      hosts.emplace_back(text.data());
    }
  }
  return hosts;
}

std::vector<HostPort> OwnCandidates(const std::vector<std::string>& hosts, uint16_t port, bool loopback) {
  std::vector<HostPort> out;
  std::vector<AddressKind> kinds = {AddressKind::kPrivate, AddressKind::kPublic};
  if (loopback) {
    kinds.push_back(AddressKind::kLoopback);
  }
  for (const auto kind : kinds) {
    for (const auto& host : hosts) {
      const auto canonical = Canonical(host);
      const bool by_server = kind == AddressKind::kPublic && host.find(':') == std::string::npos;
      if (canonical && KindOf(host) == kind && !by_server) {
        AddCandidate({*canonical, port}, &out);
      }
    }
  }
  return out;
}

std::vector<HostPort> DialableCandidates(const std::vector<HostPort>& told, const SeenAddresses& seen,
                                         const std::vector<HostPort>& own, bool loopback) {
  const auto self = AllCanonical(own);
  const auto by_server = AllCanonical(seen.addresses);
  std::vector<HostPort> out;
  const auto consider = [&](const HostPort& one, bool was_seen) {
    const auto kind = KindOf(one.host);
    const bool may = (kind == AddressKind::kPublic && was_seen) || kind == AddressKind::kPrivate ||
                     (kind == AddressKind::kLoopback && loopback);
    if (may && !Has(self, one)) {
      AddCandidate(one, &out);
    }
  };
  for (const auto& each : by_server) {
    consider(each, true);
  }
  for (const auto& each : AllCanonical(told)) {
    consider(each, Has(by_server, each));
  }
  return out;
}

bool MaySendToAny(const std::vector<HostPort>& candidates, const std::vector<HostPort>& own) {
  const auto is_v6 = [](const HostPort& one) { return one.host.find(':') != std::string::npos; };
  return std::ranges::any_of(candidates, [&](const auto& theirs) {
    return std::ranges::any_of(own, [&](const auto& each) { return is_v6(each) == is_v6(theirs); });
  });
}

void EncodeCandidates(const std::vector<HostPort>& candidates, ByteWriter* out) {
  const size_t count = std::min(candidates.size(), kMostCandidates);
  out->Number(static_cast<uint8_t>(count));
  for (size_t i = 0; i < count; ++i) {
    out->Text(candidates[i].host);
    out->Number(candidates[i].port);
  }
}

arrow::Result<std::vector<HostPort>> DecodeCandidates(ByteReader* in) {
  const auto count = in->Number<uint8_t>();
  if (count > kMostCandidates) {
    return arrow::Status::Invalid("it names ", static_cast<int>(count), " addresses, more than the ", kMostCandidates,
                                  " that a process may have");
  }
  std::vector<HostPort> out;
  for (int i = 0; i < count && in->ok(); ++i) {
    HostPort one;
    one.host = in->Text();
    one.port = in->Number<uint16_t>();
    if (one.host.size() > kLongestHost) {
      return arrow::Status::Invalid("it names a host of ", one.host.size(), " characters; addresses have at most ",
                                    kLongestHost);
    }
    out.push_back(std::move(one));
  }
  if (!in->ok()) {
    return arrow::Status::Invalid("it ends within its addresses");
  }
  return out;
}

}  // namespace cylon::internal
