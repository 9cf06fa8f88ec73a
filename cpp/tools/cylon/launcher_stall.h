/// Whether ranks still do anything, and asking them what they wait for.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <optional>
#include <vector>

namespace cylon::tools {

/// Sends SIGUSR1 to the processes of each group that catch it, and to no other: it would kill them. Returns the groups
/// of which none does.
std::vector<pid_t> AskForReports(const std::vector<pid_t>& groups);

/// Tells when a job has been idle for long: no rank used its processor or wrote anything. Heartbeats, and Python's
/// looking for signals, take some of it all the time: up to a fiftieth counts as none.
class StallWatch {
 public:
  using Clock = std::chrono::steady_clock;

  explicit StallWatch(Clock::duration limit) : limit_(limit), report_after_(limit) {}

  /// A rank wrote something. What ranks write in answer to a report that was asked for is no sign of work.
  void OnOutput(Clock::time_point now);
  /// Looks at the groups' processor time. True where they have been idle for the limit; then again each time when that
  /// has doubled.
  bool Look(const std::vector<pid_t>& groups, Clock::time_point now) { return Judge(ProcessorTimes(groups), now); }
  /// When to look next.
  Clock::time_point next_look() const { return next_look_; }
  Clock::duration idle(Clock::time_point now) const { return now - since_; }

  /// The same with times from elsewhere: seconds by group.
  bool Judge(const std::map<pid_t, double>& times, Clock::time_point now);

 private:
  static std::map<pid_t, double> ProcessorTimes(const std::vector<pid_t>& groups);
  void Restart(Clock::time_point now);

  Clock::duration limit_;
  Clock::duration report_after_;
  Clock::time_point since_{};
  Clock::time_point next_look_{};
  Clock::time_point answers_until_{};
  std::optional<std::map<pid_t, double>> at_start_;  // of the idle time
};

}  // namespace cylon::tools
