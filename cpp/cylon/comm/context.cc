// Contexts: how a rank comes to be, and how it leaves.
#include "cylon/comm/context.h"

#include <unistd.h>

#include <array>
#include <tuple>
#include <utility>

#include "cylon/base/readable.h"
#include "cylon/bootstrap/gathering.h"
#include "cylon/bootstrap/presence.h"
#include "cylon/comm/runtime.h"

namespace cylon {

namespace internal {

namespace {

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

/// Long enough for a group to settle why it is revoked (see Group).
constexpr auto kVerdictPatience = std::chrono::seconds(1);
/// What stays in a store that does not answer goes by itself.
constexpr auto kLeavePatience = std::chrono::seconds(1);
/// An interrupted join looks up from its polls at least every 50 ms.
constexpr auto kAbandonedJoin = std::chrono::seconds(1);

/// What becomes of a wait that began before the job's end, and of goodbyes after it.
constexpr auto kAfterEnd = std::chrono::milliseconds(100);

/// A rank whose process will be ended leaves so much earlier, or with half of what it had: for its goodbye, and for its
/// caller to return.
constexpr double kLeavesBefore = 2;

/// What others are told of it.
std::string TimeWasUp(const Options& options) {
  return "its time was up: its process had " + ReadableSeconds(options.time_left_s) + " left when it joined";
}

/// How this rank ends.
arrow::Status EndOfRank(const Options& options, const JobEnd& end) {
  if (end.alone) {
    return DeadlineError("this rank left, as its process had " + ReadableSeconds(options.time_left_s) +
                         " left when it joined (time_left_s); the others were told: go on with a smaller part in a new "
                         "process, or give processes more time");
  }
  return DeadlineError("the job did not end within the " + ReadableSeconds(options.deadline_s) +
                       " that it was given as a whole, from joining on (deadline_s); raise CYLON_DEADLINE, or look for "
                       "what takes so long");
}

/// All have come: until when they have to be connected, or it is known who is not there. Those who wait for a rank say
/// so themselves before.
TimePoint ConnectedBy(const Parts& parts) {
  const auto& options = parts.resources->options();
  return std::min(
      parts.executor->Now() + FromSeconds(options.connect_deadline_s + options.peer_timeout_s) + 2 * kVerdictPatience,
      parts.end.at);
}

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
  explicit Runtime(Parts parts) : parts_(std::move(parts)) {
    const auto& options = parts_.resources->options();
    LanesOptions lanes_options;
    lanes_options.piece_bytes = options.piece_bytes;
    lanes_options.eager_bytes = options.eager_bytes > 0 ? options.eager_bytes : EagerBytesFor(parts_.world.size());
    auto lanes = std::make_unique<Lanes>(parts_.world.rank, parts_.world.size(), std::move(parts_.transport),
                                         *parts_.executor, parts_.resources->memory(), lanes_options);
    endpoint_ = std::make_shared<Endpoint>(parts_.world, *parts_.executor, std::move(lanes), parts_.store.get(),
                                           parts_.launcher,
                                           WatchSetup{std::move(parts_.watch), FromSeconds(options.peer_timeout_s),
                                                      FromSeconds(options.slow_warning_s), &parts_.resources->log()});
    liveness_->process = ::getpid();
    liveness_->progress_deadline = FromSeconds(options.progress_deadline_s);
    if (parts_.end.at != kNever) {
      end_timer_ = parts_.executor->PostAt(
          parts_.end.at, [weak = std::weak_ptr<Endpoint>(endpoint_), alone = parts_.end.alone,
                          others = TimeWasUp(options), why = EndOfRank(options, parts_.end).message()] {
            if (auto endpoint = weak.lock(); endpoint && !endpoint->closed()) {
              const Finding finding{Finding::Source::kDisagreement, ErrorKind::kDeadline, -1, why};
              alone ? endpoint->EndAlone(others, finding) : endpoint->EndAll(finding);
            }
          });
    }
    if (parts_.own_executor) {
      liveness_->report = RankReport::Enter(endpoint_, *parts_.executor, parts_.world.rank, parts_.world.size());
      endpoint_->SetReport(liveness_->report);
    }
  }

