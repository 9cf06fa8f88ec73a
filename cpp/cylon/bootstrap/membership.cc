// How the processes of a job become ranks.
//
// All keys of a run lie under "job/epoch/". Where a launcher gave the epoch they can only be this run's. Otherwise the
// ranks agree on one first: a leader (the process of rank 0; where ranks are drawn, whoever finds none) raises the
// counter "job/generation" to g, and a random text of its own, under "job/leader/g", is the epoch. It keeps a beat
// while it assembles the world. What crashed runs have left lies under their own epochs and never answers. Who gives up
// leading and leads again does so under another epoch: in the old one it has a rank already, and would draw a second.
//
//   here/<rank>   one rank: nonce, world size, address card       (set-if-absent: a rank is taken once)
//   arrivals      counter from which ranks are drawn
//   table         the whole world, in one value                   (by the assembler, when all are here)
//   problem       why there will be no world                      (by whoever finds out)
//   beat          moves while an elected leader assembles
//   left          counter of the ranks that have left: the last one removes all of these
#include "cylon/bootstrap/membership.h"

#include "cylon/base/random.h"
#include "cylon/base/readable.h"
#include "cylon/bootstrap/meeting.h"

namespace cylon {

namespace {

using internal::CardFromJson;
using internal::CardToJson;
using internal::FlagIn;
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
using namespace std::chrono_literals;

constexpr const char* kProblem = "/problem";
constexpr Duration kBeat = 100ms;
/// A leader whose beat stands still for this long is gone.
constexpr Duration kBeatLost = 1500ms;
/// A rank that waits for ever counts as one that waits so long.
constexpr Duration kEndless = 30 * 24h;

struct Me {
  JoinRequest request;
  std::string nonce;
  std::string prefix;     // "job/"
  Duration time_to_live;  // of what it puts into the store
};

/// The last rank may come at its deadline, and reads then what the first has written.
Duration TimeToLive(const JoinRequest& request, TimePoint now) {
  return std::max<Duration>(kRunTimeToLive, 2 * std::min<Duration>(request.deadline - now, kEndless));
}

std::string HereKey(const std::string& epoch, Rank rank) { return epoch + "/here/" + std::to_string(rank); }

Json Describe(const Me& me) {
  Json json = CardToJson(me.request.card);
  json["nonce"] = me.nonce;
  json["size"] = me.request.world_size;
  json["drawn"] = me.request.rank < 0;
  return json;
}

/// The epoch that the current leader calls for, "" where there is no leader.
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

/// Becomes the leader of a new epoch.
Co<std::string> Lead(Store* store, const Me* me) {
  CYLON_CO_ASSIGN_OR_RETURN(const std::string random, RandomBytes(16));
  const std::string epoch = HexEncode(random);
  auto raise = store->Add(me->prefix + "generation", 1, me->time_to_live);
  CYLON_CO_ASSIGN_OR_RETURN(const int64_t generation, co_await raise);
  auto set = store->Set(me->prefix + "leader/" + std::to_string(generation), epoch, me->time_to_live);
  CYLON_CO_RETURN_NOT_OK(co_await set);
  co_return epoch;
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

/// Tells everybody of this epoch that there will be no world.
Co<void> Report(Store* store, std::string prefix, std::string epoch, arrow::Status problem) {
  auto set = store->SetIfAbsent(prefix + epoch + kProblem, EncodeStatus(problem), kRunTimeToLive);
  auto told = co_await set;  // the problem is this rank's error all the same
  static_cast<void>(told);
  co_return problem;
}

/// Who has not come, as an error.
Co<void> Missing(Store* store, const Me* me, std::string epoch) {
  const auto& request = me->request;
  const std::string of = " of " + std::to_string(request.world_size);
  const std::string hint = "; look for why in their output, or give them more time with CYLON_JOIN_DEADLINE";
  if (epoch.empty()) {
    co_return DeadlineError(
        "rank 0" + of + " of job '" + request.job + "' did not come within the join deadline" + hint, 0);
  }
  std::vector<Rank> missing;
  for (Rank rank = 0; rank < request.world_size; ++rank) {
    auto look = Look(store, me->prefix + HereKey(epoch, rank));
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

/// Takes a rank of `epoch`: the given one, or the next to be drawn. -1 where the rank is taken by another process.
Co<Rank> TakeRank(Store* store, const Me* me, std::string epoch, std::string* taken_by) {
  Rank rank = me->request.rank;
  if (rank < 0) {
    auto draw = store->Add(me->prefix + epoch + "/arrivals", 1, me->time_to_live);
    CYLON_CO_ASSIGN_OR_RETURN(const int64_t drawn, co_await draw);
    if (drawn < 1) {
      co_return ProtocolError("the count of arrivals in the store is " + std::to_string(drawn) +
                              ", expected at least 1; is another program using this store?");
    }
    if (drawn > me->request.world_size) {
      co_return arrow::Status::Invalid("process number ", drawn, " came to job '", me->request.job, "', which has ",
                                       me->request.world_size,
                                       " ranks; start as many processes as the world size says");
    }
    rank = static_cast<Rank>(drawn - 1);
  }
  const std::string key = me->prefix + HereKey(epoch, rank);
  auto set = store->SetIfAbsent(key, Describe(*me).dump(), me->time_to_live);
  CYLON_CO_ASSIGN_OR_RETURN(const std::string stands, co_await set);
  CYLON_CO_ASSIGN_OR_RETURN(const Json other, ParseObject(key, stands));
  if (TextIn(other, "nonce") != me->nonce) {
    *taken_by = Who(other);
    co_return Rank{-1};
  }
  co_return rank;
}

/// Waits for everybody and writes the table. With `beat`, keeps the leader's beat. False: another leader was faster.
Co<bool> Assemble(Store* store, Executor& executor, const Me* me, std::string epoch, bool beat) {
  const auto& request = me->request;
  Json cards = Json::array();
  Duration poll = kFirstPoll;
  TimePoint next_beat = executor.Now();
  while (static_cast<int>(cards.size()) < request.world_size) {
    const auto rank = static_cast<Rank>(cards.size());
    const std::string key = me->prefix + HereKey(epoch, rank);
    auto look = Look(store, key);
    CYLON_CO_ASSIGN_OR_RETURN(auto here, co_await look);
    if (here) {
      CYLON_CO_ASSIGN_OR_RETURN(const Json json, ParseObject(key, *here));
      const int64_t size = IntegerIn(json, "size", 0);
      if (size != request.world_size) {
        auto report = Report(
            store, me->prefix, epoch,
            arrow::Status::Invalid("rank ", rank, " (", Who(json), ") was started for ", size, " ranks, this one for ",
                                   request.world_size, "; start all with the same world size"));
        co_return co_await report;
      }
      if (FlagIn(json, "drawn") != (request.rank < 0)) {
        auto report = Report(store, me->prefix, epoch,
                             arrow::Status::Invalid("some processes of job '", request.job,
                                                    "' were given their rank and some draw it; do one or the other"));
        co_return co_await report;
      }
      cards.push_back(json);
      continue;
    }
    auto look_problem = Look(store, me->prefix + epoch + kProblem);
    CYLON_CO_ASSIGN_OR_RETURN(auto problem, co_await look_problem);
    if (problem) {
      co_return ProblemIn(epoch + kProblem, *problem);
    }
    if (beat && executor.Now() >= next_beat) {
      next_beat = executor.Now() + kBeat;
      auto add = store->Add(me->prefix + epoch + "/beat", 1, me->time_to_live);
      CYLON_CO_RETURN_NOT_OK((co_await add).status());
      auto current = CurrentEpoch(store, me->prefix);
      CYLON_CO_ASSIGN_OR_RETURN(const std::string now, co_await current);
      if (now != epoch) {
        // Another leader. Where ranks are drawn that is the one to follow; where they are given, a second rank 0.
        if (request.rank < 0) {
          co_return false;
        }
        auto status =
            arrow::Status::Invalid("rank 0 of job '", request.job, "' was started twice, here and elsewhere; ",
                                   "start each rank once, or use another job id");
        auto other = Report(store, me->prefix, now, status);
        static_cast<void>(co_await other);
        auto own = Report(store, me->prefix, epoch, status);
        co_return co_await own;
      }
    }
    if (executor.Now() >= request.deadline) {
      auto missing = Missing(store, me, epoch);
      co_return co_await missing;
    }
    auto pause = Pause(executor, me->request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
  auto set = store->Set(me->prefix + epoch + "/table", Json{{"cards", cards}}.dump(), me->time_to_live);
  CYLON_CO_RETURN_NOT_OK(co_await set);
  co_return true;
}

Co<World> ReadTable(const Me* me, std::string epoch, Rank rank, std::string text) {
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
  if (TextIn(json["cards"][static_cast<size_t>(rank)], "nonce") != me->nonce) {
    co_return arrow::Status::Invalid("rank ", rank, " of job '", me->request.job,
                                     "' was started twice; start each once");
  }
  co_return world;
}

/// The table of `epoch` when it is there; nothing when the leader changes first (only where ranks agree on an epoch).
Co<std::optional<World>> AwaitTable(Store* store, Executor& executor, const Me* me, std::string epoch, Rank rank,
                                    std::string taken_by) {
  const auto& request = me->request;
  Duration poll = kFirstPoll;
  BeatWatch watch;
  while (true) {
    if (rank >= 0) {
      auto look = Look(store, me->prefix + epoch + "/table");
      CYLON_CO_ASSIGN_OR_RETURN(auto table, co_await look);
      if (table) {
        auto read = ReadTable(me, epoch, rank, std::move(*table));
        CYLON_CO_ASSIGN_OR_RETURN(World world, co_await read);
        co_return std::optional<World>(std::move(world));
      }
    }
    auto look_problem = Look(store, me->prefix + epoch + kProblem);
    CYLON_CO_ASSIGN_OR_RETURN(auto problem, co_await look_problem);
    if (problem && (rank >= 0 || !request.epoch.empty())) {
      co_return ProblemIn(epoch + kProblem, *problem);
    }
    bool leader_lives = !request.epoch.empty();
    if (request.epoch.empty()) {
      auto current = CurrentEpoch(store, me->prefix);
      CYLON_CO_ASSIGN_OR_RETURN(const std::string now, co_await current);
      if (now != epoch) {
        co_return std::optional<World>();
      }
      auto look_beat = Look(store, me->prefix + epoch + "/beat");
      CYLON_CO_ASSIGN_OR_RETURN(auto beat, co_await look_beat);
      const bool stopped = watch.Stopped(epoch, beat.value_or(""), executor.Now());
      leader_lives = watch.Moved();
      if (stopped && request.rank < 0) {
        co_return std::optional<World>();
      }
    }
    if (rank < 0 && leader_lives) {
      auto report =
          Report(store, me->prefix, epoch,
                 arrow::Status::Invalid("rank ", request.rank, " of job '", request.job,
                                        "' was started twice: ", taken_by, " and process ", request.card.process,
                                        " on ", request.card.host, "; start each rank once"));
      co_return co_await report;
    }
    if (executor.Now() >= request.deadline) {
      auto missing = Missing(store, me, rank < 0 ? std::string() : epoch);
      co_return co_await missing;
    }
    auto pause = Pause(executor, me->request.abandoned, poll);
    CYLON_CO_RETURN_NOT_OK(co_await pause);
    poll = std::min(poll * 2, kLongestPoll);
  }
}

/// The epoch to join: the given one, one of this process's own (`leads`), or the current leader's.
Co<std::string> FindEpoch(Store* store, Executor& executor, const Me* me, bool* leads) {
  const auto& request = me->request;
  *leads = false;
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
      CYLON_CO_ASSIGN_OR_RETURN(std::string own, co_await become);
      *leads = true;
      co_return own;
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
  const Me me{request, HexEncode(random), request.job + "/", TimeToLive(request, executor.Now())};
  std::string epoch;
  Rank rank = -1;
  while (true) {
    bool leads = false;
    auto find = FindEpoch(store, executor, &me, &leads);
    CYLON_CO_ASSIGN_OR_RETURN(std::string found, co_await find);
    std::string taken_by;
    // A leader whose beat stood still may go on: its epoch has a rank for this process already.
    if (rank < 0 || found != epoch) {
      epoch = std::move(found);
      auto take = TakeRank(store, &me, epoch, &taken_by);
      CYLON_CO_ASSIGN_OR_RETURN(rank, co_await take);
    }
    bool follows = true;
    if (leads || (!request.epoch.empty() && rank == 0)) {
      auto assemble = Assemble(store, executor, &me, epoch, leads);
      CYLON_CO_ASSIGN_OR_RETURN(follows, co_await assemble);
    }
    if (follows) {
      auto table = AwaitTable(store, executor, &me, epoch, rank, taken_by);
      CYLON_CO_ASSIGN_OR_RETURN(auto world, co_await table);
      if (world) {
        co_return std::move(*world);
      }
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
  std::vector<std::string> keys{world.job + "/" + HereKey(world.epoch, world.rank)};
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
