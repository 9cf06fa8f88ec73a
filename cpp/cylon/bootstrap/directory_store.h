/// A store in a directory that all processes see.
#pragma once

#include <memory>
#include <string>

#include "cylon/bootstrap/store.h"

namespace cylon {

/// One file per key in `directory`, which is made if need be. Safe with any number of processes: a value is written
/// beside and renamed or linked into its place; counters are guarded by a file lock.
arrow::Result<std::unique_ptr<Store>> OpenDirectoryStore(const std::string& directory, Executor& executor);

}  // namespace cylon
