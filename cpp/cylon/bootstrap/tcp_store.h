/// A store that a StoreServer keeps, over one connection.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/store.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Connects and proves the secret; tries again until `deadline` while nobody answers. Never call it from a task.
arrow::Result<std::unique_ptr<Store>> OpenTcpStore(const HostPort& address, const std::string& secret,
                                                   AsioExecutor& executor, TimePoint deadline);

}  // namespace cylon
