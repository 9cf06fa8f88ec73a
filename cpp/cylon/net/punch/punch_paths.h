/// Processes behind gateways reach each other: by a hole in these, else by a relay.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/net/mesh/path.h"

namespace cylon {

/// For tests on one host: a job has no reason to set any of these.
struct PunchOptions {
  bool loopback = false;                               ///< dial loopback addresses too
  std::optional<std::vector<std::string>> hosts = {};  ///< instead of the addresses of this host's interfaces
};

/// "punch://<courier's name>" and "relay://<courier's name>", the better one first, for processes of one `job` that
/// know its `secret`. What they tell each other over `courier` is sealed by it. The courier is theirs from now on: they
/// read its letters, and close it when both of them are closed, whereupon others find nobody of that name. No stream of
/// theirs is_loopback(), so wire/secure.h encrypts all. In a task. AuthenticationError without a secret.
CYLON_EXPORT arrow::Result<std::vector<std::unique_ptr<Path>>> MakePunchPaths(AsioExecutor& executor,
                                                                              std::shared_ptr<Courier> courier,
                                                                              std::string secret, std::string job,
                                                                              PunchOptions options = {});

}  // namespace cylon
