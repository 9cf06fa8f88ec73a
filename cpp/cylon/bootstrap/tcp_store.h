/// A store that a StoreServer keeps.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/store_client.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Connects and proves the secret, off loopback over TLS; tries again until `deadline` while nobody answers. Later
/// calls go on over another connection, and over a restart of the server, for up to `patience` (see StoreClient). The
/// connections are kept alive (see ConnectTcp). Never call it from a task.
arrow::Result<std::unique_ptr<Store>> OpenTcpStore(const HostPort& address, const Security& security,
                                                   AsioExecutor& executor, TimePoint deadline,
                                                   Duration patience = kStorePatience,
                                                   Duration keep_alive = kKeepAlive);

}  // namespace cylon
