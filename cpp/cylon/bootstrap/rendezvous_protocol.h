/// What a rendezvous server and its clients say to each other after the handshake.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/bootstrap/framed.h"

namespace cylon {

/// A session: letters, and tokens for probes. Both directions carry frames of a 4-byte length and so many bytes,
/// little-endian; the first byte says what it is:
///
///   client
///     hello    op (1) | name (32) | incarnation (16)        the first frame; the same on each connection of a process
///     ping     op (1)
///     tell     op (1) | id (8) | to (32) | patience in ms (4) | text (the rest)
///              ids of one process grow; `to` may be back for so long after its connection was lost
///     draw     op (1) | id (8)                              asks for a token for probes
///
///   server
///     welcome  op (1) | life (16) | count (1), ports (2 each)  the answer to hello: the server's ports for probes,
///                                                              besides the one that was dialled
///     gone     op (1) | status (the rest)                      why the server ends the session, which it then does
///     ping     op (1)
///     told     op (1) | id (8) | status (the rest; empty: passed on)
///     letter   op (1) | from (32) | id (8) | seen | text (the rest)
///     drawn    op (1) | id (8) | token (16)
///
///   seen:      symmetric (1) | count (1) | addresses: length (4), "host:port" each
///
/// A letter that was not told of when its connection ended is told again under its id: who receives it twice knows it
/// by the sender and the id.
///
/// A relay begins with one frame from each end, and one answer to each; all that follows is the other end's:
///
///     ask      op (1) | from (32) | to (32) | token (16) | patience in ms (4)
///     joined   op (1) | status (the rest; empty: the other is there)
enum class RendezvousOp : uint8_t {
  kHello = 1,
  kWelcome,
  kGone,
  kPing,
  kTell,
  kTold,
  kLetter,
  kDraw,
  kDrawn,
  kAskRelay,
  kJoined,
};

inline constexpr char kRendezvousPurpose[] = "rendezvous/1";
inline constexpr char kRelayPurpose[] = "relay/1";
inline constexpr size_t kCourierNameBytes = 32;
inline constexpr size_t kRendezvousNonceBytes = 16;
/// A letter, its head, and the addresses of its sender; statuses are shorter.
inline constexpr size_t kMaxRendezvousFrame = Courier::kMaxLetter + 1024;
/// One for each port that probes come to.
inline constexpr size_t kMaxSeenAddresses = 8;

/// Any of the frames; what it does not have stays empty.
struct RendezvousFrame {
  RendezvousOp op = RendezvousOp::kPing;
  uint64_t id = 0;
  std::string name = {};   ///< own (hello, ask), the sender's (letter), or the receiver's (tell)
  std::string to = {};     ///< ask: the other end's name
  std::string nonce = {};  ///< incarnation, life or token
  std::vector<uint16_t> ports = {};
  uint32_t patience_ms = 0;
  arrow::Status status = {};
  SeenAddresses seen = {};
  std::string text = {};
};

std::string EncodeRendezvousFrame(const RendezvousFrame& frame);
/// ProtocolError, which begins with `peer`, for what is no frame: another op, a field that is missing, too long or of
/// the wrong form, bytes behind the last one.
arrow::Result<RendezvousFrame> DecodeRendezvousFrame(std::string_view bytes, const std::string& peer);

/// The next frame.
Co<RendezvousFrame> ReadRendezvousFrame(Stream* stream);

/// 32 lower-case hexadecimal digits.
bool IsCourierName(std::string_view name);

/// Adds `address` unless it is there, and says whether two are different.
void AddSeen(const HostPort& address, SeenAddresses* seen);

/// A probe, over a connection of its own that needs no proof:
///
///   client: "CYLP" | token (16)
///   server: length (2) | "host:port" of the client, as the server sees it; then it closes
///
/// A token is good once at each port. Without a good one nothing is answered.
inline constexpr std::string_view kProbeMagic = "CYLP";

}  // namespace cylon
