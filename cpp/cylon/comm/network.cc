// Where a rank's transports come from.
#include "cylon/comm/network.h"

#include <utility>

#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/tcp_courier.h"
#include "cylon/bootstrap/ticket.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/comm/paths.h"
#include "cylon/comm/watch/tcp_wire.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/redis/redis_transport.h"

namespace cylon::internal {

Seat::~Seat() = default;

std::unique_ptr<Watch> Seat::MakeWatch(const World& /*world*/) { return nullptr; }

namespace {

/// Paths, made in a task.
using PathMaker = std::function<arrow::Result<std::vector<std::unique_ptr<Path>>>()>;

/// What is done with the listener is done in tasks, as connections may come meanwhile.
class MeshSeat final : public Seat {
 public:
  MeshSeat(AsioExecutor& executor, Options options, MeshSettings settings)
      : executor_(executor), options_(std::move(options)), settings_(std::move(settings)) {}
  ~MeshSeat() override {
    wire_.reset();  // its executor is the watch's
    RunNow(executor_, [listener = std::move(listener_)]() mutable { listener.reset(); });
  }
  MeshSeat(const MeshSeat&) = delete;
  MeshSeat& operator=(const MeshSeat&) = delete;

  arrow::Status Listen(int ranks, const PathMaker& make_paths) {
    auto made = std::make_shared<std::shared_ptr<MeshTransport>>();
    ARROW_RETURN_NOT_OK(executor_.RunTask([made, &executor = executor_, make_paths, ranks]() -> arrow::Status {
      ARROW_ASSIGN_OR_RAISE(auto paths, make_paths());
      *made = MeshTransport::Listen(executor, std::move(paths), ranks);
      return arrow::Status::OK();
    }));
    listener_ = std::move(*made);
    address_ = listener_->address();
    return arrow::Status::OK();
  }
  /// Where ranks can be dialled: a listener for their watches.
  arrow::Status ListenForWatches(int ranks) {
    auto executor = std::make_unique<AsioExecutor>("cylon-watch");
    auto& runs = *executor;
    wire_ = std::make_shared<TcpWire>(runs, ranks);
    watch_ = std::make_unique<Watch>(std::move(executor), runs, wire_);
    ARROW_RETURN_NOT_OK(wire_->Listen(options_.bind_host.empty() ? "127.0.0.1" : options_.bind_host));
    watch_address_ = wire_->address();
    return arrow::Status::OK();
  }

  std::string address() const override { return address_; }
  std::string watch_address() const override { return watch_address_; }
  std::unique_ptr<Watch> MakeWatch(const World& world) override {
    if (wire_ != nullptr) {
      wire_->Join(world, settings_.security);
      wire_.reset();
    }
    return std::move(watch_);
  }
  arrow::Result<std::unique_ptr<Transport>> Join(const World& world) override {
    ARROW_RETURN_NOT_OK(CheckPaths(options_, world));
    settings_.equal_options = "world_size=" + std::to_string(world.size()) +
                              ";piece_bytes=" + std::to_string(options_.piece_bytes) +
                              ";eager_bytes=" + std::to_string(options_.eager_bytes);
    auto made = std::make_shared<std::unique_ptr<Transport>>();
    ARROW_RETURN_NOT_OK(executor_.RunTask([made, listener = listener_, world, settings = settings_] {
      *made = listener->Join(world, settings);
      return arrow::Status::OK();
    }));
    return std::move(*made);
  }

 private:
  AsioExecutor& executor_;
  Options options_;
  MeshSettings settings_;
  std::shared_ptr<MeshTransport> listener_;
  // Until MakeWatch. The watch owns the executor of its wire.
  std::shared_ptr<TcpWire> wire_;
  std::unique_ptr<Watch> watch_;
  std::string watch_address_;
  std::string address_;
};

/// Messages go through a server, and so do signs of life: there is nothing to listen on, and nothing to watch.
class RedisSeat final : public Seat {
 public:
  RedisSeat(AsioExecutor& executor, RedisAddress server, std::string address, std::string secret, Duration timeout)
      : executor_(executor),
        server_(std::move(server)),
        address_(std::move(address)),
        secret_(std::move(secret)),
        timeout_(timeout) {}

  std::string address() const override { return address_; }
  arrow::Result<std::unique_ptr<Transport>> Join(const World& world) override {
    return MakeRedisTransport(executor_, server_, world, secret_, timeout_);
  }

 private:
  AsioExecutor& executor_;
  RedisAddress server_;
  std::string address_;
  std::string secret_;
  Duration timeout_;
};

class InprocSeat final : public Seat {
 public:
  InprocSeat(std::shared_ptr<InprocWorlds> worlds, Executor& executor)
      : worlds_(std::move(worlds)), executor_(executor), address_(worlds_->Enter()) {}
  ~InprocSeat() override { worlds_->Leave(address_, executor_); }
  InprocSeat(const InprocSeat&) = delete;
  InprocSeat& operator=(const InprocSeat&) = delete;

  std::string address() const override { return address_; }
  arrow::Result<std::unique_ptr<Transport>> Join(const World& world) override {
    return worlds_->Join(world, executor_);
  }

