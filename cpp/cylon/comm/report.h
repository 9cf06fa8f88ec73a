/// What the ranks of this process wait for, on whom and since when: for people who look at a job that does not move.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/comm/call.h"

namespace cylon {

/// From now on SIGUSR1 makes this process write StallReport() to stderr. Does nothing, and returns false, where the
/// program handles or ignores that signal itself; what it would do else is to end the process. Context::Connect calls
/// it for as long as its rank lives, unless the option stall_reports says no. A handler that is set later replaces it.
CYLON_EXPORT arrow::Result<bool> InstallStallReports();

/// A block of lines for each rank of this process that is connected by real means:
///
///   rank 2 of 4 waits 12.3 s in Join: AllToAll() (operation 7) for ranks 0 and 3; sent 12 MiB, received 10 MiB
///     in flight: 2 messages to rank 3
///     also under way in communicator 2 (ranks 0 and 2): Barrier() (operation 3) for rank 0
///   rank 2 of 4 computes since 3.2 s; last in Join: AllToAll() (operation 7); sent 12 MiB, received 10 MiB
///
/// Asks each rank's executor, for at most a second: one that does not answer is described by what its calling thread
/// did last, and that is said. From any thread but one that runs a rank's tasks.
CYLON_EXPORT std::string StallReport();

namespace internal {

/// InstallStallReports while what is returned lives: then the thread that answers ends. nullptr: not installed.
arrow::Result<std::shared_ptr<void>> HoldStallReports();

class Endpoint;
class Group;

/// One rank in the reports. The thread that calls on its communicators notes here what it does, so that something can
/// be said also when tasks do not run.
class RankReport : public std::enable_shared_from_this<RankReport> {
 public:
  using AwaitedRanks = std::function<std::vector<Rank>()>;

  /// In the reports from now on until Leave.
  static std::shared_ptr<RankReport> Enter(std::weak_ptr<Endpoint> endpoint, Executor& executor, Rank rank, int size);
  void Leave();

  /// A collective call was made.
  void OnCall(const Call& call, uint64_t sequence);

  /// While it lives, the calling thread waits in `group`. `awaited` may be asked from another thread meanwhile.
  class Wait {
   public:
    Wait(RankReport* report, const Group& group, const AwaitedRanks& awaited);
    ~Wait();
    Wait(const Wait&) = delete;
    Wait& operator=(const Wait&) = delete;

   private:
    RankReport* report_;
  };

  /// What the calling thread does, for the beats of this rank's watch. From any thread.
  struct Doing {
    bool waits = false;
    Duration since{};
    uint64_t sequence = 0;  ///< of its last call, 0: none yet
    std::string operation;
  };
  Doing Now() const;
  /// Whom it waits for, by rank of the world. In a task.
  std::set<Rank> Awaited() const;

  /// Asks for a description; `answer` gets it in a task of the rank.
  void Ask(std::function<void(std::string)> answer);
  /// What the calling thread did last, without the rank's tasks.
  std::string LastKnown() const;

 private:
  RankReport(std::weak_ptr<Endpoint> endpoint, Executor& executor, Rank rank, int size);
  std::string Describe(Endpoint& endpoint) const;
  std::string Name() const;
  /// "waits 12.3 s" or "computes since 3.2 s".
  std::string State(TimePoint now) const;

  const std::weak_ptr<Endpoint> endpoint_;
  Executor& executor_;
  const Rank rank_;
  const int size_;

  mutable std::mutex mutex_;  // guards what follows
  TimePoint since_;
  const Group* waits_in_ = nullptr;
  const AwaitedRanks* awaited_ = nullptr;
  Call call_;
  uint64_t sequence_ = 0;  // 0: none yet
};

}  // namespace internal
}  // namespace cylon