  ~Runtime() { Stop(arrow::Status::Cancelled("the context was destroyed while this was under way")); }

  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  arrow::Status Start(TimePoint deadline) {
    if (parts_.interrupt) {
      parts_.executor->SetInterruptHook(parts_.interrupt);
    }
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
    if (status.ok()) {
      ForetellByPlan();
    }
    return status;
  }

  /// For as long as it runs, where processes may come that take its ranks for free. A launcher's epoch is nobody
  /// else's: who comes too late there finds the table.
  void ShowPresence() {
    if (parts_.own_executor && parts_.store && parts_.world.size() > 1 && parts_.resources->options().epoch.empty()) {
      presence_ = std::make_shared<Presence>(parts_.store.get(), *parts_.executor, parts_.world);
      parts_.executor->Post([presence = presence_] { presence->Start(); });
    }
  }

  arrow::Status Close() {
    if (liveness_->forked()) {
      return liveness_->Check();
    }
    if (liveness_->closed.load()) {
      return arrow::Status::OK();
    }
    const auto& options = parts_.resources->options();
    const auto now = parts_.executor->Now();
    const auto deadline = std::min(now + FromSeconds(options.close_deadline_s), EndsAfter(now));
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
      // Nothing of the run's depends on the store any more, so a store that has ended meanwhile is no failure of work
      // that is done.
      StopPresence();
      const auto abandoned = std::make_shared<bool>(false);
      const auto leaving = Spawn(*parts_.executor, Leave(parts_.store.get(), parts_.world, abandoned));
      const auto waited = parts_.executor->Wait(leaving, std::min(deadline, parts_.executor->Now() + kLeavePatience));
      if (!waited.ok()) {
        // An executor that runs no tasks any more has dropped that one as well.
        (void)parts_.executor->RunTask([abandoned] {
          *abandoned = true;
          return arrow::Status::OK();
        });
      }
      if (!waited.ok() && !IsError(waited, ErrorKind::kDeadline)) {
        status &= waited;  // interrupted
      } else if (!waited.ok() || !leaving.status().ok()) {
        parts_.resources->log().warn("what this rank put into the store stays there until it expires: {}",
                                     waited.ok() ? leaving.status().message() : waited.message());
      }
    }
    const auto uses = Uses();
    Stop(arrow::Status::Invalid("the context was closed"));
    auto& tracer = parts_.resources->tracer();
    TraceCosts(&tracer, uses, liveness_->tally->Rows(), parts_.world.size(), began_, parts_.executor->Now());
    status &= tracer.Write();
    if (tracer.enabled() && parts_.world.size() <= 1) {
      status &=
          Tracer::Merge(parts_.resources->options().trace_directory).status();  // of more ranks, the launcher does
    }
    return status;
  }

  /// What the next world of this process stands on, when it has gathered; this runtime is closed then, also where that
  /// fails.
  arrow::Result<Parts> Gather(const RejoinOptions& options) {
    ARROW_RETURN_NOT_OK(liveness_->Check());
    if (!parts_.store || !parts_.network) {
      return arrow::Status::Invalid(
          "there is no store in which the ranks that are left could meet; start the job by cylon run, or with "
          "CYLON_STORE set");
    }
    auto world_group = endpoint_->world_group();
    if (world_group->Check().ok()) {
      // A failure that was told may still be settled.
      ARROW_RETURN_NOT_OK(parts_.executor->RunTask([world_group] {
        return world_group->doubtful() ? arrow::Status::OK()
                                       : arrow::Status::Invalid(
                                             "no rank of this world has failed, so that there is nothing to rejoin; go "
                                             "on with this context");
      }));
      ARROW_RETURN_NOT_OK(parts_.executor->Wait(world_group->revoked()));
    }
    auto gathered = GatherInStore(options);
    Parts next =
        TakeApart(arrow::Status::Invalid("the context was closed when its ranks rejoined; go on with the new one"));
    ARROW_RETURN_NOT_OK(gathered.status());
    std::tie(next.world, next.seat) = *std::move(gathered);
    ARROW_ASSIGN_OR_RAISE(next.transport, next.seat->Join(next.world));
    next.watch = next.seat->MakeWatch(next.world);
    return next;
  }

