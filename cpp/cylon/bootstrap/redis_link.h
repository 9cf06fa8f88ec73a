/// One connection to a Redis server: commands out, their replies back in the same order.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/wire/resp.h"
#include "cylon/wire/stream.h"

namespace cylon {

using RedisCommand = std::vector<std::string>;
using RedisReplies = std::vector<RespValue>;

/// Commands that go out together, and one reply for each.
struct RedisExchange {
  arrow::Future<RedisReplies> done = arrow::Future<RedisReplies>::Make();
  /// A part of it has gone out: where its replies never come, it may have been carried out all the same.
  bool begun = false;

  std::shared_ptr<const std::string> bytes;
  size_t commands = 0;
  RedisReplies replies;
};

/// Belongs to tasks. Lives until it fails: what reads holds it.
class RedisLink : public std::enable_shared_from_this<RedisLink> {
 public:
  /// `server` names it in messages; one that owes replies and is silent for longer than `patience` is as good as gone.
  static std::shared_ptr<RedisLink> Start(Executor& executor, std::unique_ptr<Stream> stream, std::string server,
                                          Duration patience);

  /// Error replies are replies too; `done` fails only with the connection: with IsPassing where another one may fare
  /// better, with ProtocolError where the other side speaks something else.
  std::shared_ptr<RedisExchange> Ask(const std::vector<RedisCommand>& commands);
  /// `count` commands as they lie in `bytes`, which is held until they are gone.
  std::shared_ptr<RedisExchange> Ask(std::shared_ptr<const std::string> bytes, size_t count);

  /// Ends the connection and, with `status`, all that is under way.
  void Fail(const arrow::Status& status);
  bool alive() const { return gone_.ok(); }
  const arrow::Status& gone() const { return gone_; }
  /// Finishes, without an error, when it fails: for who has asked nothing.
  const arrow::Future<>& ended() const { return ended_; }

 private:
  RedisLink(Executor& executor, std::unique_ptr<Stream> stream, std::string server, Duration patience)
      : executor_(executor), stream_(std::move(stream)), server_(std::move(server)), patience_(patience) {}

  static Co<void> Write(std::shared_ptr<RedisLink> self);
  static Co<void> Read(std::shared_ptr<RedisLink> self);
  arrow::Status Take(std::string_view bytes);
  void WatchForSilence();

  Executor& executor_;
  std::unique_ptr<Stream> stream_;
  std::string server_;
  const Duration patience_;
  RespDecoder decoder_;
  std::deque<std::shared_ptr<RedisExchange>> unwritten_;
  std::deque<std::shared_ptr<RedisExchange>> unanswered_;  // those that are not written too
  bool writing_ = false;
  bool watching_ = false;
  TimePoint moved_;  // when a byte last came or went, or was first waited for
  arrow::Status gone_;
  arrow::Future<> ended_ = arrow::Future<>::Make();
};

}  // namespace cylon
