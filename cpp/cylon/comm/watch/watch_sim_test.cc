// Simulated worlds in which ranks are killed, stopped and cut off: who lives raises the one right error, in time.
#include <gtest/gtest.h>

#include "cylon/comm/runtime.h"
#include "cylon/comm/testing/ranks.h"
#include "cylon/comm/watch/sim_wire.h"

namespace cylon {
namespace {

using namespace std::chrono_literals;
using internal::SimWatchNet;

/// Between two operations of a rank behind gateways.
constexpr Duration kRest = 300ms;
/// How long a watch's way there may take: with a pause and the next dial it is there in the 10 s that a rank has for
/// it.
constexpr Duration kSlowest = 7s;

enum class Fault { kKill, kStop, kPause, kLongPause, kCut, kIsolate, kNone };

struct Scene {
  int ranks;
  bool store;
  Fault fault;
  Rank victim;
  Rank other;
  int64_t event;
  Duration pause;
  bool gateways;  // the ways of the watch take longer to make than a rank may be silent
  Duration timeout;

  explicit Scene(uint64_t seed) {
    std::mt19937_64 random(seed);
    ranks = 2 + static_cast<int>(random() % 6);
    store = random() % 3 != 0;
    fault = static_cast<Fault>(random() % 7);
    victim = static_cast<Rank>(random() % static_cast<uint64_t>(ranks));
    other = static_cast<Rank>((victim + 1 + static_cast<Rank>(random() % static_cast<uint64_t>(ranks - 1))) % ranks);
    event = 60 + static_cast<int64_t>(random() % 1200);
    const auto part = static_cast<int64_t>(random() % Duration(6s).count());
    const auto rest = static_cast<int64_t>(random() % Duration(20s).count());
    gateways = store && random() % 2 == 0;
    timeout = gateways ? 3s : 10s;
    pause = fault == Fault::kPause ? Duration(gateways ? part * 3 / 10 : part) : 15s + Duration(rest);
  }
  /// How long the others may take: the limit, a beat, the messages' way, and the settling.
  Duration limit() const {
    const Duration found = fault == Fault::kKill ? Duration(2s) : timeout + internal::BeatOf(timeout) + 700ms;
    return found + (gateways ? kRest : Duration{});
  }
  std::string ToString() const {
    constexpr const char* kNames[] = {"kill", "stop", "pause", "long pause", "cut", "isolate", "none"};
    return std::to_string(ranks) + " ranks" + (store ? " and a store" : "") + (gateways ? " behind gateways" : "") +
           ", " + kNames[static_cast<size_t>(fault)] + " " + std::to_string(victim) + "/" + std::to_string(other) +
           " at " + std::to_string(event);
  }
};

/// A store that answers a rank only while the way there is open.
class FarStore final : public Store {
 public:
  FarStore(std::unique_ptr<Store> store, SimWorld* world, Rank rank)
      : store_(std::move(store)), world_(world), rank_(rank) {}
  arrow::Future<> Set(const std::string& key, const std::string& value, Duration ttl) override {
    return Open() ? store_->Set(key, value, ttl) : arrow::Future<>::Make();
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value, Duration ttl) override {
    return Open() ? store_->SetIfAbsent(key, value, ttl) : arrow::Future<std::string>::Make();
  }
  arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) override {
    return Open() ? store_->Get(key, deadline) : arrow::Future<std::string>::Make();
  }
  arrow::Future<std::string> TryGet(const std::string& key) override {
    return Open() ? store_->TryGet(key) : arrow::Future<std::string>::Make();
  }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration ttl) override {
    return Open() ? store_->Add(key, amount, ttl) : arrow::Future<int64_t>::Make();
  }
  arrow::Future<> Delete(const std::string& key) override {
    return Open() ? store_->Delete(key) : arrow::Future<>::Make();
  }

