/// The watches' network of a simulated world: messages are tasks of the ranks' executors, a moment later.
#pragma once

#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "cylon/comm/watch/wire.h"
#include "cylon/net/sim/sim_world.h"

namespace cylon::internal {

class SimWire;

/// Shared by the wires of one world; used by whoever has the world's baton.
class SimWatchNet {
 public:
  SimWatchNet(SimWorld* world, int size, uint64_t seed);
  std::shared_ptr<WatchWire> MakeWire(Rank rank);
  /// As behind gateways: the way between two ranks takes a while to make, `longest` at most.
  void MakeWaysWithin(Duration longest);

 private:
  friend class SimWire;
  enum class Door { kNotYet, kOpen, kClosed };

  /// Runs `task` at `to` after a while, behind what was sent the same way before, unless the way is cut then.
  void Carry(Rank from, Rank to, std::function<void(SimWire&)> task);
  /// Whether the way between two is made.
  bool Made(Rank a, Rank b) const;
  Duration Lag() { return std::chrono::microseconds(random_() % 20000); }

  SimWorld* world_;
  std::mt19937_64 random_;
  std::vector<Door> doors_;
  std::vector<std::weak_ptr<SimWire>> wires_;
  std::map<std::pair<Rank, Rank>, TimePoint> made_;  // when, the lower rank first
  std::map<std::pair<Rank, Rank>, TimePoint> last_;  // arrival, by way
};

class SimWire final : public WatchWire, public std::enable_shared_from_this<SimWire> {
 public:
  SimWire(SimWatchNet* net, Rank rank) : net_(net), rank_(rank) {}
  ~SimWire() override { Close(); }

  void Start(WatchWireSink* sink) override;
  void Dial(Rank peer, Duration patience) override;
  void Send(Rank to, const WatchMessage& message) override;
  bool Linked(Rank peer) const override { return linked_.contains(peer); }
  void Close() override;

 private:
  void Knock(Rank peer, TimePoint deadline);
  void Link(Rank peer);
  void Unlink(Rank peer);
  void Fail(Rank peer, DialEnd how);

  SimWatchNet* net_;
  const Rank rank_;
  WatchWireSink* sink_ = nullptr;
  std::set<Rank> linked_;
  std::set<Rank> dialling_;
  bool closed_ = false;
};

}  // namespace cylon::internal