  const Parts& parts() const { return parts_; }
  bool revoked() const { return endpoint_->world_group() != nullptr && !endpoint_->world_group()->Check().ok(); }
  bool forked() const { return liveness_->forked(); }
  std::shared_ptr<Communicator> WorldCommunicator() {
    return std::make_shared<GroupCommunicator>(endpoint_, endpoint_->world_group(), liveness_,
                                               parts_.resources->memory());
  }

 private:
  std::vector<ChannelUse> Uses() const { return parts_.seat ? parts_.seat->Uses() : std::vector<ChannelUse>(); }

  /// The rates of the channels that most pairs take.
  void ForetellByPlan() {
    const auto uses = Uses();
    if (const auto* calls = MostTaken(uses, Traffic::kCalls)) {
      liveness_->tally->SetRates(calls->rates, MostTaken(uses, Traffic::kTables)->rates);
    }
  }

  TimePoint EndsAfter(TimePoint now) const {
    return parts_.end.at == kNever ? kNever : std::max(parts_.end.at, now) + kAfterEnd;
  }

  arrow::Result<std::pair<World, std::unique_ptr<Seat>>> GatherInStore(const RejoinOptions& options) {
    auto& executor = *parts_.executor;
    ARROW_ASSIGN_OR_RAISE(auto seat, parts_.network(parts_.world.size()));
    GatherRequest request;
    request.job = parts_.world.job;
    request.epoch = parts_.world.epoch;
    request.rank = parts_.world.rank;
    request.world_size = parts_.world.size();
    request.gone = [endpoint = endpoint_] { return endpoint->Gone(); };
    request.least_ranks = options.least_ranks;
    request.card = AddressCard{HostName(), ::getpid(), seat->address(), seat->watch_address()};
    request.deadline = std::min(executor.Now() + FromSeconds(options.window_s), parts_.end.at);
    const auto abandoned = std::make_shared<std::atomic<bool>>(false);
    request.abandoned = abandoned;
    auto gather = Spawn(executor, cylon::Gather(parts_.store.get(), executor, std::move(request)));
    auto world = AwaitOrAbandon(executor, gather, abandoned.get());
    if (!world.ok() && executor.Now() >= parts_.end.at) {
      return EndOfRank(parts_.resources->options(), parts_.end);
    }
    ARROW_RETURN_NOT_OK(world.status());
    return std::pair(*std::move(world), std::move(seat));
  }

  /// Before its rank leaves the store, or this the store.
  void StopPresence() {
    if (presence_) {
      const auto stop = [presence = std::exchange(presence_, nullptr)] {
        presence->Stop();
        return arrow::Status::OK();
      };
      if (!parts_.executor->RunTask(stop).ok()) {
        (void)stop();
      }
    }
  }

  /// Stops, and gives what may go on in another world.
  Parts TakeApart(const arrow::Status& why) {
    Parts next;
    next.reports = parts_.reports;
    next.resources = parts_.resources;
    next.own_executor = parts_.own_executor;
    next.executor = parts_.executor;
    next.interrupt = parts_.interrupt;
    next.network = parts_.network;
    next.ends = parts_.ends;
    StopPresence();
    auto store = std::move(parts_.store);
    Stop(why);
    next.store = std::move(store);
    return next;
  }

  void Stop(const arrow::Status& why) {
    if (liveness_->closed.exchange(true)) {
      return;
    }
    if (end_timer_) {
      end_timer_->Cancel();
    }
    if (liveness_->report) {
      liveness_->report->Leave();
    }
    // What was begun has to be ended now, whatever the hook says: tasks refer to what goes next.
    parts_.executor->SetInterruptHook(nullptr);
    StopPresence();
    auto stop = [this, why] {
      endpoint_->Shutdown(why);
      parts_.store.reset();
      parts_.seat.reset();
      return arrow::Status::OK();
    };
    if (!parts_.executor->RunTask(stop).ok()) {
      (void)stop();  // the rank was killed in a simulation: no task runs any more
    }
  }

  Parts parts_;
  TimePoint began_ = parts_.executor->Now();
  std::shared_ptr<Liveness> liveness_ = std::make_shared<Liveness>();
  std::shared_ptr<Endpoint> endpoint_;
  std::shared_ptr<Timer> end_timer_;
  std::shared_ptr<Presence> presence_;
};

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