 private:
  bool Open() const { return world_->Passes(rank_, SimWorld::kStoreEnd); }
  std::unique_ptr<Store> store_;
  SimWorld* world_;
  Rank rank_;
};

struct Outcome {
  arrow::Status status;
  TimePoint last_good{};
  TimePoint end{};
};

std::vector<Outcome> RunScene(const Scene& scene, uint64_t seed) {
  SimWorld sim(scene.ranks, seed);
  SimWatchNet net(&sim, scene.ranks, seed);
  auto data = MakeMemoryStoreData();
  sim.GiveUpLinksAfter(seed % 2 == 0 ? scene.timeout : scene.timeout * 8 / 10);
  if (scene.gateways) {
    net.MakeWaysWithin(kSlowest);
  }
  switch (scene.fault) {
    case Fault::kKill:
      sim.KillAfter(scene.victim, scene.event);
      break;
    case Fault::kStop:
      sim.StopAfter(scene.victim, scene.event);
      break;
    case Fault::kPause:
    case Fault::kLongPause:
      sim.StopAfter(scene.victim, scene.event, scene.pause);
      break;
    case Fault::kCut:
      sim.CutAfter(scene.victim, scene.other, scene.event);
      break;
    case Fault::kIsolate:
      for (Rank rank = SimWorld::kStoreEnd; rank < scene.ranks; ++rank) {
        if (rank != scene.victim) {
          sim.CutAfter(scene.victim, rank, scene.event);
        }
      }
      break;
    case Fault::kNone:
      break;
  }
  std::vector<Outcome> outcomes(static_cast<size_t>(scene.ranks));
  (void)sim.Run([&](Rank rank) {
    auto& outcome = outcomes[static_cast<size_t>(rank)];
    auto& executor = sim.executor(rank);
    executor.SetInterruptHook([&executor] {
      return executor.Now() > TimePoint(300s) ? arrow::Status::UnknownError("waits for ever") : arrow::Status::OK();
    });
    auto body = [&]() -> arrow::Status {
      Options options;
      options.rank = rank;
      options.threads = 1;
      options.memory_bytes = 64 << 20;
      options.peer_timeout_s = std::chrono::duration<double>(scene.timeout).count();
      options.close_deadline_s = options.peer_timeout_s;  // a rank may stand still while the others close
      internal::Parts parts;
      ARROW_ASSIGN_OR_RAISE(parts.resources, Resources::Make(options));
      parts.executor = &executor;
      if (scene.store) {
        parts.store = std::make_unique<FarStore>(OpenMemoryStore(data, executor), &sim, rank);
      }
      parts.transport = sim.MakeTransport(rank);
      parts.watch = std::make_unique<internal::Watch>(nullptr, executor, net.MakeWire(rank));
      parts.world.job = "job";
      parts.world.epoch = "1";
      parts.world.rank = rank;
      parts.world.cards.resize(static_cast<size_t>(scene.ranks));
      ARROW_ASSIGN_OR_RAISE(auto context, internal::MakeContext(std::move(parts), kNever));
      auto& comm = context->communicator();
      const int rounds = scene.fault == Fault::kPause || scene.fault == Fault::kNone ? 40 : 100000;
      for (int i = 0; i < rounds; ++i) {
        if (i % 3 == 0) {
          ARROW_RETURN_NOT_OK(comm.AllReduce(int64_t{1}, ReduceOp::kSum).status());
        } else if (i % 3 == 1) {
          ARROW_RETURN_NOT_OK(
              comm.AllToAll(Buffers(static_cast<size_t>(scene.ranks), testing::BufferOf<int64_t>({i}))).status());
        } else {
          ARROW_RETURN_NOT_OK(comm.Barrier());
        }
        outcome.last_good = executor.Now();
        if (scene.gateways) {
          auto rested = arrow::Future<>::Make();
          auto timer = executor.PostAt(executor.Now() + kRest, [rested]() mutable { rested.MarkFinished(); });
          ARROW_RETURN_NOT_OK(executor.Await(rested));
        }
      }
      return context->Close();
    };
    outcome.status = body();
    outcome.end = executor.Now();
    return outcome.status;
  });
  return outcomes;
}

