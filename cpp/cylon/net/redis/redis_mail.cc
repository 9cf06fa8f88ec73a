// Out to the inboxes of others, and in from one's own.
#include "cylon/net/redis/redis_mail.h"

#include <algorithm>
#include <charconv>
#include <tuple>
#include <utility>

#include "cylon/bootstrap/redis_errors.h"
#include "cylon/bootstrap/redis_store.h"
#include "cylon/net/redis/redis_transport.h"
#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

/// What a crash has left in the server goes so long after the last entry was put there.
constexpr Duration kLeastMailLife = std::chrono::minutes(2);
constexpr int kMailLivesInTimeouts = 4;
/// One read waits no longer: less than the silence after which a connection counts as lost.
constexpr int kReadsInTimeout = 4;
constexpr Duration kLongestRead = std::chrono::seconds(2);
/// Entries of at most 1 MiB in one reply, which may have 20 MiB.
constexpr const char* kEntriesAtOnce = "16";
/// The name of the entry behind which nothing that matters comes: a rank that closes puts it into its own inbox.
constexpr std::string_view kEndName = "end";
constexpr std::string_view kRedisScheme = "redis:";

std::string Direction(const World& world, Rank from, Rank to) {
  ByteWriter out;
  out.Text("cylon: messages through a Redis server");
  out.Text(world.job);
  out.Text(world.epoch);
  for (const Rank rank : {from, to}) {
    out.Number(rank);
    out.Text(world.cards[static_cast<size_t>(rank)].address);
  }
  return out.Take();
}

/// "3.17" as 3 and 17.
bool ParseEntryName(std::string_view name, Rank* from, uint64_t* number) {
  const char* begin = name.data();
  const char* end = begin + name.size();
  const auto [dot, bad_rank] = std::from_chars(begin, end, *from);
  if (bad_rank != std::errc() || dot == end || *dot != '.') {
    return false;
  }
  const auto [stop, bad_number] = std::from_chars(dot + 1, end, *number);
  return bad_number == std::errc() && stop == end;
}

arrow::Status GoneRank(Rank rank, const std::string& how) {
  return arrow::Status::IOError("rank ", rank, " is gone: ", how);
}

std::string InMilliseconds(Duration time) {
  return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(time).count());
}

}  // namespace

RedisMail::RedisMail(AsioExecutor& executor, World world, Duration timeout)
    : executor_(executor),
      world_(std::move(world)),
      rank_(world_.rank),
      timeout_(timeout),
      limits_(LimitsOf(world_.size())),
      time_to_live_ms_(std::chrono::ceil<std::chrono::milliseconds>(
                           std::max<Duration>(kLeastMailLife, kMailLivesInTimeouts * timeout))
                           .count()),
      peers_(static_cast<size_t>(world_.size())) {}

arrow::Status RedisMail::Prepare(const RedisAddress& server, const std::string& secret) {
  for (auto* client : {&writer_, &reader_, &beater_, &subscriber_}) {
    ARROW_ASSIGN_OR_RAISE(*client, MakeRedisClient(server, executor_, stop_, timeout_));
  }
  const std::string prefix = kRedisKeyPrefix + world_.job + "/" + world_.epoch + "/";
  std::vector<std::string> beats;
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    const std::string& address = world_.cards[static_cast<size_t>(rank)].address;
    if (!address.starts_with(kRedisScheme)) {
      return arrow::Status::Invalid("rank ", rank, " is reached by '", address, "', rank ", rank_,
                                    " through a Redis server; set CYLON_TRANSPORT to the same at every rank");
    }
    const std::string name = std::to_string(rank) + "." + address.substr(kRedisScheme.size());
    auto& each = peer(rank);
    each.inbox = prefix + "inbox/" + name;
    each.beat = prefix + "beat/" + name;
    beats.push_back(each.beat);
    if (rank != rank_) {
      ARROW_ASSIGN_OR_RAISE(auto out, Seal::Make(secret, Direction(world_, rank_, rank)));
      ARROW_ASSIGN_OR_RAISE(auto in, Seal::Make(secret, Direction(world_, rank, rank_)));
      each.outbox.emplace(rank_, std::move(out), each.inbox, time_to_live_ms_, limits_);
      each.seal.emplace(std::move(in));
      each.frames.emplace(rank);
    }
  }
  RedisPresence::Told told;
  told.lost = [this](Rank rank, const std::string& cause) { HearLoss(rank, GoneRank(rank, cause)); };
  told.failed = [this](const arrow::Status& status) { Fail(status); };
  told.forgotten = [this] {
    // The server has lost what lay in it, and the connections stand.
    for (auto& each : peers_) {
      if (each.outbox) {
        each.outbox->Rewind();
      }
    }
    Pump();
  };
  presence_ = std::make_shared<RedisPresence>(executor_, beater_, subscriber_, rank_, std::move(beats), timeout_,
                                              std::move(told));
  return arrow::Status::OK();
}

