// A store's sessions: requests, and the answers that are remembered over a client's connections.
#include "cylon/bootstrap/store_sessions.h"

#include <algorithm>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

namespace {

/// Clients, with those that have no connection at the moment.
constexpr size_t kMaxMemories = 1 << 14;
constexpr size_t kMaxWaitsPerClient = 1024;
/// Answers that a client has not taken. Beyond, it is not a client that reads.
constexpr size_t kMaxUnread = 64 << 20;
/// Answers to writes that a client has not confirmed; each is some 20 bytes.
constexpr size_t kMaxRemembered = 1 << 16;
/// A client gives up what it asked 10 s after its connection ended.
constexpr Duration kForgetAfter = std::chrono::seconds(60);
/// A hundred years, in ms: what is longer fits no clock.
constexpr int64_t kLongestLifeMs = int64_t{100} * 365 * 24 * 3600 * 1000;

std::string EncodeAnswer(uint64_t id, const arrow::Result<std::string>& result) {
  ByteWriter out;
  out.Number(id);
  out.Number(static_cast<uint8_t>(result.ok() ? 1 : 0));
  out.Raw(result.ok() ? *result : EncodeStatus(result.status()));
  return out.Take();
}

arrow::Result<std::string> Done(const arrow::Status& status) {
  return status.ok() ? arrow::Result<std::string>(std::string()) : arrow::Result<std::string>(status);
}

}  // namespace

/// What outlives the connections of one client.
struct StoreSessions::Memory {
  Session* session = nullptr;               // its connection, if there is one
  std::map<uint64_t, std::string> answers;  // to writes, by request
  std::shared_ptr<Timer> end = nullptr;     // when all of this is forgotten, while there is no connection
};

/// One connection.
struct StoreSessions::Session {
  explicit Session(std::unique_ptr<Stream> from)
      : stream(std::move(from)), outbox(std::make_shared<FramedOutbox>(stream.get())) {}
  ~Session() { outbox->Detach(); }
  void Answer(uint64_t id, const arrow::Result<std::string>& result) { outbox->Push(EncodeAnswer(id, result)); }
  /// Carries out a write that must not be carried out twice, and remembers the answer.
  template <typename Write>
  void AnswerWrite(uint64_t id, Write write) {
    auto& answers = memory->answers;
    const bool full = answers.size() >= kMaxRemembered;
    const std::string answer = EncodeAnswer(
        id, full ? arrow::Status::CapacityError("this client has not confirmed the answers to ", answers.size(),
                                                " writes, the store's limit; wait for some before asking for more")
                 : write());
    if (!full) {
      answers.emplace(id, answer);
    }
    outbox->Push(answer);
  }

  std::unique_ptr<Stream> stream;
  std::shared_ptr<FramedOutbox> outbox;
  std::unordered_map<uint64_t, uint64_t> waits;  // request to watch
  std::string client;                            // whose it is: the key of its Memory
  std::shared_ptr<Memory> memory;
};

Co<void> StoreSessions::Serve(std::shared_ptr<StoreSessions> self, std::unique_ptr<Stream> stream, size_t places) {
  if (self->closed_) {
    co_return StoreClosed();
  }
  auto session = std::make_shared<Session>(std::move(stream));
  self->sessions_.push_back(session);
  auto talking = Converse(self, session, places);
  const arrow::Status status = co_await talking;
  session->stream->Close();
  for (const auto& [request, watch] : session->waits) {
    self->values_.Unwatch(watch);
  }
  session->waits.clear();
  self->Part(*session);
  self->sessions_.remove(session);
  co_return status;
}

void StoreSessions::SetIfAbsent(const std::string& key, const std::string& value, Duration time_to_live) {
  static_cast<void>(values_.SetIfAbsent(executor_.Now(), key, value, time_to_live));
}

bool StoreSessions::Empty() { return sessions_.empty() && memories_.empty() && values_.Empty(executor_.Now()); }

void StoreSessions::Close() {
  closed_ = true;
  for (const auto& session : std::exchange(sessions_, {})) {
    session->stream->Close();
  }
}

