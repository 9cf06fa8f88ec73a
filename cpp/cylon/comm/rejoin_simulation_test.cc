// Joining, deaths at any moment, and rejoining, under virtual time: what the seeds decide.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

#include "cylon/comm/context.h"
#include "cylon/comm/runtime.h"
#include "cylon/comm/testing/ranks.h"
#include "cylon/net/sim/sim_world.h"

namespace cylon {
namespace {

using testing::BufferOf;
using testing::ValuesOf;
using ContextPtr = std::shared_ptr<Context>;

/// A world as one process knew it: the processes in it, by rank.
using Members = std::vector<int64_t>;

/// What is left of a process when its program has ended.
struct Outcome {
  arrow::Status status;
  std::vector<Members> worlds;  // that it agreed upon with the others, in their order
  bool killed = false;          // or was about to be, when all was over
};

/// A world of `ranks` processes that meet in a store in memory, and `spares` that wait to replace some.
struct Play {
  uint64_t seed = 0;
  int ranks = 2;
  int spares = 0;
  int calls = 10;                 // that the program wants to make, one after the other
  std::map<Rank, int64_t> kills;  // process, scheduling decision
  double window_s = 10;
};

/// One process: joins, then calls until it is through; after a failure it rejoins and begins again.
class Process {
 public:
  Process(const Play& play, Rank process, Executor& executor, std::shared_ptr<MemoryStoreData> data,
          std::shared_ptr<internal::InprocWorlds> worlds, Outcome* outcome)
      : play_(play), process_(process), outcome_(outcome) {
    options_.job = "play";
    options_.rejoin = process >= play.ranks;
    options_.rank = options_.rejoin ? -1 : process;
    options_.world_size = play.ranks;
    options_.threads = 1;
    options_.memory_bytes = 64 << 20;
    parts_.executor = &executor;
    parts_.store = OpenMemoryStore(std::move(data), executor);
    parts_.network = internal::InprocNetwork(std::move(worlds), executor);
  }

  arrow::Status Run() {
    ARROW_ASSIGN_OR_RAISE(auto context, internal::JoinWorld(std::move(parts_), options_));
    while (true) {
      auto status = Work(*context);
      if (status.ok()) {
        return context->Close();
      }
      if (!IsError(status, ErrorKind::kRankFailed)) {
        return status;
      }
      ARROW_ASSIGN_OR_RAISE(context, context->Rejoin({.window_s = play_.window_s}));
    }
  }

 private:
  arrow::Status Work(Context& context) {
    ARROW_ASSIGN_OR_RAISE(auto all, context.communicator().AllGather(BufferOf<int64_t>({process_})));
    Members members;
    for (const auto& one : all) {
      members.push_back(ValuesOf<int64_t>(*one)[0]);
    }
    if (static_cast<int>(members.size()) != context.world_size() ||
        members[static_cast<size_t>(context.rank())] != process_) {
      return arrow::Status::UnknownError("process ", process_, " is not where its rank says");
    }
    outcome_->worlds.push_back(members);
    for (int call = 0; call < play_.calls; ++call) {
      ARROW_ASSIGN_OR_RAISE(const int64_t sum, context.communicator().AllReduce(int64_t{1}, ReduceOp::kSum));
      if (sum != context.world_size()) {
        return arrow::Status::UnknownError("a sum of ", sum, " in a world of ", context.world_size());
      }
    }
    return arrow::Status::OK();
  }

