/// What two ranks say about their link on a connection that both have proven themselves on.
#pragma once

#include <cstdint>
#include <string>

#include "cylon/base/co.h"
#include "cylon/base/error.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// The dialler wants this connection to carry the frames of the link from now on. A message of a Conversation:
///
///   0             8             16       20        24         32
///   +-------------+-------------+--------+---------+----------+
///   | incarnation | the other's | number | attempt | received |
///   +-------------+-------------+--------+---------+----------+
struct LinkClaim {
  uint64_t incarnation = 0;  ///< of the dialler: random, another one for each process that is this rank
  uint64_t known = 0;        ///< of the listener, as the dialler knows it; 0 before the first connection
  uint32_t number = 0;       ///< of the last connection that the dialler took up; 0 before the first one
  uint32_t attempt = 0;      ///< counts the dialler's attempts: a late one is told by it
  uint64_t received = 0;     ///< the last frame that the dialler has
};

/// The listener's answer:
///
///   0         1             9        13         21
///   +---------+-------------+--------+----------+--------------+
///   | outcome | incarnation | number | received | reason (text)|
///   +---------+-------------+--------+----------+--------------+
struct LinkAnswer {
  enum Outcome : uint8_t {
    kTaken = 1,
    kBusy = 2,     ///< another connection is there or coming: dial again later, should it not come
    kLeft = 3,     ///< the listener has said goodbye, or has heard the dialler's
    kRefused = 4,  ///< for good: `reason` says why
  };
  Outcome outcome = kRefused;
  uint64_t incarnation = 0;
  uint32_t number = 0;    ///< kTaken: of this connection
  uint64_t received = 0;  ///< kTaken: the last frame that the listener has
  std::string reason;
};

/// Each of these within 5 s, and before `deadline`.
Co<LinkAnswer> ClaimLink(Stream* stream, Executor& executor, LinkClaim claim, TimePoint deadline);
Co<LinkClaim> HearClaim(Stream* stream, Executor& executor, TimePoint deadline);
Co<void> AnswerClaim(Stream* stream, Executor& executor, LinkAnswer answer, TimePoint deadline);

}  // namespace cylon::internal
