/// For tests: ranks whose connections go through holes, or through a relay.
#pragma once

#include <memory>
#include <vector>

#include "cylon/net/conformance.h"
#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/punch/testing/fake_courier.h"

namespace cylon::testing {

/// With a hub of its own. `symmetric`: no hole can be made, so everything goes through the relay.
inline std::unique_ptr<ConformanceWorld> MakePunchWorld(int ranks, bool symmetric) {
  auto hub = std::make_shared<CourierHub>();
  return std::make_unique<MeshConformanceWorld>(
      ranks, [hub, symmetric](AsioExecutor& executor) -> arrow::Result<std::vector<std::unique_ptr<Path>>> {
        auto courier = hub->Join(executor);
        if (symmetric) {
          courier->see = [](uint16_t port) {
            return SeenAddresses{{{"127.0.0.1", port}, {"127.0.0.1", static_cast<uint16_t>(port ^ 1)}}, true};
          };
        }
        // The hub lives as long as somebody has a path.
        const std::shared_ptr<Courier> kept(courier.get(), [hub, courier](Courier*) mutable {
          courier.reset();
          hub.reset();
        });
        return MakePunchPaths(executor, kept, "a secret", "conformance",
                              {.loopback = true, .hosts = std::vector<std::string>{}});
      });
}

/// Fewer messages, and smaller ones: everything is encrypted.
inline std::vector<Subject> PunchSubjects() {
  const int64_t large = LongTests() && !kSanitized ? 256 << 20 : 8 << 20;
  const int64_t many = kSanitized ? 2000 : 20000;
  return {{"punch", [](int ranks, uint64_t) { return MakePunchWorld(ranks, false); }, 1, large, many},
          {"relay", [](int ranks, uint64_t) { return MakePunchWorld(ranks, true); }, 1, large, many}};
}

}  // namespace cylon::testing
