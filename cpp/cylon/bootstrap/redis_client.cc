// Requests to a Redis server, sent again where its connection is lost.
#include "cylon/bootstrap/redis_client.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/redis_errors.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

namespace {

/// Between attempts to reach a server.
constexpr auto kFirstNap = std::chrono::milliseconds(10);
constexpr auto kLongestNap = std::chrono::milliseconds(250);
/// A server of a cluster knows where all keys are; more than one hop in a row comes of changes.
constexpr int kMostHops = 8;

/// Why there is no stream: passing where nobody listens yet or the way there broke, as it is where TLS was refused.
arrow::Status NoStream(const std::string& server, const arrow::Status& status) {
  if (IsEndOfStream(status) || IsError(status, ErrorKind::kDeadline) ||
      (status.IsIOError() && GetErrorDetail(status) == nullptr)) {
    return PassingTrouble(status.message());
  }
  return status.WithMessage("cannot use the Redis server at ", server, ": ", status.message());
}

}  // namespace

Co<void> RedisClient::Open(std::shared_ptr<RedisClient> self, TimePoint deadline) {
  auto linking = self->Linked(deadline);
  const auto link = co_await linking;
  co_return link.status();
}

Co<RedisReplies> RedisClient::Send(std::shared_ptr<RedisClient> self, RedisRequest request) {
  const TimePoint give_up = self->executor_.Now() + self->patience_;
  while (true) {
    auto linking = self->Linked(give_up);
    auto link = co_await linking;
    if (!link.ok()) {
      if (IsError(link.status(), ErrorKind::kDeadline)) {
        co_return arrow::Status::IOError("the Redis server at ", self->server(), " is gone (", self->trouble(),
                                         "), and did not come back in time for ", request.what,
                                         "; start the job again once it runs");
      }
      co_return link.status();
    }
    const auto exchange = (*link)->Ask(request.commands);
    auto done = exchange->done;
    auto replies = co_await done;
    arrow::Status status = replies.status();
    if (replies.ok()) {
      // In a transaction such a reply means that nothing of it was carried out.
      status = FirstRefusal(self->server(), request.commands, *replies);
      const RedisMove* move = MoveOf(status);
      if (move != nullptr && move->once && self->login_.owns_job && request.commands[0][0] != "MULTI") {
        auto asking = AskOnce(self, request, *std::move(replies), move->to);
        auto elsewhere = co_await asking;
        if (!elsewhere.ok()) {
          co_return elsewhere.status();
        }
        replies = std::move(elsewhere);
        status = FirstRefusal(self->server(), request.commands, *replies);
      }
      if (!IsPassing(status)) {
        self->nap_length_ = Duration::zero();
        self->hops_ = 0;
        co_return replies;
      }
      // The next connection is made when the server has finished what keeps it from answering.
      (*link)->Fail(status);
    } else if (!IsPassing(status)) {
      co_return status;
    } else if (!request.repeatable && exchange->begun) {
      co_return arrow::Status::IOError("the connection to the Redis server at ", self->server(), " was lost (",
                                       status.message(), ") after ", request.what,
                                       " was sent; it is unknown whether that was carried out, so start the job again");
    }
    self->trouble_ = status.message();
    if (self->executor_.Now() >= give_up) {
      co_return arrow::Status::IOError("the Redis server at ", self->server(), " is gone (", status.message(),
                                       "), and did not answer in time for ", request.what,
                                       "; start the job again once it runs");
    }
  }
}

Co<RedisReplies> RedisClient::AskOnce(std::shared_ptr<RedisClient> self, RedisRequest request, RedisReplies replies,
                                      HostPort to) {
  auto& other = self->others_[to.ToString()];
  if (other == nullptr) {
    RedisLogin login = self->login_;
    login.server = to.ToString();
    login.owns_job = false;
    other = std::make_shared<RedisClient>(self->executor_, std::move(login), self->connect_, self->patience_);
  }
  std::vector<size_t> asked;
  RedisRequest once;
  once.repeatable = request.repeatable;
  once.what = request.what;
  for (size_t i = 0; i < replies.size(); ++i) {
    if (replies[i].kind == RespValue::Kind::kError && replies[i].text.starts_with("ASK ")) {
      asked.push_back(i);
      once.commands.push_back({"ASKING"});
      once.commands.push_back(request.commands[i]);
    }
  }
  auto sending = Send(other, std::move(once));
  auto said = co_await sending;
  if (!said.ok()) {
    co_return said.status();
  }
  for (size_t i = 0; i < asked.size(); ++i) {
    replies[asked[i]] = std::move((*said)[2 * i + 1]);
  }
  co_return replies;
}

arrow::Status RedisClient::Follow(const RedisMove& move) {
  const TimePoint now = executor_.Now();
  hops_ = now - std::exchange(hopped_, now) > patience_ ? 1 : hops_ + 1;
  if (hops_ > kMostHops) {
    return arrow::Status::IOError("the Redis servers of the cluster that ", home_,
                                  " is part of send this client from one to another, ", kMostHops,
                                  " times in a row, the last time to ", move.to.ToString(),
                                  "; let the cluster settle (redis-cli --cluster check), and start the job again");
  }
  away_ = move.to.ToString();
  login_.server = away_;
  return arrow::Status::OK();
}

