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
/// Channels in one question: the reply has two values for each, and may have kMaxRespElements.
constexpr size_t kChannelsAtOnce = kMaxRespElements / 2;

std::string Milliseconds(Duration time) {
  return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(time).count()) + " ms";
}

}  // namespace

RedisPresence::RedisPresence(Executor& executor, std::shared_ptr<RedisClient> client,
                             std::shared_ptr<RedisClient> subscriber, Rank own, std::vector<std::string> keys,
                             Duration timeout, Told told)
    : executor_(executor),
      client_(std::move(client)),
      subscriber_(std::move(subscriber)),
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
  internal::DriveVoid(Subscribe(shared_from_this()), arrow::Future<>::Make());
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
    request.commands = self->BeatCommands();
    request.what = "a heartbeat";
    auto sending = RedisClient::Send(self->client_, std::move(request));
    auto replies = co_await sending;
    if (self->stopped_) {
      break;
    }
    status = replies.ok() ? self->Look(*replies, self->executor_.Now()) : replies.status();
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

std::vector<RedisCommand> RedisPresence::BeatCommands() {
  std::vector<RedisCommand> out = {{"MGET"}, SetCommand(std::to_string(++beats_))};
  out[0].insert(out[0].end(), keys_.begin(), keys_.end());
  for (size_t i = 0; asks_for_subscribers_ && i < keys_.size(); ++i) {
    if (i % kChannelsAtOnce == 0) {
      out.push_back({"PUBSUB", "NUMSUB"});
    }
    out.back().push_back(keys_[i]);
  }
  return out;
}

Co<void> RedisPresence::Subscribe(std::shared_ptr<RedisPresence> self) {
  while (!self->stopped_) {
    auto linking = self->subscriber_->Linked(kNever);
    const auto link = co_await linking;
    if (!link.ok()) {
      co_return link.status();  // closed, or what the heartbeat finds too
    }
    auto asking = (*link)->Ask({{"SUBSCRIBE", self->keys_[static_cast<size_t>(self->own_)]}})->done;
    const auto reply = co_await asking;
    if (reply.ok() && (*reply)[0].kind == RespValue::Kind::kError) {
      co_return arrow::Status::OK();  // not permitted
    }
    auto ending = (*link)->ended();
    std::ignore = co_await ending;
  }
  co_return arrow::Status::OK();
}

arrow::Status RedisPresence::Look(const RedisReplies& replies, TimePoint now) {
  static const std::vector<RedisCommand> kCommands{{"MGET"}, {"SET"}};
  ARROW_RETURN_NOT_OK(FirstRefusal(client_->server(), kCommands, {replies[0], replies[1]}));
  const auto& counts = replies[0];
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
  LookAtSubscribers(replies);
  for (size_t i = 0; i < peers_.size() && !stopped_; ++i) {
    auto& peer = peers_[i];
    if (i == own || !peer.watched) {
      continue;
    }
    const std::string& count = counts.elements[i].text;
    const bool moved = count != peer.count && !count.empty();
    peer.silence = moved ? Duration::zero() : peer.silence + passed;
    peer.count = moved ? count : peer.count;
    const std::string why = WhyLost(peer, count);
    if (!why.empty()) {
      peer.watched = false;
      told.lost(static_cast<Rank>(i), why);
    }
  }
  return arrow::Status::OK();
}

void RedisPresence::LookAtSubscribers(const RedisReplies& replies) {
  size_t peer = 0;
  for (size_t i = 2; i < replies.size(); ++i) {
    const auto& numbers = replies[i].elements;  // a channel and its number by turns
    const size_t channels = std::min(kChannelsAtOnce, keys_.size() - peer);
    if (numbers.size() != 2 * channels) {
      asks_for_subscribers_ = false;  // not permitted
      peers_[static_cast<size_t>(own_)].subscribed = false;
      return;
    }
    for (size_t k = 0; k < channels; ++k) {
      peers_[peer++].subscribed = numbers[2 * k + 1].number > 0;
    }
  }
}

std::string RedisPresence::WhyLost(const Peer& peer, const std::string& count) const {
  if (count == kGaveUp) {
    return "it closed its transport without a goodbye";
  }
  if (peer.silence >= timeout_) {
    return "its heartbeat in the Redis server at " + client_->server() + " has stood still for " +
           Milliseconds(timeout_);
  }
  // Where this rank's subscription shows, the others' do, but for those who have not come to this server yet.
  const bool closed = peers_[static_cast<size_t>(own_)].subscribed && !peer.subscribed && !count.empty();
  if (closed && peer.silence >= kReturn) {
    return "its connections to the Redis server at " + client_->server() + " were closed, and it was not back in " +
           Milliseconds(kReturn);
  }
  return "";
}

}  // namespace cylon::internal
