/// A mesh of links over whatever paths there are: ring neighbours at the start, everybody else on first use.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/mesh/path.h"
#include "cylon/net/transport.h"
#include "cylon/wire/secure.h"

namespace cylon {

/// How ranks connect.
struct MeshSettings {
  Security security = {};
  Duration connect_deadline = std::chrono::seconds(10);  ///< of a first connection, with its handshake
  Duration peer_timeout = std::chrono::seconds(10);      ///< silence after which the way to a peer counts as lost
  Duration keep_alive = kKeepAlive;  ///< a link is pinged this often at least, or four times in peer_timeout
  std::string equal_options = {};    ///< "piece_bytes=1048576;…": what has to be the same at both ends (see Identity)
};

/// Made in two steps, as the address has to be told before the world is known. All calls in tasks of the executor.
class CYLON_EXPORT MeshTransport {
 public:
  /// Accepts on all `paths`, the best first, for a world of `world_size` ranks: MostStrangers of it may be connected at
  /// once without having proven themselves, each for kStrangerPatience, before the world is known and after.
  static std::unique_ptr<MeshTransport> Listen(Executor& executor, std::vector<std::unique_ptr<Path>> paths,
                                               int world_size);
  virtual ~MeshTransport();
  /// For the rank's AddressCard: the addresses of all paths, separated by blanks.
  virtual std::string address() const = 0;
  /// The transport for `world`; connections that came before are kept. Connections that end are made again, and nothing
  /// is lost or doubled. OnPeerLost: NobodyListens (wire/stream.h) where the peer's process is gone for certain; else
  /// the way to it cannot be restored, and it may be alive.
  virtual std::unique_ptr<Transport> Join(World world, MeshSettings settings) = 0;
};

}  // namespace cylon