Co<void> StoreSessions::Converse(std::shared_ptr<StoreSessions> self, std::shared_ptr<Session> session, size_t places) {
  auto greeting = ReadStoreFrame(session->stream.get());
  CYLON_CO_ASSIGN_OR_RETURN(const std::string client, co_await greeting);
  const auto greeted = self->Greet(*session, client, places);
  session->outbox->Push(self->life_ + (greeted.ok() ? "" : EncodeStatus(greeted)));
  CYLON_CO_RETURN_NOT_OK(greeted);
  while (true) {
    auto reading = ReadStoreFrame(session->stream.get());
    CYLON_CO_ASSIGN_OR_RETURN(const std::string frame, co_await reading);
    CYLON_CO_RETURN_NOT_OK(self->Handle(session, frame));
    if (session->outbox->bytes() > kMaxUnread) {
      co_return arrow::Status::CapacityError("a client does not read its answers");
    }
  }
}

/// `client` goes on over `session`; a connection that it had before is no longer its own.
arrow::Status StoreSessions::Greet(Session& session, const std::string& client, size_t places) {
  if (client.size() != kStoreNonceBytes) {
    return ProtocolError(session.stream->peer_name() + " began with " + std::to_string(client.size()) +
                         " bytes; a session has " + std::to_string(kStoreNonceBytes));
  }
  const auto known = memories_.find(client);
  if (memories_.size() >= kMaxMemories && known == memories_.end()) {
    return arrow::Status::CapacityError("the store knows ", memories_.size(), " clients already, its limit");
  }
  const bool comes_again = known != memories_.end() && known->second->session != nullptr;
  if (connected_ >= places && !comes_again) {
    return arrow::Status::CapacityError("its job has ", connected_,
                                        " processes there, as many as its ticket is for; end one of them, or ask the "
                                        "operator for a ticket for more");
  }
  auto& memory = memories_[client];
  if (memory == nullptr) {
    memory = std::make_shared<Memory>();
  }
  if (memory->session != nullptr) {
    memory->session->memory = nullptr;
    memory->session->stream->Close();
  }
  if (memory->end) {
    std::exchange(memory->end, nullptr)->Cancel();
  }
  session.client = client;
  session.memory = memory;
  memory->session = &session;
  connected_ += comes_again ? 0 : 1;
  return arrow::Status::OK();
}

/// The client's connection has ended.
void StoreSessions::Part(Session& session) {
  const auto memory = std::exchange(session.memory, nullptr);
  if (memory == nullptr) {
    return;
  }
  memory->session = nullptr;
  --connected_;
  if (memory->answers.empty() || closed_) {
    memories_.erase(session.client);
    return;
  }
  memory->end = executor_.PostAt(executor_.Now() + kForgetAfter, [weak = weak_from_this(), client = session.client] {
    if (const auto self = weak.lock()) {
      self->memories_.erase(client);
    }
  });
}

