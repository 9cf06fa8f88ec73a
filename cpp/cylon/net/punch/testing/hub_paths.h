/// For tests: paths to others of one test, by holes on loopback or by a relay in memory.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/punch/testing/fake_courier.h"

namespace cylon::testing {

/// By way of `hub`, which lives as long as somebody has a path. `symmetric`: no hole can be made, so everything goes
/// through the relay.
inline std::function<arrow::Result<std::vector<std::unique_ptr<Path>>>(AsioExecutor&)> HubPaths(
    std::shared_ptr<CourierHub> hub, bool symmetric) {
  return
      [hub = std::move(hub), symmetric](AsioExecutor& executor) -> arrow::Result<std::vector<std::unique_ptr<Path>>> {
        auto courier = hub->Join(executor);
        if (symmetric) {
          courier->see = [](uint16_t port) {
            return SeenAddresses{{{"127.0.0.1", port}, {"127.0.0.1", static_cast<uint16_t>(port ^ 1)}}, true};
          };
        }
        const std::shared_ptr<Courier> kept(courier.get(), [hub, courier](Courier*) mutable {
          courier.reset();
          hub.reset();
        });
        return MakePunchPaths(executor, kept, "a secret", "conformance",
                              {.loopback = true, .hosts = std::vector<std::string>{}});
      };
}

}  // namespace cylon::testing
