// How a rank leaves a Redis server's world: its last entry, and its keys.
#include <tuple>
#include <utility>

#include "cylon/bootstrap/redis_errors.h"
#include "cylon/net/redis/redis_mail.h"

namespace cylon::internal {

void RedisMail::PutEnd() {
  if (!closing_ || put_end_ || !open() || !link_ || !AllPut()) {
    return;
  }
  put_end_ = true;
  const auto link = link_;
  link->Ask({{"XADD", inbox(rank_), "*", "end", ""}, {"PEXPIRE", inbox(rank_), std::to_string(time_to_live_ms_)}})
      ->done.AddCallback([weak = Weak(), link](const arrow::Result<RedisReplies>& replies) {
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
  for (Rank rank = 0; rank < self->world_.size(); ++rank) {
    const auto& each = self->peer(rank);
    if (each.outbox && each.state == Peer::State::kLeft && each.outbox->used()) {
      look.commands[0].push_back(self->beat(rank));
      inboxes.push_back(self->inbox(rank));
    }
  }
  RedisRequest remove;
  remove.commands.push_back({"DEL", self->inbox(self->rank_), self->beat(self->rank_)});
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

void RedisMail::CloseWays() {
  std::ignore = presence_->Stop();
  link_ = nullptr;
  for (const auto& client : {writer_, reader_, beater_, subscriber_}) {
    client->Close();
  }
  stop_.MarkFinished();
}

}  // namespace cylon::internal