arrow::Status StoreSessions::Handle(const std::shared_ptr<Session>& session, const std::string& frame) {
  ByteReader in(frame);
  const auto id = in.Number<uint64_t>();
  const auto answered = in.Number<uint64_t>();
  const auto op = static_cast<StoreOp>(in.Number<uint8_t>());
  const std::string key = in.Text();
  const auto live_ms = in.Number<int64_t>();
  if (!in.ok()) {
    return ProtocolError(session->stream->peer_name() + " sent a request that cannot be read");
  }
  // A number that does not fit is as good as none.
  const Duration time_to_live = std::chrono::milliseconds(std::clamp<int64_t>(live_ms, 0, kLongestLifeMs));
  const TimePoint now = executor_.Now();
  const std::string rest(in.rest());
  const auto valid = op == StoreOp::kCancel ? arrow::Status::OK() : CheckKeyAndValue(key, rest);
  if (!valid.ok()) {
    session->Answer(id, valid);
    return arrow::Status::OK();
  }
  if (session->memory == nullptr) {
    return arrow::Status::IOError("the client has another connection by now");
  }
  auto& answers = session->memory->answers;
  answers.erase(answers.begin(), answers.lower_bound(answered));
  if (const auto before = answers.find(id); before != answers.end()) {
    session->outbox->Push(before->second);
    return arrow::Status::OK();
  }
  switch (op) {
    case StoreOp::kSet:
      session->AnswerWrite(id, [&] {
        const auto set = values_.Set(now, key, rest, time_to_live);
        if (set.ok() && on_set_) {
          on_set_(key);
        }
        return Done(set);
      });
      break;
    case StoreOp::kAdd:
    case StoreOp::kRaise:
      session->AnswerWrite(id, [&] { return Count(op, key, rest, time_to_live); });
      break;
    case StoreOp::kDelete:
      session->AnswerWrite(id, [&] {
        values_.Delete(key);
        return arrow::Result<std::string>(std::string());
      });
      break;
    case StoreOp::kSetIfAbsent:  // finds its own value when it is asked again
      session->Answer(id, values_.SetIfAbsent(now, key, rest, time_to_live));
      break;
    case StoreOp::kGet:
      if (session->waits.contains(id)) {
        // It would be watched for, and never be let go.
        return ProtocolError(session->stream->peer_name() + " waits for two keys under the number " +
                             std::to_string(id));
      }
      Wait(session, id, key);
      break;
    case StoreOp::kTryGet:
      session->Answer(id, values_.TryGet(now, key));
      break;
    case StoreOp::kCancel: {
      const auto wait = session->waits.find(ByteReader(rest).Number<uint64_t>());
      if (wait != session->waits.end()) {
        values_.Unwatch(wait->second);
        session->waits.erase(wait);
      }
      break;
    }
    default:
      return ProtocolError(session->stream->peer_name() + " sent the unknown request " +
                           std::to_string(static_cast<int>(op)));
  }
  return arrow::Status::OK();
}

/// Adds to a counter, or raises it.
arrow::Result<std::string> StoreSessions::Count(StoreOp op, const std::string& key, const std::string& rest,
                                                Duration time_to_live) {
  ByteReader in(rest);
  const auto number = in.Number<int64_t>();
  if (!in.done()) {
    return arrow::Status::Invalid("an addition to '", key, "' needs a number of 8 bytes, not ", rest.size());
  }
  auto amount = number;
  if (op == StoreOp::kRaise) {
    const auto stands = values_.TryGet(executor_.Now(), key);
    int64_t value = 0;
    if (stands.ok()) {
      ARROW_ASSIGN_OR_RAISE(value, ParseCounter(key, *stands));
    }
    amount = 0;
    if (value < number && __builtin_sub_overflow(number, value, &amount)) {
      return arrow::Status::Invalid("the counter '", key, "' is ", value, "; it cannot be raised to ", number);
    }
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t sum, values_.Add(executor_.Now(), key, amount, time_to_live));
  ByteWriter out;
  out.Number(sum);
  return out.Take();
}

void StoreSessions::Wait(const std::shared_ptr<Session>& session, uint64_t id, const std::string& key) {
  auto value = values_.TryGet(executor_.Now(), key);
  if (value.ok()) {
    return session->Answer(id, value);
  }
  if (session->waits.size() >= kMaxWaitsPerClient) {
    return session->Answer(id,
                           arrow::Status::CapacityError("this client waits for ", session->waits.size(),
                                                        " keys already, the store's limit; wait for fewer at once"));
  }
  const auto watch = values_.Watch(key, [weak = std::weak_ptr<Session>(session), id, this](const std::string& set) {
    // Answering may end a session, and that touches what is just being walked: in a task of its own.
    executor_.Post([weak, id, set] {
      auto waiting = weak.lock();
      if (!waiting || waiting->waits.erase(id) == 0) {
        return;
      }
      if (waiting->outbox->bytes() > kMaxUnread) {
        return waiting->stream->Close();
      }
      waiting->Answer(id, set);
    });
  });
  session->waits.emplace(id, watch);
}

}  // namespace cylon
