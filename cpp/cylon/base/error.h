/// Errors that callers must tell apart: an arrow::Status with one of these details.
#pragma once

#include <arrow/result.h>
#include <arrow/status.h>

#include <cstdint>
#include <memory>
#include <string>

#include "cylon/base/export.h"

namespace cylon {

/// Position of a process in its world, 0 to world size - 1.
using Rank = int32_t;

enum class ErrorKind : uint8_t {
  kRankFailed = 1,          ///< a rank is gone; the communicators that contain it are revoked
  kCollectiveMismatch = 2,  ///< ranks called different operations, or the same one with other types or counts
  kProtocol = 3,            ///< a peer sent bytes that do not follow the protocol
  kDeadline = 4,            ///< something did not happen in the time it was given
  kAuthentication = 5,      ///< a peer or the caller does not know the job's secret
  kOutOfMemory = 6,         ///< over the rank's budget, with nothing left to spill
  kRemote = 7,              ///< a local error of another rank, told to all
  kLinkLost = 8,            ///< two ranks live, and nothing passes between them any more
  kIsolated = 9,            ///< this rank reaches nobody: it cannot tell who is gone, and accuses no one
  kRankTaken = 10,          ///< the rank that this process was given is another process's: trying again is in vain
};

/// What is known beyond the message. Fields that do not apply keep their defaults.
class CYLON_EXPORT ErrorDetail : public arrow::StatusDetail {
 public:
  explicit ErrorDetail(ErrorKind error_kind) : kind(error_kind) {}

  const char* type_id() const override;
  std::string ToString() const override;

  ErrorKind kind;
  Rank rank = -1;         ///< the failed rank, the peer, or the rank the error came from
  Rank other = -1;        ///< kLinkLost: the link's other end
  std::string host;       ///< where that rank runs
  std::string operation;  ///< the survivor's own first unfinished operation
  uint64_t sequence = 0;  ///< and its sequence number in its communicator
  std::string cause;      ///< what was seen: "connection closed", "killed by signal 9"
  bool agreed = true;     ///< false: no store has settled whose finding counts: there is none, or it was not reached
};

/// The detail of `status`, or nullptr where it has none of ours.
CYLON_EXPORT std::shared_ptr<ErrorDetail> GetErrorDetail(const arrow::Status& status);

/// True where `status` carries a detail of `kind`.
CYLON_EXPORT bool IsError(const arrow::Status& status, ErrorKind kind);

/// The kind with the largest number: what a peer sends beyond is refused.
inline constexpr ErrorKind kLastErrorKind = ErrorKind::kRankTaken;

/// A status whose message is derived from `detail` and `hint`.
CYLON_EXPORT arrow::Status RankFailedError(Rank rank, std::string host, std::string cause, std::string operation = "",
                                           uint64_t sequence = 0, bool agreed = true);
/// Nothing passes between ranks `a` and `b` of a world any more, for `cause`, though both live.
CYLON_EXPORT arrow::Status LinkLostError(Rank a, Rank b, std::string cause, std::string operation = "",
                                         uint64_t sequence = 0, bool agreed = true);
/// Rank `own` reaches nobody, for `cause`.
CYLON_EXPORT arrow::Status IsolatedError(Rank own, std::string cause, std::string operation = "",
                                         uint64_t sequence = 0);
CYLON_EXPORT arrow::Status CollectiveMismatchError(std::string message, Rank rank = -1);
CYLON_EXPORT arrow::Status ProtocolError(std::string message, Rank peer = -1);
CYLON_EXPORT arrow::Status DeadlineError(std::string message, Rank rank = -1);
CYLON_EXPORT arrow::Status AuthenticationError(std::string message);
CYLON_EXPORT arrow::Status OutOfMemoryError(std::string message);
/// `rank`: the one that is taken; -1 where ranks are drawn and none is left.
CYLON_EXPORT arrow::Status RankTakenError(std::string message, Rank rank);

/// `status` as the other ranks see it: the same code and message, prefixed with the rank it came from.
CYLON_EXPORT arrow::Status RemoteError(Rank from, const arrow::Status& status);

/// What a peer's status may have: what a parser makes of bytes takes tens of times as much.
inline constexpr size_t kMaxStatusBytes = 1 << 20;

/// A status as bytes for a peer, and back. Decoding refuses malformed bytes with ProtocolError.
CYLON_EXPORT std::string EncodeStatus(const arrow::Status& status);
CYLON_EXPORT arrow::Status DecodeStatus(std::string_view bytes, arrow::Status* decoded);

}  // namespace cylon
