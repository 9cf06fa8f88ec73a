/// For tests: an address of this machine over which connections are encrypted.
#pragma once

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <array>
#include <cstring>
#include <string>

namespace cylon::testing {

/// An address of this machine that is not a loopback one; "" where it has none.
inline std::string OtherAddress() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) {
    return "";
  }
  std::string found;
  for (const ifaddrs* each = all; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET && (each->ifa_flags & IFF_LOOPBACK) == 0 &&
        (each->ifa_flags & IFF_UP) != 0) {
      std::array<char, INET_ADDRSTRLEN> text{};
      sockaddr_in address{};
      std::memcpy(&address, each->ifa_addr, sizeof(address));
      ::inet_ntop(AF_INET, &address.sin_addr, text.data(), text.size());
      found = text.data();
    }
  }
  ::freeifaddrs(all);
  return found;
}

}  // namespace cylon::testing
