// How a rank's end of a Redis server's world comes to its end: peers that leave, fail or are dropped, and closing.
#include <tuple>
#include <utility>

#include "cylon/bootstrap/redis_errors.h"
#include "cylon/net/redis/redis_mail.h"

namespace cylon::internal {

void RedisMail::HearLoss(Rank rank, const arrow::Status& cause) {
  auto& each = peer(rank);
  if (each.state != Peer::State::kThere) {
    return;
  }
  each.state = cause.ok() ? Peer::State::kLeft : Peer::State::kLost;
  each.writes = false;
  each.frames->Drop();
  presence_->Forget(rank);
  sends_.FailPeer(rank, cause.ok() ? arrow::Status::IOError("rank ", rank, " is gone: it said goodbye") : cause);
  if (sink_ != nullptr) {
    sink_->OnPeerLost(rank, cause);
  }
  PumpSoon();
}

void RedisMail::Drop(Rank rank, const arrow::Status& why) {
  auto& each = peer(rank);
  if (each.state != Peer::State::kThere) {
    return;
  }
  HearLoss(rank, why);
  if (open()) {
    each.outbox->QueueDropped(why.message());
    each.writes = true;
    PumpSoon();
  }
}

void RedisMail::Fail(const arrow::Status& why) {
  if (!open()) {
    return;
  }
  failed_ = why;
  const auto self = shared_from_this();  // who is told may let this go
  if (!start_.is_finished()) {
    start_.MarkFinished(why);
  }
  const auto cause = IsolatedError(rank_, why.message());
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    if (rank != rank_) {
      HearLoss(rank, cause);
    }
  }
  Stop(why);
}

arrow::Future<> RedisMail::Close() {
  if (closing_ || stopped_) {
    return close_;
  }
  closing_ = true;
  sink_ = nullptr;
  if (!started_) {
    Stop(arrow::Status::OK());
    return close_;
  }
  for (auto& each : peers_) {
    if (each.outbox && each.state == Peer::State::kThere) {
      each.frames->Drop();
      each.outbox->QueueGoodbye();
    }
  }
  Pump();
  return close_;
}

void RedisMail::PutEnd() {
  if (!closing_ || put_end_ || !open() || !link_) {
    return;
  }
  for (const auto& each : peers_) {
    if (each.outbox && each.writes && !each.outbox->ended()) {
      return;
    }
  }
  put_end_ = true;
  const auto link = link_;
  const auto& inbox = peer(rank_).inbox;
  link->Ask({{"XADD", inbox, "*", "end", ""}, {"PEXPIRE", inbox, std::to_string(time_to_live_ms_)}})
      ->done.AddCallback([weak = weak_from_this(), link](const arrow::Result<RedisReplies>& replies) {
        const auto self = weak.lock();
        if (self && self->open() && !self->CheckAnswer(link, replies).ok()) {
          self->put_end_ = false;  // once more, over the next connection
        }
      });
}

/// Everything that was sent to this rank before it put its end there has been read. Who leaves takes its own keys along
/// (at once, the inbox before nobody can tell that it is gone); an inbox into which something was put after that is
/// removed by who has put it there, as it finds the goodbye of that inbox' rank before its own end, and its key gone.
Co<void> RedisMail::CleanUp(std::shared_ptr<RedisMail> self) {
  auto stopping = self->presence_->Stop();
  std::ignore = co_await stopping;
  RedisRequest look;
  look.commands.push_back({"MGET"});
  look.what = "leaving";
  std::vector<std::string> inboxes;
  for (const auto& each : self->peers_) {
    if (each.outbox && each.state == Peer::State::kLeft && each.outbox->used()) {
      look.commands[0].push_back(each.beat);
      inboxes.push_back(each.inbox);
    }
  }
  RedisRequest remove;
  remove.commands.push_back({"DEL", self->peer(self->rank_).inbox, self->peer(self->rank_).beat});
  remove.what = "removing the keys of this rank";
  arrow::Status status;
  if (!inboxes.empty()) {
    const auto commands = look.commands;
    auto looking = RedisClient::Send(self->writer_, std::move(look));
    const auto replies = co_await looking;
    status = replies.ok() ? FirstRefusal(self->server(), commands, *replies) : replies.status();
    for (size_t i = 0; status.ok() && i < inboxes.size() && i < (*replies)[0].elements.size(); ++i) {
      if ((*replies)[0].elements[i].kind == RespValue::Kind::kNull) {
        remove.commands[0].push_back(inboxes[i]);
      }
    }
  }
  if (status.ok()) {
    const auto commands = remove.commands;
    auto removing = RedisClient::Send(self->writer_, std::move(remove));
    const auto replies = co_await removing;
    status = replies.ok() ? FirstRefusal(self->server(), commands, *replies) : replies.status();
  }
  self->Stop(status);
  co_return status;
}

void RedisMail::Abort() {
  sink_ = nullptr;
  if (!stopped_ && started_ && failed_.ok()) {
    presence_->GiveUp();
  }
  Stop(arrow::Status::Cancelled("rank ", rank_, " closed its transport"));
}

void RedisMail::Stop(const arrow::Status& why) {
  if (std::exchange(stopped_, true)) {
    return;
  }
  const auto self = shared_from_this();
  std::ignore = presence_->Stop();
  link_ = nullptr;
  for (const auto& client : {writer_, reader_, beater_, subscriber_}) {
    client->Close();
  }
  stop_.MarkFinished();
  const auto ended = why.ok() ? arrow::Status::Cancelled("rank ", rank_, " closed its transport") : why;
  if (!start_.is_finished()) {
    start_.MarkFinished(ended);
  }
  for (auto& each : peers_) {
    if (each.frames) {
      each.frames->Drop();
    }
  }
  sends_.FailAll(ended);
  if (!close_.is_finished()) {
    close_.MarkFinished(why);
  }
}

}  // namespace cylon::internal
