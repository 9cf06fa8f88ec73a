// Tickets of a rendezvous server's operator.
#include "cylon/bootstrap/ticket.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/base/secret.h"
#include "cylon/wire/bytes.h"

namespace cylon {

namespace {

constexpr size_t kSignatureBytes = 32;
/// Of other uses of the same key there are none; should there be, they sign other texts.
constexpr std::string_view kSigned("cylon ticket\0", 13);
constexpr size_t kFixedClaims = 1 + kTicketIdBytes + 8 + 4 + 8 + 8;
constexpr size_t kMaxTicketText = kTicketPrefix.size() + 2 * (kSignatureBytes + kFixedClaims + kMaxTicketJob);

arrow::Status NoTicket(const std::string& where, size_t size) {
  return AuthenticationError("what is in " + where + " is no ticket of this version (it has " + std::to_string(size) +
                             " characters, and a ticket begins with '" + std::string(kTicketPrefix) +
                             "'); ask the operator of the rendezvous server for one");
}

/// The ticket that `options` name; without claims where there is none.
arrow::Result<Ticket> ReadTicket(const Options& options) {
  if (!options.ticket.empty()) {
    return ParseTicket(options.ticket, "the option 'ticket' (CYLON_TICKET)");
  }
  if (options.ticket_file.empty()) {
    return Ticket{};
  }
  ARROW_ASSIGN_OR_RAISE(
      const std::string text,
      ReadPrivateFile(options.ticket_file, "ticket", "set CYLON_TICKET_FILE to a file with mode 0600 that holds it",
                      kMaxTicketText));
  return ParseTicket(text, options.ticket_file);
}

/// "2026-11-30 10:00:00 UTC"
std::string ReadableTime(int64_t unix_seconds) {
  const auto time = static_cast<std::time_t>(unix_seconds);
  std::tm parts{};
  std::array<char, 64> text{};
  if (::gmtime_r(&time, &parts) == nullptr ||
      std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S UTC", &parts) == 0) {
    return std::to_string(unix_seconds) + " s after 1970";
  }
  return text.data();
}

arrow::Status JudgeClaims(const TicketClaims& claims, const Identity& dialler, int64_t now, const char** reason) {
  const int64_t allowance = std::chrono::seconds(kClockAllowance).count();
  if (now - allowance >= claims.expires) {
    *reason = "expired";
    return arrow::Status::Invalid("the ticket for job '", claims.job, "' has expired: it was good until ",
                                  ReadableTime(claims.expires), ", and the server's clock says ", ReadableTime(now),
                                  "; ask the operator for a new one");
  }
  if (!dialler.job.empty() && dialler.job != claims.job) {
    *reason = "other_job";
    return arrow::Status::Invalid("the ticket is for job '", claims.job, "', and this process is of job '", dialler.job,
                                  "'; set CYLON_JOB to the ticket's, or ask the operator for a ticket for this job");
  }
  return arrow::Status::OK();
}

}  // namespace

arrow::Status CheckTicketClaims(const TicketClaims& claims) {
  if (claims.id.size() != kTicketIdBytes) {
    return arrow::Status::Invalid("the id of a ticket has ", claims.id.size(), " bytes, not ", kTicketIdBytes);
  }
  if (claims.job.empty() || claims.job.size() > kMaxTicketJob) {
    return arrow::Status::Invalid("the job of a ticket has a name of ", claims.job.size(), " bytes; it has 1 to ",
                                  kMaxTicketJob);
  }
  if (std::ranges::any_of(claims.job, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; })) {
    return arrow::Status::Invalid("the job of a ticket has a name with control characters; use others");
  }
  if (claims.ranks < 1 || claims.ranks > kMostTicketRanks) {
    return arrow::Status::Invalid("a ticket is for ", claims.ranks, " ranks; it may be for 1 to ", kMostTicketRanks);
  }
  if (claims.relay_bytes > 0 && claims.relay_rate < kLeastRelayRate) {
    return arrow::Status::Invalid("a ticket relays ", claims.relay_rate, " bytes per second; it relays at least ",
                                  kLeastRelayRate, ", or no bytes at all");
  }
  return arrow::Status::OK();
}

