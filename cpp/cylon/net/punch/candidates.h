/// Where a process may be reached, and which of the places that another one tells are dialled.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/wire/bytes.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// Of one process: each costs its peers a socket.
inline constexpr size_t kMostCandidates = 8;

enum class AddressKind : uint8_t {
  kNever,     ///< no address, or one that is dialled by nobody: unspecified, link-local, multicast, reserved
  kLoopback,  ///< 127/8, ::1
  kPrivate,   ///< 10/8, 172.16/12, 192.168/16, 100.64/10: reached within one network
  kPublic,    ///< any other IPv4 address, and 2000::/3
};

/// IPv4 addresses in the clothes of IPv6 (::ffff:10.0.0.1) are kNever, so that none has two names; and so are the
/// private ones of IPv6, as hosts that have these have IPv4 ones as well.
CYLON_EXPORT AddressKind KindOf(const std::string& host);

/// The addresses of this host's interfaces that are up, as text. IOError where the system does not tell.
CYLON_EXPORT arrow::Result<std::vector<std::string>> InterfaceHosts();

/// What a process that listens on `port` at `hosts` tells of itself: the private IPv4 addresses, then the public IPv6
/// ones; kMostCandidates at most, without doubles. Its public IPv4 address is for the server to tell. `loopback`, here
/// and below: also those, which only tests want.
std::vector<HostPort> OwnCandidates(const std::vector<std::string>& hosts, uint16_t port, bool loopback);

/// What of a peer's candidates is dialled: those that the server has seen, and those that the peer told which are
/// private. A public one that it told counts only if the server has seen just that: a peer must not make others knock
/// where it likes. Nobody dials `own`, where it would meet itself, and no port 0. kMostCandidates at most, without
/// doubles.
std::vector<HostPort> DialableCandidates(const std::vector<HostPort>& told, const SeenAddresses& seen,
                                         const std::vector<HostPort>& own, bool loopback);

/// True where a process that is known at `own` could send to one of `candidates`: it has an address of that family. Who
/// has none, of IPv6 for example, has no way to such addresses.
bool MaySendToAny(const std::vector<HostPort>& candidates, const std::vector<HostPort>& own);

/// A count (1 byte), then each: its host as text, its port (2 bytes). Decoding is Invalid for anything else.
void EncodeCandidates(const std::vector<HostPort>& candidates, ByteWriter* out);
arrow::Result<std::vector<HostPort>> DecodeCandidates(ByteReader* in);

}  // namespace cylon::internal
