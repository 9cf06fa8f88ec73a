/// What the contexts of one rank stand on, put together and taken apart in order.
#pragma once

#include <arrow/result.h>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/resources.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/presence.h"
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

/// Of this machine, for messages and cards.
std::string HostName();

/// How this rank ends.
arrow::Status EndOfRank(const Options& options, const JobEnd& end);

/// All have come: until when they have to be connected, or it is known who is not there. Those who wait for a rank say
/// so themselves before.
TimePoint ConnectedBy(const Parts& parts);

/// An interrupted join looks up from its polls at least every 50 ms.
constexpr auto kAbandonedJoin = std::chrono::seconds(1);

/// Waits for `future`, a protocol that ends by itself soon after `abandoned` is set, and which refers to things that
/// have to outlive it.
template <typename T>
arrow::Result<T> AwaitOrAbandon(Executor& executor, const arrow::Future<T>& future, std::atomic<bool>* abandoned) {
  auto outcome = executor.Await(future);
  if (future.is_finished()) {
    return outcome;
  }
  // Interrupted: within a poll or an answer of the store.
  abandoned->store(true);
  return outcome.status() & executor.Wait(arrow::Future<>(future), executor.Now() + kAbandonedJoin);
}

/// Shared by a context and those that were split from it; the last one takes it apart.
class Runtime {
 public:
  explicit Runtime(Parts parts);

  ~Runtime();

  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  arrow::Status Start(TimePoint deadline);

  arrow::Result<std::string> Explain() const;

  /// For as long as it runs, where processes may come that take its ranks for free. A launcher's epoch is nobody
  /// else's: who comes too late there finds the table.
  void ShowPresence();

  arrow::Status Close();

  /// What the next world of this process stands on, when it has gathered; this runtime is closed then, also where that
  /// fails.
  arrow::Result<Parts> Gather(const RejoinOptions& options);

  const Parts& parts() const { return parts_; }
  bool revoked() const { return endpoint_->world_group() != nullptr && !endpoint_->world_group()->Check().ok(); }
  bool forked() const { return liveness_->forked(); }
  std::shared_ptr<Communicator> WorldCommunicator();

 private:
  std::vector<ChannelUse> Uses() const { return parts_.seat ? parts_.seat->Uses() : std::vector<ChannelUse>(); }

  /// The rates of the channels that most pairs take.
  void ForetellByPlan();

  TimePoint EndsAfter(TimePoint now) const;
  /// What `status`, with which the wait for all links ended, means; nobody has said more.
  arrow::Status NotConnected(const arrow::Status& status) const;

  arrow::Result<std::pair<World, std::unique_ptr<Seat>>> GatherInStore(const RejoinOptions& options);

  /// Before its rank leaves the store, or this the store.
  void StopPresence();

  /// Stops, and gives what may go on in another world.
  Parts TakeApart(const arrow::Status& why);

  void Stop(const arrow::Status& why);

  Parts parts_;
  TimePoint began_ = parts_.executor->Now();
  std::shared_ptr<Liveness> liveness_ = std::make_shared<Liveness>();
  std::shared_ptr<Endpoint> endpoint_;
  std::shared_ptr<Timer> end_timer_;
  std::shared_ptr<Presence> presence_;
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
