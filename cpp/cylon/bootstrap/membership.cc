// How the processes of a job become ranks.
//
// All keys of a run lie under "job/epoch/". Where a launcher gave the epoch they can only be this run's. Otherwise the
// ranks agree on one first: a leader (the process of rank 0; where ranks are drawn, whoever finds none) raises the
// counter "job/generation" to g, and a random text of its own, under "job/leader/g", is the epoch. It keeps a beat
// while it assembles the world. What crashed runs have left lies under their own epochs and never answers. Who gives up
// leading and leads again does so under another epoch: in the old one it has a rank already, and would draw a second.
//
//   here/<rank>   one rank: nonce, world size, address card       (see bootstrap/places.h: a rank is taken once, and
//                 again where who has it is dead before the start)
//   arrivals      counter from which ranks are drawn
//   table         the whole world, in one value                   (by the assembler, when all are here)
//   problem       why there will be no world                      (by whoever finds out)
//   beat          moves while an elected leader assembles
//   left          counter of the ranks that have left: the last one removes all of these
#include "cylon/bootstrap/membership.h"

#include <numeric>

#include "cylon/base/random.h"
#include "cylon/bootstrap/assembly.h"
#include "cylon/bootstrap/meeting.h"
#include "cylon/bootstrap/places.h"

namespace cylon {

namespace {

using internal::Assemble;
using internal::Beat;
using internal::BeatOfPlace;
using internal::CardFromJson;
using internal::CardToJson;
using internal::CurrentEpoch;
using internal::EpochKey;
using internal::Joiner;
using internal::Json;
using internal::kFirstPoll;
using internal::kLongestPoll;
using internal::kProblem;
using internal::Look;
using internal::Missing;
using internal::ParseObject;
using internal::Pause;
using internal::PlaceKey;
using internal::PlaceSearch;
using internal::PlaceTaken;
using internal::ProblemIn;
using internal::TextIn;
using internal::Who;
using namespace std::chrono_literals;

/// A leader whose beat stands still for this long is gone.
constexpr Duration kBeatLost = 1500ms;
/// Of epochs in keys; own ones have 32 digits.
constexpr size_t kMaxEpoch = 256;
/// A rank that waits for ever counts as one that waits so long.
constexpr Duration kEndless = 30 * 24h;

/// The last rank may come at its deadline, and reads then what the first has written.
Duration TimeToLive(const JoinRequest& request, TimePoint now) {
  return std::max<Duration>(kRunTimeToLive, 2 * std::min<Duration>(request.deadline - now, kEndless));
}

Json Describe(const Joiner& me) {
  Json json = CardToJson(me.request.card);
  json["nonce"] = me.nonce;
  json["size"] = me.request.world_size;
  json["drawn"] = me.request.rank < 0;
  return json;
}

struct Led {
  std::string epoch;
  std::string former;  // what was led before, or ""
};

/// Becomes the leader of a new epoch.
Co<Led> Lead(Store* store, const Joiner* me) {
  CYLON_CO_ASSIGN_OR_RETURN(const std::string random, RandomBytes(16));
  Led led{HexEncode(random), ""};
  auto raise = store->Add(me->prefix + "generation", 1, me->time_to_live);
  CYLON_CO_ASSIGN_OR_RETURN(const int64_t generation, co_await raise);
  auto set = store->Set(me->prefix + "leader/" + std::to_string(generation), led.epoch, me->time_to_live);
  CYLON_CO_RETURN_NOT_OK(co_await set);
  // A lying counter may be anything.
  const auto before = std::to_string(static_cast<uint64_t>(generation) - 1);
  auto look = Look(store, me->prefix + "leader/" + before);
  CYLON_CO_ASSIGN_OR_RETURN(auto former, co_await look);
  led.former = former.value_or("").substr(0, kMaxEpoch);
  co_return led;
}

/// Watches a leader's beat.
class BeatWatch {
 public:
  /// True when the beat has stood still for too long.
  bool Stopped(const std::string& epoch, const std::string& beat, TimePoint now) {
    if (epoch != epoch_ || beat != beat_) {
      moved_ = epoch == epoch_;
      epoch_ = epoch;
      beat_ = beat;
      since_ = now;
    }
    return now - since_ > kBeatLost;
  }
  /// True when the beat was seen to move: the leader is alive.
  bool Moved() const { return moved_; }

