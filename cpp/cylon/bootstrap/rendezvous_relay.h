/// Streams between processes that have no way to each other but a server, which copies their bytes.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/rendezvous_counters.h"
#include "cylon/bootstrap/rendezvous_guest.h"
#include "cylon/bootstrap/rendezvous_protocol.h"

namespace cylon {

struct RelayLimits {
  /// Pairs, and ends that wait for their other. A pair has two buffers of 64 KiB.
  size_t pairs = 1024;
  size_t waiting = 1024;
  /// The longest that an end may wait, whatever it asks for; and a pair over which nothing goes is not needed (the
  /// mesh pings its links far more often).
  Duration patience = std::chrono::seconds(60);
  Duration idle = std::chrono::minutes(5);
  /// Of one job: bytes per second in all its pairs together, so many at once, and so many as long as it is remembered.
  /// A ticket has a rate and a number of bytes of its own, which are remembered until it ends.
  double job_rate = 64 << 20;
  double job_burst = 8 << 20;
  uint64_t job_bytes = uint64_t{1} << 40;
  /// Of all jobs: those that have pairs share it evenly.
  double rate = 512 << 20;
};

/// Joins streams in pairs. Belongs to tasks. What goes over it is for the ends to protect.
class RendezvousRelay : public std::enable_shared_from_this<RendezvousRelay> {
 public:
  RendezvousRelay(Executor& executor, std::shared_ptr<RendezvousCounters> counters, RelayLimits limits = {});

  /// `stream`, whose other end is `guest`, says whom of its job it wants; it is served until the pair ends, or until
  /// the other has not come in time. After an end of one stream the other is closed, once it was sent all that came
  /// before. What a pair relays counts for the end that came first.
  static Co<void> Serve(std::shared_ptr<RendezvousRelay> self, std::unique_ptr<Stream> stream, Guest guest);

  /// Ends that wait, and pairs.
  size_t waiting() const { return waiting_.size(); }
  size_t pairs() const { return pairs_.size(); }
  /// Ends all; later ones end at once.
  void Close();

 private:
  struct Job;
  struct End;
  struct Pair;
  using EndPtr = std::shared_ptr<End>;
  using PairPtr = std::shared_ptr<Pair>;
  using Key = std::tuple<std::string, std::string, std::string, std::string>;  // job, from, to, token

  arrow::Result<RendezvousFrame> Check(const arrow::Result<RendezvousFrame>& asked) const;
  static Co<void> Refuse(std::shared_ptr<RendezvousRelay> self, EndPtr end, arrow::Status why);
  static Co<void> WaitFor(std::shared_ptr<RendezvousRelay> self, EndPtr end, Key key, Duration patience);
  static Co<void> Join(std::shared_ptr<RendezvousRelay> self, EndPtr first, EndPtr second);
  static Co<void> RefuseBoth(std::shared_ptr<RendezvousRelay> self, PairPtr pair, arrow::Status why);
  static Co<void> Pump(std::shared_ptr<RendezvousRelay> self, PairPtr pair, size_t side);
  static Co<bool> PassOn(std::shared_ptr<RendezvousRelay> self, PairPtr pair, size_t side, size_t bytes);
  void WatchIdle(const PairPtr& pair);
  std::shared_ptr<Job> JobOf(const Guest& guest);

  Executor& executor_;
  const std::shared_ptr<RendezvousCounters> counters_;
  const RelayLimits limits_;
  std::map<Key, EndPtr> waiting_;
  std::set<PairPtr> pairs_;
  std::set<EndPtr> asking_;                           // have not said whom they want
  std::map<std::string, std::shared_ptr<Job>> jobs_;  // by ticket, or by name where there are none
  size_t active_jobs_ = 0;
  bool closed_ = false;
};

}  // namespace cylon
