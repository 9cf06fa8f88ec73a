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
#include "cylon/comm/network.h"
#include "cylon/net/transport.h"

namespace cylon::internal {

/// When a rank's part in a job ends, whatever it does.
struct JobEnd {
  TimePoint at = kNever;
  bool alone = false;  ///< its own time is up, and the others may go on; else that of the whole job
};

/// What a rank is made of. Members are destroyed from the last to the first, after Runtime has emptied them.
struct Parts {
  std::shared_ptr<void> reports;  ///< keeps SIGUSR1 answered, or none
  std::shared_ptr<Resources> resources;
  std::shared_ptr<AsioExecutor> own_executor;  ///< or none: it is of whoever made this. Shared with what Rejoin makes.
  Executor* executor = nullptr;
  std::function<arrow::Status()> interrupt;  ///< hook of every wait, or none
  std::unique_ptr<Store> store;              ///< or none
  Network network;                           ///< or none
  std::unique_ptr<Seat> seat;                ///< or none
  std::unique_ptr<Transport> transport;
  std::unique_ptr<Watch> watch;  ///< or none, where ranks are threads of one process
  World world;
  bool launcher = false;  ///< something may set the launcher's word
  JobEnd end;
};

/// A rank of a world that stands: connects, and returns when the first links stand.
arrow::Result<std::shared_ptr<Context>> MakeContext(Parts parts, TimePoint deadline);

/// A rank that meets the others in `parts.store` (as a replacement with options.rejoin), and is connected to them by
/// `parts.network`. `parts` has an executor as well.
arrow::Result<std::shared_ptr<Context>> JoinWorld(Parts parts, Options options);

/// By deadline_s and time_left_s, of a rank that begins to join now.
JobEnd EndOf(const Options& options, TimePoint now);

/// A world of one rank.
World LocalWorld();

}  // namespace cylon::internal
