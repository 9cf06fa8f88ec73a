// Who has which place, and who comes after a dead one.
#include "cylon/bootstrap/places.h"

#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/key_values.h"

namespace cylon::internal {

namespace {

/// Who comes after whom after whom: more have not died before the start of one world.
constexpr int kMostHolders = 64;

}  // namespace

std::string PlaceKey(const std::string& epoch_key, Rank rank) { return epoch_key + "/here/" + std::to_string(rank); }

Co<std::optional<Json>> HolderOf(Store* store, std::string place) {
  std::optional<Json> holder;
  std::string key = place;
  for (int i = 0; i < kMostHolders; ++i) {
    auto look = Look(store, key);
    CYLON_CO_ASSIGN_OR_RETURN(auto here, co_await look);
    if (!here) {
      co_return holder;
    }
    CYLON_CO_ASSIGN_OR_RETURN(holder, ParseObject(key, *here));
    key = place + "/after/" + TextIn(*holder, "nonce");
    if (key.size() > kMaxKeyBytes) {
      break;
    }
  }
  co_return ProtocolError("'" + place + "' in the store was taken by more than " + std::to_string(kMostHolders) +
                          " processes, or by none; is another program using this store?");
}

Co<Json> TakePlace(Store* store, std::string place, Json own, Duration time_to_live) {
  auto set = store->SetIfAbsent(place, own.dump(), time_to_live);
  CYLON_CO_ASSIGN_OR_RETURN(const std::string stands, co_await set);
  CYLON_CO_ASSIGN_OR_RETURN(Json first, ParseObject(place, stands));
  if (TextIn(first, "nonce") == TextIn(own, "nonce")) {
    co_return first;
  }
  auto last = HolderOf(store, place);
  CYLON_CO_ASSIGN_OR_RETURN(auto holder, co_await last);
  co_return holder.value_or(std::move(first));  // who has just left
}

Co<Json> TakePlaceAfter(Store* store, std::string place, std::string dead, Json own, Duration time_to_live) {
  auto take = TakePlace(store, place + "/after/" + dead, std::move(own), time_to_live);
  co_return co_await take;
}

Co<void> Beat::Keep(Store* store, Executor* executor) {
  if (!Due(executor->Now())) {
    co_return arrow::Status::OK();
  }
  next_ = executor->Now() + period_;
  auto move = Move(store);
  co_return co_await move;
}

void PlaceWatch::See(const std::string& beat, TimePoint now) {
  if (since_ && beat == beat_) {
    return;
  }
  moves_ += since_ ? 1 : 0;
  beat_ = beat;
  since_ = now;
}

arrow::Status PlaceTaken(const JoinRequest& request, Rank rank, const std::string& by) {
  return RankTakenError("rank " + std::to_string(rank) + " of job '" + request.job + "' was started twice: " + by +
                            " has it, so process " + std::to_string(request.card.process) + " on " + request.card.host +
                            " ends; start each rank once, or use another job id",
                        rank);
}

Co<std::optional<Rank>> SearchPlace(Store* store, Executor* executor, const JoinRequest* request, PlaceSearch* search,
                                    bool may_take, bool stands) {
  const std::string own_nonce = TextIn(search->own, "nonce");
  size_t live = 0;
  std::string by;
  for (const Rank rank : search->ranks) {
    const std::string place = PlaceKey(search->epoch_key, rank);
    auto last = HolderOf(store, place);
    CYLON_CO_ASSIGN_OR_RETURN(const auto holder, co_await last);
    auto look = Look(store, place + "/beat");
    CYLON_CO_ASSIGN_OR_RETURN(const auto beat, co_await look);
    const TimePoint now = executor->Now();
    const std::string nonce = holder ? TextIn(*holder, "nonce") : "";
    auto& watch = search->watches[rank];
    if (std::exchange(search->holders[rank], nonce) != nonce) {
      watch.Forget();
    }
    watch.See(beat.value_or(""), now);
    if (holder && watch.moves() >= (stands ? kMovesOfAWorld : 1)) {
      ++live;
      by = Who(*holder);
    }
    if (may_take && watch.StillFor(kPlaceLost, now)) {
      auto take = holder ? TakePlaceAfter(store, place, nonce, search->own, search->time_to_live)
                         : TakePlace(store, place, search->own, search->time_to_live);
      CYLON_CO_ASSIGN_OR_RETURN(const Json taken, co_await take);
      if (TextIn(taken, "nonce") == own_nonce) {
        co_return std::optional<Rank>(rank);
      }
      watch.Forget();
    }
  }
  if (live < search->ranks.size()) {
    co_return std::optional<Rank>();
  }
  if (request->rank >= 0) {
    co_return PlaceTaken(*request, request->rank, by);
  }
  co_return RankTakenError("all " + std::to_string(search->ranks.size()) + " ranks of job '" + request->job +
                               "' are taken by processes that live, so process " +
                               std::to_string(request->card.process) + " on " + request->card.host +
                               " ends; start as many processes as the world size says",
                           -1);
}

}  // namespace cylon::internal
