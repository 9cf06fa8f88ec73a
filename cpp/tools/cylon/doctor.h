/// `cylon doctor`: what is here, and what is wrong with it.
#pragma once

#include <map>
#include <string>

namespace cylon::tools {

/// Prints versions, limits and settings to stdout. Returns 0, or 1 where something would keep a job from running; each
/// problem is named with what to do.
int Doctor(const std::map<std::string, std::string>& environment);

}  // namespace cylon::tools
