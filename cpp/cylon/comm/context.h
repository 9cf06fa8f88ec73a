/// What an operator needs: a communicator, and the rank's resources.
#pragma once

#include <arrow/result.h>

#include <functional>
#include <memory>

#include "cylon/base/export.h"
#include "cylon/base/resources.h"
#include "cylon/comm/communicator.h"

namespace cylon {

/// How the ranks of a world that failed meet again.
struct RejoinOptions {
  double window_s = 10;  ///< how long the ranks that live, and replacements, are waited for
  int least_ranks = 1;   ///< of the new world; until there are so many, replacements are waited for through the window
};

/// One thread at a time calls on a context.
class CYLON_EXPORT Context {
 public:
  /// One rank, no network. `interrupt` is called by every wait (Executor::SetInterruptHook).
  static arrow::Result<std::shared_ptr<Context>> Local(Options options = {},
                                                       std::function<arrow::Status()> interrupt = nullptr);

  /// This process's rank of the job that `options` describe (OptionsFromEnvironment under a launcher): joins, connects,
  /// and returns when every rank has come. Collective. DeadlineError names the ranks that did not come;
  /// AuthenticationError for a wrong secret. With options.rejoin it takes the place of a rank that failed, in the world
  /// that the survivors' Rejoin makes. With world_size 0 or 1 and no store it is Local.
  static arrow::Result<std::shared_ptr<Context>> Connect(Options options,
                                                         std::function<arrow::Status()> interrupt = nullptr);

  /// Aborts unless Close was called: the other ranks see a loss.
  virtual ~Context();

  virtual Communicator& communicator() = 0;
  virtual std::shared_ptr<Resources> resources() = 0;
  virtual Executor& executor() = 0;
  Rank rank() { return communicator().rank(); }
  int world_size() { return communicator().size(); }

  /// A context over a part of the ranks, sharing this one's resources and connections, which end with the last of them
  /// (or with Close of this one); see Communicator::Split. nullptr for color -1. Collective.
  virtual arrow::Result<std::shared_ptr<Context>> Split(int color, int key) = 0;

  /// After a failure (the communicator of the whole world is revoked): gathers the ranks that are left, and processes
  /// that were started with rejoin=1 in the place of others, in the store, and returns a context over a new world with
  /// an epoch of its own: survivors keep their order, replacements follow, ranks go from 0 without gaps. Collective
  /// among those who live. Ends when all that can come have come, at the latest after the window; what fails meanwhile
  /// is failed ranks of the new world, which are left out of the next. This context is closed, whatever comes of it;
  /// tables keep this rank's rows only, so that most programs read their input again. DeadlineError where fewer than
  /// least_ranks came (the same at all, naming who is missing) and where the others went on without this rank. Invalid
  /// where nothing has failed, and where there is no store to meet in.
  virtual arrow::Result<std::shared_ptr<Context>> Rejoin(RejoinOptions options = {}) = 0;

  /// What the channels of this world do, and what calls and exchanges took beside what was foretold of them, at this
  /// rank so far, as JSON: `policy`, `prices` (`as_of`, `rank_usd_per_second`), `channels` (`latency_s` one way,
  /// `bytes_per_s`, pairs, messages and bytes of `calls` and of `tables`, `usd`), `operations` (`calls`, `bytes`,
  /// `seconds`, `predicted_seconds`, `usd`, `predicted_usd`), `usd` (`rank`, `channels`). With one transport there was
  /// nothing to choose: then nothing is measured and nothing foretold; what goes over `punch`, `redis` or `object` is
  /// counted and priced all the same, and pairs are this rank's. Not collective; also after a failure.
  virtual arrow::Result<std::string> Explain() = 0;

  /// Leaves in order: says goodbye, writes the trace, clears the store. Waits at most close_deadline_s for its messages
  /// to leave. Collective in that every rank should call it, but it does not wait for the others.
  virtual arrow::Status Close() = 0;
};

/// A world of ranks that are threads of this process: for tests, and for programs that want ranks without processes.
struct ThreadWorld {
  enum class Kind { kSim, kInproc, kTcp, kShm };
  Kind kind = Kind::kInproc;
  int ranks = 1;
  uint64_t seed = 0;       ///< kSim: decides everything that is left open
  Options options;         ///< of every rank; memory_bytes and threads are per rank (0: 1 GiB, 1 thread)
  Rank kill_rank = -1;     ///< kSim: this rank is lost …
  int64_t kill_after = 0;  ///< … at this scheduling decision
  std::function<arrow::Status()> interrupt;  ///< hook of every rank's waits
};

/// Calls body(context) on one thread a rank, closes the contexts of those that return OK, aborts the others', and
/// returns every rank's status.
CYLON_EXPORT std::vector<arrow::Status> RunRanks(const ThreadWorld& world,
                                                 const std::function<arrow::Status(Context&)>& body);

}  // namespace cylon
