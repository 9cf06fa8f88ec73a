/// A barrier in the store, for when there is no mesh yet.
#pragma once

#include <string>

#include "cylon/base/co.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"

namespace cylon {

/// Returns when every rank of `world` has called it. Collective. `name` is for one barrier of an epoch: where it was
/// used before, that barrier is open. Rank 0 sees all others come and opens it, so 2 * world size requests are made.
/// DeadlineError that names the ranks that did not come, at each rank that waits when its deadline passes.
CYLON_EXPORT Co<void> StoreBarrier(Store* store, World world, std::string name, TimePoint deadline);

}  // namespace cylon
