// Contexts: how a rank comes to be, and how it leaves.
#include "cylon/comm/context.h"

#include <unistd.h>

#include <tuple>
#include <utility>

#include "cylon/bootstrap/gathering.h"
#include "cylon/comm/choice_network.h"
#include "cylon/comm/runtime.h"
#include "cylon/net/object/object_place.h"

namespace cylon {

namespace internal {

namespace {

/// A rank whose process will be ended leaves so much earlier, or with half of what it had: for its goodbye, and for its
/// caller to return.
constexpr double kLeavesBefore = 2;

arrow::Result<std::shared_ptr<Context>> EnterGathered(Parts parts, const RejoinOptions& options);

/// True where the ranks that are left of a world may gather again.
bool LeavesSurvivors(const arrow::Status& status) {
  return IsError(status, ErrorKind::kRankFailed) || IsError(status, ErrorKind::kLinkLost);
}

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

  arrow::Result<std::shared_ptr<Context>> Rejoin(RejoinOptions options) override {
    if (!whole_) {
      return arrow::Status::Invalid(
          "Rejoin was called on a part of the ranks, made by Split; call it on the context of the whole world");
    }
    if (options.window_s <= 0 || options.least_ranks < 1) {
      return arrow::Status::Invalid("Rejoin got a window of ", options.window_s, " s and least_ranks ",
                                    options.least_ranks, "; expected more than 0 s and at least 1 rank");
    }
    ARROW_ASSIGN_OR_RAISE(Parts parts, runtime_->Gather(options));
    return EnterGathered(std::move(parts), options);
  }

  arrow::Result<std::string> Explain() override { return runtime_->Explain(); }

  arrow::Status Close() override { return whole_ ? runtime_->Close() : arrow::Status::OK(); }

 private:
  std::shared_ptr<Runtime> runtime_;
  std::shared_ptr<Communicator> communicator_;
  bool whole_;  // not by Split: Close ends it all
};

/// A context over the world that was gathered, once all of it has come; after failures meanwhile, over the next one, of
/// those who are left.
arrow::Result<std::shared_ptr<Context>> EnterGathered(Parts parts, const RejoinOptions& options) {
  while (true) {
    const auto deadline = ConnectedBy(parts);
    auto runtime = std::make_shared<Runtime>(std::move(parts));
    auto status = runtime->Start(deadline);
    if (status.ok()) {
      auto communicator = runtime->WorldCommunicator();
      // Who was named and has died since is found here, not in the program's first call.
      status = communicator->Barrier();
      if (status.ok()) {
        return std::make_shared<RankContext>(std::move(runtime), std::move(communicator), /*whole=*/true);
      }
    }
    // Each round leaves out at least one rank, so that there are not more of them than ranks.
    if (!LeavesSurvivors(status) || !runtime->revoked()) {
      return status;
    }
    ARROW_ASSIGN_OR_RAISE(parts, runtime->Gather(options));
  }
}

}  // namespace

World LocalWorld() {
  World world;
  world.job = "local";
  world.epoch = "0";
  world.cards = {AddressCard{HostName(), ::getpid(), ""}};
  return world;
}

JobEnd EndOf(const Options& options, TimePoint now) {
  JobEnd end;
  if (options.deadline_s != 0) {
    end.at = now + FromSeconds(options.deadline_s);
  }
  const double left = options.time_left_s - std::min(kLeavesBefore, options.time_left_s / 2);
  if (options.time_left_s != 0 && now + FromSeconds(left) < end.at) {
    end = {now + FromSeconds(left), /*alone=*/true};
  }
  return end;
}

arrow::Result<std::shared_ptr<Context>> MakeContext(Parts parts, TimePoint deadline) {
  auto runtime = std::make_shared<Runtime>(std::move(parts));
  runtime->ShowPresence();
  ARROW_RETURN_NOT_OK(runtime->Start(deadline));
  auto communicator = runtime->WorldCommunicator();
  return std::make_shared<RankContext>(std::move(runtime), std::move(communicator), /*whole=*/true);
}

arrow::Result<std::shared_ptr<Context>> JoinWorld(Parts parts, Options options) {
  auto& executor = *parts.executor;
  const auto deadline = std::min(executor.Now() + FromSeconds(options.join_deadline_s), parts.end.at);
  ARROW_ASSIGN_OR_RAISE(parts.seat, parts.network(options.world_size));
  const std::string job = options.job.empty() ? "default" : options.job;
  const AddressCard card{HostName(), ::getpid(), parts.seat->address(), parts.seat->watch_address()};
  const auto abandoned = std::make_shared<std::atomic<bool>>(false);
  arrow::Future<World> joining;
  if (options.rejoin) {
    GatherRequest request;
    request.job = job;
    request.card = card;
    request.deadline = deadline;
    request.abandoned = abandoned;
    joining = Spawn(executor, Gather(parts.store.get(), executor, std::move(request)));
  } else {
    JoinRequest request;
    request.job = job;
    request.epoch = options.epoch;
    request.rank = options.rank;
    request.world_size = options.world_size;
    request.card = card;
    request.deadline = deadline;
    request.abandoned = abandoned;
    joining = Spawn(executor, Join(parts.store.get(), executor, std::move(request)));
  }
  auto world = AwaitOrAbandon(executor, joining, abandoned.get());
  if (!world.ok() && executor.Now() >= parts.end.at) {
    const auto over = EndOfRank(options, parts.end);
    return over.WithMessage(over.message(), "; joining had not ended: ", world.status().message());
  }
  ARROW_ASSIGN_OR_RAISE(parts.world, std::move(world));
  ARROW_ASSIGN_OR_RAISE(parts.transport, parts.seat->Join(parts.world));
  parts.watch = parts.seat->MakeWatch(parts.world);
  options.rank = parts.world.rank;
  options.world_size = parts.world.size();
  options.secret.clear();  // done with; what is not kept cannot be shown
  options.store = ReadableStore(options.store);
  options.redis = ReadableStore(options.redis);
  options.object_store = ReadableObjectStore(options.object_store);
  const bool gathered = options.rejoin;
  ARROW_ASSIGN_OR_RAISE(parts.resources, Resources::Make(std::move(options)));
  if (gathered) {
    return EnterGathered(std::move(parts), {});
  }
  const auto connected_by = ConnectedBy(parts);
  return MakeContext(std::move(parts), connected_by);
}

}  // namespace internal

