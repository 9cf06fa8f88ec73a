/// What the contexts of one rank stand on, put together and taken apart in order.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/base/resources.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"
#include "cylon/comm/context.h"
#include "cylon/comm/group_communicator.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/transport.h"

namespace cylon::internal {

/// What a rank is made of. Members are destroyed from the last to the first, after Runtime has emptied them.
struct Parts {
  std::shared_ptr<void> reports;  ///< keeps SIGUSR1 answered, or none
  std::shared_ptr<Resources> resources;
  std::shared_ptr<void> shared;                ///< what ranks of one process share (a hub); goes after the transport
  std::unique_ptr<AsioExecutor> own_executor;  ///< or none:
  Executor* executor = nullptr;
  std::unique_ptr<Store> store;             ///< or none
  std::unique_ptr<MeshTransport> listener;  ///< or none
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Watch> watch;  ///< or none, where ranks are threads of one process
  World world;
  bool launcher = false;  ///< something may set the launcher's word
};

/// A rank of a world that stands: connects, and returns when the first links stand.
arrow::Result<std::shared_ptr<Context>> MakeContext(Parts parts, TimePoint deadline);

/// A rank over links between processes: joins by way of `parts.store`. `parts` has own_executor and store.
arrow::Result<std::shared_ptr<Context>> ConnectMesh(Parts parts, const Options& options, std::string secret);

/// A world of one rank.
World LocalWorld();

}  // namespace cylon::internal
