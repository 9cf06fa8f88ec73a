/// The ways that one rank has to the others: its paths, tried in the order of a card's addresses.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/net/mesh/path.h"

namespace cylon::internal {

struct Reached {
  Path* path = nullptr;
  std::unique_ptr<Stream> stream;
};

/// Connects by the first of `addresses`, separated by blanks, that can be had over `paths`, which outlive the call.
/// Invalid where none of the paths knows any of them; NobodyListens where nobody listens at any; else IOError, or
/// DeadlineError where time ran out, with what became of each.
Co<Reached> ConnectByAny(const std::vector<std::unique_ptr<Path>>& paths, std::string addresses, TimePoint deadline,
                         arrow::Future<> stop);

}  // namespace cylon::internal
