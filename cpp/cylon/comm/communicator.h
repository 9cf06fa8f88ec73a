/// Collectives and point-to-point messages among the ranks of a group.
#pragma once

#include <arrow/buffer.h>
#include <arrow/result.h>
#include <arrow/type_fwd.h>
#include <arrow/util/future.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/net/lanes.h"

namespace cylon {

enum class ReduceOp : uint8_t { kSum, kMin, kMax, kProd, kLogicalAnd, kLogicalOr, kBitAnd, kBitOr };

/// Element type of a reduction: bool (one byte each), int8 … int64, uint8 … uint64, float, double (arrow::Type::type
/// values). Integers wrap around; of a NaN and a number, min and max give the NaN; logical operations give 0 or 1; on
/// bool, sum is "or" and prod is "and".
using ElementType = arrow::Type::type;

/// What a rank brings to an agreement, and what all get. See Communicator::Agree.
struct Proposal {
  std::string signature;  ///< has to be the same at every rank: "Join(inner, schema …)"; text, shown when it differs
  arrow::Status status;   ///< a local error is told to all
  std::vector<int64_t> values;  ///< rows, bytes, …: each rank's own; the count has to be the same at every rank
};
struct Agreement {
  std::vector<std::vector<int64_t>> values;  ///< by rank
  int64_t Sum(size_t index) const;
  int64_t Max(size_t index) const;
};

class Communicator;

/// Where the calls on a communicator come from while this lives, for messages: "analysis.py:42". The outermost counts:
/// what helps is the line of the user's program, not the library's own. The blocking forms of a communicator's calls
/// and the operators have one; around an Async call, say it yourself: `CallSite here(communicator);`. Of the thread
/// that calls on the communicator.
class CYLON_EXPORT CallSite {
 public:
  explicit CallSite(Communicator& communicator, std::source_location location = std::source_location::current());
  /// `place` as text: of a caller in another language.
  CallSite(Communicator& communicator, std::string place);
  ~CallSite();
  CallSite(const CallSite&) = delete;
  CallSite& operator=(const CallSite&) = delete;

 private:
  Communicator* communicator_;  // nullptr: another one stands, or nobody is told
};

/// A group of ranks. Every call is collective unless it says otherwise: all ranks of the group make the same calls in
/// the same order. One thread at a time calls. Calls that end in Async return at once and may be many under way; the
/// others wait, driving progress.
///
/// A collective whose ranks disagree (other operation, type, count, root, or reduction) gives CollectiveMismatchError,
/// naming both calls and where they were made, at every rank, and revokes the communicator. A lost rank gives
/// RankFailedError at every rank and revokes the communicators that contain it: waiting calls fail at once, later ones
/// when made. A rank that has left in order (Close) is no failure until another needs it. Errors name ranks by their
/// number in the world, also in communicators made by Split.
///
/// Usable while a context of its world is: calls after Context::Close, or after fork in the child, return an error.
class CYLON_EXPORT Communicator {
 public:
  virtual ~Communicator();

  virtual Rank rank() const = 0;  ///< in this group
  virtual int size() const = 0;
  virtual Executor& executor() = 0;
  /// Names of hosts, by rank of this group; for messages.
  virtual const std::string& host(Rank rank) const = 0;
  /// OK, or why the communicator is revoked. Not collective.
  virtual arrow::Status Check() const = 0;

  /// Whom a wait is for, by rank of the communicator.
  using AwaitedRanks = std::function<std::vector<Rank>()>;
  /// Waits until `future` is finished, and returns OK whatever its own status is; or why the wait itself ended: the
  /// interrupt hook's status, or DeadlineError where nothing has moved at this rank for progress_deadline_s, in which
  /// case the communicator is revoked with the same error at every rank. For state machines outside this room, whose
  /// waits the communicator cannot see through: `awaited` is asked whom the error shall name. Not collective.
  virtual arrow::Status Wait(const arrow::Future<>& future, const AwaitedRanks& awaited) = 0;

  /// Waits for `future` through the executor. Where the wait itself ends (the interrupt hook said so), this rank gives
  /// up, as by GiveUp, and the wait's status is returned. Not collective. The blocking forms below wait like this; so
  /// should everything that waits for other ranks.
  template <typename T>
  arrow::Result<T> Await(const arrow::Future<T>& future) {
    ARROW_RETURN_NOT_OK(WaitOrGiveUp(arrow::Future<>(future)));
    return future.result();
  }
  arrow::Status Await(const arrow::Future<>& future) {
    ARROW_RETURN_NOT_OK(WaitOrGiveUp(future));
    return future.status();
  }
  /// This rank will not take part any more: every communicator that contains it is revoked, here and at the others, who
  /// get RankFailedError with this rank and `cause`. Not collective.
  virtual void GiveUp(const std::string& cause) = 0;

  // Each *Async call may be made from the calling thread only. Buffers given by span are copied before the call
  // returns, where small
  // (<= 4 KiB), else kept by shared_ptr.

