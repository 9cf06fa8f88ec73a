/// Mutual authentication of the two ends of a fresh connection.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/base/error.h"
#include "cylon/base/export.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Who one end is. Both ends must be of the same job and epoch and know the same secret.
struct Identity {
  std::string job;
  std::string epoch;
  Rank rank = -1;                      ///< -1: a client that has no rank yet (of a store)
  std::string purpose;                 ///< "mesh", "store": a connection for one cannot be used for the other
  Rank wanted = -1;                    ///< whom a dialler wants; -1: whoever is there
  std::string options = {};            ///< what has to be equal at both: "piece_bytes=1048576;eager_bytes=65536"
  std::vector<std::string> also = {};  ///< of a listener: further purposes it serves; the peer's identity says which
  bool any_job = false;                ///< of a listener: it serves every job; the peer's identity says which
  /// Of a listener: asked about a dialler that has proven itself; what is not OK is told to it. Nothing: all may come.
  std::function<arrow::Status(const Identity& dialler)> admits = {};
};

/// Grows with each change of what is said on a connection: both ends speak the same.
inline constexpr uint16_t kHandshakeVersion = 3;

/// Protocol, per side: version, identity and a fresh 32-byte nonce; then HMAC-SHA256 with the secret over role, both
/// nonces, both identities and what binds it to an encrypted stream. Nothing beyond 64 KiB is read from a peer that has
/// not proven itself, and 5 s is all it gets. AuthenticationError for a wrong secret ("...does not know the job's
/// secret"), ProtocolError for garbage or another version, Invalid for another job, epoch, rank or option: each names
/// the peer. These are compared, and a mismatch told, only after the proof. The accepting side tells its reason, then
/// reads for up to 1 s until the dialler closes, so that the reason arrives; it returns its own error after that.
CYLON_EXPORT Co<Identity> HandshakeAsDialler(Stream* stream, Executor& executor, Identity self, std::string secret,
                                             TimePoint deadline);
CYLON_EXPORT Co<Identity> HandshakeAsListener(Stream* stream, Executor& executor, Identity self, std::string secret,
                                              TimePoint deadline);

}  // namespace cylon
