// Where a rank's transports come from.
#include "cylon/comm/network.h"

#include <algorithm>
#include <utility>

#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/tcp_courier.h"
#include "cylon/bootstrap/ticket.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/comm/paths.h"
#include "cylon/comm/watch/judge.h"
#include "cylon/comm/watch/path_wire.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/object/object_transport.h"
#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/redis/redis_transport.h"
#include "cylon/net/tcp/tcp_path.h"

namespace cylon::internal {

Seat::~Seat() = default;

std::unique_ptr<Watch> Seat::MakeWatch(const World& /*world*/) { return nullptr; }

namespace {

/// Paths of an executor, made in a task of it.
using PathMaker = std::function<arrow::Result<std::vector<std::unique_ptr<Path>>>(AsioExecutor&)>;

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
      ARROW_ASSIGN_OR_RAISE(auto paths, make_paths(executor));
      *made = MeshTransport::Listen(executor, std::move(paths), ranks);
      return arrow::Status::OK();
    }));
    listener_ = std::move(*made);
    address_ = listener_->address();
    return arrow::Status::OK();
  }
  /// The same for the rank's watch, which has `executor` for itself.
  arrow::Status ListenForWatches(int ranks, std::unique_ptr<AsioExecutor> executor, const PathMaker& make_paths) {
    ARROW_RETURN_NOT_OK(executor->RunTask([&]() -> arrow::Status {
      ARROW_ASSIGN_OR_RAISE(auto paths, make_paths(*executor));
      wire_ = std::make_shared<PathWire>(*executor, std::move(paths), ranks);
      wire_->Listen();
      return arrow::Status::OK();
    }));
    watch_address_ = wire_->address();
    auto& runs = *executor;
    watch_ = std::make_unique<Watch>(std::move(executor), runs, wire_);
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
  std::shared_ptr<PathWire> wire_;
  std::unique_ptr<Watch> watch_;
  std::string watch_address_;
  std::string address_;
};

/// Messages go through a third, and so do signs of life: there is nothing to listen on, and nothing to watch.
class MailSeat final : public Seat {
 public:
  using Make = std::function<arrow::Result<std::unique_ptr<Transport>>(const World& world)>;
  MailSeat(std::string address, Make make) : address_(std::move(address)), make_(std::move(make)) {}

  std::string address() const override { return address_; }
  arrow::Result<std::unique_ptr<Transport>> Join(const World& world) override { return make_(world); }

 private:
  std::string address_;
  Make make_;
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

constexpr char kWatchThread[] = "cylon-watch";
/// Less, and a server that is busy with many ranks is left for its being late.
constexpr Duration kLeastAnswerPatience = std::chrono::milliseconds(500);
/// Who lives and has lost all connections notices with its next heartbeat, or the one after; then it connects again.
constexpr int kBeatsUntilNoticed = 2;
constexpr Duration kUntilBack = std::chrono::milliseconds(300);

MeshSettings SettingsOf(const Options& options, std::string secret) {
  MeshSettings settings;
  settings.security = SecurityOf(options, std::move(secret));
  settings.connect_deadline = FromSeconds(options.connect_deadline_s);
  settings.peer_timeout = FromSeconds(options.peer_timeout_s);
  settings.keep_alive = FromSeconds(options.keep_alive_s);
  return settings;
}

/// A connection to the server that a gateway has forgotten has to be made again while a peer may still be reached by
/// it.
RendezvousPatience PatienceOf(const MeshSettings& settings) {
  RendezvousPatience patience;
  patience.answer = std::clamp<Duration>(settings.peer_timeout / 5, kLeastAnswerPatience, patience.answer);
  patience.returns = kBeatsUntilNoticed * BeatOf(settings.peer_timeout) + kUntilBack;
  return patience;
}

}  // namespace