arrow::Future<> RedisMail::Start(Sink* sink) {
  sink_ = sink;
  started_ = true;
  Relink();
  internal::DriveVoid(ReadLoop(shared_from_this()), arrow::Future<>::Make());
  presence_->Start().AddCallback([weak = weak_from_this()](const arrow::Status& status) {
    const auto self = weak.lock();
    if (self && status.ok() && !self->start_.is_finished()) {
      self->start_.MarkFinished();
    }
  });
  return start_;
}

arrow::Future<> RedisMail::Send(Rank to, Message message) {
  if (to < 0 || to >= world_.size() || to == rank_) {
    return arrow::Status::Invalid("rank ", rank_, " sent to rank ", to, "; there are ", world_.size(),
                                  " ranks, and a transport does not send to itself");
  }
  if (!started_ || closing_ || stopped_) {
    return arrow::Status::Cancelled("rank ", rank_, " sent while its transport is not open; start it first");
  }
  ARROW_RETURN_NOT_OK(failed_);
  if (peer(to).state != Peer::State::kThere) {
    return GoneRank(to, "it was lost before this send");
  }
  auto sent = sends_.Add(to);
  peer(to).outbox->Queue(sent.id, std::move(message));
  PumpSoon();
  return sent.done;
}

void RedisMail::PumpSoon() {
  // Once for all that is sent in this task: small messages share an entry.
  if (!std::exchange(pumping_soon_, true)) {
    executor_.Post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->pumping_soon_ = false;
        self->Pump();
      }
    });
  }
}

void RedisMail::Pump() {
  if (!open() || !started_) {
    return;
  }
  if (!link_ || !link_->alive()) {
    return Relink();
  }
  const auto link = link_;
  for (Rank to = 0; to < world_.size(); ++to) {
    auto& each = peer(to);
    while (each.outbox && each.writes && open() && link->alive()) {
      auto entry = each.outbox->Next(each.received);
      if (!entry.ok()) {
        return Fail(entry.status());
      }
      if (entry->commands == nullptr) {
        break;
      }
      if (entry->fresh) {
        each.unacknowledged = 0;
      }
      link->Ask(entry->commands, 2)
          ->done.AddCallback(
              [weak = weak_from_this(), link, to, number = entry->number](const arrow::Result<RedisReplies>& replies) {
                if (const auto self = weak.lock()) {
                  self->Answered(link, to, number, replies);
                }
              });
    }
  }
  PutEnd();
}

