// Commands and replies over one connection to a Redis server.
#include "cylon/bootstrap/redis_link.h"

#include <array>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/redis_errors.h"

namespace cylon {

namespace {

/// A large value goes out in pieces, so that one that makes slow progress is not taken for a silent one.
constexpr size_t kWritePiece = 256 << 10;
/// Small commands that leave in one system call, at most: it takes 1024.
constexpr size_t kMostParts = 64;
/// Values are read in pieces of up to this size: 16 KiB at a time cost 64 calls for a MiB.
constexpr size_t kReadPiece = 256 << 10;

}  // namespace

std::shared_ptr<RedisLink> RedisLink::Start(Executor& executor, std::unique_ptr<Stream> stream, std::string server,
                                            Duration patience) {
  std::shared_ptr<RedisLink> link(new RedisLink(executor, std::move(stream), std::move(server), patience));
  internal::DriveVoid(Read(link), arrow::Future<>::Make());
  return link;
}

std::shared_ptr<RedisExchange> RedisLink::Ask(const std::vector<RedisCommand>& commands) {
  std::string bytes;
  for (const auto& command : commands) {
    bytes += EncodeRespCommand(command);
  }
  return Ask(std::make_shared<const std::string>(std::move(bytes)), commands.size());
}

std::shared_ptr<RedisExchange> RedisLink::Ask(std::shared_ptr<const std::string> bytes, size_t count) {
  auto exchange = std::make_shared<RedisExchange>();
  if (!gone_.ok()) {
    exchange->done.MarkFinished(gone_);
    return exchange;
  }
  exchange->commands = count;
  exchange->bytes = std::move(bytes);
  unwritten_.push_back(exchange);
  unanswered_.push_back(exchange);
  if (unanswered_.size() == 1) {
    moved_ = executor_.Now();
    WatchForSilence();
  }
  if (!writing_) {
    writing_ = true;
    internal::DriveVoid(Write(shared_from_this()), arrow::Future<>::Make());
  }
  return exchange;
}

void RedisLink::Fail(const arrow::Status& status) {
  if (!gone_.ok()) {
    return;
  }
  const auto self = shared_from_this();  // what reads ends here
  gone_ = status;
  stream_->Close();
  unwritten_.clear();
  for (const auto& exchange : std::exchange(unanswered_, {})) {
    exchange->done.MarkFinished(gone_);
  }
  ended_.MarkFinished();
}

Co<void> RedisLink::Write(std::shared_ptr<RedisLink> self) {
  size_t at = 0;  // of the first that is not written, so many bytes are
  while (!self->unwritten_.empty() && self->alive()) {
    std::vector<std::shared_ptr<const std::string>> held;
    std::vector<std::span<const uint8_t>> parts;
    size_t room = kWritePiece;
    while (!self->unwritten_.empty() && room > 0 && parts.size() < kMostParts) {
      const auto exchange = self->unwritten_.front();
      exchange->begun = true;
      held.push_back(exchange->bytes);
      const auto piece = std::string_view(*exchange->bytes).substr(at, room);
      parts.emplace_back(reinterpret_cast<const uint8_t*>(piece.data()), piece.size());
      room -= piece.size();
      at += piece.size();
      if (at == exchange->bytes->size()) {
        exchange->bytes = nullptr;
        self->unwritten_.pop_front();
        at = 0;
      }
    }
    auto writing = self->stream_->Write(std::move(parts));
    const arrow::Status status = co_await writing;
    self->moved_ = self->executor_.Now();
    if (!status.ok()) {
      // A server that says why it closes the connection has said it before: the reader finds that, then the end.
      self->writing_ = false;
      if (!IsEndOfStream(status)) {
        self->Fail(PassingTrouble(status.message()));
      }
      co_return status;
    }
  }
  self->writing_ = false;
  co_return arrow::Status::OK();
}

Co<void> RedisLink::Read(std::shared_ptr<RedisLink> self) {
  std::string buffer(kReadPiece, '\0');
  while (true) {
    auto reading = self->stream_->ReadSome({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()});
    const arrow::Result<int64_t> got = co_await reading;
    if (!self->alive()) {
      co_return self->gone_;
    }
    arrow::Status status = got.status();
    if (got.ok() && *got > 0) {
      self->moved_ = self->executor_.Now();
      status = self->Take(std::string_view(buffer).substr(0, static_cast<size_t>(*got)));
      if (status.ok()) {
        continue;
      }
      self->Fail(status);
    } else {
      self->Fail(PassingTrouble(status.ok() ? "it closed the connection" : status.message()));
    }
    co_return status;
  }
}

arrow::Status RedisLink::Take(std::string_view bytes) {
  while (!bytes.empty() && alive()) {
    auto reply = decoder_.Next(&bytes);
    if (!reply.ok()) {
      return ProtocolError("the server at " + server_ + " does not speak Redis' protocol (" + reply.status().message() +
                           "); name a Redis server in CYLON_STORE, by rediss:// where it expects TLS");
    }
    if (!reply->has_value()) {
      break;
    }
    if (unanswered_.empty()) {
      // Said without being asked, before it closes: too many clients, or none from other hosts.
      if ((*reply)->kind == RespValue::Kind::kError) {
        return RedisRefusal(server_, "a connection", (*reply)->text);
      }
      return ProtocolError("the server at " + server_ +
                           " sent a reply that nobody asked for; name a Redis server in "
                           "CYLON_STORE");
    }
    const auto exchange = unanswered_.front();
    exchange->replies.push_back(**std::move(reply));
    if (exchange->replies.size() == exchange->commands) {
      unanswered_.pop_front();
      exchange->done.MarkFinished(std::move(exchange->replies));
    }
  }
  return arrow::Status::OK();
}

void RedisLink::WatchForSilence() {
  if (watching_) {
    return;
  }
  watching_ = true;
  executor_.PostAt(moved_ + patience_, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self || !self->alive()) {
      return;
    }
    self->watching_ = false;
    if (self->unanswered_.empty()) {
      return;
    }
    if (self->executor_.Now() - self->moved_ >= self->patience_) {
      const auto waited = std::chrono::ceil<std::chrono::milliseconds>(self->patience_);
      return self->Fail(
          PassingTrouble("it owes a reply and has been silent for " + std::to_string(waited.count()) + " ms"));
    }
    self->WatchForSilence();
  });
}

}  // namespace cylon