/// "" where the error is of this kind and names these.
std::string Check(const Outcome& outcome, ErrorKind kind, Rank rank, Rank other = -1) {
  const auto detail = GetErrorDetail(outcome.status);
  if (detail == nullptr || detail->kind != kind || detail->rank != rank || detail->other != other) {
    return outcome.status.ToString();
  }
  return "";
}

std::string CheckScene(const Scene& scene, const std::vector<Outcome>& outcomes) {
  const bool witnesses = scene.ranks > 2 || scene.store;
  std::shared_ptr<ErrorDetail> first;
  for (Rank rank = 0; rank < scene.ranks; ++rank) {
    const auto& outcome = outcomes[static_cast<size_t>(rank)];
    const std::string at = "rank " + std::to_string(rank) + ": ";
    const bool victim = rank == scene.victim;
    std::string wrong;
    switch (scene.fault) {
      case Fault::kNone:
      case Fault::kPause:
        if (!outcome.status.ok()) {
          return at + outcome.status.ToString();
        }
        continue;
      case Fault::kKill:
      case Fault::kStop:
        if (victim) {
          continue;
        }
        wrong = Check(outcome, ErrorKind::kRankFailed, scene.victim);
        break;
      case Fault::kLongPause:
        wrong = Check(outcome, ErrorKind::kRankFailed, scene.victim);
        if (victim) {
          // Without a store it may hear first that the others, who gave it up, have ended: then it says that it did not
          // run itself.
          const auto& message = outcome.status.message();
          const bool given_up = wrong.empty() && message.find("given this rank up") != std::string::npos;
          const bool slept = !scene.store && IsError(outcome.status, ErrorKind::kRankFailed) &&
                             message.find("had itself not run") != std::string::npos;
          if (!given_up && !slept) {
            return at + outcome.status.ToString();
          }
          continue;
        }
        break;
      case Fault::kCut:
        wrong = witnesses ? Check(outcome, ErrorKind::kLinkLost, std::min(scene.victim, scene.other),
                                  std::max(scene.victim, scene.other))
                          : Check(outcome, ErrorKind::kIsolated, rank);
        break;
      case Fault::kIsolate:
        if (victim || !witnesses) {
          wrong = Check(outcome, ErrorKind::kIsolated, rank);
          if (wrong.empty()) {
            continue;
          }
        } else {
          wrong = Check(outcome, ErrorKind::kRankFailed, scene.victim);
        }
        break;
    }
    if (!wrong.empty()) {
      return at + wrong;
    }
    if (outcome.end - outcome.last_good > scene.limit()) {
      return at + "took " + std::to_string(std::chrono::duration<double>(outcome.end - outcome.last_good).count()) +
             " s: " + outcome.status.ToString();
    }
    const auto detail = GetErrorDetail(outcome.status);
    if (detail->agreed && first != nullptr && first->cause != detail->cause) {
      return at + "another cause: " + detail->cause + ", not " + first->cause;
    }
    if (detail->agreed) {
      first = detail;
    }
    if (scene.store && detail->kind != ErrorKind::kIsolated && !detail->agreed) {
      return at + "not agreed: " + outcome.status.ToString();
    }
  }
  return "";
}

TEST(WatchSimulationTest, WhoLivesRaisesTheOneRightErrorInTimeAndNobodyWhoLivesIsAccused) {
  testing::ForEachSeed(1000, 100000, [](uint64_t seed) -> std::string {
    const Scene scene(seed);
    const auto wrong = CheckScene(scene, RunScene(scene, seed));
    return wrong.empty() ? "" : scene.ToString() + ": " + wrong;
  });
}

}  // namespace
}  // namespace cylon
