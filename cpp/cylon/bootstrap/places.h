/// The places of a world that is being assembled: who has which rank, who of them lives, and who comes after a dead
/// one.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/bootstrap/meeting.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"

namespace cylon::internal {

/// How often who waits for the others shows that it lives, and after how long a silence its place is given away.
inline constexpr Duration kPlaceBeat = std::chrono::milliseconds(500);
inline constexpr Duration kPlaceLost = std::chrono::seconds(4);

/// Under an epoch's keys, "job/epoch":
///
///   here/<rank>                 who took the rank first: an object with its nonce   (set-if-absent)
///   here/<rank>/after/<nonce>   who took it when the one of that nonce was dead     (set-if-absent)
///   here/<rank>/beat            moves while the rank's last holder lives
std::string PlaceKey(const std::string& epoch_key, Rank rank);

/// Who has the place now, or nothing. ProtocolError for what no process writes.
Co<std::optional<Json>> HolderOf(Store* store, std::string place);

/// Takes the place where nobody has it. Returns who has it then.
Co<Json> TakePlace(Store* store, std::string place, Json own, Duration time_to_live);
/// Takes the place after the one whose nonce is `dead`. Returns who has it then.
Co<Json> TakePlaceAfter(Store* store, std::string place, std::string dead, Json own, Duration time_to_live);

/// A key whose value changes while its writer lives. It is set, not added to: where the connection to the store is lost
/// under it, that may be done again.
class Beat {
 public:
  Beat(std::string key, Duration period, Duration time_to_live)
      : key_(std::move(key)), period_(period), time_to_live_(time_to_live) {}
  /// Moves it now.
  arrow::Future<> Move(Store* store) { return store->Set(key_, std::to_string(++moves_), time_to_live_); }
  bool Due(TimePoint now) const { return now >= next_; }
  /// Moves it where it was not moved for a period. Call it often.
  Co<void> Keep(Store* store, Executor* executor);

 private:
  const std::string key_;
  const Duration period_;
  const Duration time_to_live_;
  int64_t moves_ = 0;
  TimePoint next_{};
};

/// The beat of who has a place and waits for the others.
inline Beat BeatOfPlace(const std::string& place, Duration time_to_live) {
  return {place + "/beat", kPlaceBeat, time_to_live};
}

/// What one process has seen of another's beat.
class PlaceWatch {
 public:
  void See(const std::string& beat, TimePoint now);
  /// Another holder is watched from now on.
  void Forget() { *this = PlaceWatch(); }
  /// How often it has moved.
  int moves() const { return moves_; }
  bool StillFor(Duration time, TimePoint now) const { return since_ && now - *since_ >= time; }

 private:
  std::string beat_;
  std::optional<TimePoint> since_;
  int moves_ = 0;
};

/// "rank 3 of job 'x' was started twice: ..."
arrow::Status PlaceTaken(const JoinRequest& request, Rank rank, const std::string& by);

/// Of a process whose place somebody else has: `ranks` are those that it may take.
struct PlaceSearch {
  std::string epoch_key;
  std::vector<Rank> ranks;
  Json own;  ///< with its nonce
  Duration time_to_live;
  std::map<Rank, PlaceWatch> watches = {};
  std::map<Rank, std::string> holders = {};  ///< their nonces
};

/// A world that stands is believed to live when a beat of it has moved so often: whoever starts it anew has come by
/// then.
inline constexpr int kMovesOfAWorld = 3;

/// Looks once: the rank where a dead one's place (or one that nobody took) was free to be taken, which needs
/// `may_take`; RankTakenError where the holders of all places are seen to live, for which a world that `stands` needs
/// more to be seen; else nothing, and it is to be looked again.
Co<std::optional<Rank>> SearchPlace(Store* store, Executor* executor, const JoinRequest* request, PlaceSearch* search,
                                    bool may_take, bool stands);

}  // namespace cylon::internal