void RedisMail::Relink() {
  if (relinking_ || !open()) {
    return;
  }
  relinking_ = true;
  link_ = nullptr;
  writer_->Linked(executor_.Now() + timeout_)
      .AddCallback([weak = weak_from_this()](const arrow::Result<LinkPtr>& link) {
        const auto self = weak.lock();
        if (!self || !self->open()) {
          return;
        }
        self->relinking_ = false;
        if (IsError(link.status(), ErrorKind::kDeadline)) {
          return self->Fail(arrow::Status::IOError("the Redis server at ", self->server(), " is gone (",
                                                   self->writer_->trouble(), "), and did not come back within ",
                                                   InMilliseconds(self->timeout_),
                                                   " ms; start the job again once it runs"));
        }
        if (!link.ok()) {
          return self->Fail(link.status());
        }
        self->link_ = *link;
        for (auto& each : self->peers_) {
          if (each.outbox) {
            each.outbox->Rewind();
          }
        }
        self->Pump();
      });
}

arrow::Status RedisMail::CheckAnswer(const LinkPtr& link, const arrow::Result<RedisReplies>& replies) {
  static const std::vector<RedisCommand> kCommands{{"XADD"}, {"PEXPIRE"}};
  const arrow::Status status = replies.ok() ? FirstRefusal(server(), kCommands, *replies) : replies.status();
  if (status.ok()) {
    return status;
  }
  if (!IsPassing(status)) {
    Fail(status);
  } else if (link == link_) {
    link_ = nullptr;
    link->Fail(status);
    Relink();
  }
  return status;
}

void RedisMail::Answered(const LinkPtr& link, Rank to, uint64_t number, const arrow::Result<RedisReplies>& replies) {
  if (!open() || !CheckAnswer(link, replies).ok()) {
    return;
  }
  FinishSends(peer(to).outbox->Stored(number));
  Pump();
}

void RedisMail::FinishSends(const std::vector<uint64_t>& ids) {
  for (const uint64_t id : ids) {
    sends_.Finish(id, arrow::Status::OK());
  }
}

arrow::Future<RedisReplies> RedisMail::AskNext(const std::vector<std::string>& read) {
  RedisRequest request;
  if (!read.empty()) {
    request.commands.push_back({"XDEL", peer(rank_).inbox});
    request.commands[0].insert(request.commands[0].end(), read.begin(), read.end());
  }
  // From the beginning: what has been read is gone by then, and what is read twice is told by its number.
  const Duration wait = std::min<Duration>(kLongestRead, timeout_ / kReadsInTimeout);
  request.commands.push_back(
      {"XREAD", "COUNT", kEntriesAtOnce, "BLOCK", InMilliseconds(wait), "STREAMS", peer(rank_).inbox, "0"});
  request.what = "reading messages";
  auto replies = arrow::Future<RedisReplies>::Make();
  internal::Drive(RedisClient::Send(reader_, std::move(request)), replies);
  return replies;
}

Co<void> RedisMail::ReadLoop(std::shared_ptr<RedisMail> self) {
  auto asking = self->AskNext({});
  while (true) {
    auto replies = co_await asking;
    if (!self->open() || self->read_end_) {
      co_return arrow::Status::OK();
    }
    arrow::Status status = replies.status();
    std::vector<std::string> read;
    if (status.ok()) {
      static const std::vector<RedisCommand> kCommands{{"XDEL"}, {"XREAD"}};
      const auto& last = replies->back();
      status = replies->size() == 2 ? FirstRefusal(self->server(), kCommands, *replies)
                                    : FirstRefusal(self->server(), {{"XREAD"}}, *replies);
      if (status.ok() && last.kind == RespValue::Kind::kArray && last.elements.size() == 1 &&
          last.elements[0].elements.size() == 2) {
        for (const auto& entry : last.elements[0].elements[1].elements) {
          read.push_back(entry.elements.empty() ? "" : entry.elements[0].text);
        }
      } else if (status.ok() && last.kind != RespValue::Kind::kNull) {
        status = UnexpectedReply(self->server(), "XREAD", last);
      }
    }
    if (!status.ok()) {
      self->Fail(status);
      co_return status;
    }
    // The server looks for the next ones while these are opened.
    asking = self->AskNext(read);
    if (!read.empty()) {
      status = self->TakeBatch(replies->back().elements[0].elements[1]);
      if (!status.ok()) {
        self->Fail(status);
        co_return status;
      }
    }
    if (!self->open() || self->read_end_) {
      co_return arrow::Status::OK();
    }
  }
}

