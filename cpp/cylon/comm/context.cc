// Contexts: how a rank comes to be, and how it leaves.
#include "cylon/comm/context.h"

#include <unistd.h>

#include <array>
#include <tuple>
#include <utility>

#include "cylon/comm/paths.h"
#include "cylon/comm/runtime.h"
#include "cylon/comm/watch/tcp_wire.h"
#include "cylon/net/inproc/inproc.h"

namespace cylon {

namespace internal {

namespace {

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

Duration Seconds(double seconds) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
}

/// Long enough for a group to settle why it is revoked (see Group).
constexpr auto kVerdictPatience = std::chrono::seconds(1);
/// An interrupted join looks up from its polls at least every 50 ms.
constexpr auto kAbandonedJoin = std::chrono::seconds(1);

/// Shared by a context and those that were split from it; the last one takes it apart.
class Runtime {
 public:
  explicit Runtime(Parts parts) : parts_(std::move(parts)) {
    const auto& options = parts_.resources->options();
    LanesOptions lanes_options;
    lanes_options.piece_bytes = options.piece_bytes;
    lanes_options.eager_bytes = options.eager_bytes;
    auto lanes = std::make_unique<Lanes>(parts_.world.rank, parts_.world.size(), std::move(parts_.transport),
                                         *parts_.executor, parts_.resources->memory(), lanes_options);
    endpoint_ = std::make_shared<Endpoint>(parts_.world, *parts_.executor, std::move(lanes), parts_.store.get(),
                                           parts_.launcher,
                                           WatchSetup{std::move(parts_.watch), Seconds(options.peer_timeout_s),
                                                      Seconds(options.slow_warning_s), &parts_.resources->log()});
    liveness_->process = ::getpid();
    if (parts_.own_executor) {
      liveness_->report = RankReport::Enter(endpoint_, *parts_.executor, parts_.world.rank, parts_.world.size());
      endpoint_->SetReport(liveness_->report);
    }
  }

  ~Runtime() { Stop(arrow::Status::Cancelled("the context was destroyed while this was under way")); }

  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  arrow::Status Start(TimePoint deadline) {
    auto started = arrow::Future<>::Make();
    parts_.executor->Post([endpoint = endpoint_, started] {
      // A rank may fail before all links stand: then there is nothing to wait for.
      auto finish = [started](const arrow::Status& status) mutable {
        if (!started.is_finished()) {
          started.MarkFinished(status);
        }
      };
      endpoint->Start().AddCallback(finish);
      endpoint->world_group()->revoked().AddCallback(finish);
    });
    auto status = parts_.executor->Await(started, deadline);
    if (!status.ok() && endpoint_->world_group() != nullptr) {
      // The error that every other rank raises is told, too, where one is settled.
      (void)parts_.executor->Wait(endpoint_->world_group()->revoked(),
                                  std::min(deadline, parts_.executor->Now() + kVerdictPatience));
      const auto verdict = endpoint_->world_group()->Check();
      status = verdict.ok() ? status : verdict;
    }
    return status;
  }

  arrow::Status Close() {
    if (liveness_->forked()) {
      return liveness_->Check();
    }
    if (liveness_->closed.load()) {
      return arrow::Status::OK();
    }
    const auto& options = parts_.resources->options();
    const auto deadline = parts_.executor->Now() + Seconds(options.close_deadline_s);
    auto gone = arrow::Future<>::Make();
    parts_.executor->Post([endpoint = endpoint_, gone]() mutable {
      endpoint->Leave().AddCallback([gone](const arrow::Status& s) mutable { gone.MarkFinished(s); });
    });
    auto status = parts_.executor->Await(gone, deadline);
    if (IsError(status, ErrorKind::kDeadline)) {
      status = DeadlineError(
          "closing took longer than " + std::to_string(options.close_deadline_s) +
          " s: what this rank has sent was not taken by the others, who will see it as lost; wait for their "
          "answers before closing, or raise CYLON_CLOSE_DEADLINE");
    }
    if (parts_.store && parts_.world.size() > 1) {
      status &= parts_.executor->Await(Spawn(*parts_.executor, Leave(parts_.store.get(), parts_.world)), deadline);
    }
    Stop(arrow::Status::Invalid("the context was closed"));
    auto& tracer = parts_.resources->tracer();
    status &= tracer.Write();
    if (tracer.enabled() && parts_.world.size() <= 1) {
      status &=
          Tracer::Merge(parts_.resources->options().trace_directory).status();  // of more ranks, the launcher does
    }
    return status;
  }

