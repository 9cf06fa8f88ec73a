/// A store in a directory that all processes see.
#pragma once

#include <memory>
#include <string>

#include "cylon/bootstrap/store.h"

namespace cylon {

/// One file per key in `directory`, which is made if need be. Safe with any number of processes: a value is written
/// beside and renamed into its place, and a file lock guards every change. Times to live count by the file system's
/// clock; what has expired is removed when a store is opened there.
arrow::Result<std::unique_ptr<Store>> OpenDirectoryStore(const std::string& directory, Executor& executor);

}  // namespace cylon