  virtual arrow::Future<> BarrierAsync() = 0;
  /// Element-wise over equal-length arrays of `type`; the result at every rank, the same bits at each. Invalid where
  /// `op` does not apply to `type` (bit operations on floats).
  virtual arrow::Future<std::shared_ptr<arrow::Buffer>> AllReduceAsync(std::shared_ptr<arrow::Buffer> values,
                                                                       ElementType type, ReduceOp op) = 0;
  /// The same, at `root` only (nullptr elsewhere).
  virtual arrow::Future<std::shared_ptr<arrow::Buffer>> ReduceAsync(std::shared_ptr<arrow::Buffer> values,
                                                                    ElementType type, ReduceOp op, Rank root) = 0;
  /// `value` of `root`, at every rank; other ranks pass nullptr.
  virtual arrow::Future<std::shared_ptr<arrow::Buffer>> BroadcastAsync(std::shared_ptr<arrow::Buffer> value,
                                                                       Rank root) = 0;
  /// Buffers of all ranks, by rank; lengths may differ (allgatherv).
  virtual arrow::Future<Buffers> AllGatherAsync(std::shared_ptr<arrow::Buffer> value) = 0;
  /// The same at `root` only (empty elsewhere).
  virtual arrow::Future<Buffers> GatherAsync(std::shared_ptr<arrow::Buffer> value, Rank root) = 0;
  /// `values[r]` of `root` goes to rank r; other ranks pass an empty vector (scatterv).
  virtual arrow::Future<std::shared_ptr<arrow::Buffer>> ScatterAsync(Buffers values, Rank root) = 0;
  /// `values[r]` goes to rank r; what comes back is by source rank; lengths may differ (all-to-allv).
  virtual arrow::Future<Buffers> AllToAllAsync(Buffers values) = 0;

  /// Point-to-point; not collective. Messages of one tag and pair keep their order. The future of a send finishes when
  /// the buffer may be reused. `tag` >= 0.
  virtual arrow::Future<> SendAsync(Rank to, std::shared_ptr<arrow::Buffer> value, int64_t tag) = 0;
  virtual arrow::Future<std::shared_ptr<arrow::Buffer>> ReceiveAsync(Rank from, int64_t tag) = 0;

  /// Every rank's proposal compared and shared, in one small allgather: what each operator begins with (same
  /// signature?) and ends with (did all succeed?). Unequal signatures: CollectiveMismatchError that shows both and
  /// names the ranks, at every rank. A status that is not OK: RemoteError of the lowest such rank, at every rank (the
  /// rank itself gets its own status). Neither revokes: the communicator stays usable.
  virtual arrow::Future<Agreement> AgreeAsync(Proposal proposal) = 0;

  /// Ranks of equal `color` (>= 0) form a new communicator, ordered by (key, rank); color -1 gives nullptr.
  virtual arrow::Result<std::shared_ptr<Communicator>> Split(int color, int key) = 0;

  // Blocking forms. `location` is for messages.

  using Location = std::source_location;
  arrow::Status Barrier(Location location = Location::current());
  arrow::Result<std::shared_ptr<arrow::Buffer>> AllReduce(std::shared_ptr<arrow::Buffer> values, ElementType type,
                                                          ReduceOp op, Location location = Location::current());
  arrow::Result<int64_t> AllReduce(int64_t value, ReduceOp op, Location location = Location::current());
  arrow::Result<double> AllReduce(double value, ReduceOp op, Location location = Location::current());
  arrow::Result<std::shared_ptr<arrow::Buffer>> Reduce(std::shared_ptr<arrow::Buffer> values, ElementType type,
                                                       ReduceOp op, Rank root, Location location = Location::current());
  arrow::Result<std::shared_ptr<arrow::Buffer>> Broadcast(std::shared_ptr<arrow::Buffer> value, Rank root,
                                                          Location location = Location::current());
  arrow::Result<Buffers> AllGather(std::shared_ptr<arrow::Buffer> value, Location location = Location::current());
  arrow::Result<Buffers> Gather(std::shared_ptr<arrow::Buffer> value, Rank root,
                                Location location = Location::current());
  arrow::Result<std::shared_ptr<arrow::Buffer>> Scatter(Buffers values, Rank root,
                                                        Location location = Location::current());
  arrow::Result<Buffers> AllToAll(Buffers values, Location location = Location::current());
  arrow::Status Send(Rank to, std::shared_ptr<arrow::Buffer> value, int64_t tag,
                     Location location = Location::current());
  arrow::Result<std::shared_ptr<arrow::Buffer>> Receive(Rank from, int64_t tag,
                                                        Location location = Location::current());
  arrow::Result<Agreement> Agree(Proposal proposal, Location location = Location::current());

  // For the exchange, which has channels of its own. Not collective, but every rank draws in the same order.

  virtual Lanes& lanes() = 0;
  /// The channel of the next exchange.
  virtual ChannelId NextExchangeChannel() = 0;
  /// One is over, after `time`: for Context::Explain.
  virtual void CountExchange(int64_t bytes_sent, Duration time) = 0;
  /// Rank of this group <-> rank in the world (which lanes speak of).
  virtual Rank ToWorld(Rank rank) const = 0;
  virtual Rank FromWorld(Rank world_rank) const = 0;
  /// Finishes, never with OK, when the communicator is revoked: for state machines outside this room that have to stop
  /// then.
  virtual arrow::Future<> Revoked() = 0;
  /// To be told, in tasks, of a send over lanes() to a rank of the world that was lost: what became of the rank is
  /// found out then, and ends Revoked. Does nothing once the communicator has gone.
  virtual std::function<void(Rank world_to, const arrow::Status& why)> TellOfLoss() = 0;
  /// Names the operation under way for error messages ("Join, exchange of the left side"); "" ends it.
  virtual void SetOperation(std::string operation) = 0;
  /// Where the call that is being made comes from; "" where nobody said. Of the calling thread.
  const std::string& call_site() const { return call_site_; }

 private:
  friend class CallSite;
  arrow::Status WaitOrGiveUp(const arrow::Future<>& future);

  std::string call_site_;
};

}  // namespace cylon
