/// One rank in the reports of what ranks wait for.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/comm/call.h"
#include "cylon/comm/report.h"

namespace cylon::internal {

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

}  // namespace cylon::internal
