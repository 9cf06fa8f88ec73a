/// Where a rank's transports come from: one for each world that it is part of, the first and those of Rejoin.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/options.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/comm/watch/watch.h"
#include "cylon/net/choice/choice_transport.h"
#include "cylon/net/inproc/inproc.h"
#include "cylon/net/transport.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

/// A rank's place in a world that is about to form, or has. Goes after the transport, in a task.
class Seat {
 public:
  virtual ~Seat();
  /// For the rank's card.
  virtual std::string address() const = 0;
  /// The same; "" where ranks are not watched, since they live and die together.
  virtual std::string watch_address() const { return ""; }
  /// The transport in `world`; once. Not OK: the wait for it was interrupted.
  virtual arrow::Result<std::unique_ptr<Transport>> Join(const World& world) = 0;
  /// The watch in `world`, once, or none. Before the transport starts.
  virtual std::unique_ptr<Watch> MakeWatch(const World& world);
  /// What went over each transport, where that is counted; one alone is not measured. From any thread.
  virtual std::vector<ChannelUse> Uses() const { return {}; }
};

/// A seat in a world of about `ranks` ranks.
using Network = std::function<arrow::Result<std::unique_ptr<Seat>>(int ranks)>;

/// Processes, over links on the paths that `options.transport` names.
Network MeshNetwork(AsioExecutor& executor, Options options, std::string secret);

/// Processes, through a Redis server, which `options` name (RedisServerOf).
Network RedisNetwork(AsioExecutor& executor, const Options& options, std::string secret);

/// Processes, through the object store that `options` name.
Network ObjectNetwork(Executor& executor, const Options& options, std::string secret);

/// The rendezvous server that `options` name: `options.rendezvous`, or else the store. Invalid where neither is
/// host:port.
arrow::Result<HostPort> RendezvousOf(const Options& options);

/// Processes that can dial out and cannot be dialled: over memory within a host, through holes in their gateways, else
/// through a relay (net/punch), by way of the server that `options` name (RendezvousOf).
Network PunchNetwork(AsioExecutor& executor, Options options, std::string secret);

/// What the ranks of one process share, over all their worlds. Thread-safe.
class InprocWorlds {
 public:
  /// A new address.
  std::string Enter();
  std::unique_ptr<Transport> Join(const World& world, Executor& executor);
  /// Whoever had `address` joins no world any more: those that name it see it as lost.
  void Leave(const std::string& address, Executor& executor);

 private:
  struct Epoch {
    World world;
    std::unique_ptr<InprocHub> hub;
    std::set<Rank> joined;  // or lost before they did
  };
  void Lose(Epoch* epoch, Executor& executor);

  std::mutex mutex_;
  int64_t entered_ = 0;
  std::set<std::string> gone_;
  std::map<std::string, Epoch> epochs_;
};

/// Ranks that are threads.
Network InprocNetwork(std::shared_ptr<InprocWorlds> worlds, Executor& executor);

}  // namespace cylon::internal