  const Parts& parts() const { return parts_; }
  bool forked() const { return liveness_->forked(); }
  std::shared_ptr<Communicator> WorldCommunicator() {
    return std::make_shared<GroupCommunicator>(endpoint_, endpoint_->world_group(), liveness_,
                                               parts_.resources->memory());
  }

 private:
  void Stop(const arrow::Status& why) {
    if (liveness_->closed.exchange(true)) {
      return;
    }
    if (liveness_->report) {
      liveness_->report->Leave();
    }
    // What was begun has to be ended now, whatever the hook says: tasks refer to what goes next.
    parts_.executor->SetInterruptHook(nullptr);
    auto stop = [this, why] {
      endpoint_->Shutdown(why);
      parts_.store.reset();
      parts_.listener.reset();
      return arrow::Status::OK();
    };
    if (!parts_.executor->RunTask(stop).ok()) {
      (void)stop();  // the rank was killed in a simulation: no task runs any more
    }
  }

  Parts parts_;
  std::shared_ptr<Liveness> liveness_ = std::make_shared<Liveness>();
  std::shared_ptr<Endpoint> endpoint_;
};

class RankContext final : public Context {
 public:
  RankContext(std::shared_ptr<Runtime> runtime, std::shared_ptr<Communicator> communicator, bool whole)
      : runtime_(std::move(runtime)), communicator_(std::move(communicator)), whole_(whole) {}

  ~RankContext() override {
    if (runtime_->forked()) {
      // Leaked on purpose: destroying would reach into sockets and threads of the parent.
      std::ignore = std::make_unique<std::shared_ptr<Communicator>>(std::move(communicator_)).release();
      std::ignore = std::make_unique<std::shared_ptr<Runtime>>(std::move(runtime_)).release();
    }
  }

  RankContext(const RankContext&) = delete;
  RankContext& operator=(const RankContext&) = delete;

  Communicator& communicator() override { return *communicator_; }
  std::shared_ptr<Resources> resources() override { return runtime_->parts().resources; }
  Executor& executor() override { return *runtime_->parts().executor; }

  arrow::Result<std::shared_ptr<Context>> Split(int color, int key) override {
    ARROW_ASSIGN_OR_RAISE(auto part, communicator_->Split(color, key));
    if (part == nullptr) {
      return std::shared_ptr<Context>();
    }
    return std::make_shared<RankContext>(runtime_, std::move(part), /*whole=*/false);
  }

  arrow::Status Close() override { return whole_ ? runtime_->Close() : arrow::Status::OK(); }

