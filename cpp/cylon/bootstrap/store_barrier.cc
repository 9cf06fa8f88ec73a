// A barrier in the store.
//
//   job/epoch/barrier/<name>/<rank>   this rank has come
//   job/epoch/barrier/<name>/open     all have, says rank 0
#include "cylon/bootstrap/store_barrier.h"

#include "cylon/base/readable.h"

namespace cylon {

namespace {

/// DeadlineError with the names of those who have not come.
Co<void> NotCome(Store* store, World world, std::string name, std::string prefix) {
  std::vector<Rank> missing;
  for (Rank rank = 0; rank < world.size(); ++rank) {
    auto looking = store->TryGet(prefix + std::to_string(rank));
    const auto here = co_await looking;
    if (here.status().IsKeyError()) {
      missing.push_back(rank);
    } else if (!here.ok()) {
      co_return here.status();
    }
  }
  if (missing.empty()) {
    co_return DeadlineError("all ranks of job '" + world.job + "' came to the barrier '" + name +
                            "', but too late for its deadline; give them more time");
  }
  co_return DeadlineError(ReadableRanks(missing) + " of " + std::to_string(world.size()) + " of job '" + world.job +
                              "' did not come to the barrier '" + name +
                              "' within its deadline; look for why in their output, or give them more time",
                          missing[0]);
}

}  // namespace

Co<void> StoreBarrier(Store* store, World world, std::string name, TimePoint deadline) {
  const std::string prefix = world.job + "/" + world.epoch + "/barrier/" + name + "/";
  auto coming = store->Set(prefix + std::to_string(world.rank), "", kRunTimeToLive);
  CYLON_CO_RETURN_NOT_OK(co_await coming);
  std::vector<std::string> awaited;
  if (world.rank == 0) {
    for (Rank rank = 1; rank < world.size(); ++rank) {
      awaited.push_back(prefix + std::to_string(rank));
    }
  } else {
    awaited.push_back(prefix + "open");
  }
  for (const auto& key : awaited) {
    auto getting = store->Get(key, deadline);
    const arrow::Status status = (co_await getting).status();
    if (IsError(status, ErrorKind::kDeadline)) {
      auto naming = NotCome(store, world, name, prefix);
      co_return co_await naming;
    }
    CYLON_CO_RETURN_NOT_OK(status);
  }
  if (world.rank == 0) {
    auto opening = store->Set(prefix + "open", "", kRunTimeToLive);
    CYLON_CO_RETURN_NOT_OK(co_await opening);
  }
  co_return arrow::Status::OK();
}

}  // namespace cylon
