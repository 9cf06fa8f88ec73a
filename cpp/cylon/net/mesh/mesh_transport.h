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

namespace cylon {

/// How ranks connect.
struct MeshSettings {
  std::string secret;                                    ///< the job's
  Duration connect_deadline = std::chrono::seconds(10);  ///< of a first connection, with its handshake
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
  /// The transport for `world`; connections that came before are kept. When two ranks dial each other at once, the
  /// connection dialled by the lower rank is kept.
  virtual std::unique_ptr<Transport> Join(World world, MeshSettings settings) = 0;
};

}  // namespace cylon