std::string EncodeTicketClaims(const TicketClaims& claims) {
  ByteWriter out;
  out.Number(kTicketVersion);
  out.Raw(claims.id);
  out.Number(claims.expires);
  out.Number(claims.ranks);
  out.Number(claims.relay_bytes);
  out.Number(claims.relay_rate);
  out.Raw(claims.job);
  return out.Take();
}

arrow::Result<TicketClaims> DecodeTicketClaims(std::string_view bytes) {
  ByteReader in(bytes);
  const auto version = in.Number<uint8_t>();
  TicketClaims claims;
  claims.id = in.Raw(kTicketIdBytes);
  claims.expires = in.Number<int64_t>();
  claims.ranks = in.Number<uint32_t>();
  claims.relay_bytes = in.Number<uint64_t>();
  claims.relay_rate = in.Number<uint64_t>();
  claims.job = in.rest();
  if (!in.ok() || version != kTicketVersion) {
    return ProtocolError("a ticket of version " + std::to_string(version) + " with " + std::to_string(bytes.size()) +
                         " bytes cannot be read, only those of version " + std::to_string(kTicketVersion) +
                         "; issue it with the same Cylon that the server runs");
  }
  ARROW_RETURN_NOT_OK(CheckTicketClaims(claims));
  return claims;
}

std::string SignTicket(const std::string& operator_key, std::string_view claims) {
  const std::string text = std::string(kSigned) + std::string(claims);
  std::string signature(kSignatureBytes, '\0');
  unsigned int size = 0;
  HMAC(EVP_sha256(), operator_key.data(), static_cast<int>(operator_key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(),
       reinterpret_cast<unsigned char*>(signature.data()), &size);
  return signature;
}

TicketReader AdmitByTickets(std::string operator_key, UnixClock now,
                            std::function<void(const char* reason)> on_refused) {
  return [key = std::move(operator_key), now = std::move(now),
          on_refused = std::move(on_refused)](std::string_view shown) -> arrow::Result<Admission> {
    auto claims = DecodeTicketClaims(shown);
    if (!claims.ok()) {
      on_refused("unreadable");
      return claims.status();
    }
    return Admission{SignTicket(key, shown), [claims = *std::move(claims), now, on_refused](const Identity& dialler) {
                       const char* reason = nullptr;
                       auto judged = JudgeClaims(claims, dialler, now(), &reason);
                       if (reason != nullptr) {
                         on_refused(reason);
                       }
                       return judged;
                     }};
  };
}

arrow::Result<std::string> IssueTicket(const std::string& operator_key, const TicketClaims& claims) {
  ARROW_RETURN_NOT_OK(CheckTicketClaims(claims));
  const std::string bytes = EncodeTicketClaims(claims);
  return std::string(kTicketPrefix) + HexEncode(SignTicket(operator_key, bytes) + bytes);
}

arrow::Result<Ticket> ParseTicket(std::string_view text, const std::string& where) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) {
    text.remove_suffix(1);
  }
  if (!text.starts_with(kTicketPrefix) || text.size() > kMaxTicketText) {
    return NoTicket(where, text.size());
  }
  const auto bytes = HexDecode(text.substr(kTicketPrefix.size()));
  if (!bytes.ok() || bytes->size() < kSignatureBytes ||
      !DecodeTicketClaims(std::string_view(*bytes).substr(kSignatureBytes)).ok()) {
    return NoTicket(where, text.size());
  }
  return Ticket{bytes->substr(kSignatureBytes), bytes->substr(0, kSignatureBytes)};
}

arrow::Result<Security> SecurityAt(const HostPort& address, const Options& options, std::string secret) {
  ARROW_ASSIGN_OR_RAISE(Ticket ticket, ReadTicket(options));
  const auto server = HostPort::Parse(options.rendezvous.empty() ? options.store : options.rendezvous);
  if (ticket.claims.empty() || !server.ok() || *server != address) {
    return SecurityOf(options, std::move(secret));
  }
  ARROW_ASSIGN_OR_RAISE(const auto claims, DecodeTicketClaims(ticket.claims));
  if (claims.job != options.job) {
    return arrow::Status::Invalid("the ticket for ", address.ToString(), " is for job '", claims.job,
                                  "', this process is of job '", options.job,
                                  "'; set CYLON_JOB to that, or ask the operator for a ticket for this job");
  }
  Security security = SecurityOf(options, std::move(ticket.secret));
  security.ticket = std::move(ticket.claims);
  return security;
}

}  // namespace cylon
