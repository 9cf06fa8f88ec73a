/// Tickets: by which the operator of a rendezvous server lets in the processes of one job, whose own secret the server
/// does not learn.
#pragma once

#include <arrow/result.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "cylon/base/export.h"
#include "cylon/base/options.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// What a ticket allows.
struct TicketClaims {
  std::string id;            ///< kTicketIdBytes, drawn when it is issued: what was relayed is counted under it
  std::string job;           ///< 1 to kMaxTicketJob bytes, no control characters
  int64_t expires = 0;       ///< seconds since 1970, by the operator's clock
  uint32_t ranks = 0;        ///< processes of the job that are at the server at once; 1 to kMostTicketRanks
  uint64_t relay_bytes = 0;  ///< that the server relays under it; 0: nothing is relayed
  uint64_t relay_rate = 0;  ///< of these, in a second, and no more than the server's own limit; kLeastRelayRate or more
  bool operator==(const TicketClaims&) const = default;
};

/// Claims as bytes, little-endian, which a client shows in clear:
///
///   version (1) | id (16) | expires (8) | ranks (4) | relay bytes (8) | relay rate (8) | job (the rest)
///
/// The operator's signature of them is HMAC-SHA256(operator's key, "cylon ticket" | 0 | claims). It is not shown: it is
/// the secret of the connections that the ticket is for, which the server derives again from the claims, and both ends
/// prove that they know it. So it is compared in constant time by the handshake, and who only sees claims pass by can
/// use them for nothing.
///
/// A ticket as text is "cylon-ticket:", then signature and claims in hexadecimal. It is a secret like the job's.
inline constexpr uint8_t kTicketVersion = 1;
inline constexpr size_t kTicketIdBytes = 16;
inline constexpr size_t kMaxTicketJob = 256;
inline constexpr uint32_t kMostTicketRanks = 1 << 16;
inline constexpr uint64_t kLeastRelayRate = 64 << 10;  // slower, one buffer would take more than a second
inline constexpr std::string_view kTicketPrefix = "cylon-ticket:";
/// A ticket is taken for so long after it has expired, as clocks disagree.
inline constexpr std::chrono::minutes kClockAllowance{5};

/// Invalid, with the limit, for claims that no ticket may have.
CYLON_EXPORT arrow::Status CheckTicketClaims(const TicketClaims& claims);
CYLON_EXPORT std::string EncodeTicketClaims(const TicketClaims& claims);
/// ProtocolError for what are no claims, Invalid for claims that no ticket may have.
CYLON_EXPORT arrow::Result<TicketClaims> DecodeTicketClaims(std::string_view bytes);
/// The signature of `claims`, as EncodeTicketClaims has written them.
CYLON_EXPORT std::string SignTicket(const std::string& operator_key, std::string_view claims);

/// Seconds since 1970.
using UnixClock = std::function<int64_t()>;

/// Lets in by the tickets that `operator_key` has signed, while they are good, the processes of their own jobs. A
/// dialler that names no job is of the ticket's. `on_refused` is told why one is not let in: "unreadable", "expired" or
/// "other_job".
CYLON_EXPORT TicketReader AdmitByTickets(
    std::string operator_key, UnixClock now, std::function<void(const char* reason)> on_refused = [](const char*) {});

/// What one end of a connection holds of a ticket.
struct Ticket {
  std::string claims;  ///< as it is shown
  std::string secret;  ///< its signature
};

/// A ticket as text. Invalid as CheckTicketClaims.
CYLON_EXPORT arrow::Result<std::string> IssueTicket(const std::string& operator_key, const TicketClaims& claims);
/// AuthenticationError, without repeating it, for a text that is no ticket; `where` it comes from is named.
CYLON_EXPORT arrow::Result<Ticket> ParseTicket(std::string_view text, const std::string& where);

/// What secures the connections to the server at `address`: the ticket that `options` name where it is for this server,
/// else the job's `secret`. A ticket is for the server of Options::rendezvous, and for that of the store where this is
/// empty. Invalid where it is for another job.
CYLON_EXPORT arrow::Result<Security> SecurityAt(const HostPort& address, const Options& options, std::string secret);

}  // namespace cylon
