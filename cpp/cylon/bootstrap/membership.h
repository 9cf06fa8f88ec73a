/// How the processes of a job become ranks 0 … size - 1 that know each other's addresses.
#pragma once

#include <arrow/result.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/base/error.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/store.h"

namespace cylon {

/// What the others need to know of a rank.
struct AddressCard {
  std::string host;     ///< the machine's name, for messages and for finding ranks of one host
  int64_t process = 0;  ///< process id there
  std::string address;  ///< of its transport's listener, as the transport writes it; "" where it needs none
  std::string watch{};  ///< the same of its watch; "" where it has none
};

/// The world as every rank of one epoch sees it.
struct World {
  std::string job;
  std::string epoch;  ///< differs from run to run of one job, 128 random bits in hexadecimal
  Rank rank = 0;
  std::vector<AddressCard> cards;  ///< by rank
  int size() const { return static_cast<int>(cards.size()); }
};

struct JoinRequest {
  std::string job;
  std::string epoch;  ///< given by a launcher; "" where the ranks have to agree on one
  Rank rank = -1;     ///< -1: drawn
  int world_size = 1;
  AddressCard card;
  TimePoint deadline;
  std::shared_ptr<const std::atomic<bool>>
      abandoned;  ///< set by whoever stops waiting for Join, which ends it soon; or none
};

/// Joins: every process of the job calls it once. Keys are `job/…`. Processes of earlier runs that crashed may have
/// left theirs: whoever does not answer the roll-call of this run does not count, so the same job can be run again at
/// once. DeadlineError names the ranks that never came (or, where ranks are drawn, how many are missing); Invalid where
/// a rank is taken twice or world sizes differ.
CYLON_EXPORT Co<World> Join(Store* store, Executor& executor, JoinRequest request);

/// Where those that still join are told, by EncodeStatus, that there will be no world: by one of them, or by a launcher
/// that saw a process end before its time. The first that is set counts.
CYLON_EXPORT std::string JoinProblemKey(std::string_view job, std::string_view epoch);

/// Removes what this rank put into the store for `world`; the last to leave removes what they have in common. Called at
/// the end of an orderly run. Whoever stops waiting for it sets `abandoned`, in a task: `store` may go after that.
CYLON_EXPORT Co<void> Leave(Store* store, World world, std::shared_ptr<const bool> abandoned);

}  // namespace cylon
