/// For tests: ranks whose connections go through holes, or through a relay.
#pragma once

#include <memory>
#include <vector>

#include "cylon/net/conformance.h"
#include "cylon/net/punch/testing/hub_paths.h"

namespace cylon::testing {

/// With a hub of its own.
inline std::unique_ptr<ConformanceWorld> MakePunchWorld(int ranks, bool symmetric) {
  return std::make_unique<MeshConformanceWorld>(ranks, HubPaths(std::make_shared<CourierHub>(), symmetric));
}

/// Fewer messages, and smaller ones: everything is encrypted.
inline std::vector<Subject> PunchSubjects() {
  const int64_t large = LongTests() && !kSanitized ? 256 << 20 : 8 << 20;
  const int64_t many = kSanitized ? 2000 : 20000;
  return {{"punch", [](int ranks, uint64_t) { return MakePunchWorld(ranks, false); }, 1, large, many},
          {"relay", [](int ranks, uint64_t) { return MakePunchWorld(ranks, true); }, 1, large, many}};
}

}  // namespace cylon::testing
