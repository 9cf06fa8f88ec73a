/// A finding: why a communicator cannot go on, as one rank saw it and tells the others.
#pragma once

#include <arrow/result.h>

#include <string>
#include <string_view>

#include "cylon/base/error.h"

namespace cylon::internal {

/// Where findings compete, the one whose source knows most wins, then the lowest rank, then the lowest text.
struct Finding {
  enum class Source : uint8_t {
    kLauncher = 0,      ///< it saw the process end
    kItself = 1,        ///< the rank said that it gave up, and why
    kDisagreement = 2,  ///< a mismatched collective or a broken protocol: certain, whatever followed from it
    kEnded = 3,         ///< its process is gone: nobody listens there any more
    kSilence = 4,       ///< nothing came from it for longer than it may be silent, at two witnesses
    kLink = 5,          ///< a link to it broke
    kAftermath = 6,     ///< any of these, of a rank that had told of another's loss
    kDeparture = 7,     ///< it said goodbye, and somebody needs it
  };
  Source source = Source::kLink;
  ErrorKind kind = ErrorKind::kRankFailed;
  Rank rank = -1;    ///< in the world: the rank that failed, or that the error came from
  std::string text;  ///< kRankFailed, kLinkLost, kIsolated: the cause; kRemote: EncodeStatus; else the whole message
  Rank other = -1;   ///< kLinkLost: the link's other end, which is the higher rank

  auto operator<=>(const Finding&) const = default;
};

std::string Encode(const Finding& finding);
/// ProtocolError where `text` is not what Encode writes.
arrow::Result<Finding> DecodeFinding(std::string_view text);

/// The error that `finding` is at a rank: `own_rank` in the world, in `operation` (its text and sequence; "" for none).
arrow::Status ToStatus(const Finding& finding, Rank own_rank, const std::string& host, const std::string& operation,
                       uint64_t sequence, bool agreed);

}  // namespace cylon::internal
