/// One rank's watch: beats out, beats in, and what they mean, from a thread of its own.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cylon/comm/watch/wire.h"

namespace cylon::internal {

/// Whose watch it is. Called in tasks of the owner's executor.
class WatchOwner {
 public:
  virtual ~WatchOwner() = default;
  virtual void OnFinding(const Finding& finding) = 0;
  /// What another rank's watch flooded.
  virtual void OnFlood(Rank from, const std::string& text) = 0;
  /// Once a beat.
  virtual void OnBeat() = 0;
  /// This rank's sign of life in the store has to move.
  virtual void ShowLife() = 0;
  /// `about`'s has to be read; Watch::OnStore is told of it.
  virtual void LookForLife(Rank about) = 0;
};

/// What is known of a rank: what it said last, and how long ago.
struct Sighting {
  Report report;
  Duration age{};
};

/// Calls from any thread, where they do not say otherwise.
class Watch {
 public:
  /// `own_executor` runs the wire; nullptr where that is somebody else's `executor`, which outlives this.
  Watch(std::unique_ptr<Executor> own_executor, Executor& executor, std::shared_ptr<WatchWire> wire);
  /// Stops.
  ~Watch();
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  /// Begins to beat. `describe` says what this rank does, and is called in the watch's thread. `owner_executor`
  /// outlives Stop.
  void Start(Judge::Setup setup, std::function<Report()> describe, std::weak_ptr<WatchOwner> owner,
             Executor& owner_executor);

  // What the owner tells, as Judge has it.
  void OnMet(Rank peer);
  void Investigate(Rank peer, const std::string& cause);
  void OnStore(Rank about, bool answers, const std::string& sign);
  void OnLeft(Rank peer);
  void OnSettled(Rank peer);

  /// To every rank whose watch is connected with this one's.
  void Flood(const std::string& text);
  /// What each of `ranks` says of itself now, in a task of the owner's executor; who has not answered within `patience`
  /// is missing.
  void Inquire(std::set<Rank> ranks, Duration patience, std::function<void(std::map<Rank, Sighting>)> then);
  /// The longest time between two beats of a neighbour so far, and whose they were; rank -1 where there was none.
  std::pair<Duration, Rank> LargestGap();
  /// Says goodbye: nobody will miss this rank.
  void Leave();
  /// Ends the thread and all connections: who dials is refused. Not in a task of the executor, unless it is shared with
  /// the owner.
  void Stop();

 private:
  class Core;
  template <typename Function>
  void Post(Function function);

  std::unique_ptr<Executor> own_executor_;
  Executor* executor_;
  std::shared_ptr<WatchWire> wire_;
  std::shared_ptr<Core> core_;
  bool stopped_ = false;
};

}  // namespace cylon::internal
