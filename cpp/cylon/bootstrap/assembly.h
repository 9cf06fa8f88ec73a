/// How one process brings together those that have come, where all of them wait for it.
#pragma once

#include <optional>
#include <string>

#include "cylon/base/co.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"

namespace cylon::internal {

inline constexpr const char* kProblem = "/problem";

/// A process that joins.
struct Joiner {
  JoinRequest request;
  std::string nonce;
  std::string prefix;     // "job/"
  Duration time_to_live;  // of what it puts into the store
};

/// "job/epoch"
inline std::string EpochKey(const Joiner& me, const std::string& epoch) { return me.prefix + epoch; }

/// The epoch that the current leader calls for, "" where there is no leader.
Co<std::string> CurrentEpoch(Store* store, std::string prefix);

/// Who has not come, as an error. Never OK. `epoch`: "" where nobody leads.
Co<void> Missing(Store* store, const Joiner* me, std::string epoch);

/// Waits until all ranks of `epoch` have come, and none of them is seen to be dead, and writes the table. With
/// `former`, leads: keeps the leader's beat, and watches the world that was led before ("" where there was none), of
/// which this rank may be a second one. False: another leader was faster, and is to be followed.
Co<bool> Assemble(Store* store, Executor& executor, const Joiner* me, std::string epoch, Rank own,
                  std::optional<std::string> former);

}  // namespace cylon::internal
