/// The TCP store server: the `cylon-rendezvous` program, and embedded in the launcher.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Serves a store until destroyed. Clients prove the secret first, off loopback over TLS (see wire/secure). Memory is
/// bounded: keys, values, connections and waiting gets have limits, and a refused request says which.
class CYLON_EXPORT StoreServer {
 public:
  static arrow::Result<std::unique_ptr<StoreServer>> Start(AsioExecutor& executor, const HostPort& listen,
                                                           Security security);
  virtual ~StoreServer();
  virtual HostPort address() const = 0;
  /// Sets a key that is not there yet from inside the server's process (the launcher's word about a dead rank), for
  /// kRunTimeToLive.
  virtual void SetLocally(const std::string& key, const std::string& value) = 0;
};

}  // namespace cylon
