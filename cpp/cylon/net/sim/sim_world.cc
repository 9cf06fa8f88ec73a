// The scheduler of a simulated world, and the executors on it.
#include "cylon/net/sim/sim_world.h"

#include <algorithm>
#include <thread>

#include "cylon/net/sim/sim_core.h"

namespace cylon {

namespace internal {

namespace {

/// How often, in decisions, waits look at their interrupt hooks.
constexpr int64_t kHookPeriod = 64;

class SimTimer : public Timer {
 public:
  explicit SimTimer(std::shared_ptr<std::atomic<bool>> cancelled) : cancelled_(std::move(cancelled)) {}
  void Cancel() override { cancelled_->store(true); }

 private:
  std::shared_ptr<std::atomic<bool>> cancelled_;
};

}  // namespace

TimePoint SimExecutor::Now() const { return core_->Now(); }
void SimExecutor::Post(Task task) { core_->Post(rank_, std::move(task)); }
std::shared_ptr<Timer> SimExecutor::PostAt(TimePoint when, Task task) {
  return core_->PostAt(rank_, when, std::move(task));
}
bool SimExecutor::InTask() const { return core_->InTask(rank_); }
arrow::Status SimExecutor::Wait(const arrow::Future<>& future, TimePoint deadline) {
  return core_->Wait(rank_, future, deadline);
}
void SimExecutor::SetInterruptHook(std::function<arrow::Status()> hook) {
  core_->SetInterruptHook(rank_, std::move(hook));
}

SimCore::SimCore(int world_size, uint64_t seed)
    : random_(seed), links_(static_cast<size_t>(world_size) * static_cast<size_t>(world_size)) {
  for (Rank rank = 0; rank < world_size; ++rank) {
    ranks_.push_back(std::make_unique<RankState>(this, rank));
  }
}

SimCore::~SimCore() {
  // What tasks hold may come back here while it is destroyed (a timer, a transport): the ranks are still whole then.
  for (auto& rank : ranks_) {
    rank->killed = true;
    std::deque<Task> tasks = std::move(rank->tasks);
  }
  auto alarms = std::move(alarms_);
}

TimePoint SimCore::Now() const {
  Lock lock(mutex_);
  return now_;
}

int64_t SimCore::events() const {
  Lock lock(mutex_);
  return events_;
}

uint64_t SimCore::history() const {
  Lock lock(mutex_);
  return history_;
}

void SimCore::Record(uint64_t what, uint64_t a, uint64_t b) {
  uint64_t h = history_ ^ (what << 56 ^ a << 40 ^ b);
  h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9ULL;
  h = (h ^ (h >> 27)) * 0x94d049bb133111ebULL;
  history_ = h ^ (h >> 31);
}

void SimCore::Post(Rank rank, Task task) {
  Lock lock(mutex_);
  if (!ranks_[rank]->killed) {
    ranks_[rank]->tasks.push_back(std::move(task));
  }
}

std::shared_ptr<Timer> SimCore::PostAt(Rank rank, TimePoint when, Task task) {
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  auto guarded = Task([cancelled, task = std::move(task)]() mutable {
    if (!cancelled->load()) {
      std::move(task)();
    }
  });
  Lock lock(mutex_);
  if (!ranks_[rank]->killed) {
    if (when <= now_) {
      ranks_[rank]->tasks.push_back(std::move(guarded));
    } else {
      alarms_.emplace(std::make_pair(when, next_alarm_++), Alarm{rank, std::move(guarded), cancelled});
    }
  }
  return std::make_shared<SimTimer>(std::move(cancelled));
}

void SimCore::SetInterruptHook(Rank rank, std::function<arrow::Status()> hook) {
  Lock lock(mutex_);
  ranks_[rank]->hook = std::move(hook);
}

void SimCore::FailAfter(int64_t events, const SimFault& fault) {
  Lock lock(mutex_);
  faults_.emplace(events_ + events, fault);
}

void SimCore::GiveUpLinksAfter(Duration silence) {
  Lock lock(mutex_);
  link_patience_ = silence;
}

bool SimCore::Passes(Rank a, Rank b) const {
  Lock lock(mutex_);
  return !IsCut(a, b);
}

bool SimCore::Stopped(Rank rank) const {
  Lock lock(mutex_);
  return ranks_[rank]->stopped;
}

arrow::Status SimCore::Wait(Rank rank, const arrow::Future<>& future, TimePoint deadline) {
  Lock lock(mutex_);
  if (task_of_.load() >= 0) {
    return arrow::Status::Invalid("rank ", rank, " waited inside a task of rank ", task_of_.load(),
                                  "; a task must not block: await the future in a coroutine instead");
  }
  if (ranks_[rank]->killed) {
    return arrow::Status::Cancelled("rank ", rank, " was killed by the simulation");
  }
  SimWaiter own{rank, future, deadline, events_, false, false, {}, {}};
  if (deadline <= now_ && !future.is_finished()) {
    own.ended = true;
    own.status = DeadlineError("the deadline of a wait has passed");
  }
  waiters_.push_back(&own);
  Drive(lock, &own);
  return own.future.is_finished() && !ranks_[rank]->killed ? arrow::Status::OK() : own.status;
}

arrow::Status SimCore::Run(const std::function<arrow::Status(Rank)>& body) {
  std::vector<arrow::Status> results(ranks_.size());
  std::vector<std::unique_ptr<SimWaiter>> starts;
  std::vector<std::thread> threads;
  Lock lock(mutex_);
  for (Rank rank = 0; rank < size(); ++rank) {
    ranks_[rank]->ended = false;
    starts.push_back(std::make_unique<SimWaiter>());
    auto* start = starts.back().get();
    start->rank = rank;
    start->future = arrow::Future<>::MakeFinished();
    start->deadline = kNever;
    start->since = events_;
    waiters_.push_back(start);
  }
  for (Rank rank = 0; rank < size(); ++rank) {
    threads.emplace_back([this, rank, start = starts[rank].get(), &body, &results] {
      Lock own(mutex_);
      start->wake.wait(own, [start] { return start->resumed; });
      own.unlock();
      results[rank] = body(rank);
      own.lock();
      ranks_[rank]->ended = true;
      Drive(own, nullptr);
    });
  }
  Drive(lock, nullptr);
  lock.unlock();
  for (auto& thread : threads) {
    thread.join();
  }
  for (const auto& result : results) {
    ARROW_RETURN_NOT_OK(result);
  }
  return arrow::Status::OK();
}

/// Makes decisions until one gives the baton away; with `own`, until it has come back. Without threads to resume there
/// is nobody to make decisions for.
void SimCore::Drive(Lock& lock, SimWaiter* own) {
  while (!waiters_.empty()) {
    FailDue(lock);
    const size_t choices = CountChoices();
    if (choices == 0) {
      if (!AdvanceClock() && !EndStopped(lock)) {
        EndDeadlock();
      }
      continue;
    }
    ++events_;
    if (events_ % kHookPeriod == 0) {
      AskHooks(lock);
    }
    if (Step(lock, Random(choices), own)) {
      return;
    }
  }
}

size_t SimCore::CountChoices() {
  size_t choices = 0;
  for (const auto* waiter : waiters_) {
    choices += MayResume(*waiter) ? 1 : 0;
  }
  for (const auto& rank : ranks_) {
    choices += MayRun(*rank) ? 1 : 0;
  }
  for (Rank from = 0; from < size(); ++from) {
    for (Rank to = 0; to < size(); ++to) {
      choices += Deliverable(from, to) ? link(from, to).active.size() : 0;
      choices += LossIsDue(from, to) ? 1 : 0;
    }
  }
  return choices;
}

/// Does the `choice`-th thing in the order that CountChoices counts. True: the baton went to another thread and, where
/// there is `own`, has come back.
bool SimCore::Step(Lock& lock, size_t choice, SimWaiter* own) {
  for (size_t i = 0; i < waiters_.size(); ++i) {
    if (MayResume(*waiters_[i]) && choice-- == 0) {
      Resume(lock, i, own);
      return true;
    }
  }
  for (Rank rank = 0; rank < size(); ++rank) {
    if (MayRun(*ranks_[rank]) && choice-- == 0) {
      RunTaskOf(lock, rank);
      return false;
    }
  }
  for (Rank from = 0; from < size(); ++from) {
    for (Rank to = 0; to < size(); ++to) {
      const size_t ready = Deliverable(from, to) ? link(from, to).active.size() : 0;
      if (choice < ready) {
        Deliver(lock, from, to, choice);
        return false;
      }
      choice -= ready;
      if (LossIsDue(from, to) && choice-- == 0) {
        TellLoss(from, to, link(from, to).cause);
        return false;
      }
    }
  }
  return false;
}

void SimCore::Resume(Lock& lock, size_t index, SimWaiter* own) {
  auto* next = waiters_[index];
  waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(index));
  Record(kResumed, next->rank, 0);
  next->resumed = true;
  if (next == own) {
    return;
  }
  next->wake.notify_one();
  if (own != nullptr) {
    own->wake.wait(lock, [own] { return own->resumed; });
  }
}

void SimCore::RunTaskOf(Lock& lock, Rank rank) {
  auto task = std::move(ranks_[rank]->tasks.front());
  ranks_[rank]->tasks.pop_front();
  Record(kRanTask, rank, 0);
  lock.unlock();
  task_of_.store(rank);
  std::move(task)();
  task = Task();  // what it holds goes inside the task, too
  task_of_.store(-1);
  lock.lock();
}

void SimCore::AskHooks(Lock& lock) {
  for (auto* waiter : std::vector<SimWaiter*>(waiters_)) {
    auto hook = ranks_[waiter->rank]->hook;
    if (!hook || IsOver(*waiter) || ranks_[waiter->rank]->stopped) {
      continue;
    }
    lock.unlock();
    auto status = hook();
    lock.lock();
    if (!status.ok()) {
      waiter->ended = true;
      waiter->status = std::move(status);
    }
  }
}

/// Jumps to the next timer or deadline. False where there is none.
bool SimCore::AdvanceClock() {
  while (!alarms_.empty() && alarms_.begin()->second.cancelled->load()) {
    alarms_.erase(alarms_.begin());
  }
  TimePoint next = alarms_.empty() ? kNever : alarms_.begin()->first.first;
  for (const auto* waiter : waiters_) {
    if (!ranks_[waiter->rank]->stopped) {
      next = std::min(next, waiter->deadline);
    }
  }
  if (!resumes_.empty()) {
    next = std::min(next, resumes_.begin()->first);
  }
  if (next == kNever) {
    return false;
  }
  now_ = std::max(now_, next);  // what a rank that was stopped waited for may be past
  Record(kJumped, 0, static_cast<uint64_t>(now_.time_since_epoch().count()));
  while (!alarms_.empty() && alarms_.begin()->first.first <= now_) {
    auto alarm = std::move(alarms_.begin()->second);
    alarms_.erase(alarms_.begin());
    ranks_[alarm.rank]->tasks.push_back(std::move(alarm.task));
  }
  while (!resumes_.empty() && resumes_.begin()->first <= now_) {
    ranks_[resumes_.begin()->second]->stopped = false;
    resumes_.erase(resumes_.begin());
  }
  for (auto* waiter : waiters_) {
    if (waiter->deadline <= now_ && !ranks_[waiter->rank]->stopped && !IsOver(*waiter)) {
      waiter->ended = true;
      waiter->status = DeadlineError("the deadline of a wait has passed");
    }
  }
  return true;
}

/// Where only ranks wait that are stopped for ever, they are lost. False where others wait, too.
bool SimCore::EndStopped(Lock& lock) {
  const bool all = std::all_of(waiters_.begin(), waiters_.end(),
                               [this](const auto* waiter) { return ranks_[waiter->rank]->stopped; });
  for (Rank rank = 0; all && rank < size(); ++rank) {
    if (ranks_[rank]->stopped) {
      Kill(lock, rank);
    }
  }
  return all;
}

void SimCore::EndDeadlock() {
  std::string text = "deadlock at event " + std::to_string(events_) + ":";
  for (Rank rank = 0; rank < size(); ++rank) {
    text += (rank == 0 ? " rank " : ", rank ") + std::to_string(rank);
    const auto waits =
        std::find_if(waiters_.begin(), waiters_.end(), [&](const auto* waiter) { return waiter->rank == rank; });
    if (ranks_[rank]->killed) {
      text += " was killed";
    } else if (ranks_[rank]->stopped) {
      text += " is stopped";
    } else if (waits != waiters_.end()) {
      text += " has waited since event " + std::to_string((*waits)->since);
    } else {
      text += ranks_[rank]->ended ? " has ended" : " does not wait";
    }
    size_t undelivered = 0;
    for (Rank from = 0; from < size(); ++from) {
      undelivered += link(from, rank).active.size();
    }
    if (undelivered > 0) {
      text +=
          " (messages of " + std::to_string(undelivered) + " channels lie before its transport, which has not started)";
    }
  }
  text += "; no message, task or timer is left that could end a wait. Look at who should have sent what they wait for";
  for (auto* waiter : waiters_) {
    waiter->ended = true;
    waiter->status = arrow::Status::Invalid(text);
  }
}

void SimCore::FailDue(Lock& lock) {
  while (!faults_.empty() && faults_.begin()->first <= events_) {
    const SimFault fault = faults_.begin()->second;
    faults_.erase(faults_.begin());
    switch (fault.kind) {
      case SimFault::Kind::kKill:
        Kill(lock, fault.rank);
        break;
      case SimFault::Kind::kStop:
        Stop(fault.rank, fault.lasting);
        break;
      case SimFault::Kind::kCut:
        Record(kCut, static_cast<uint64_t>(fault.rank), static_cast<uint64_t>(int64_t{fault.other} + 1));
        cuts_.insert(std::minmax(fault.rank, fault.other));
        for (const auto& [from, to] : {std::pair(fault.rank, fault.other), std::pair(fault.other, fault.rank)}) {
          if (link_patience_ && fault.other >= 0) {
            alarms_.emplace(
                std::make_pair(now_ + *link_patience_, next_alarm_++),
                Alarm{to, [this, a = from, b = to] { GiveUp(a, b); }, std::make_shared<std::atomic<bool>>(false)});
          }
        }
        break;
    }
  }
}

void SimCore::Stop(Rank rank, Duration lasting) {
  auto& state = *ranks_[rank];
  if (state.killed || state.stopped) {
    return;
  }
  Record(kStopped, rank, 0);
  state.stopped = true;
  if (lasting != SimWorld::kForEver) {
    resumes_.emplace(now_ + lasting, rank);
  }
  for (Rank peer = 0; link_patience_ && peer < size(); ++peer) {
    if (peer != rank) {
      alarms_.emplace(
          std::make_pair(now_ + *link_patience_, next_alarm_++),
          Alarm{peer, [this, rank, peer] { GiveUp(rank, peer); }, std::make_shared<std::atomic<bool>>(false)});
    }
  }
}

void SimCore::Kill(Lock& lock, Rank rank) {
  auto& state = *ranks_[rank];
  if (state.killed) {
    return;
  }
  Record(kKilled, rank, 0);
  state.killed = true;
  state.stopped = false;
  state.port.state = SimPort::State::kGone;
  BreakLinks(rank, "was killed");
  ReleaseMemory(rank);
  for (auto* waiter : waiters_) {
    if (waiter->rank == rank) {
      waiter->ended = true;
      waiter->status = arrow::Status::Cancelled("rank ", rank, " was killed by the simulation");
    }
  }
  auto tasks = std::move(state.tasks);
  state.tasks.clear();
  std::vector<Alarm> alarms;
  for (auto alarm = alarms_.begin(); alarm != alarms_.end();) {
    if (alarm->second.rank == rank) {
      alarms.push_back(std::move(alarm->second));
      alarm = alarms_.erase(alarm);
    } else {
      ++alarm;
    }
  }
  // What tasks hold may come back here when it is destroyed.
  lock.unlock();
  tasks.clear();
  alarms.clear();
  lock.lock();
}

}  // namespace internal