 private:
  std::shared_ptr<Runtime> runtime_;
  std::shared_ptr<Communicator> communicator_;
  bool whole_;  // not by Split: Close ends it all
};

}  // namespace

World LocalWorld() {
  World world;
  world.job = "local";
  world.epoch = "0";
  world.cards = {AddressCard{HostName(), ::getpid(), ""}};
  return world;
}

arrow::Result<std::shared_ptr<Context>> MakeContext(Parts parts, TimePoint deadline) {
  auto runtime = std::make_shared<Runtime>(std::move(parts));
  ARROW_RETURN_NOT_OK(runtime->Start(deadline));
  auto communicator = runtime->WorldCommunicator();
  return std::make_shared<RankContext>(std::move(runtime), std::move(communicator), /*whole=*/true);
}

arrow::Result<std::shared_ptr<Context>> ConnectMesh(Parts parts, const Options& options, std::string secret) {
  auto& executor = *parts.own_executor;
  parts.executor = &executor;
  const auto deadline = executor.Now() + Seconds(options.join_deadline_s);
  auto listen = [&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto paths, MakePaths(executor, options));
    parts.listener = MeshTransport::Listen(executor, std::move(paths), options.world_size);
    return arrow::Status::OK();
  };
  ARROW_RETURN_NOT_OK(executor.RunTask(listen));
  auto watching = std::make_unique<AsioExecutor>("cylon-watch");
  auto wire = std::make_shared<TcpWire>(*watching, options.world_size);
  ARROW_RETURN_NOT_OK(wire->Listen(options.bind_host.empty() ? "127.0.0.1" : options.bind_host));
  auto& watch_executor = *watching;
  parts.watch = std::make_unique<Watch>(std::move(watching), watch_executor, wire);
  JoinRequest request;
  request.job = options.job.empty() ? "default" : options.job;
  request.epoch = options.epoch;
  request.rank = options.rank;
  request.world_size = options.world_size;
  request.card = AddressCard{HostName(), ::getpid(), parts.listener->address(), wire->address()};
  request.deadline = deadline;
  const auto abandoned = std::make_shared<std::atomic<bool>>(false);
  request.abandoned = abandoned;
  auto join = Spawn(executor, Join(parts.store.get(), executor, std::move(request)));
  auto world = executor.Await(join);
  if (!join.is_finished()) {
    // Interrupted: the protocol ends by itself before its store goes, within a poll or an answer of the store.
    abandoned->store(true);
    return world.status() & executor.Wait(arrow::Future<>(join), executor.Now() + kAbandonedJoin);
  }
  ARROW_ASSIGN_OR_RAISE(parts.world, std::move(world));
  ARROW_RETURN_NOT_OK(CheckPaths(options, parts.world));
  wire->Join(parts.world, Security{.secret = secret, .plain_text = options.plain_text});
  MeshSettings settings;
  settings.secret = std::move(secret);
  settings.connect_deadline = Seconds(options.connect_deadline_s);
  parts.transport = parts.listener->Join(parts.world, std::move(settings));
  Options settled = options;
  settled.rank = parts.world.rank;
  settled.secret.clear();  // done with; what is not kept cannot be shown
  settled.store = ReadableStore(settled.store);
  ARROW_ASSIGN_OR_RAISE(parts.resources, Resources::Make(std::move(settled)));
  return MakeContext(std::move(parts), deadline);
}

}  // namespace internal

Context::~Context() = default;

arrow::Result<std::shared_ptr<Context>> Context::Local(Options options, std::function<arrow::Status()> interrupt) {
  options.rank = 0;
  options.world_size = 1;
  internal::Parts parts;
  ARROW_ASSIGN_OR_RAISE(parts.resources, Resources::Make(std::move(options)));
  parts.own_executor = std::make_unique<AsioExecutor>("cylon");
  parts.executor = parts.own_executor.get();
  parts.executor->SetInterruptHook(std::move(interrupt));
  auto hub = std::make_shared<InprocHub>(1);
  parts.transport = hub->MakeTransport(0, *parts.executor);
  parts.shared = std::move(hub);
  parts.world = internal::LocalWorld();
  return internal::MakeContext(std::move(parts), kNever);
}

arrow::Result<std::shared_ptr<Context>> Context::Connect(Options options, std::function<arrow::Status()> interrupt) {
  if (options.world_size <= 1 && options.store.empty()) {
    return Local(std::move(options), std::move(interrupt));
  }
  if (options.store.empty()) {
    return arrow::Status::Invalid("world_size is ", options.world_size,
                                  " but no store is named in which the ranks could meet; set CYLON_STORE to host:port, "
                                  "redis://host:port or file:///shared/directory, or start the program by cylon run");
  }
  if (options.world_size < 1) {
    return arrow::Status::Invalid("a store is named (", ReadableStore(options.store), ") but world_size is ",
                                  options.world_size, "; expected the number of ranks; set CYLON_WORLD_SIZE");
  }
  ARROW_ASSIGN_OR_RAISE(auto secret, ReadSecret(options));
  if (secret.empty()) {
    return AuthenticationError(
        "the job has no secret, which its ranks need to know each other by; set CYLON_SECRET_FILE to a file with mode "
        "0600 that holds 64 hexadecimal digits (openssl rand -hex 32), the same at every rank");
  }
  internal::Parts parts;
  if (options.stall_reports) {
    ARROW_ASSIGN_OR_RAISE(parts.reports, internal::HoldStallReports());
  }
  parts.own_executor = std::make_unique<AsioExecutor>("cylon");
  auto& executor = *parts.own_executor;
  executor.SetInterruptHook(std::move(interrupt));
  const auto deadline = executor.Now() + internal::Seconds(options.join_deadline_s);
  ARROW_ASSIGN_OR_RAISE(parts.store, OpenStore(options, executor, deadline));
  parts.launcher = !options.epoch.empty();
  return internal::ConnectMesh(std::move(parts), options, std::move(secret));
}

}  // namespace cylon
