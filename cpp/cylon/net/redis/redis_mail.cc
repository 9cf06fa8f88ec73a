// Out to the inboxes of others, and in from one's own.
#include "cylon/net/redis/redis_mail.h"

#include <algorithm>
#include <charconv>
#include <tuple>
#include <utility>

#include "cylon/bootstrap/redis_cluster.h"
#include "cylon/bootstrap/redis_errors.h"
#include "cylon/bootstrap/redis_store.h"
#include "cylon/net/redis/redis_transport.h"
#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

/// All ranks' inboxes together hold at most 32 MiB for each of them; an entry of 1 MiB costs a server half of what as
/// many bytes in entries of 64 KiB do.
constexpr int64_t kMostOfRank = 32 << 20;
constexpr int64_t kMostWindow = 4 << 20;
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

std::string InMilliseconds(Duration time) {
  return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(time).count());
}

}  // namespace

RedisMail::RedisMail(AsioExecutor& executor, World world, Duration timeout)
    : Mail(executor, std::move(world), timeout, kMostOfRank, kMostWindow),
      io_(executor),
      time_to_live_ms_(std::chrono::ceil<std::chrono::milliseconds>(
                           std::max<Duration>(kLeastMailLife, kMailLivesInTimeouts * timeout))
                           .count()) {}

arrow::Status RedisMail::Prepare(const RedisAddress& server, const std::string& secret) {
  for (auto* client : {&writer_, &reader_, &beater_, &subscriber_}) {
    ARROW_ASSIGN_OR_RAISE(*client, MakeRedisClient(server, io_, stop_, world_.job, timeout_));
  }
  const std::string prefix = RedisKey(world_.job + "/" + world_.epoch + "/");
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    const std::string name =
        std::to_string(rank) + "." + address(rank).substr(std::min(kRedisScheme.size(), address(rank).size()));
    inboxes_.push_back(prefix + "inbox/" + name);
    beats_.push_back(prefix + "beat/" + name);
  }
  MailWords words;
  words.purpose = "cylon: messages through a Redis server";
  words.where = "in the Redis server at " + writer_->server();
  words.entry = "entry";
  words.left_alone = std::string("keys that begin with ") + kRedisKeyPrefix;
  ARROW_RETURN_NOT_OK(MakePeers(words, std::string(kRedisScheme), secret, Outbox::Third::kMayForget));
  RedisPresence::Told told;
  told.lost = [this](Rank rank, const std::string& cause) { HearLoss(rank, GoneRank(rank, cause)); };
  told.failed = [this](const arrow::Status& status) { Fail(status); };
  told.forgotten = [this] {
    // The server has lost what lay in it, and the connections stand.
    Rewind();
    Pump();
  };
  presence_ =
      std::make_shared<RedisPresence>(executor_, beater_, subscriber_, rank_, beats_, timeout_, std::move(told));
  return arrow::Status::OK();
}

/// Two commands with two replies: the inbox goes so long after the last entry was put there.
MailEnvelope RedisMail::EnvelopeTo(Rank to) const {
  MailEnvelope envelope;
  envelope.before = [own = std::to_string(rank_), inbox = inbox(to)](uint64_t number, size_t sealed_bytes) {
    const std::string field = own + "." + std::to_string(number);
    std::string out = "*5\r\n";
    for (const std::string_view word :
         {std::string_view("XADD"), std::string_view(inbox), std::string_view("*"), std::string_view(field)}) {
      out.append("$").append(std::to_string(word.size())).append("\r\n").append(word).append("\r\n");
    }
    return out.append("$").append(std::to_string(sealed_bytes)).append("\r\n");
  };
  envelope.after = "\r\n" + EncodeRespCommand({"PEXPIRE", inbox(to), std::to_string(time_to_live_ms_)});
  return envelope;
}

arrow::Future<> RedisMail::Start(Sink* sink) {
  sink_ = sink;
  started_ = true;
  Relink();
  internal::DriveVoid(ReadLoop(Shared()), arrow::Future<>::Make());
  presence_->Start().AddCallback([weak = Weak()](const arrow::Status& status) {
    const auto self = weak.lock();
    if (self && status.ok() && !self->start_.is_finished()) {
      self->start_.MarkFinished();
    }
  });
  return start_;
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
      if (entry->bytes == nullptr) {
        break;
      }
      if (entry->fresh) {
        each.unacknowledged = 0;
      }
      link->Ask(entry->bytes, 2)
          ->done.AddCallback(
              [weak = Weak(), link, to, number = entry->number](const arrow::Result<RedisReplies>& replies) {
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
  writer_->Linked(executor_.Now() + timeout_).AddCallback([weak = Weak()](const arrow::Result<LinkPtr>& link) {
    const auto self = weak.lock();
    if (!self || !self->open()) {
      return;
    }
    self->relinking_ = false;
    if (IsError(link.status(), ErrorKind::kDeadline)) {
      return self->Fail(arrow::Status::IOError(
          "the Redis server at ", self->server(), " is gone (", self->writer_->trouble(),
          "), and did not come back within ", InMilliseconds(self->timeout_), " ms; start the job again once it runs"));
    }
    if (!link.ok()) {
      return self->Fail(link.status());
    }
    self->link_ = *link;
    self->Rewind();
    self->Pump();
  });
}

void RedisMail::Rewind() {
  put_end_ = false;  // a server that has lost what lay in it has lost the end too; one that has both is no harm
  for (auto& each : peers_) {
    if (each.outbox) {
      each.outbox->Rewind();
    }
  }
}

arrow::Status RedisMail::CheckAnswer(const LinkPtr& link, const arrow::Result<RedisReplies>& replies) {
  static const std::vector<RedisCommand> kCommands{{"XADD"}, {"PEXPIRE"}};
  const arrow::Status status = replies.ok() ? FirstRefusal(server(), kCommands, *replies) : replies.status();
  if (status.ok()) {
    return status;
  }
  const RedisMove* move = MoveOf(status);
  const TimePoint now = executor_.Now();
  moving_ = move == nullptr || !move->once ? kNever : std::min(moving_, now);
  if (!IsPassing(status)) {
    Fail(status);
  } else if (moving_ != kNever && now - moving_ > timeout_) {
    Fail(arrow::Status::IOError("the keys of this job have been on their way from the Redis server at ", server(),
                                " to ", move->to.ToString(), " for ", InMilliseconds(timeout_),
                                " ms; let the cluster settle (redis-cli --cluster check), and start the job again"));
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
  moving_ = kNever;
  FinishSends(peer(to).outbox->Stored(number));
  Pump();
}

arrow::Future<RedisReplies> RedisMail::AskNext(const std::vector<std::string>& read) {
  RedisRequest request;
  if (!read.empty()) {
    request.commands.push_back({"XDEL", inbox(rank_)});
    request.commands[0].insert(request.commands[0].end(), read.begin(), read.end());
  }
  // From the beginning: what has been read is gone by then, and what is read twice is told by its number.
  const Duration wait = std::min<Duration>(kLongestRead, timeout_ / kReadsInTimeout);
  request.commands.push_back(
      {"XREAD", "COUNT", kEntriesAtOnce, "BLOCK", InMilliseconds(wait), "STREAMS", inbox(rank_), "0"});
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
      internal::DriveVoid(CleanUp(Shared()), arrow::Future<>::Make());
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
    Take(from, number, fields[1].text);
    if (!open()) {
      return arrow::Status::OK();
    }
  }
  PumpSoon();
  return arrow::Status::OK();
}

}  // namespace cylon::internal
