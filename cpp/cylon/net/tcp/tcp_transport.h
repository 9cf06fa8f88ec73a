/// A mesh of TCP connections: ring neighbours at the start, everybody else on first use.
#pragma once

#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/transport.h"

namespace cylon {

/// Made in two steps, as the address has to be told before the world is known.
class CYLON_EXPORT TcpTransport {
 public:
  /// Listens on `bind_host`, any free port, for a world of `world_size` ranks: MostStrangers of it may be connected at
  /// once without having proven themselves, each for kStrangerPatience, before the world is known and after.
  static arrow::Result<std::unique_ptr<TcpTransport>> Listen(AsioExecutor& executor, const std::string& bind_host,
                                                             int world_size);
  virtual ~TcpTransport();
  /// For the rank's AddressCard.
  virtual std::string address() const = 0;
  /// The transport for `world`; connections that came before are kept. When two ranks dial each other at once, the
  /// connection dialled by the lower rank is kept.
  virtual std::unique_ptr<Transport> Join(World world, std::string secret, Duration connect_deadline) = 0;
};

}  // namespace cylon
