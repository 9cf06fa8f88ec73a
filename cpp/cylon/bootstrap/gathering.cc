// How those who are left of a world, and replacements, become a new world.
//
// There is no leader: whoever sees that all have come, or that the window is over, writes who is in, and the first to
// write is right. So it does not matter who dies meanwhile, as long as one survivor is left. One that is named and has
// died is found when the new world connects, as a failure of that world, whose survivors gather again.
//
//   job/gathering                    the epoch whose survivors gather, for replacements: the latest
//   job/<epoch>/rejoin/here/<rank>   a survivor: nonce, address card, least_ranks   (set-if-absent)
//   job/<epoch>/rejoin/arrivals      counter of replacements
//   job/<epoch>/rejoin/new/<n>       the n-th replacement: nonce, address card
//   job/<epoch>/rejoin/decision      {"epoch", "cards"} of the new world, or {"problem"}   (set-if-absent)
//
// The decision stays for its time to live: who comes after everybody has left must not gather alone.
#include "cylon/bootstrap/gathering.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/base/readable.h"
#include "cylon/bootstrap/meeting.h"

namespace cylon {

namespace {

using internal::CardFromJson;
using internal::CardToJson;
using internal::IntegerIn;
using internal::Json;
using internal::kFirstPoll;
using internal::kLongestPoll;
using internal::Look;
using internal::ParseObject;
using internal::Pause;
using internal::ProblemIn;
using internal::TextIn;
using internal::Who;

/// Processes that may come to replace others in one gathering: each is looked for.
constexpr int64_t kMostReplacements = 1 << 16;

/// Who has come, as far as one survivor has seen.
struct Arrivals {
  std::map<Rank, Json> survivors;
  std::map<int64_t, Json> replacements;
  int count() const { return static_cast<int>(survivors.size() + replacements.size()); }
  int64_t LeastRanks() const {
    int64_t least = 1;
    for (const auto& [rank, json] : survivors) {
      least = std::max(least, IntegerIn(json, "least", 1));
    }
    return least;
  }
};

struct Gatherer {
  GatherRequest request;
  std::string nonce;
  std::string job;  // "job/"