void RedisClient::Close() {
  const auto self = shared_from_this();
  closed_ = true;
  for (const auto& [server, other] : others_) {
    other->Close();
  }
  FinishWaiters(StoreClosed());
  for (const auto& link : {std::exchange(link_, nullptr), std::exchange(joining_, nullptr)}) {
    if (link) {
      link->Fail(StoreClosed());
    }
  }
  if (nap_timer_) {
    nap_timer_->Cancel();
    if (!nap_.is_finished()) {
      nap_.MarkFinished();
    }
  }
}

std::string RedisClient::trouble() const {
  if (link_ && link_->alive()) {
    return "";
  }
  return link_ && trouble_.empty() ? link_->gone().message() : trouble_;
}

arrow::Future<std::shared_ptr<RedisLink>> RedisClient::Linked(TimePoint deadline) {
  if (closed_) {
    return arrow::Future<LinkPtr>::MakeFinished(StoreClosed());
  }
  if (link_ && link_->alive()) {
    return arrow::Future<LinkPtr>::MakeFinished(link_);
  }
  auto waiter = std::make_shared<Waiter>();
  waiter->deadline = deadline;
  waiters_.push_back(waiter);
  if (deadline != kNever) {
    waiter->timer = executor_.PostAt(deadline, [weak = weak_from_this(), waiter] {
      const auto self = weak.lock();
      if (self && !waiter->done.is_finished()) {
        self->waiters_.remove(waiter);
        waiter->done.MarkFinished(
            DeadlineError("no Redis server answered at " + self->server() + " before the deadline (" + self->trouble() +
                          "); start it, and check CYLON_STORE, which names it: rediss:// where it expects TLS"));
      }
    });
  }
  if (!connecting_) {
    connecting_ = true;
    internal::DriveVoid(Connect(shared_from_this()), arrow::Future<>::Make());
  }
  return waiter->done;
}

void RedisClient::FinishWaiters(const arrow::Result<LinkPtr>& link) {
  for (const auto& waiter : std::exchange(waiters_, {})) {
    if (waiter->timer) {
      waiter->timer->Cancel();
    }
    waiter->done.MarkFinished(link);
  }
}

Co<void> RedisClient::Connect(std::shared_ptr<RedisClient> self) {
  Executor& executor = self->executor_;
  if (self->link_ != nullptr) {
    const RedisMove* move = MoveOf(self->link_->gone());
    const arrow::Status followed = move != nullptr && !move->once ? self->Follow(*move) : arrow::Status::OK();
    self->trouble_ = self->link_->gone().message();
    self->link_ = nullptr;
    if (!followed.ok()) {
      self->connecting_ = false;
      self->FinishWaiters(followed);
      co_return followed;
    }
  }
  while (!self->waiters_.empty()) {
    if (self->nap_length_ > Duration::zero()) {
      self->nap_ = arrow::Future<>::Make();
      auto sleeping = self->nap_;
      self->nap_timer_ = executor.PostAt(executor.Now() + self->nap_length_, [sleeping]() mutable {
        if (!sleeping.is_finished()) {
          sleeping.MarkFinished();
        }
      });
      std::ignore = co_await sleeping;
      if (self->waiters_.empty()) {
        break;
      }
    }
    self->nap_length_ = std::clamp<Duration>(2 * self->nap_length_, kFirstNap, kLongestNap);
    // No longer than somebody waits for it.
    TimePoint latest = TimePoint::min();
    for (const auto& waiter : self->waiters_) {
      latest = std::max(latest, waiter->deadline);
    }
    auto trying = TryConnect(self, std::min<TimePoint>(latest, executor.Now() + self->patience_));
    const auto link = co_await trying;
    if (link.ok()) {
      self->link_ = *link;
      self->trouble_.clear();
    }
    arrow::Status status = link.status();
    if (const RedisMove* move = MoveOf(status)) {
      const arrow::Status followed = self->Follow(*move);
      status = followed.ok() ? status : followed;
    } else if (IsPassing(status) && !self->away_.empty()) {
      // Another one may have taken over; the one knows that of the other.
      self->hops_ = 0;
      self->login_.server = self->login_.server == self->home_ ? self->away_ : self->home_;
    }
    if (!IsPassing(status)) {
      self->connecting_ = false;  // before those who wait, who may ask again at once
      self->FinishWaiters(status.ok() ? link : arrow::Result<LinkPtr>(status));
      co_return status;
    }
    self->trouble_ = status.message();
  }
  self->connecting_ = false;
  co_return arrow::Status::OK();
}

Co<std::shared_ptr<RedisLink>> RedisClient::TryConnect(std::shared_ptr<RedisClient> self, TimePoint deadline) {
  auto dialling = self->connect_(self->server(), deadline);
  auto stream = co_await dialling;
  if (!stream.ok()) {
    co_return NoStream(self->server(), stream.status());
  }
  if (self->closed_) {
    co_return StoreClosed();
  }
  self->trouble_ = "it takes connections, but does not answer";
  auto link = RedisLink::Start(self->executor_, *std::move(stream), self->server(), self->patience_);
  self->joining_ = link;
  auto logging_in = LogIn(link, self->login_);
  arrow::Status status = co_await logging_in;
  if (status.ok() && self->greeting_) {
    auto greeting = self->greeting_(link);
    status = co_await greeting;
  }
  self->joining_ = nullptr;
  if (!status.ok()) {
    link->Fail(status);
    co_return status;
  }
  co_return link;
}

}  // namespace cylon
