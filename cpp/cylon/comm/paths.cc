// Which ways a rank offers to the others.
#include "cylon/comm/paths.h"

#include <string>
#include <string_view>
#include <utility>

#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/shm/shm_path.h"
#include "cylon/net/tcp/tcp_path.h"

namespace cylon::internal {

namespace {

/// "shm://<boot id>/": what the addresses of one host have in common.
std::string_view HostOf(std::string_view address) { return address.substr(0, address.rfind('/') + 1); }

/// A launcher says how many ranks are on this host; where none does, all may be.
arrow::Result<std::unique_ptr<Path>> MakeShmPath(AsioExecutor& executor, const Options& options) {
  const int here = options.local_size > 1 ? options.local_size : options.world_size;
  return ListenShm(executor, FitShmOptions(options.shm_ring_bytes, options.spin_us, here, DetectHostLimits().cores));
}

}  // namespace

arrow::Result<std::vector<std::unique_ptr<Path>>> MakePaths(AsioExecutor& executor, const Options& options) {
  const std::string transport = options.transport.empty() ? "auto" : options.transport;
  std::vector<std::unique_ptr<Path>> paths;
  if (transport != "tcp") {
    auto shm = MakeShmPath(executor, options);
    if (shm.ok()) {
      paths.push_back(shm.MoveValueUnsafe());
    } else if (transport == "shm" || shm.status().IsInvalid()) {
      return shm.status();
    }
  }
  if (transport != "shm") {
    const std::string bind = options.bind_host.empty() ? "127.0.0.1" : options.bind_host;
    ARROW_ASSIGN_OR_RAISE(auto tcp, MakeTcpPath(executor, bind));
    paths.push_back(std::move(tcp));
  }
  return paths;
}

arrow::Result<std::vector<std::unique_ptr<Path>>> MakePathsOut(AsioExecutor& executor, const Options& options,
                                                               std::shared_ptr<Courier> courier,
                                                               const std::string& secret) {
  ARROW_ASSIGN_OR_RAISE(auto paths, MakePunchPaths(executor, std::move(courier), secret, options.job));
  auto shm = MakeShmPath(executor, options);
  if (shm.ok()) {
    paths.insert(paths.begin(), shm.MoveValueUnsafe());
  } else if (shm.status().IsInvalid()) {
    return shm.status();
  }
  return paths;
}

arrow::Status CheckPaths(const Options& options, const World& world) {
  if (options.transport != "shm") {
    return arrow::Status::OK();
  }
  const auto& own = world.cards[static_cast<size_t>(world.rank)];
  for (Rank rank = 0; rank < world.size(); ++rank) {
    const auto& card = world.cards[static_cast<size_t>(rank)];
    if (HostOf(card.address) != HostOf(own.address)) {
      return arrow::Status::Invalid("transport is 'shm', but rank ", world.rank, " is on host ", own.host, " and rank ",
                                    rank, " on host ", card.host,
                                    ", which have no memory in common; set CYLON_TRANSPORT=auto, which is shm within "
                                    "a host and tcp between hosts, at every rank");
    }
  }
  return arrow::Status::OK();
}

}  // namespace cylon::internal
