/// The `cylon-rendezvous` program's server: a store, and a place where processes talk that cannot reach each other yet.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/rendezvous_counters.h"
#include "cylon/bootstrap/rendezvous_relay.h"
#include "cylon/bootstrap/rendezvous_sessions.h"
#include "cylon/bootstrap/ticket.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// Something that whoever runs a server may want to read.
struct ServerEvent {
  bool warning = false;
  std::string what;                                         ///< "admitted", "refused", "limit", "broken", "world"
  std::vector<std::pair<std::string, std::string>> fields;  ///< "job", "peer", "purpose", "reason", "message", ...
};

/// How a rendezvous server lets in, and how much.
struct RendezvousConfig {
  Security security = {};         ///< its secret is the jobs'
  std::string operator_key = {};  ///< lets in by tickets that are signed with it, and not by the secret; "": no tickets
  RendezvousLimits sessions = {};
  RelayLimits relay = {};
  UnixClock unix_clock = {};             ///< by which tickets expire; nothing: the machine's
  std::optional<HostPort> metrics = {};  ///< where RendezvousMetrics are read over HTTP, by anybody; or nowhere
  std::function<void(const ServerEvent&)> log = {};  ///< told in tasks; nothing: nobody
};

/// Serves stores (OpenStore), couriers (OpenTcpCourier), their relays and their probes until destroyed. All of them
/// come to one port, and say in their handshake what they want; probes come to a second one besides, so that a process
/// learns whether its gateway gives each destination a port of its own. Clients prove the secret first, the jobs' or
/// that of their ticket, off loopback over TLS (see wire/secure); probes prove nothing, and show a token that a session
/// has drawn.
class CYLON_EXPORT RendezvousServer {
 public:
  /// `probe_port`: 0 takes a free one. IOError names a port that is busy; AuthenticationError where there is neither a
  /// secret nor an operator's key.
  static arrow::Result<std::unique_ptr<RendezvousServer>> Start(AsioExecutor& executor, const HostPort& listen,
                                                                uint16_t probe_port, RendezvousConfig config);
  virtual ~RendezvousServer();
  virtual HostPort address() const = 0;
  virtual HostPort probe_address() const = 0;
  /// Of the metrics; port 0 where there are none.
  virtual HostPort metrics_address() const = 0;
  /// As they are now.
  virtual RendezvousCounters counters() const = 0;
};

}  // namespace cylon
