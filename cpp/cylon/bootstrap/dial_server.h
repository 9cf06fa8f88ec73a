/// A connection to one of the project's servers, on which both ends have proven themselves.
#pragma once

#include <memory>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// One attempt: a connection and its handshake, as `self`. `stop` ends it early, whatever it waits for.
Co<std::unique_ptr<Stream>> DialServer(AsioExecutor* executor, HostPort address, Security security, Identity self,
                                       arrow::Future<> stop, Duration keep_alive, TimePoint deadline);

}  // namespace cylon
