/// The `cylon-rendezvous` program's server: a store, and a place where processes talk that cannot reach each other yet.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <memory>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/rendezvous_counters.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Serves stores (OpenStore), couriers (OpenTcpCourier), their relays and their probes until destroyed. All of them
/// come to one port, and say in their handshake what they want; probes come to a second one besides, so that a process
/// learns whether its gateway gives each destination a port of its own. Clients prove the secret first, off loopback
/// over TLS (see wire/secure); probes prove nothing, and show a token that a session has drawn.
class CYLON_EXPORT RendezvousServer {
 public:
  /// `probe_port`: 0 takes a free one. IOError names a port that is busy; AuthenticationError where there is no secret.
  static arrow::Result<std::unique_ptr<RendezvousServer>> Start(AsioExecutor& executor, const HostPort& listen,
                                                                uint16_t probe_port, Security security);
  virtual ~RendezvousServer();
  virtual HostPort address() const = 0;
  virtual HostPort probe_address() const = 0;
  /// As they are now.
  virtual RendezvousCounters counters() const = 0;
};

}  // namespace cylon
