/// Who has been let in at a rendezvous server, and what it may do there.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/ticket.h"

namespace cylon {

/// A client that has proven itself.
struct Guest {
  std::string job;                          ///< whose processes it may talk to
  std::optional<TicketClaims> ticket = {};  ///< by which it was let in; none: by the jobs' secret
  TimePoint ticket_ends = kNever;           ///< from then on the ticket lets nobody in

  /// Processes of its job that may be there at once.
  size_t places() const { return ticket ? ticket->ranks : SIZE_MAX; }
  /// Names under which they may be there: each has one for its data and one for its watch.
  size_t names() const { return ticket ? 2 * static_cast<size_t>(ticket->ranks) : SIZE_MAX; }
};

}  // namespace cylon
