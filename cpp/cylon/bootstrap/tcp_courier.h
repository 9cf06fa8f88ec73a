/// A courier by way of a rendezvous server over TCP.
#pragma once

#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/bootstrap/rendezvous_client.h"
#include "cylon/wire/secure.h"

namespace cylon {

/// Draws a name, connects, and proves the secret, off loopback over TLS; tries again until `deadline` while nobody
/// answers. Later connections are made as a RendezvousClient does. All of them, relays too, are kept alive (see
/// ConnectTcp). `job` is whose limits hold for what is relayed; the server lets an end wait for its other for a minute
/// at most, and is dialled again for that where it is away. Probes go to the address that was dialled and to the
/// server's other ports there. The courier belongs to tasks, its end may come anywhere.
CYLON_EXPORT Co<std::unique_ptr<Courier>> OpenTcpCourier(AsioExecutor* executor, HostPort address, Security security,
                                                         std::string job, TimePoint deadline,
                                                         RendezvousPatience patience = {},
                                                         Duration keep_alive = kKeepAlive);

}  // namespace cylon
