/// One rank's end of a world whose messages go through a Redis server.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/redis_address.h"
#include "cylon/bootstrap/redis_client.h"
#include "cylon/net/redis/frame_assembler.h"
#include "cylon/net/redis/redis_outbox.h"
#include "cylon/net/redis/redis_presence.h"
#include "cylon/net/redis/seal.h"
#include "cylon/net/send_tracker.h"
#include "cylon/net/transport.h"

namespace cylon::internal {

/// All calls from the rank's tasks. Four connections: one writes, one waits for what comes into the inbox, one keeps
/// the heartbeat, so that it is not behind megabytes of messages, and one shows by its end that this process has ended.
class RedisMail : public std::enable_shared_from_this<RedisMail> {
 public:
  RedisMail(AsioExecutor& executor, World world, Duration timeout);

  /// Keys, seals and clients; nothing is connected yet.
  arrow::Status Prepare(const RedisAddress& server, const std::string& secret);

  arrow::Future<> Start(Sink* sink);
  arrow::Future<> Send(Rank to, Message message);
  arrow::Future<> Flush() { return sends_.Flush(); }
  arrow::Future<> Close();
  void Abort();

 private:
  using LinkPtr = std::shared_ptr<RedisLink>;

  struct Peer {
    enum class State : uint8_t { kThere, kLeft, kLost };
    State state = State::kThere;
    std::string inbox;
    std::string beat;
    std::optional<RedisOutbox> outbox;  // none: this rank itself
    bool writes = true;                 // something may still go there
    std::optional<Seal> seal;           // of what comes from there
    std::optional<FrameAssembler> frames;
    uint64_t received = 0;
    int64_t unacknowledged = 0;
  };

  Peer& peer(Rank rank) { return peers_[static_cast<size_t>(rank)]; }
  const std::string& server() const { return writer_->server(); }
  /// Neither closed nor failed.
  bool open() const { return !stopped_ && failed_.ok(); }

  // Out.
  void PumpSoon();
  void Pump();
  void Relink();
  void Answered(const LinkPtr& link, Rank to, uint64_t number, const arrow::Result<RedisReplies>& replies);
  arrow::Status CheckAnswer(const LinkPtr& link, const arrow::Result<RedisReplies>& replies);
  void FinishSends(const std::vector<uint64_t>& ids);

  // In.
  static Co<void> ReadLoop(std::shared_ptr<RedisMail> self);
  arrow::Future<RedisReplies> AskNext(const std::vector<std::string>& read);
  arrow::Status TakeBatch(const RespValue& reply);
  void TakeEntry(const std::string& name, const std::string& value);
  arrow::Status TakeSealed(Rank from, uint64_t number, const std::string& value);

  // Ends.
  void HearLoss(Rank rank, const arrow::Status& cause);
  void Drop(Rank rank, const arrow::Status& why);
  void Fail(const arrow::Status& why);
  void PutEnd();
  static Co<void> CleanUp(std::shared_ptr<RedisMail> self);
  void Stop(const arrow::Status& why);

  AsioExecutor& executor_;
  const World world_;
  const Rank rank_;
  const Duration timeout_;
  const MailLimits limits_;
  int64_t time_to_live_ms_;

  std::shared_ptr<RedisClient> writer_;
  std::shared_ptr<RedisClient> reader_;
  std::shared_ptr<RedisClient> beater_;
  std::shared_ptr<RedisClient> subscriber_;
  std::shared_ptr<RedisPresence> presence_;
  arrow::Future<> stop_ = arrow::Future<>::Make();

  Sink* sink_ = nullptr;  // none: closing
  std::vector<Peer> peers_;
  SendTracker sends_;
  LinkPtr link_;
  bool started_ = false;
  bool relinking_ = false;
  bool pumping_soon_ = false;
  bool closing_ = false;
  bool put_end_ = false;
  bool read_end_ = false;
  bool stopped_ = false;
  arrow::Status failed_;
  arrow::Future<> start_ = arrow::Future<>::Make();
  arrow::Future<> close_ = arrow::Future<>::Make();
};

}  // namespace cylon::internal
