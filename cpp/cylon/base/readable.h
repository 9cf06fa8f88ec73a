/// Numbers for people.
#pragma once

#include <cstdint>
#include <string>

#include "cylon/base/export.h"

namespace cylon {

/// With the largest unit that leaves at least 1: "512 bytes", "1.5 MiB".
CYLON_EXPORT std::string ReadableBytes(int64_t bytes);

}  // namespace cylon