class SimWorld::Impl {
 public:
  Impl(int world_size, uint64_t seed) : core(world_size, seed) {}
  internal::SimCore core;
};

SimWorld::SimWorld(int world_size, uint64_t seed) : impl_(std::make_unique<Impl>(world_size, seed)) {}
SimWorld::~SimWorld() = default;

Executor& SimWorld::executor(Rank rank) { return impl_->core.executor(rank); }
std::unique_ptr<Transport> SimWorld::MakeTransport(Rank rank) { return internal::MakeSimTransport(impl_->core, rank); }
arrow::Status SimWorld::Run(const std::function<arrow::Status(Rank)>& body) { return impl_->core.Run(body); }
void SimWorld::KillAfter(Rank rank, int64_t events) {
  impl_->core.FailAfter(events, {.kind = internal::SimFault::Kind::kKill, .rank = rank});
}
void SimWorld::StopAfter(Rank rank, int64_t events, Duration lasting) {
  impl_->core.FailAfter(events, {.kind = internal::SimFault::Kind::kStop, .rank = rank, .lasting = lasting});
}
void SimWorld::CutAfter(Rank a, Rank b, int64_t events) {
  impl_->core.FailAfter(events, {.kind = internal::SimFault::Kind::kCut, .rank = a, .other = b});
}
void SimWorld::GiveUpLinksAfter(Duration silence) { impl_->core.GiveUpLinksAfter(silence); }
bool SimWorld::Passes(Rank a, Rank b) const { return impl_->core.Passes(a, b); }
bool SimWorld::Stopped(Rank rank) const { return impl_->core.Stopped(rank); }
int64_t SimWorld::events() const { return impl_->core.events(); }
uint64_t SimWorld::history() const { return impl_->core.history(); }

}  // namespace cylon
