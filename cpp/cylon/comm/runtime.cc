// What stands behind the contexts of one rank.
#include "cylon/comm/runtime.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "cylon/base/readable.h"
#include "cylon/bootstrap/gathering.h"
#include "cylon/comm/explain.h"

namespace cylon::internal {

namespace {

/// Long enough for a group to settle why it is revoked (see Group).
constexpr auto kVerdictPatience = std::chrono::seconds(1);
/// What stays in a store that does not answer goes by itself.
constexpr auto kLeavePatience = std::chrono::seconds(1);

/// What becomes of a wait that began before the job's end, and of goodbyes after it.
constexpr auto kAfterEnd = std::chrono::milliseconds(100);

/// What others are told of it.
std::string TimeWasUp(const Options& options) {
  return "its time was up: its process had " + ReadableSeconds(options.time_left_s) + " left when it joined";
}

}  // namespace

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown host";
}

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

TimePoint ConnectedBy(const Parts& parts) {
  const auto& options = parts.resources->options();
  return std::min(
      parts.executor->Now() + FromSeconds(options.connect_deadline_s + options.peer_timeout_s) + 2 * kVerdictPatience,
      parts.end.at);
}

Runtime::Runtime(Parts parts) : parts_(std::move(parts)) {
  const auto& options = parts_.resources->options();
  LanesOptions lanes_options;
  lanes_options.piece_bytes = options.piece_bytes;
  lanes_options.eager_bytes = options.eager_bytes > 0 ? options.eager_bytes : EagerBytesFor(parts_.world.size());
  auto lanes = std::make_unique<Lanes>(parts_.world.rank, parts_.world.size(), std::move(parts_.transport),
                                       *parts_.executor, parts_.resources->memory(), lanes_options);
  endpoint_ =
      std::make_shared<Endpoint>(parts_.world, *parts_.executor, std::move(lanes), parts_.store.get(), parts_.launcher,
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

Runtime::~Runtime() { Stop(arrow::Status::Cancelled("the context was destroyed while this was under way")); }

arrow::Status Runtime::Start(TimePoint deadline) {
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
    status = verdict.ok() ? NotConnected(status) : verdict;
  }
  if (status.ok()) {
    ForetellByPlan();
  }
  return status;
}

arrow::Status Runtime::NotConnected(const arrow::Status& status) const {
  const auto& options = parts_.resources->options();
  const std::string waited = "rank " + std::to_string(parts_.world.rank) + " has no connection to all of the " +
                             std::to_string(parts_.world.size()) + " ranks";
  if (parts_.executor->Now() >= parts_.end.at) {
    const auto over = EndOfRank(options, parts_.end);
    return over.WithMessage(over.message(), "; ", waited, " (", status.message(), ")");
  }
  return !IsError(status, ErrorKind::kDeadline)
             ? status
             : DeadlineError(waited + ", nor heard why, well after the " + ReadableSeconds(options.connect_deadline_s) +
                             " for it (connect_deadline_s); is its process stopped now and then, or its machine "
                             "overloaded? Start the job again, or raise CYLON_CONNECT_DEADLINE");
}

arrow::Result<std::string> Runtime::Explain() const {
  return ExplainAsJson(parts_.resources->options(), parts_.executor->Now() - began_, Uses(), liveness_->tally->Rows());
}

void Runtime::ShowPresence() {
  if (parts_.own_executor && parts_.store && parts_.world.size() > 1 && parts_.resources->options().epoch.empty()) {
    presence_ = std::make_shared<Presence>(parts_.store.get(), *parts_.executor, parts_.world);
    parts_.executor->Post([presence = presence_] { presence->Start(); });
  }
}

arrow::Status Runtime::Close() {
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
    status &= Tracer::Merge(parts_.resources->options().trace_directory).status();  // of more ranks, the launcher does
  }
  return status;
}

arrow::Result<Parts> Runtime::Gather(const RejoinOptions& options) {
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

std::shared_ptr<Communicator> Runtime::WorldCommunicator() {
  return std::make_shared<GroupCommunicator>(endpoint_, endpoint_->world_group(), liveness_,
                                             parts_.resources->memory());
}

void Runtime::ForetellByPlan() {
  const auto uses = Uses();
  if (const auto* calls = MostTaken(uses, Traffic::kCalls); calls != nullptr && IsMeasured(*calls)) {
    const auto* tables = MostTaken(uses, Traffic::kTables);
    liveness_->tally->SetRates(calls->rates, tables->rates, tables->large_from);
  }
}

TimePoint Runtime::EndsAfter(TimePoint now) const {
  return parts_.end.at == kNever ? kNever : std::max(parts_.end.at, now) + kAfterEnd;
}

arrow::Result<std::pair<World, std::unique_ptr<Seat>>> Runtime::GatherInStore(const RejoinOptions& options) {
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

void Runtime::StopPresence() {
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

Parts Runtime::TakeApart(const arrow::Status& why) {
  Parts next;
  next.reports = parts_.reports;
  next.resources = parts_.resources;
  next.own_executor = parts_.own_executor;
  next.executor = parts_.executor;
  next.interrupt = parts_.interrupt;
  next.network = parts_.network;
  next.end = parts_.end;
  StopPresence();
  auto store = std::move(parts_.store);
  Stop(why);
  next.store = std::move(store);
  return next;
}

void Runtime::Stop(const arrow::Status& why) {
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

}  // namespace cylon::internal
