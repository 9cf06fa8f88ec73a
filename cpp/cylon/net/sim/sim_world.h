/// A whole world under virtual time: one rank runs at a time, and a seed decides everything else.
#pragma once

#include <arrow/status.h>

#include <functional>
#include <memory>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/net/transport.h"

namespace cylon {

/// Runs ranks as threads of which exactly one is awake, switched at its waits. At each switch the seed picks what
/// happens next among: resuming a rank whose wait is over, running a rank's next posted task, delivering a message (the
/// oldest of some channel and pair: their order is kept, all else is shuffled). Only when nothing can happen does the
/// clock jump to the next timer. When there is none either, every rank's wait ends with an error that says deadlock and
/// what each rank waits for.
class CYLON_EXPORT SimWorld {
 public:
  SimWorld(int world_size, uint64_t seed);
  ~SimWorld();

  /// The executor and the transport of a rank; valid for the life of the world.
  Executor& executor(Rank rank);
  std::unique_ptr<Transport> MakeTransport(Rank rank);

  /// Calls body(rank) on one thread a rank and returns when all have ended: the first status that is not OK, by rank.
  arrow::Status Run(const std::function<arrow::Status(Rank)>& body);

  /// `rank` is lost at the `event`-th scheduling decision from now: it runs no more tasks, its waits end with
  /// Cancelled, the others' sinks get OnPeerLost (each at a time of the seed's choosing, after messages that arrived).
  void KillAfter(Rank rank, int64_t events);
  /// `rank` is stopped then, as a process is: it runs nothing, and its links stay open. It goes on when `lasting` has
  /// passed on the world's clock (kForEver: when all others have ended, its waits end with Cancelled).
  void StopAfter(Rank rank, int64_t events, Duration lasting = kForEver);
  /// Nothing passes between `a` and `b` from then on, and neither is told. `b` may be kStoreEnd: Passes says so.
  void CutAfter(Rank a, Rank b, int64_t events);
  /// As transports do that ping: who hears nothing over a link for `silence`, as its other end is stopped or the way
  /// there cut, is told that the peer is lost. (Without: never.)
  void GiveUpLinksAfter(Duration silence);
  static constexpr Duration kForEver = Duration::max();
  static constexpr Rank kStoreEnd = -1;

  /// For what is simulated beside the transports.
  bool Passes(Rank a, Rank b) const;
  bool Stopped(Rank rank) const;

  /// Scheduling decisions so far, and a hash over them: two runs of one seed have the same.
  int64_t events() const;
  uint64_t history() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cylon
