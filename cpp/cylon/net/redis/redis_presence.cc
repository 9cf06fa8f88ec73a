// Heartbeats through a Redis server.
#include "cylon/net/redis/redis_presence.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "cylon/bootstrap/redis_errors.h"

namespace cylon::internal {

namespace {

/// Twenty beats in the time after which a rank counts as lost, but no more than 20 a second: a server answers some
/// 100000 keys a second, and 64 ranks look at 64 keys each.
constexpr int kBeatsInTimeout = 20;
constexpr Duration kShortestBeat = std::chrono::milliseconds(50);
constexpr Duration kLongestBeat = std::chrono::milliseconds(500);
/// A key outlives its rank by so many timeouts: others may have been stopped themselves.
constexpr int kLivesInTimeouts = 3;
/// What a key holds when its rank has given up.
constexpr std::string_view kGaveUp = "gave up";

}  // namespace

RedisPresence::RedisPresence(Executor& executor, std::shared_ptr<RedisClient> client, Rank own,
                             std::vector<std::string> keys, Duration timeout, Told told)
    : executor_(executor),
      client_(std::move(client)),
      own_(own),
      keys_(std::move(keys)),
      timeout_(timeout),
      interval_(std::clamp<Duration>(timeout / kBeatsInTimeout, kShortestBeat, kLongestBeat)),
      told_(std::move(told)),
      peers_(keys_.size()) {}

arrow::Future<> RedisPresence::Start() {
  begun_ = true;
  looked_ = executor_.Now();
  internal::DriveVoid(Beat(shared_from_this()), arrow::Future<>::Make());
  return started_;
}

arrow::Future<> RedisPresence::Stop() {
  stopped_ = true;
  told_ = {};
  if (!nap_.is_finished()) {
    nap_timer_->Cancel();
    nap_.MarkFinished();
  }
  return begun_ ? ended_ : arrow::Future<>::MakeFinished();
}

void RedisPresence::GiveUp() {
  std::ignore = Stop();
  const auto link = client_->Linked(executor_.Now());
  if (link.is_finished() && link.status().ok()) {
    std::ignore = (*link.result())->Ask({SetCommand(std::string(kGaveUp))});
  }
}

RedisCommand RedisPresence::SetCommand(const std::string& value) const {
  const auto lives = std::chrono::ceil<std::chrono::milliseconds>(kLivesInTimeouts * timeout_);
  return {"SET", keys_[static_cast<size_t>(own_)], value, "PX", std::to_string(lives.count())};
}

Co<void> RedisPresence::Beat(std::shared_ptr<RedisPresence> self) {
  arrow::Status status;
  while (!self->stopped_) {
    RedisRequest request;
    request.commands.push_back({"MGET"});
    request.commands[0].insert(request.commands[0].end(), self->keys_.begin(), self->keys_.end());
    request.commands.push_back(self->SetCommand(std::to_string(++self->beats_)));
    request.what = "a heartbeat";
    const auto commands = request.commands;
    auto sending = RedisClient::Send(self->client_, std::move(request));
    auto replies = co_await sending;
    if (self->stopped_) {
      break;
    }
    status = replies.ok() ? FirstRefusal(self->client_->server(), commands, *replies) : replies.status();
    if (status.ok()) {
      status = self->Look((*replies)[0], self->executor_.Now());
    }
    if (!self->started_.is_finished()) {
      self->started_.MarkFinished(status);
    }
    if (!status.ok() || self->stopped_) {
      break;
    }
    self->nap_ = arrow::Future<>::Make();
    auto sleeping = self->nap_;
    self->nap_timer_ = self->executor_.PostAt(self->executor_.Now() + self->interval_, [sleeping]() mutable {
      if (!sleeping.is_finished()) {
        sleeping.MarkFinished();
      }
    });
    std::ignore = co_await sleeping;
  }
  if (!self->started_.is_finished()) {
    self->started_.MarkFinished(arrow::Status::Cancelled("this rank closed its transport"));
  }
  if (!status.ok() && !self->stopped_ && self->told_.failed) {
    const auto failed = self->told_.failed;
    failed(status);
  }
  self->ended_.MarkFinished();
  co_return status;
}

arrow::Status RedisPresence::Look(const RespValue& counts, TimePoint now) {
  if (counts.kind != RespValue::Kind::kArray || counts.elements.size() != keys_.size()) {
    return UnexpectedReply(client_->server(), "MGET", counts);
  }
  // Two intervals without a look are no more than two: in the rest it was this rank, or the server, that was late.
  const Duration passed = std::min<Duration>(now - looked_, 2 * interval_);
  looked_ = now;
  const auto own = static_cast<size_t>(own_);
  const bool forgotten = beats_ > 1 && counts.elements[own].kind == RespValue::Kind::kNull;
  const auto told = told_;  // it may stop this
  if (forgotten && told.forgotten) {
    told.forgotten();
  }
  for (size_t i = 0; i < peers_.size() && !stopped_; ++i) {
    auto& peer = peers_[i];
    if (i == own || !peer.watched) {
      continue;
    }
    const std::string& count = counts.elements[i].text;
    const bool moved = count != peer.count && !count.empty();
    peer.silence = moved ? Duration::zero() : peer.silence + passed;
    peer.count = moved ? count : peer.count;
    const bool gave_up = count == kGaveUp;
    if (!gave_up && peer.silence < timeout_) {
      continue;
    }
    peer.watched = false;
    const auto waited = std::chrono::ceil<std::chrono::milliseconds>(timeout_);
    told.lost(static_cast<Rank>(i), gave_up ? std::string("it closed its transport without a goodbye")
                                            : "its heartbeat in the Redis server at " + client_->server() +
                                                  " has stood still for " + std::to_string(waited.count()) + " ms");
  }
  return arrow::Status::OK();
}

}  // namespace cylon::internal
