/// Who is there: each rank's heartbeat as an object, and what the others see of it.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/bootstrap/nap.h"
#include "cylon/net/object/object_store.h"

namespace cylon::internal {

/// What a rank's heartbeat says: a count that goes up, and of how many of its entries each other rank can have.
struct ObjectBeat {
  uint64_t count = 0;
  std::vector<uint64_t> stored;  ///< by rank
};
std::string EncodeObjectBeat(const ObjectBeat& beat);
/// Nothing where it is not one of a world of `ranks`.
std::optional<ObjectBeat> DecodeObjectBeat(std::string_view text, size_t ranks);

/// Belongs to tasks. Each rank counts up an object of its own; the others look at it as often, where they have heard
/// nothing else of it. A peer whose count has stood still for `timeout`, as seen by looks that came in time, is lost:
/// what this rank did not see because it was stopped, or because the store was away, counts for nothing. The same with
/// an entry that lies there, as its sender says, and is not found.
class ObjectPresence : public std::enable_shared_from_this<ObjectPresence> {
 public:
  struct Told {
    std::function<std::vector<uint64_t>()> stored;           ///< asked before each beat
    std::function<bool(Rank peer, uint64_t stored)> misses;  ///< something is still to come of so many
    std::function<void(Rank peer)> gap;                      ///< it was missing for `timeout`
    std::function<void(Rank peer, std::string cause)> lost;
    std::function<void(const arrow::Status&)> failed;  ///< the store cannot be used
  };

  /// `names` of the objects, by rank. `store` is for nothing else, so that beats are not behind megabytes.
  ObjectPresence(Executor& executor, std::shared_ptr<ObjectStore> store, Rank own, std::vector<std::string> names,
                 Duration timeout, Told told);

  /// Finishes with the first beat.
  arrow::Future<> Start();
  /// `peer` has been heard of otherwise.
  void Heard(Rank peer) { peers_[static_cast<size_t>(peer)].heard = true; }
  /// `peer` is watched no more.
  void Forget(Rank peer) { peers_[static_cast<size_t>(peer)].watched = false; }
  /// Beats no more; finishes when this rank's object is gone.
  arrow::Future<> Leave();
  /// At once, and its object stays.
  void Stop();
  /// Leaves word that this rank has given up.
  void GiveUp();

 private:
  struct Peer {
    bool watched = true;
    bool heard = false;
    uint64_t count = 0;
    Duration silence = Duration::zero();
    Duration missing = Duration::zero();
  };
  static Co<void> Beat(std::shared_ptr<ObjectPresence> self);
  static Co<void> Watch(std::shared_ptr<ObjectPresence> self);
  static Co<void> GoQuietly(std::shared_ptr<ObjectPresence> self, arrow::Future<> left);
  arrow::Future<int> Put();
  arrow::Status Look(size_t peer, const arrow::Result<std::shared_ptr<arrow::Buffer>>& count, Duration passed);
  void Failed(const arrow::Status& status);

  Executor& executor_;
  const std::shared_ptr<ObjectStore> store_;
  const size_t own_;
  const std::vector<std::string> names_;
  const Duration timeout_;
  const Duration interval_;
  Told told_;
  std::vector<Peer> peers_;
  uint64_t beats_ = 0;
  Nap between_beats_;
  Nap between_looks_;
  bool stopped_ = false;
  bool ended_ = false;
  arrow::Future<> started_ = arrow::Future<>::Make();
  arrow::Future<> beat_ended_ = arrow::Future<>::MakeFinished();
};

}  // namespace cylon::internal