  const Play& play_;
  int64_t process_;
  Outcome* outcome_;
  Options options_;
  internal::Parts parts_;
};

std::vector<Outcome> Perform(const Play& play, int64_t* events = nullptr) {
  const int processes = play.ranks + play.spares;
  std::vector<Outcome> outcomes(static_cast<size_t>(processes));
  SimWorld sim(processes, play.seed);
  for (const auto& [process, event] : play.kills) {
    sim.KillAfter(process, event);
  }
  auto data = MakeMemoryStoreData();
  auto worlds = std::make_shared<internal::InprocWorlds>();
  (void)sim.Run([&](Rank process) {
    auto& outcome = outcomes[static_cast<size_t>(process)];
    return outcome.status = Process(play, process, sim.executor(process), data, worlds, &outcome).Run();
  });
  for (const auto& [process, event] : play.kills) {
    outcomes[static_cast<size_t>(process)].killed = event <= sim.events();
  }
  if (events != nullptr) {
    *events = sim.events();
  }
  return outcomes;
}

/// Survivors in their order, then replacements in any; nobody twice.
std::string WrongOrder(const Play& play, const Members& members) {
  if (std::set<int64_t>(members.begin(), members.end()).size() != members.size()) {
    return "a process has two ranks";
  }
  // A replacement of an earlier world is a survivor in the next: only the first processes' order is fixed for good.
  int64_t last = -1;
  for (const int64_t member : members) {
    if (member < play.ranks) {
      if (member < last) {
        return "survivors are not in their order";
      }
      last = member;
    }
  }
  return "";
}

std::string Text(const Members& members) { return ::testing::PrintToString(members); }

/// "" where the processes have one view of their worlds, and each that was not killed ended well or with a clear error.
std::string WrongWorlds(const Play& play, const std::vector<Outcome>& outcomes) {
  std::set<std::set<int64_t>> last;  // worlds in which somebody's program came to its end
  for (size_t process = 0; process < outcomes.size(); ++process) {
    const auto& outcome = outcomes[process];
    const std::string who = "process " + std::to_string(process) + ": ";
    for (const auto& members : outcome.worlds) {
      if (auto wrong = WrongOrder(play, members); !wrong.empty()) {
        return who + wrong + ": " + Text(members);
      }
    }
    if (outcome.status.ok()) {
      last.insert({outcome.worlds.back().begin(), outcome.worlds.back().end()});
    }
    if (!outcome.killed && !outcome.status.ok() && !IsError(outcome.status, ErrorKind::kDeadline) &&
        !IsError(outcome.status, ErrorKind::kRankFailed)) {
      return who + outcome.status.ToString();
    }
  }
  // Some may be through when the next dies, and the others go on with fewer. But never do two parts go their own ways.
  for (const auto& one : last) {
    for (const auto& other : last) {
      if (play.spares == 0 && !std::ranges::includes(one, other) && !std::ranges::includes(other, one)) {
        return "two worlds that have nothing to do with each other came to their ends";
      }
    }
  }
  return "";
}

/// Kills at moments that the seed draws.
std::map<Rank, int64_t> Kills(std::mt19937_64* random, int ranks, uint64_t latest) {
  std::map<Rank, int64_t> kills;
  const auto count = (*random)() % static_cast<uint64_t>(ranks);  // somebody lives
  for (uint64_t i = 0; i < count; ++i) {
    kills[static_cast<Rank>((*random)() % static_cast<uint64_t>(ranks))] = static_cast<int64_t>((*random)() % latest);
  }
  return kills;
}

TEST(RejoinSimulationTest, WhoeverDiesWhereverTheOthersAgreeOnTheirWorldOrSayWhyThereIsNone) {
  uint64_t rejoined = 0;
  testing::ForEachSeed(1000, 100000, [&](uint64_t seed) -> std::string {
    std::mt19937_64 random(seed);
    Play play;
    play.seed = seed;
    play.ranks = 2 + static_cast<int>(random() % 5);
    play.spares = static_cast<int>(random() % 3);
    play.kills = Kills(&random, play.ranks + play.spares, 100 + random() % 3000);
    const auto outcomes = Perform(play);
    for (const auto& outcome : outcomes) {
      rejoined += outcome.worlds.size() > 1 ? 1 : 0;
    }
    return WrongWorlds(play, outcomes);
  });
  RecordProperty("rejoined", std::to_string(rejoined));
}

TEST(RejoinSimulationTest, EverySurvivorOfAWorldThatStoodIsInTheLastOne) {
  int runs = 0;
  int deaths = 0;
  testing::ForEachSeed(200, 10000, [&](uint64_t seed) -> std::string {
    std::mt19937_64 random(seed);
    Play play;
    play.seed = seed;
    play.ranks = 3 + static_cast<int>(random() % 4);
    play.calls = 40;
    // One dies in the midst of the calls: as long as nobody does, the seed decides how many events there are.
    int64_t events = 0;
    if (auto wrong = WrongWorlds(play, Perform(play, &events)); !wrong.empty()) {
      return wrong;
    }
    ++runs;
    const auto victim = static_cast<Rank>(random() % static_cast<uint64_t>(play.ranks));
    play.kills[victim] = events * static_cast<int64_t>(50 + random() % 40) / 100;
    const auto outcomes = Perform(play);
    if (auto wrong = WrongWorlds(play, outcomes); !wrong.empty()) {
      return wrong;
    }
    const bool early = std::ranges::any_of(outcomes, [](const Outcome& outcome) { return outcome.worlds.empty(); });
    const bool late = std::ranges::any_of(
        outcomes, [](const Outcome& outcome) { return outcome.status.ok() && outcome.worlds.size() == 1; });
    if (early || late) {
      return "";  // it died before all had joined, or when somebody was through
    }
    ++deaths;
    Members survivors;
    for (int64_t process = 0; process < play.ranks; ++process) {
      if (process != victim) {
        survivors.push_back(process);
      }
    }
    for (const int64_t process : survivors) {
      const auto& outcome = outcomes[static_cast<size_t>(process)];
      if (!outcome.status.ok() || outcome.worlds.back() != survivors) {
        return "process " + std::to_string(process) + " ended with " + outcome.status.ToString() + " in " +
               Text(outcome.worlds.back());
      }
    }
    return "";
  });
  EXPECT_TRUE(runs < 10 || 2 * deaths > runs)
      << "only " << deaths << " of " << runs << " deaths were in the midst of it";
}

}  // namespace
}  // namespace cylon