 private:
  std::shared_ptr<InprocWorlds> worlds_;
  Executor& executor_;
  std::string address_;
};

}  // namespace

namespace {

MeshSettings SettingsOf(const Options& options, std::string secret) {
  MeshSettings settings;
  settings.security = SecurityOf(options, std::move(secret));
  settings.connect_deadline = FromSeconds(options.connect_deadline_s);
  settings.peer_timeout = FromSeconds(options.peer_timeout_s);
  return settings;
}

}  // namespace

Network MeshNetwork(AsioExecutor& executor, Options options, std::string secret) {
  options.secret.clear();  // kept once, in the settings
  const auto settings = SettingsOf(options, std::move(secret));
  return [&executor, options = std::move(options), settings](int ranks) -> arrow::Result<std::unique_ptr<Seat>> {
    auto seat = std::make_unique<MeshSeat>(executor, options, settings);
    ARROW_RETURN_NOT_OK(seat->Listen(ranks, [&executor, &options] { return MakePaths(executor, options); }));
    ARROW_RETURN_NOT_OK(seat->ListenForWatches(ranks));
    return seat;
  };
}

arrow::Result<HostPort> RendezvousOf(const Options& options) {
  const bool named = !options.rendezvous.empty();
  auto address = HostPort::Parse(named ? options.rendezvous : options.store);
  if (!address.ok()) {
    return arrow::Status::Invalid(
        "transport is 'punch', which needs a rendezvous server, and ",
        named ? "CYLON_RENDEZVOUS is '" + options.rendezvous + "'"
              : "the store is '" + ReadableStore(options.store) + "'",
        "; start cylon-rendezvous where all ranks can dial it, and set CYLON_RENDEZVOUS to its "
        "host:port");
  }
  return address;
}

Network PunchNetwork(AsioExecutor& executor, Options options, std::string secret) {
  options.secret.clear();
  const auto settings = SettingsOf(options, std::move(secret));
  return [&executor, options = std::move(options), settings](int ranks) -> arrow::Result<std::unique_ptr<Seat>> {
    ARROW_ASSIGN_OR_RAISE(const auto server, RendezvousOf(options));
    const TimePoint deadline = executor.Now() + FromSeconds(options.join_deadline_s);
    ARROW_ASSIGN_OR_RAISE(auto security, SecurityAt(server, options, settings.security.secret));
    auto opening = Spawn(executor, OpenTcpCourier(&executor, server, std::move(security), options.job, deadline));
    ARROW_RETURN_NOT_OK(executor.Wait(arrow::Future<>(opening)));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<Courier> courier, opening.MoveResult());
    auto seat = std::make_unique<MeshSeat>(executor, options, settings);
    ARROW_RETURN_NOT_OK(seat->Listen(ranks, [&executor, &options, &settings, &courier] {
      return MakePathsOut(executor, options, std::move(courier), settings.security.secret);
    }));
    return seat;
  };
}

Network RedisNetwork(AsioExecutor& executor, const Options& options, std::string secret) {
  return [&executor, options, secret = std::move(secret)](int) -> arrow::Result<std::unique_ptr<Seat>> {
    ARROW_ASSIGN_OR_RAISE(auto server, RedisServerOf(options));
    ARROW_ASSIGN_OR_RAISE(auto address, RedisCardAddress());
    return std::make_unique<RedisSeat>(executor, std::move(server), std::move(address), secret,
                                       FromSeconds(options.peer_timeout_s));
  };
}

std::string InprocWorlds::Enter() {
  std::lock_guard<std::mutex> lock(mutex_);
  return "thread:" + std::to_string(++entered_);
}

std::unique_ptr<Transport> InprocWorlds::Join(const World& world, Executor& executor) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto [at, first] = epochs_.try_emplace(world.epoch);
  Epoch& epoch = at->second;
  if (first) {
    epoch.world = world;
    epoch.hub = std::make_unique<InprocHub>(world.size());
  }
  epoch.joined.insert(world.rank);
  auto transport = epoch.hub->MakeTransport(world.rank, executor);
  Lose(&epoch, executor);
  return transport;
}

void InprocWorlds::Leave(const std::string& address, Executor& executor) {
  std::lock_guard<std::mutex> lock(mutex_);
  gone_.insert(address);
  for (auto& [name, epoch] : epochs_) {
    Lose(&epoch, executor);
  }
}

/// Who was named in a world and went before it joined is lost there, as a connection to it would be refused: a
/// transport in its name that ends at once tells the others.
void InprocWorlds::Lose(Epoch* epoch, Executor& executor) {
  for (Rank rank = 0; rank < epoch->world.size(); ++rank) {
    if (gone_.contains(epoch->world.cards[static_cast<size_t>(rank)].address) && epoch->joined.insert(rank).second) {
      epoch->hub->MakeTransport(rank, executor).reset();
    }
  }
}

Network InprocNetwork(std::shared_ptr<InprocWorlds> worlds, Executor& executor) {
  return [worlds = std::move(worlds), &executor](int) -> arrow::Result<std::unique_ptr<Seat>> {
    return std::make_unique<InprocSeat>(worlds, executor);
  };
}

}  // namespace cylon::internal