Network MeshNetwork(AsioExecutor& executor, Options options, std::string secret) {
  options.secret.clear();  // kept once, in the settings
  const auto settings = SettingsOf(options, std::move(secret));
  return [&executor, options = std::move(options), settings](int ranks) -> arrow::Result<std::unique_ptr<Seat>> {
    auto seat = std::make_unique<MeshSeat>(executor, options, settings);
    ARROW_RETURN_NOT_OK(seat->Listen(ranks, [&options](auto& runs) { return MakePaths(runs, options); }));
    // TCP, whatever the data travels on: what ends with a process is a connection that the system keeps.
    ARROW_RETURN_NOT_OK(seat->ListenForWatches(
        ranks, std::make_unique<AsioExecutor>(kWatchThread),
        [&options](auto& runs) -> arrow::Result<std::vector<std::unique_ptr<Path>>> {
          ARROW_ASSIGN_OR_RAISE(auto tcp,
                                MakeTcpPath(runs, options.bind_host.empty() ? "127.0.0.1" : options.bind_host));
          std::vector<std::unique_ptr<Path>> paths;
          paths.push_back(std::move(tcp));
          return paths;
        }));
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
    ARROW_ASSIGN_OR_RAISE(const auto security, SecurityAt(server, options, settings.security.secret));
    // One for the data and one for the watch, each under a name of its own.
    auto watch_executor = std::make_unique<AsioExecutor>(kWatchThread);
    const auto begin = [&](AsioExecutor& runs) {
      const TimePoint deadline = executor.Now() + FromSeconds(options.join_deadline_s);
      return Spawn(runs, OpenTcpCourier(&runs, server, security, options.job, deadline, PatienceOf(settings),
                                        settings.keep_alive));
    };
    auto opening = begin(executor);
    auto watch_opening = begin(*watch_executor);
    ARROW_RETURN_NOT_OK(executor.Wait(arrow::Future<>(opening)));
    ARROW_RETURN_NOT_OK(executor.Wait(arrow::Future<>(watch_opening)));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<Courier> courier, opening.MoveResult());
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<Courier> watch_courier, watch_opening.MoveResult());
    auto seat = std::make_unique<MeshSeat>(executor, options, settings);
    Options for_watch = options;
    for_watch.spin_us = 0;  // a watch sleeps between beats
    const auto paths_over = [&settings](const Options& own, std::shared_ptr<Courier> by) -> PathMaker {
      return [&settings, own, by = std::move(by)](AsioExecutor& runs) {
        return MakePathsOut(runs, own, by, settings.security.secret);
      };
    };
    ARROW_RETURN_NOT_OK(seat->Listen(ranks, paths_over(options, std::move(courier))));
    ARROW_RETURN_NOT_OK(
        seat->ListenForWatches(ranks, std::move(watch_executor), paths_over(for_watch, std::move(watch_courier))));
    return seat;
  };
}

Network RedisNetwork(AsioExecutor& executor, const Options& options, std::string secret) {
  return [&executor, options, secret = std::move(secret)](int) -> arrow::Result<std::unique_ptr<Seat>> {
    ARROW_ASSIGN_OR_RAISE(auto server, RedisServerOf(options));
    ARROW_ASSIGN_OR_RAISE(auto address, RedisCardAddress());
    return std::make_unique<MailSeat>(
        std::move(address),
        [&executor, server = std::move(server), secret, timeout = FromSeconds(options.peer_timeout_s)](
            const World& world) { return MakeRedisTransport(executor, server, world, secret, timeout); });
  };
}

Network ObjectNetwork(Executor& executor, const Options& options, std::string secret) {
  return [&executor, uri = options.object_store, timeout = FromSeconds(options.peer_timeout_s),
          secret = std::move(secret)](int) -> arrow::Result<std::unique_ptr<Seat>> {
    ARROW_ASSIGN_OR_RAISE(auto place, OpenObjectPlace(uri));
    ARROW_ASSIGN_OR_RAISE(auto address, ObjectCardAddress());
    return std::make_unique<MailSeat>(std::move(address),
                                      [&executor, place = std::move(place), secret, timeout](const World& world) {
                                        return MakeObjectTransport(executor, place, world, secret, timeout);
                                      });
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
