/// What crashed runs of a job have left in an object store.
#pragma once

#include <memory>

#include "cylon/net/object/object_names.h"
#include "cylon/net/object/object_store.h"

namespace cylon::internal {

/// Deletes the objects of this job's other runs in which nothing was written for `lease`: as long as a run lives, its
/// beats are. "Now" is when this run last wrote something, so that the store's clock alone counts. `names` of this run,
/// which beats.
Co<void> DeleteExpired(std::shared_ptr<ObjectStore> store, std::shared_ptr<const ObjectNames> names, Duration lease);

}  // namespace cylon::internal
