/// Who is there: each rank's heartbeat in a Redis server, and what the others see of it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/bootstrap/redis_client.h"

namespace cylon::internal {

/// Belongs to tasks. Each rank counts up a key of its own, which goes by itself when it stops; the others look at it as
/// often. A peer whose count has stood still for `timeout`, as seen by looks that came in time, is lost: what this rank
/// did not see because it was stopped, or because the server was away, counts for nothing.
///
/// A process that ends takes its connections with it, and the server can be asked for that: each rank subscribes to a
/// channel by its key's name, into which nothing is put, and the others look at how many do. Where nobody does and the
/// count stands still as well, kReturn is enough. A server that does not permit this is used without it.
class RedisPresence : public std::enable_shared_from_this<RedisPresence> {
 public:
  struct Told {
    std::function<void(Rank peer, std::string cause)> lost;
    std::function<void(const arrow::Status&)> failed;  ///< the server cannot be used
    std::function<void()> forgotten;                   ///< the server has lost this rank's key, and so all others
  };

  /// A rank that has lost its connections but lives is back, and beats, well before that.
  static constexpr Duration kReturn = std::chrono::seconds(1);

  /// `keys` by rank; `subscriber` has a connection for nothing else.
  RedisPresence(Executor& executor, std::shared_ptr<RedisClient> client, std::shared_ptr<RedisClient> subscriber,
                Rank own, std::vector<std::string> keys, Duration timeout, Told told);

  /// Finishes with the first beat.
  arrow::Future<> Start();
  /// `peer` has been heard of otherwise.
  void Heard(Rank peer) { peers_[static_cast<size_t>(peer)].silence = Duration::zero(); }
  /// `peer` is watched no more.
  void Forget(Rank peer) { peers_[static_cast<size_t>(peer)].watched = false; }
  /// Beats no more; finishes when nothing is under way.
  arrow::Future<> Stop();
  /// Leaves word that this rank has given up, if the way there is free, and beats no more.
  void GiveUp();

 private:
  struct Peer {
    bool watched = true;
    std::string count;
    Duration silence = Duration::zero();
    bool subscribed = false;
  };
  static Co<void> Beat(std::shared_ptr<RedisPresence> self);
  static Co<void> Subscribe(std::shared_ptr<RedisPresence> self);
  std::vector<RedisCommand> BeatCommands();
  arrow::Status Look(const RedisReplies& replies, TimePoint now);
  void LookAtSubscribers(const RedisReplies& replies);
  /// Why `peer`, whose key holds `count`, is lost; empty where it is not.
  std::string WhyLost(const Peer& peer, const std::string& count) const;
  RedisCommand SetCommand(const std::string& value) const;

  Executor& executor_;
  const std::shared_ptr<RedisClient> client_;
  const std::shared_ptr<RedisClient> subscriber_;
  const Rank own_;
  const std::vector<std::string> keys_;
  const Duration timeout_;
  const Duration interval_;
  Told told_;
  std::vector<Peer> peers_;
  uint64_t beats_ = 0;
  bool asks_for_subscribers_ = true;
  TimePoint looked_;
  arrow::Future<> started_ = arrow::Future<>::Make();
  bool stopped_ = false;
  bool begun_ = false;
  arrow::Future<> nap_ = arrow::Future<>::MakeFinished();
  std::shared_ptr<Timer> nap_timer_;
  arrow::Future<> ended_ = arrow::Future<>::Make();
};

}  // namespace cylon::internal
