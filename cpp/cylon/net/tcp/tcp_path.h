/// Ranks that reach each other over TCP.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/net/mesh/path.h"

namespace cylon {

/// Listens on `bind_host`, any free port. IOError where that is no address of this machine.
CYLON_EXPORT arrow::Result<std::unique_ptr<Path>> MakeTcpPath(AsioExecutor& executor, const std::string& bind_host);

}  // namespace cylon