arrow::Status RedisMail::TakeBatch(const RespValue& entries) {
  for (const auto& entry : entries.elements) {
    if (entry.elements.size() != 2 || entry.elements[1].elements.size() != 2) {
      return UnexpectedReply(server(), "XREAD", entry);
    }
    const auto& fields = entry.elements[1].elements;
    if (fields[0].text == kEndName && closing_) {
      read_end_ = true;
      internal::DriveVoid(CleanUp(shared_from_this()), arrow::Future<>::Make());
      return arrow::Status::OK();
    }
    Rank from = -1;
    uint64_t number = 0;
    if (!ParseEntryName(fields[0].text, &from, &number) || from < 0 || from >= world_.size() || from == rank_) {
      return ProtocolError("the inbox of rank " + std::to_string(rank_) + " in the Redis server at " + server() +
                           " holds an entry that no rank has put there; let no other program write to keys that begin "
                           "with " +
                           kRedisKeyPrefix);
    }
    const auto status = TakeSealed(from, number, fields[1].text);
    if (!open()) {
      return arrow::Status::OK();
    }
    if (!status.ok()) {
      Drop(from, status);
    }
  }
  PumpSoon();
  return arrow::Status::OK();
}

arrow::Status RedisMail::TakeSealed(Rank from, uint64_t number, const std::string& value) {
  auto& each = peer(from);
  if (each.state != Peer::State::kThere || number <= each.received) {
    return arrow::Status::OK();  // put there again
  }
  const std::string what = "entry " + std::to_string(number) + " of rank " + std::to_string(from);
  if (number != each.received + 1) {
    return arrow::Status::IOError(what, " came after ", each.received, ": what lay between them was lost in the Redis ",
                                  "server at ", server(), "; let nobody delete keys that begin with ", kRedisKeyPrefix,
                                  " there, and start the job again");
  }
  auto text = each.seal->Open(number, value);
  if (!text.ok()) {
    return number == 1 ? AuthenticationError("rank " + std::to_string(from) +
                                             " does not know the job's secret: " + what + " in the Redis server at " +
                                             server() + " does not open (" + text.status().message() +
                                             "); set CYLON_SECRET_FILE to the same secret at every rank")
                       : ProtocolError(what + " was changed in the Redis server at " + server() + " (" +
                                           text.status().message() +
                                           "); let no other program write to keys that begin with " + kRedisKeyPrefix,
                                       from);
  }
  ByteReader in(*text);
  const auto kind = static_cast<MailKind>(in.Number<uint8_t>());
  const auto acknowledged = in.Number<uint64_t>();
  std::vector<uint64_t> whole;
  if (!in.ok() || !each.outbox->Acknowledged(acknowledged, &whole)) {
    return ProtocolError(what + " acknowledges what was never sent; run the same version of Cylon at every rank", from);
  }
  each.received = number;
  presence_->Heard(from);
  FinishSends(whole);
  switch (kind) {
    case MailKind::kData:
      if (in.rest().empty()) {
        return arrow::Status::OK();
      }
      each.unacknowledged += CostOf(value.size());
      if (each.unacknowledged >= limits_.window_bytes / 4) {
        each.outbox->OweAcknowledgement();
      }
      return each.frames->Feed(in.rest(), sink_);
    case MailKind::kGoodbye:
      HearLoss(from, arrow::Status::OK());
      return arrow::Status::OK();
    case MailKind::kDropped:
      HearLoss(from, GoneRank(from, "it dropped the connection: " + std::string(in.rest())));
      return arrow::Status::OK();
  }
  return ProtocolError(what + " is of the unknown kind " + std::to_string(static_cast<int>(kind)), from);
}

}  // namespace cylon::internal