 private:
  std::string epoch_;
  std::string beat_;
  TimePoint since_;
  bool moved_ = false;
};

/// The ranks that a process may have which found its own taken.
std::vector<Rank> RanksFor(const JoinRequest& request) {
  std::vector<Rank> ranks{request.rank};
  if (request.rank < 0) {
    ranks.resize(static_cast<size_t>(request.world_size));
    std::iota(ranks.begin(), ranks.end(), 0);
  }
  return ranks;
}

/// Takes a rank of `epoch`: the given one, or the next to be drawn. -1 where it is taken by another process, or none is
/// left to be drawn.
Co<Rank> TakeRank(Store* store, const Joiner* me, std::string epoch) {
  Rank rank = me->request.rank;
  if (rank < 0) {
    auto draw = store->Add(me->prefix + epoch + "/arrivals", 1, me->time_to_live);
    CYLON_CO_ASSIGN_OR_RETURN(const int64_t drawn, co_await draw);
    if (drawn < 1) {
      co_return ProtocolError("the count of arrivals in the store is " + std::to_string(drawn) +
                              ", expected at least 1; is another program using this store?");
    }
    if (drawn > me->request.world_size) {
      co_return Rank{-1};
    }
    rank = static_cast<Rank>(drawn - 1);
  }
  auto take = internal::TakePlace(store, PlaceKey(EpochKey(*me, epoch), rank), Describe(*me), me->time_to_live);
  CYLON_CO_ASSIGN_OR_RETURN(const Json holder, co_await take);
  co_return TextIn(holder, "nonce") == me->nonce ? rank : Rank{-1};
}

/// The world, or nothing where `rank` is another process in it, which `by` names.
Co<std::optional<World>> ReadTable(const Joiner* me, std::string epoch, Rank rank, std::string text, std::string* by) {
  CYLON_CO_ASSIGN_OR_RETURN(const Json json, ParseObject("table", text));
  World world;
  world.job = me->request.job;
  world.epoch = epoch;
  world.rank = rank;
  if (!json.contains("cards") || !json["cards"].is_array()) {
    co_return ProtocolError("the table of ranks in the store is malformed; is another program using this store?");
  }
  for (const auto& entry : json["cards"]) {
    CYLON_CO_ASSIGN_OR_RETURN(AddressCard card, CardFromJson(entry));
    world.cards.push_back(std::move(card));
  }
  if (world.size() != me->request.world_size) {
    co_return ProtocolError("the table in the store has " + std::to_string(world.size()) + " ranks, expected the " +
                            std::to_string(me->request.world_size) +
                            " of the job; is another program using this store?");
  }
  const Json& own = json["cards"][static_cast<size_t>(rank)];
  if (TextIn(own, "nonce") != me->nonce) {
    *by = Who(own);
    co_return std::optional<World>();
  }
  co_return std::optional<World>(std::move(world));
}

/// The table of `epoch` when it is there; nothing when the leader changes first (only where ranks agree on an epoch),
/// or where this process is not in it: then `by` names who is, and the rank is lost.
Co<std::optional<World>> AwaitTable(Store* store, Executor& executor, const Joiner* me, std::string epoch, Rank rank,
                                    std::string* by) {
  const auto& request = me->request;
  Duration poll = kFirstPoll;
  BeatWatch watch;
  Beat place_beat = BeatOfPlace(PlaceKey(EpochKey(*me, epoch), rank), me->time_to_live);
  while (true) {
    auto look = Look(store, me->prefix + epoch + "/table");
    CYLON_CO_ASSIGN_OR_RETURN(auto table, co_await look);
    if (table) {
      auto read = ReadTable(me, epoch, rank, std::move(*table), by);
      CYLON_CO_ASSIGN_OR_RETURN(auto world, co_await read);
      if (!world && !request.epoch.empty()) {
        co_return PlaceTaken(request, rank, *by);
      }
      co_return world;
    }
    auto look_problem = Look(store, me->prefix + epoch + kProblem);
    CYLON_CO_ASSIGN_OR_RETURN(auto problem, co_await look_problem);
    if (problem) {
      co_return ProblemIn(epoch + kProblem, *problem);
    }
    if (request.epoch.empty()) {
      auto current = CurrentEpoch(store, me->prefix);
      CYLON_CO_ASSIGN_OR_RETURN(const std::string now, co_await current);
      if (now != epoch) {
        co_return std::optional<World>();
      }
      auto look_beat = Look(store, me->prefix + epoch + "/beat");
      CYLON_CO_ASSIGN_OR_RETURN(auto beat, co_await look_beat);
      if (watch.Stopped(epoch, beat.value_or(""), executor.Now()) && request.rank < 0) {
        co_return std::optional<World>();
      }
    }
    auto keep = place_beat.Keep(store, &executor);
    CYLON_CO_RETURN_NOT_OK(co_await keep);
    if (executor.Now() >= request.deadline) {
      auto missing = Missing(store, me, epoch);
      co_return co_await missing;
    }
    auto pause = Pause(executor, me->request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
}

/// Of a process whose rank somebody else has: the rank of a dead one, which it takes while the world is being
/// assembled; nothing when another epoch is led. RankTakenError where who has it lives, or where the world stands.
Co<std::optional<Rank>> AwaitPlace(Store* store, Executor& executor, const Joiner* me, std::string epoch) {
  const auto& request = me->request;
  Duration poll = kFirstPoll;
  BeatWatch watch;
  PlaceSearch search{EpochKey(*me, epoch), RanksFor(request), Describe(*me), me->time_to_live};
  while (true) {
    auto look = Look(store, me->prefix + epoch + "/table");
    CYLON_CO_ASSIGN_OR_RETURN(const auto table, co_await look);
    auto look_problem = Look(store, me->prefix + epoch + kProblem);
    CYLON_CO_ASSIGN_OR_RETURN(auto problem, co_await look_problem);
    bool leader_lives = !request.epoch.empty();
    if (problem && leader_lives) {
      co_return ProblemIn(epoch + kProblem, *problem);
    }
    if (table && leader_lives) {
      co_return PlaceTaken(request, request.rank, "a process of the world that stands");
    }
    if (request.epoch.empty()) {
      auto current = CurrentEpoch(store, me->prefix);
      CYLON_CO_ASSIGN_OR_RETURN(const std::string now, co_await current);
      if (now != epoch) {
        co_return std::optional<Rank>();
      }
      auto look_beat = Look(store, me->prefix + epoch + "/beat");
      CYLON_CO_ASSIGN_OR_RETURN(auto beat, co_await look_beat);
      const bool stopped = watch.Stopped(epoch, beat.value_or(""), executor.Now());
      leader_lives = watch.Moved();
      if (stopped && !table && request.rank < 0) {
        co_return std::optional<Rank>();
      }
    }
    auto seek = internal::SearchPlace(store, &executor, &request, &search, leader_lives && !table, table.has_value());
    CYLON_CO_ASSIGN_OR_RETURN(auto found, co_await seek);
    if (found) {
      co_return found;
    }
    if (executor.Now() >= request.deadline) {
      auto missing = Missing(store, me, request.epoch);
      CYLON_CO_RETURN_NOT_OK(co_await missing);
    }
    auto pause = Pause(executor, me->request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
}

/// The epoch to join: the given one, one of this process's own, or the current leader's. `former` is only set where
/// this process leads, to what was led before.
Co<std::string> FindEpoch(Store* store, Executor& executor, const Joiner* me, std::optional<std::string>* former) {
  const auto& request = me->request;
  former->reset();
  if (!request.epoch.empty()) {
    co_return request.epoch;
  }
  Duration poll = kFirstPoll;
  BeatWatch watch;
  while (true) {
    auto current = CurrentEpoch(store, me->prefix);
    CYLON_CO_ASSIGN_OR_RETURN(const std::string epoch, co_await current);
    bool lead = request.rank == 0;
    if (!lead && request.rank < 0) {
      lead = epoch.empty();
      if (!lead) {
        auto look = Look(store, me->prefix + epoch + "/beat");
        CYLON_CO_ASSIGN_OR_RETURN(auto beat, co_await look);
        // Only a leader that is seen to assemble is worth a rank drawn from it.
        lead = watch.Stopped(epoch, beat.value_or(""), executor.Now());
        if (!lead && watch.Moved()) {
          co_return epoch;
        }
      }
    } else if (!lead && !epoch.empty()) {
      co_return epoch;
    }
    if (lead) {
      auto become = Lead(store, me);
      CYLON_CO_ASSIGN_OR_RETURN(Led led, co_await become);
      *former = std::move(led.former);
      co_return led.epoch;
    }
    if (executor.Now() >= request.deadline) {
      auto missing = Missing(store, me, "");
      CYLON_CO_RETURN_NOT_OK(co_await missing);
    }
    auto pause = Pause(executor, me->request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
}

arrow::Status CheckRequest(const JoinRequest& request) {
  if (request.world_size < 1) {
    return arrow::Status::Invalid("a world of ", request.world_size, " ranks; CYLON_WORLD_SIZE has to be at least 1");
  }
  if (request.rank >= request.world_size) {
    return arrow::Status::Invalid("rank ", request.rank, " in a world of ", request.world_size,
                                  " ranks; ranks go from 0 to ", request.world_size - 1);
  }
  return arrow::Status::OK();
}

}  // namespace

Co<World> Join(Store* store, Executor& executor, JoinRequest request) {
  CYLON_CO_RETURN_NOT_OK(CheckRequest(request));
  CYLON_CO_ASSIGN_OR_RETURN(const std::string random, RandomBytes(16));
  const Joiner me{request, HexEncode(random), request.job + "/", TimeToLive(request, executor.Now())};
  std::string epoch;
  Rank rank = -1;
  std::string lost_to;  // in `epoch`, this process has lost the rank that it had taken
  while (true) {
    std::optional<std::string> former;
    auto find = FindEpoch(store, executor, &me, &former);
    CYLON_CO_ASSIGN_OR_RETURN(std::string found, co_await find);
    // A leader whose beat stood still may go on: its epoch has a rank for this process already.
    if (found != epoch || (rank < 0 && lost_to.empty())) {
      epoch = std::move(found);
      lost_to.clear();
      auto take = TakeRank(store, &me, epoch);
      CYLON_CO_ASSIGN_OR_RETURN(rank, co_await take);
    }
    if (rank < 0) {
      auto place = AwaitPlace(store, executor, &me, epoch);
      CYLON_CO_ASSIGN_OR_RETURN(const auto free, co_await place);
      rank = free.value_or(-1);
    }
    bool follows = rank >= 0;
    if (follows && (former || (!request.epoch.empty() && rank == 0))) {
      auto assemble = Assemble(store, executor, &me, epoch, rank, former);
      CYLON_CO_ASSIGN_OR_RETURN(follows, co_await assemble);
    }
    if (follows) {
      auto table = AwaitTable(store, executor, &me, epoch, rank, &lost_to);
      CYLON_CO_ASSIGN_OR_RETURN(auto world, co_await table);
      if (world) {
        co_return std::move(*world);
      }
      rank = lost_to.empty() ? rank : -1;
    }
    // There is another leader. Leaders without end are none.
    if (executor.Now() >= request.deadline) {
      auto missing = Missing(store, &me, epoch);
      CYLON_CO_RETURN_NOT_OK(co_await missing);
    }
    auto pause = Pause(executor, request.abandoned, kFirstPoll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
  }
}

std::string JoinProblemKey(std::string_view job, std::string_view epoch) {
  return std::string(job) + "/" + std::string(epoch) + kProblem;
}

Co<void> Leave(Store* store, World world, std::shared_ptr<const bool> abandoned) {
  const auto given_up = arrow::Status::Cancelled("this process does not wait for the store any longer");
  if (*abandoned) {
    co_return given_up;
  }
  const std::string epoch = world.job + "/" + world.epoch;
  auto count = store->Add(epoch + "/left", 1, kRunTimeToLive);
  CYLON_CO_ASSIGN_OR_RETURN(const int64_t left, co_await count);
  const std::string place = PlaceKey(epoch, world.rank);
  std::vector<std::string> keys{place, place + "/beat"};
  if (left == world.size()) {
    // Not before: a slow rank may still have to read the table when others have done their work and leave.
    for (const char* name : {"/table", "/beat", "/arrivals", kProblem, "/left"}) {
      keys.push_back(epoch + name);
    }
  }
  for (const auto& key : keys) {
    if (*abandoned) {
      co_return given_up;
    }
    auto gone = store->Delete(key);
    CYLON_CO_RETURN_NOT_OK(co_await gone);
  }
  co_return arrow::Status::OK();
}

}  // namespace cylon
