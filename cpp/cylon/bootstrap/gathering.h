/// How those who are left of a world that failed, and processes that replace the others, become a new world.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"

namespace cylon {

struct GatherRequest {
  std::string job;
  std::string epoch;   ///< of the world that failed; "": this process replaces a rank, of whichever gathers next
  Rank rank = -1;      ///< in that world; -1 for a replacement
  int world_size = 0;  ///< of that world
  /// Ranks that cannot come, as far as is known by now: nobody waits for these. Asked in tasks; or none.
  std::function<std::vector<Rank>()> gone;
  int least_ranks = 1;  ///< of the new world; the most that any of the survivors asks for counts
  AddressCard card;     ///< for the new world
  TimePoint deadline;   ///< the window ends; for a replacement: until when it waits to be taken in
  std::shared_ptr<const std::atomic<bool>> abandoned;  ///< as in JoinRequest
};

/// Each survivor and each replacement calls it once. Ends when every rank that is not `gone` has come and there are
/// least_ranks, or with the window; then the first survivor to see that says, in one value of the store, who is in: all
/// get the same world. Its epoch is "<counter>-<128 random bits>"; survivors keep their order, replacements follow in
/// theirs. DeadlineError, the same at all, where fewer than least_ranks came, naming who is missing; DeadlineError for
/// whom the others went on without (a survivor that came too late, a replacement that nobody took); Invalid where a
/// rank comes twice.
CYLON_EXPORT Co<World> Gather(Store* store, Executor& executor, GatherRequest request);

}  // namespace cylon
