/// The inside of a simulated world: what the scheduler, the executors and the transports share.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/net/send_tracker.h"
#include "cylon/net/transport.h"

namespace cylon::internal {

/// What a decision was, for the history.
enum SimEvent : uint64_t {
  kResumed = 1,
  kRanTask,
  kDelivered,
  kAllocated,
  kToldLoss,
  kJumped,
  kKilled,
  kStopped,
  kCut
};

/// What goes wrong at an event.
struct SimFault {
  enum class Kind { kKill, kStop, kCut };
  Kind kind = Kind::kKill;
  Rank rank = -1;
  Rank other = -1;     // kCut
  Duration lasting{};  // kStop
};

class SimCore;

/// A rank's face onto the world's clock and queue.
class SimExecutor : public Executor {
 public:
  SimExecutor(SimCore* core, Rank rank) : core_(core), rank_(rank) {}
  TimePoint Now() const override;
  void Post(Task task) override;
  std::shared_ptr<Timer> PostAt(TimePoint when, Task task) override;
  bool InTask() const override;
  arrow::Status Wait(const arrow::Future<>& future, TimePoint deadline) override;
  void SetInterruptHook(std::function<arrow::Status()> hook) override;

 private:
  SimCore* core_;
  Rank rank_;
};

/// A blocked thread: a rank inside Wait, or one that has not begun its body.
struct SimWaiter {
  Rank rank;
  arrow::Future<> future;
  TimePoint deadline;
  int64_t since;         // event at which the wait began
  bool ended = false;    // by `status`, whatever the future does
  bool resumed = false;  // has the baton
  arrow::Status status;
  std::condition_variable wake;
};

/// A message on its way.
struct SimParcel {
  uint64_t id;  // of the sender's tracker
  Message message;
  std::optional<Buffers> landing;  // memory at the receiver, where it was asked for in a step of its own
};

/// What is on its way from one rank to another.
struct SimLink {
  enum class End { kOpen, kGoodbye, kBroken };

  std::unordered_map<ChannelId, std::deque<SimParcel>> queues;  // only looked up, never walked: its order is nobody's
  std::vector<ChannelId> active;                                // channels whose queue is not empty
  End end = End::kOpen;
  arrow::Status cause;  // what the receiver is told where the link is broken
  bool told = false;    // the receiver knows that nothing comes any more

  void Push(SimParcel parcel);
  SimParcel Pop(size_t index);
  void PushBackFirst(SimParcel parcel);
  void Clear();
  /// The receiver's memory goes back; parcels stay.
  void DropLandings();
  /// The sender is going, and its memory with it: what is on its way goes on as a copy.
  void CopyPayloads();
};

/// A rank's end of the network. Belongs to whoever has the baton.
struct SimPort {
  enum class State { kNew, kRunning, kClosed, kGone };

  State state = State::kNew;
  Sink* sink = nullptr;
  SendTracker sends;
};

/// One mutex guards everything and is never held while a rank's code runs. Exactly one thread has the baton: it runs a
/// rank's body, or, inside a wait, makes decisions and runs the tasks of any rank until one resumes another thread.
class SimCore {
 public:
  SimCore(int world_size, uint64_t seed);
  ~SimCore();

  int size() const { return static_cast<int>(ranks_.size()); }
  Executor& executor(Rank rank) { return ranks_[rank]->executor; }
  arrow::Status Run(const std::function<arrow::Status(Rank)>& body);
  void FailAfter(int64_t events, const SimFault& fault);
  void GiveUpLinksAfter(Duration silence);
  bool Passes(Rank a, Rank b) const;
  bool Stopped(Rank rank) const;
  int64_t events() const;
  uint64_t history() const;

  // For the executors.
  TimePoint Now() const;
  void Post(Rank rank, Task task);
  std::shared_ptr<Timer> PostAt(Rank rank, TimePoint when, Task task);
  bool InTask(Rank rank) const { return task_of_.load() == rank; }
  arrow::Status Wait(Rank rank, const arrow::Future<>& future, TimePoint deadline);
  void SetInterruptHook(Rank rank, std::function<arrow::Status()> hook);

  // For the transports.
  SimPort& port(Rank rank) { return ranks_[rank]->port; }
  void Launch(Rank from, Rank to, SimParcel parcel);
  void StartPort(Rank rank, Sink* sink);
  void ClosePort(Rank rank);  // after what is queued, goodbye
  void AbortPort(Rank rank);
  void LeavePort(Rank rank);  // the transport is destroyed
  bool HeardLoss(Rank rank, Rank lost);

 private:
  struct RankState {
    RankState(SimCore* core, Rank rank) : executor(core, rank) {}
    SimExecutor executor;
    std::deque<Task> tasks;
    std::function<arrow::Status()> hook;
    SimPort port;
    bool killed = false;
    bool stopped = false;
    bool ended = false;  // its body has returned
  };
  struct Alarm {
    Rank rank;
    Task task;
    std::shared_ptr<std::atomic<bool>> cancelled;
  };
  using Lock = std::unique_lock<std::mutex>;

  SimLink& link(Rank from, Rank to) { return links_[static_cast<size_t>(from) * ranks_.size() + to]; }
  bool Deliverable(Rank from, Rank to);
  bool LossIsDue(Rank from, Rank to);
  bool IsOver(const SimWaiter& waiter) const { return waiter.ended || waiter.future.is_finished(); }
  bool MayResume(const SimWaiter& waiter) const { return IsOver(waiter) && !ranks_[waiter.rank]->stopped; }
  bool MayRun(const RankState& rank) const { return !rank.tasks.empty() && !rank.stopped; }
  bool IsCut(Rank a, Rank b) const { return cuts_.contains(std::minmax(a, b)); }
  uint64_t Random(uint64_t below) { return random_() % below; }
  void Record(uint64_t what, uint64_t a, uint64_t b);

  void Drive(Lock& lock, SimWaiter* own);
  size_t CountChoices();
  bool Step(Lock& lock, size_t choice, SimWaiter* own);
  bool AdvanceClock();
  bool EndStopped(Lock& lock);
  void EndDeadlock();
  void FailDue(Lock& lock);
  void Kill(Lock& lock, Rank rank);
  void Stop(Rank rank, Duration lasting);
  void GiveUp(Rank from, Rank to);
  void AskHooks(Lock& lock);
  void Resume(Lock& lock, size_t index, SimWaiter* own);
  void RunTaskOf(Lock& lock, Rank rank);
  void Deliver(Lock& lock, Rank from, Rank to, size_t index);
  void FinishSend(Rank from, uint64_t id);
  void TellMet(Rank from, Rank to);
  void TellLoss(Rank from, Rank to, const arrow::Status& cause);
  void BreakLinks(Rank rank, const std::string& cause);
  void ReleaseMemory(Rank rank);

  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  TimePoint now_{};
  int64_t events_ = 0;
  uint64_t history_ = 0;
  uint64_t next_alarm_ = 0;
  std::atomic<Rank> task_of_{-1};
  std::vector<std::unique_ptr<RankState>> ranks_;
  std::vector<SimLink> links_;
  std::vector<SimWaiter*> waiters_;
  std::map<std::pair<TimePoint, uint64_t>, Alarm> alarms_;
  std::multimap<int64_t, SimFault> faults_;
  std::multimap<TimePoint, Rank> resumes_;
  std::set<std::pair<Rank, Rank>> cuts_;
  std::optional<Duration> link_patience_;
};

std::unique_ptr<Transport> MakeSimTransport(SimCore& core, Rank rank);

}  // namespace cylon::internal