  std::string Key(const std::string& epoch, const std::string& name) const { return job + epoch + "/rejoin/" + name; }
};

/// "3-<random>" follows "2-<random>"; an epoch of a launcher or a first agreement has no counter, and counts as 1.
arrow::Result<std::string> NextEpoch(const std::string& epoch) {
  uint64_t counter = 1;
  const auto dash = epoch.find('-');
  if (dash != std::string::npos) {
    std::from_chars(epoch.data(), epoch.data() + dash, counter);
  }
  ARROW_ASSIGN_OR_RAISE(const std::string random, RandomBytes(16));
  return std::to_string(counter + 1) + "-" + HexEncode(random);
}

std::vector<Rank> Absent(const Gatherer& me, const Arrivals& arrivals) {
  std::vector<Rank> absent;
  for (Rank rank = 0; rank < me.request.world_size; ++rank) {
    if (!arrivals.survivors.contains(rank)) {
      absent.push_back(rank);
    }
  }
  return absent;
}

std::set<Rank> Gone(const Gatherer& me) {
  const auto gone = me.request.gone ? me.request.gone() : std::vector<Rank>();
  return {gone.begin(), gone.end()};
}

/// Adds the survivors that are here and were not seen before. Without `all`, only until one is missing that may come.
Co<void> SeeSurvivors(Store* store, const Gatherer* me, Arrivals* arrivals, bool all) {
  const auto gone = Gone(*me);
  for (const Rank rank : Absent(*me, *arrivals)) {
    if (!all && gone.contains(rank)) {
      continue;
    }
    const std::string key = me->Key(me->request.epoch, "here/" + std::to_string(rank));
    auto look = Look(store, key);
    CYLON_CO_ASSIGN_OR_RETURN(auto here, co_await look);
    if (here) {
      CYLON_CO_ASSIGN_OR_RETURN(Json json, ParseObject(key, *here));
      arrivals->survivors.emplace(rank, std::move(json));
    } else if (!all) {
      co_return arrow::Status::OK();
    }
  }
  co_return arrow::Status::OK();
}

Co<void> SeeReplacements(Store* store, const Gatherer* me, Arrivals* arrivals) {
  const std::string counter = me->Key(me->request.epoch, "arrivals");
  auto look_count = Look(store, counter);
  CYLON_CO_ASSIGN_OR_RETURN(auto count, co_await look_count);
  int64_t last = 0;
  if (count) {
    std::from_chars(count->data(), count->data() + count->size(), last);
  }
  if (last > kMostReplacements) {
    co_return ProtocolError("'" + counter + "' in the store counts " + std::to_string(last) +
                            " replacements, expected at most " + std::to_string(kMostReplacements) +
                            "; is another program using this store?");
  }
  for (int64_t n = 1; n <= last; ++n) {
    if (arrivals->replacements.contains(n)) {
      continue;
    }
    const std::string key = me->Key(me->request.epoch, "new/" + std::to_string(n));
    auto look = Look(store, key);
    CYLON_CO_ASSIGN_OR_RETURN(auto here, co_await look);
    if (here) {  // else it has drawn its number, and is about to say who it is
      CYLON_CO_ASSIGN_OR_RETURN(Json json, ParseObject(key, *here));
      arrivals->replacements.emplace(n, std::move(json));
    }
  }
  co_return arrow::Status::OK();
}

arrow::Status TooFew(const Gatherer& me, const Arrivals& arrivals) {
  const auto absent = Absent(me, arrivals);
  const auto gone = Gone(me);
  std::vector<Rank> lost;
  std::ranges::copy_if(absent, std::back_inserter(lost), [&](Rank rank) { return gone.contains(rank); });
  std::string text = std::to_string(arrivals.count()) + " of " + std::to_string(me.request.world_size) +
                     " ranks of job '" + me.request.job + "' came to rejoin within the window, but least_ranks is " +
                     std::to_string(arrivals.LeastRanks());
  if (!absent.empty()) {
    text += "; " + ReadableRanks(absent) + " did not come";
    text += lost.empty() ? "" : " (" + ReadableRanks(lost) + " had failed)";
  }
  return DeadlineError(text + "; start processes with CYLON_REJOIN=1 in their place, or give them a longer window",
                       absent.empty() ? -1 : absent[0]);
}

/// What this survivor would decide.
arrow::Result<std::string> Proposal(const Gatherer& me, const Arrivals& arrivals) {
  if (arrivals.count() < arrivals.LeastRanks()) {
    return Json{{"problem", EncodeStatus(TooFew(me, arrivals))}}.dump();
  }
  ARROW_ASSIGN_OR_RAISE(const std::string epoch, NextEpoch(me.request.epoch));
  Json cards = Json::array();
  for (const auto& [rank, json] : arrivals.survivors) {
    cards.push_back(json);
  }
  for (const auto& [number, json] : arrivals.replacements) {
    cards.push_back(json);
  }
  return Json{{"epoch", epoch}, {"cards", cards}}.dump();
}

/// The world that was decided, or nothing where this process is not in it.
arrow::Result<std::optional<World>> ReadDecision(const Gatherer& me, const std::string& key, const std::string& text) {
  ARROW_ASSIGN_OR_RAISE(const Json json, ParseObject(key, text));
  if (json.contains("problem") && json["problem"].is_string()) {
    return ProblemIn(key, json["problem"].get<std::string>());
  }
  if (!json.contains("epoch") || !json["epoch"].is_string() || !json.contains("cards") || !json["cards"].is_array()) {
    return ProtocolError("'" + key + "' in the store is malformed; is another program using this store?");
  }
  World world;
  world.job = me.request.job;
  world.epoch = json["epoch"].get<std::string>();
  world.rank = -1;
  for (const auto& entry : json["cards"]) {
    ARROW_ASSIGN_OR_RAISE(AddressCard card, CardFromJson(entry));
    if (TextIn(entry, "nonce") == me.nonce) {
      world.rank = world.size();
    }
    world.cards.push_back(std::move(card));
  }
  return world.rank < 0 ? std::optional<World>() : std::optional(std::move(world));
}

arrow::Status LeftBehind(const Gatherer& me) {
  return DeadlineError("rank " + std::to_string(me.request.rank) + " of job '" + me.request.job +
                           "' came to rejoin when the others had formed a new world without it; end this process, and "
                           "start another with CYLON_REJOIN=1; a longer window would have waited for it",
                       me.request.rank);
}

Co<World> GatherSurvivors(Store* store, Executor& executor, const Gatherer* me) {
  const auto& request = me->request;
  const std::string decision_key = me->Key(request.epoch, "decision");
  const std::string own_key = me->Key(request.epoch, "here/" + std::to_string(request.rank));
  Json own = CardToJson(request.card);
  own["nonce"] = me->nonce;
  own["least"] = request.least_ranks;
  auto come = store->SetIfAbsent(own_key, own.dump(), kRunTimeToLive);
  CYLON_CO_ASSIGN_OR_RETURN(const std::string stands, co_await come);
  CYLON_CO_ASSIGN_OR_RETURN(const Json taken, ParseObject(own_key, stands));
  if (TextIn(taken, "nonce") != me->nonce) {
    co_return arrow::Status::Invalid("rank ", request.rank, " of job '", request.job, "' rejoined before, as ",
                                     Who(taken), "; a context is rejoined once: go on with the one that this returned");
  }
  auto call = store->Set(me->job + "gathering", request.epoch, kRunTimeToLive);
  CYLON_CO_RETURN_NOT_OK(co_await call);

  Arrivals arrivals;
  Duration poll = kFirstPoll;
  std::optional<std::string> decision;
  while (true) {
    auto look = Look(store, decision_key);
    CYLON_CO_ASSIGN_OR_RETURN(decision, co_await look);
    if (decision) {
      break;
    }
    const bool over = executor.Now() >= request.deadline;
    auto see = SeeSurvivors(store, me, &arrivals, over);
    CYLON_CO_RETURN_NOT_OK(co_await see);
    const auto gone = Gone(*me);
    const auto absent = Absent(*me, arrivals);
    bool decide = over || std::ranges::all_of(absent, [&](Rank rank) { return gone.contains(rank); });
    if (decide) {
      // Who was taken for gone may have come all the same.
      auto see_all = SeeSurvivors(store, me, &arrivals, /*all=*/true);
      CYLON_CO_RETURN_NOT_OK(co_await see_all);
      auto see_new = SeeReplacements(store, me, &arrivals);
      CYLON_CO_RETURN_NOT_OK(co_await see_new);
      decide = over || arrivals.count() >= arrivals.LeastRanks();
    }
    if (decide) {
      CYLON_CO_ASSIGN_OR_RETURN(const std::string proposal, Proposal(*me, arrivals));
      auto set = store->SetIfAbsent(decision_key, proposal, kRunTimeToLive);
      CYLON_CO_ASSIGN_OR_RETURN(decision, co_await set);
      break;
    }
    auto pause = Pause(executor, request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
  // All that anybody reads from now on is the decision.
  auto leave = store->Delete(own_key);
  CYLON_CO_RETURN_NOT_OK(co_await leave);
  auto forget = store->Delete(me->job + request.epoch + "/here/" + std::to_string(request.rank));
  CYLON_CO_RETURN_NOT_OK(co_await forget);
  CYLON_CO_ASSIGN_OR_RETURN(auto world, ReadDecision(*me, decision_key, *decision));
  if (!world) {
    co_return LeftBehind(*me);
  }
  co_return std::move(*world);
}

Co<World> GatherReplacement(Store* store, Executor& executor, const Gatherer* me) {
  const auto& request = me->request;
  std::string epoch;    // of the gathering that this process has come to
  std::string own_key;  // there
  Duration poll = kFirstPoll;
  bool passed = false;  // the gathering is over, without this process
  while (true) {
    auto look = Look(store, me->job + "gathering");
    CYLON_CO_ASSIGN_OR_RETURN(auto gathering, co_await look);
    if (gathering && *gathering != epoch) {
      epoch = *gathering;
      passed = false;
      poll = kFirstPoll;
      auto draw = store->Add(me->Key(epoch, "arrivals"), 1, kRunTimeToLive);
      CYLON_CO_ASSIGN_OR_RETURN(const int64_t number, co_await draw);
      own_key = me->Key(epoch, "new/" + std::to_string(number));
      Json own = CardToJson(request.card);
      own["nonce"] = me->nonce;
      auto come = store->Set(own_key, own.dump(), kRunTimeToLive);
      CYLON_CO_RETURN_NOT_OK(co_await come);
    }
    if (!epoch.empty() && !passed) {
      const std::string key = me->Key(epoch, "decision");
      auto look_decision = Look(store, key);
      CYLON_CO_ASSIGN_OR_RETURN(auto decision, co_await look_decision);
      if (decision) {
        auto leave = store->Delete(own_key);
        CYLON_CO_RETURN_NOT_OK(co_await leave);
        auto world = ReadDecision(*me, key, *decision);
        if (world.ok() && *world) {
          co_return std::move(**world);
        }
        passed = true;  // with an error that is theirs, or without this process: the next may take it
      }
    }
    if (executor.Now() >= request.deadline) {
      co_return DeadlineError(
          "no ranks of job '" + request.job +
          "' took this process in within the join deadline: it was started to replace one that "
          "failed (CYLON_REJOIN), and " +
          (epoch.empty() ? "no survivors gathered" : "those who gathered went on without it, or failed") +
          "; start it when ranks rejoin, or give it more time with CYLON_JOIN_DEADLINE");
    }
    auto pause = Pause(executor, request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
}

}  // namespace

Co<World> Gather(Store* store, Executor& executor, GatherRequest request) {
  CYLON_CO_ASSIGN_OR_RETURN(const std::string random, RandomBytes(16));
  const Gatherer me{request, HexEncode(random), request.job + "/"};
  if (request.epoch.empty()) {
    auto gather = GatherReplacement(store, executor, &me);
    co_return co_await gather;
  }
  auto gather = GatherSurvivors(store, executor, &me);
  co_return co_await gather;
}

}  // namespace cylon
