/// One rank's end of a world whose messages go through a Redis server.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/redis_address.h"
#include "cylon/bootstrap/redis_client.h"
#include "cylon/net/mail/mail.h"
#include "cylon/net/redis/redis_presence.h"

namespace cylon::internal {

/// Every rank has one inbox, a stream of the server: `cylon:{job}/epoch/inbox/<rank>.<tag>`. Each entry of it has one
/// field:
///
///   name    "<sender's rank>.<number>"
///   value   the entry of that number (see Outbox)
///
/// Four connections: one writes, one waits for what comes into the inbox, one keeps the heartbeat, so that it is not
/// behind megabytes of messages, and one shows by its end that this process has ended.
class RedisMail final : public Mail {
 public:
  RedisMail(AsioExecutor& executor, World world, Duration timeout);

  /// Keys, seals and clients; nothing is connected yet.
  arrow::Status Prepare(const RedisAddress& server, const std::string& secret);

  arrow::Future<> Start(Sink* sink) override;

 private:
  using LinkPtr = std::shared_ptr<RedisLink>;

  std::shared_ptr<RedisMail> Shared() { return std::static_pointer_cast<RedisMail>(shared_from_this()); }
  std::weak_ptr<RedisMail> Weak() { return Shared(); }
  const std::string& server() const { return writer_->server(); }
  const std::string& inbox(Rank rank) const { return inboxes_[static_cast<size_t>(rank)]; }
  const std::string& beat(Rank rank) const { return beats_[static_cast<size_t>(rank)]; }

  // Out.
  MailEnvelope EnvelopeTo(Rank to) const override;
  void Pump() override;
  void Relink();
  void Rewind();
  void Answered(const LinkPtr& link, Rank to, uint64_t number, const arrow::Result<RedisReplies>& replies);
  arrow::Status CheckAnswer(const LinkPtr& link, const arrow::Result<RedisReplies>& replies);

  // In.
  static Co<void> ReadLoop(std::shared_ptr<RedisMail> self);
  arrow::Future<RedisReplies> AskNext(const std::vector<std::string>& read);
  arrow::Status TakeBatch(const RespValue& reply);

  // Ends.
  void Heard(Rank rank) override { presence_->Heard(rank); }
  void Forget(Rank rank) override { presence_->Forget(rank); }
  void GiveUp() override { presence_->GiveUp(); }
  void CloseWays() override;
  void PutEnd();
  static Co<void> CleanUp(std::shared_ptr<RedisMail> self);

  AsioExecutor& io_;
  const int64_t time_to_live_ms_;
  std::vector<std::string> inboxes_;  // by rank
  std::vector<std::string> beats_;

  std::shared_ptr<RedisClient> writer_;
  std::shared_ptr<RedisClient> reader_;
  std::shared_ptr<RedisClient> beater_;
  std::shared_ptr<RedisClient> subscriber_;
  std::shared_ptr<RedisPresence> presence_;
  arrow::Future<> stop_ = arrow::Future<>::Make();

  LinkPtr link_;
  bool relinking_ = false;
  TimePoint moving_ = kNever;  // since when a cluster has this job's keys on their way
  bool put_end_ = false;
  bool read_end_ = false;
};

}  // namespace cylon::internal
