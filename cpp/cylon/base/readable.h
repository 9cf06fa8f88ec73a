/// Numbers and ranks for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/export.h"

namespace cylon {

/// With the largest unit that leaves at least 1: "512 bytes", "1.5 MiB".
CYLON_EXPORT std::string ReadableBytes(int64_t bytes);

/// "0.5 s", "30 s", "3600 s".
CYLON_EXPORT std::string ReadableSeconds(double seconds);

/// "rank 3", "ranks 1, 2 and 7".
CYLON_EXPORT std::string ReadableRanks(const std::vector<Rank>& ranks);

}  // namespace cylon