Context::~Context() = default;

arrow::Result<std::shared_ptr<Context>> Context::Local(Options options, std::function<arrow::Status()> interrupt) {
  options.rank = 0;
  options.world_size = 1;
  internal::Parts parts;
  parts.own_executor = std::make_shared<AsioExecutor>("cylon");
  parts.executor = parts.own_executor.get();
  parts.end = internal::EndOf(options, parts.executor->Now());
  ARROW_ASSIGN_OR_RAISE(parts.resources, Resources::Make(std::move(options)));
  parts.interrupt = std::move(interrupt);
  parts.world = internal::LocalWorld();
  parts.transport = InprocHub(1).MakeTransport(0, *parts.executor);
  return internal::MakeContext(std::move(parts), kNever);
}

arrow::Result<std::shared_ptr<Context>> Context::Connect(Options options, std::function<arrow::Status()> interrupt) {
  if (options.store.empty()) {
    // Both kinds of server are stores as well.
    options.store = options.transport == "punch"   ? options.rendezvous
                    : options.transport == "redis" ? options.redis
                                                   : "";
  }
  if (options.world_size <= 1 && options.store.empty() && !options.rejoin) {
    return Local(std::move(options), std::move(interrupt));
  }
  if (options.store.empty() && options.rejoin) {
    return arrow::Status::Invalid(
        "this process is to replace a rank that failed (CYLON_REJOIN), but no store is named in "
        "which the others gather; set CYLON_STORE to the one that the job was started with");
  }
  if (options.store.empty()) {
    return arrow::Status::Invalid("world_size is ", options.world_size,
                                  " but no store is named in which the ranks could meet; set CYLON_STORE to host:port, "
                                  "redis://host:port or file:///shared/directory, or start the program by cylon run");
  }
  if (options.world_size < 1 && !options.rejoin) {
    return arrow::Status::Invalid("a store is named (", ReadableStore(options.store), ") but world_size is ",
                                  options.world_size, "; expected the number of ranks; set CYLON_WORLD_SIZE");
  }
  // Before anything is waited for.
  ARROW_RETURN_NOT_OK(internal::CheckTransports(options));
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
  parts.own_executor = std::make_shared<AsioExecutor>("cylon");
  auto& executor = *parts.own_executor;
  parts.executor = &executor;
  executor.SetInterruptHook(interrupt);
  parts.interrupt = std::move(interrupt);
  parts.end = internal::EndOf(options, executor.Now());
  const auto deadline = std::min(executor.Now() + FromSeconds(options.join_deadline_s), parts.end.at);
  ARROW_ASSIGN_OR_RAISE(parts.store, OpenStore(options, executor, deadline));
  parts.network = internal::NetworkOf(executor, options, secret);
  parts.launcher = !options.epoch.empty() && !options.rejoin;
  return internal::JoinWorld(std::move(parts), std::move(options));
}

}  // namespace cylon
