/// Requests to a Redis server that outlive its connections.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cylon/bootstrap/redis_cluster.h"
#include "cylon/bootstrap/redis_login.h"

namespace cylon {

/// Makes the connection to `server` ("host:port"): TCP, or TLS over it.
using RedisConnector = std::function<Co<std::unique_ptr<Stream>>(std::string server, TimePoint deadline)>;

/// How long a request outlasts its connection, and how long one attempt to connect and the server's silence may last. A
/// restart with a full memory to load takes seconds.
inline constexpr Duration kRedisPatience = std::chrono::seconds(10);

/// What is done on each new connection after the login, before anything that waits for it is asked.
using RedisGreeting = std::function<Co<void>(std::shared_ptr<RedisLink>)>;

/// Commands that go out together. Where the connection is lost under them, repeatable ones are sent again.
struct RedisRequest {
  std::vector<RedisCommand> commands;
  bool repeatable = true;
  std::string what;  ///< "adding 1 to 'k'", for messages
};

/// Belongs to tasks. Connects when something is first asked, and anew when the connection is lost: at once, 10 ms after
/// the first failure, then after twice as long each, up to 250 ms, while somebody waits for it. Goes where a cluster
/// sends it, eight times in a row at most, with the same login; where it gets no answer there, it asks the server that
/// it was given again.
class RedisClient : public std::enable_shared_from_this<RedisClient> {
 public:
  RedisClient(Executor& executor, RedisLogin login, RedisConnector connect, Duration patience = kRedisPatience)
      : executor_(executor),
        login_(std::move(login)),
        home_(login_.server),
        connect_(std::move(connect)),
        patience_(patience) {}

  /// Connects; tries again until `deadline` while nobody answers, and then fails with a DeadlineError.
  static Co<void> Open(std::shared_ptr<RedisClient> self, TimePoint deadline);

  /// One reply for each command; error replies are replies. Fails where the server cannot be used or has not answered
  /// in `patience`, and at once where it is unknown whether a request that is not repeatable was carried out.
  static Co<RedisReplies> Send(std::shared_ptr<RedisClient> self, RedisRequest request);

  /// The connection, made where there is none; DeadlineError where no server answers until `deadline`. What is asked on
  /// it directly is not asked again when it is lost.
  arrow::Future<std::shared_ptr<RedisLink>> Linked(TimePoint deadline);

  /// Before the first connection.
  void SetGreeting(RedisGreeting greeting) { greeting_ = std::move(greeting); }

  /// Ends all that is under way with Cancelled.
  void Close();

  const std::string& server() const { return login_.server; }
  Executor& executor() const { return executor_; }
  /// Why there is no connection; empty while there is one.
  std::string trouble() const;

 private:
  using LinkPtr = std::shared_ptr<RedisLink>;

  /// Somebody who waits for a connection.
  struct Waiter {
    arrow::Future<LinkPtr> done = arrow::Future<LinkPtr>::Make();
    TimePoint deadline;
    std::shared_ptr<Timer> timer;
  };

  void FinishWaiters(const arrow::Result<LinkPtr>& link);
  arrow::Status Follow(const RedisMove& move);
  /// Where `replies` send single commands elsewhere once, asks there and has
  /// those replies in their place.
  static Co<RedisReplies> AskOnce(std::shared_ptr<RedisClient> self, RedisRequest request, RedisReplies replies,
                                  HostPort to);
  static Co<void> Connect(std::shared_ptr<RedisClient> self);
  static Co<LinkPtr> TryConnect(std::shared_ptr<RedisClient> self, TimePoint deadline);

  Executor& executor_;
  RedisLogin login_;
  const std::string home_;  // the server that this was given
  std::string away_;        // where it was sent last
  int hops_ = 0;
  TimePoint hopped_;
  std::map<std::string, std::shared_ptr<RedisClient>> others_;  // that were asked once
  RedisConnector connect_;
  RedisGreeting greeting_;
  const Duration patience_;
  LinkPtr link_;
  LinkPtr joining_;  // being logged in
  std::list<std::shared_ptr<Waiter>> waiters_;
  bool connecting_ = false;
  bool closed_ = false;
  std::string trouble_ = "no connection was complete by then";
  Duration nap_length_ = Duration::zero();  // before the next attempt; zero again once a request was answered
  std::shared_ptr<Timer> nap_timer_;
  arrow::Future<> nap_;
};

}  // namespace cylon
