// How one process brings together those that have come.
#include "cylon/bootstrap/assembly.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "cylon/base/readable.h"
#include "cylon/bootstrap/meeting.h"
#include "cylon/bootstrap/places.h"

namespace cylon::internal {

namespace {

using namespace std::chrono_literals;

constexpr Duration kLeaderBeat = 100ms;

/// Tells everybody of this epoch that there will be no world.
Co<void> Report(Store* store, std::string prefix, std::string epoch, arrow::Status problem) {
  auto set = store->SetIfAbsent(prefix + epoch + kProblem, EncodeStatus(problem), kRunTimeToLive);
  auto told = co_await set;  // the problem is this rank's error all the same
  static_cast<void>(told);
  co_return problem;
}

/// What an assembler sees of the others, now and then.
struct Roll {
  std::vector<PlaceWatch> watches;  // by rank
  std::vector<bool> here;
  PlaceWatch former;  // of the world before this one
  TimePoint next{};

  std::vector<Rank> Silent(TimePoint now) const {
    std::vector<Rank> silent;
    for (size_t rank = 0; rank < watches.size(); ++rank) {
      if (here[rank] && watches[rank].StillFor(kPlaceLost, now)) {
        silent.push_back(static_cast<Rank>(rank));
      }
    }
    return silent;
  }
};

/// The values of `keys` now, all asked for at once.
Co<std::vector<std::optional<std::string>>> LookAll(Store* store, std::vector<std::string> keys) {
  std::vector<arrow::Future<std::string>> asked;
  asked.reserve(keys.size());
  for (const auto& key : keys) {
    asked.push_back(store->TryGet(key));
  }
  std::vector<std::optional<std::string>> values;
  arrow::Status failed;
  for (auto& each : asked) {
    auto future = each;
    auto value = co_await future;
    failed &= value.ok() || value.status().IsKeyError() ? arrow::Status::OK() : value.status();
    values.push_back(value.ok() ? std::optional(*std::move(value)) : std::nullopt);
  }
  CYLON_CO_RETURN_NOT_OK(failed);
  co_return values;
}

/// Calls the roll, once a second. RankTakenError where nobody else comes, and a world of `former` lives in which this
/// rank is another process.
Co<void> CallRoll(Store* store, Executor* executor, const Joiner* me, std::string epoch, Rank own, std::string former,
                  Roll* roll) {
  if (executor->Now() < roll->next) {
    co_return arrow::Status::OK();
  }
  roll->next = executor->Now() + 2 * kPlaceBeat;
  const auto size = static_cast<size_t>(me->request.world_size);
  roll->watches.resize(size);
  roll->here.resize(size);
  std::vector<std::string> keys;
  for (size_t rank = 0; rank < size; ++rank) {
    const std::string place = PlaceKey(EpochKey(*me, epoch), static_cast<Rank>(rank));
    keys.push_back(place);
    keys.push_back(place + "/beat");
  }
  const std::string former_place = PlaceKey(EpochKey(*me, former), own);
  for (const std::string& key : {EpochKey(*me, former) + "/table", former_place, former_place + "/beat"}) {
    keys.push_back(former.empty() ? PlaceKey(EpochKey(*me, epoch), own) : key);
  }
  auto look = LookAll(store, std::move(keys));
  CYLON_CO_ASSIGN_OR_RETURN(const auto seen, co_await look);
  const TimePoint now = executor->Now();
  for (size_t rank = 0; rank < size; ++rank) {
    roll->here[rank] = seen[2 * rank].has_value();
    if (roll->here[rank] && static_cast<Rank>(rank) != own) {
      roll->watches[rank].See(seen[(2 * rank) + 1].value_or(""), now);
    }
  }
  if (former.empty() || !seen[2 * size]) {
    co_return arrow::Status::OK();
  }
  roll->former.See(seen[(2 * size) + 2].value_or(""), now);
  const bool alone = std::count(roll->here.begin(), roll->here.end(), true) <= 1;
  if (alone && me->request.world_size > 1 && roll->former.moves() >= kMovesOfAWorld) {
    if (me->request.rank < 0) {
      co_return RankTakenError("all ranks of job '" + me->request.job +
                                   "' are taken by a world that lives, and nobody else comes for another one; end "
                                   "that, or use another job id",
                               -1);
    }
    const auto& holder = seen[(2 * size) + 1];
    const auto json = holder ? ParseObject(former_place, *holder) : arrow::Status::KeyError("");
    co_return PlaceTaken(me->request, own, json.ok() ? Who(*json) : "a process of a world that lives");
  }
  co_return arrow::Status::OK();
}

/// What the rank's last holder wrote, for each rank; where somebody has left meanwhile, fewer.
Co<Json> LastHolders(Store* store, const Joiner* me, std::string epoch, Json first) {
  std::vector<std::string> keys;
  for (size_t rank = 0; rank < first.size(); ++rank) {
    keys.push_back(PlaceKey(EpochKey(*me, epoch), static_cast<Rank>(rank)) + "/after/" + TextIn(first[rank], "nonce"));
  }
  auto look = LookAll(store, std::move(keys));
  CYLON_CO_ASSIGN_OR_RETURN(const auto after, co_await look);
  for (size_t rank = 0; rank < first.size(); ++rank) {
    if (after[rank]) {
      auto last = HolderOf(store, PlaceKey(EpochKey(*me, epoch), static_cast<Rank>(rank)));
      CYLON_CO_ASSIGN_OR_RETURN(auto holder, co_await last);
      first[rank] = holder ? *std::move(holder) : first[rank];
    }
  }
  co_return first;
}

/// A rank that has come, as the assembler takes it; the error is told to everybody.
arrow::Status CheckHolder(const Joiner& me, Rank rank, const Json& json) {
  const auto& request = me.request;
  const int64_t size = IntegerIn(json, "size", 0);
  if (size != request.world_size) {
    return arrow::Status::Invalid("rank ", rank, " (", Who(json), ") was started for ", size, " ranks, this one for ",
                                  request.world_size, "; start all with the same world size");
  }
  if (FlagIn(json, "drawn") != (request.rank < 0)) {
    return arrow::Status::Invalid("some processes of job '", request.job,
                                  "' were given their rank and some draw it; do one or the other");
  }
  return arrow::Status::OK();
}

}  // namespace

Co<std::string> CurrentEpoch(Store* store, std::string prefix) {
  auto look = Look(store, prefix + "generation");
  CYLON_CO_ASSIGN_OR_RETURN(auto generation, co_await look);
  if (!generation) {
    co_return std::string();
  }
  auto look_leader = Look(store, prefix + "leader/" + *generation);
  CYLON_CO_ASSIGN_OR_RETURN(auto leader, co_await look_leader);
  co_return leader.value_or("");
}

Co<void> Missing(Store* store, const Joiner* me, std::string epoch) {
  const auto& request = me->request;
  const std::string of = " of " + std::to_string(request.world_size);
  const std::string hint = "; look for why in their output, or give them more time with CYLON_JOIN_DEADLINE";
  if (epoch.empty()) {
    co_return DeadlineError(
        "rank 0" + of + " of job '" + request.job + "' did not come within the join deadline" + hint, 0);
  }
  std::vector<Rank> missing;
  for (Rank rank = 0; rank < request.world_size; ++rank) {
    auto look = Look(store, PlaceKey(EpochKey(*me, epoch), rank));
    CYLON_CO_ASSIGN_OR_RETURN(auto here, co_await look);
    if (!here) {
      missing.push_back(rank);
    }
  }
  if (missing.empty() && request.rank > 0) {
    co_return DeadlineError("all ranks of job '" + request.job +
                                "' came, but rank 0, which brings them together, did not do so within the join "
                                "deadline" +
                                hint,
                            0);
  }
  if (missing.empty()) {
    co_return DeadlineError("all ranks of job '" + request.job +
                            "' came, but too late to meet within the join deadline" + hint);
  }
  if (request.rank < 0) {
    co_return DeadlineError(std::to_string(missing.size()) + of + " processes of job '" + request.job +
                                "' did not come within the join deadline" + hint,
                            missing[0]);
  }
  co_return DeadlineError(
      ReadableRanks(missing) + of + " of job '" + request.job + "' did not come within the join deadline" + hint,
      missing[0]);
}

Co<bool> Assemble(Store* store, Executor& executor, const Joiner* me, std::string epoch, Rank own,
                  std::optional<std::string> former) {
  const auto& request = me->request;
  Json cards = Json::array();
  Duration poll = kFirstPoll;
  Beat leader_beat(me->prefix + epoch + "/beat", kLeaderBeat, me->time_to_live);
  Beat place_beat = BeatOfPlace(PlaceKey(EpochKey(*me, epoch), own), me->time_to_live);
  Roll roll;
  roll.next = executor.Now() + 2 * kPlaceBeat;
  while (true) {
    while (static_cast<int>(cards.size()) < request.world_size) {
      const auto rank = static_cast<Rank>(cards.size());
      const std::string key = PlaceKey(EpochKey(*me, epoch), rank);
      auto look = Look(store, key);
      CYLON_CO_ASSIGN_OR_RETURN(auto here, co_await look);
      if (!here) {
        break;
      }
      CYLON_CO_ASSIGN_OR_RETURN(Json json, ParseObject(key, *here));
      const auto checked = CheckHolder(*me, rank, json);
      if (!checked.ok()) {
        auto report = Report(store, me->prefix, epoch, checked);
        co_return co_await report;
      }
      cards.push_back(std::move(json));
    }
    const auto silent = roll.Silent(executor.Now());
    if (static_cast<int>(cards.size()) == request.world_size && silent.empty()) {
      break;
    }
    auto look_problem = Look(store, me->prefix + epoch + kProblem);
    CYLON_CO_ASSIGN_OR_RETURN(auto problem, co_await look_problem);
    if (problem) {
      co_return ProblemIn(epoch + kProblem, *problem);
    }
    if (former && leader_beat.Due(executor.Now())) {
      auto lead = leader_beat.Keep(store, &executor);
      CYLON_CO_RETURN_NOT_OK(co_await lead);
      auto current = CurrentEpoch(store, me->prefix);
      CYLON_CO_ASSIGN_OR_RETURN(const std::string now, co_await current);
      if (now != epoch) {
        // Another leader. Where ranks are drawn that is the one to follow; where they are given, a second rank 0, to
        // which the others go.
        if (request.rank < 0) {
          co_return false;
        }
        co_return PlaceTaken(request, request.rank, "a process that came later, and leads now,");
      }
    }
    auto keep = place_beat.Keep(store, &executor);
    CYLON_CO_RETURN_NOT_OK(co_await keep);
    auto call = CallRoll(store, &executor, me, epoch, own, former.value_or(""), &roll);
    CYLON_CO_RETURN_NOT_OK(co_await call);
    if (executor.Now() >= request.deadline) {
      if (static_cast<int>(cards.size()) == request.world_size) {
        co_return DeadlineError("all ranks of job '" + request.job + "' came, but " + ReadableRanks(silent) +
                                    " showed no life since; look for why in their output, and start each again that "
                                    "has ended",
                                silent.empty() ? -1 : silent[0]);
      }
      auto missing = Missing(store, me, epoch);
      co_return co_await missing;
    }
    auto pause = Pause(executor, me->request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
  auto last = LastHolders(store, me, epoch, std::move(cards));
  CYLON_CO_ASSIGN_OR_RETURN(const Json held, co_await last);
  for (size_t rank = 0; rank < held.size(); ++rank) {
    const auto checked = CheckHolder(*me, static_cast<Rank>(rank), held[rank]);
    if (!checked.ok()) {
      auto report = Report(store, me->prefix, epoch, checked);
      co_return co_await report;
    }
  }
  auto set = store->Set(me->prefix + epoch + "/table", Json{{"cards", held}}.dump(), me->time_to_live);
  CYLON_CO_RETURN_NOT_OK(co_await set);
  co_return true;
}

}  // namespace cylon::internal
