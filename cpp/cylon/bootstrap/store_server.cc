// The TCP store server: one store in memory, and a session for each connection.
#include "cylon/bootstrap/store_server.h"

#include <algorithm>
#include <list>
#include <map>
#include <unordered_map>

#include "cylon/base/random.h"
#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/strangers.h"

namespace cylon {

namespace {

constexpr size_t kMaxClients = 4096;
/// With those that have no connection at the moment.
constexpr size_t kMaxMemories = 4 * kMaxClients;
constexpr size_t kMaxWaitsPerClient = 1024;
/// Answers that a client has not taken. Beyond, it is not a client that reads.
constexpr size_t kMaxUnread = 64 << 20;
/// Answers to writes that a client has not confirmed; each is some 20 bytes.
constexpr size_t kMaxRemembered = 1 << 16;
/// A client gives up what it asked 10 s after its connection ended.
constexpr Duration kForgetAfter = std::chrono::seconds(60);
/// A hundred years, in ms: what is longer fits no clock.
constexpr int64_t kLongestLifeMs = int64_t{100} * 365 * 24 * 3600 * 1000;

struct Session;

/// What outlives the connections of one client.
struct Memory {
  Session* session = nullptr;               // its connection, if there is one
  std::map<uint64_t, std::string> answers;  // to writes, by request
  std::shared_ptr<Timer> end = nullptr;     // when all of this is forgotten, while there is no connection
};

/// One connection.
struct Session {
  explicit Session(std::unique_ptr<Stream> from)
      : stream(std::move(from)), outbox(std::make_shared<StoreOutbox>(stream.get())) {}
  ~Session() { outbox->Detach(); }
  std::unique_ptr<Stream> stream;
  std::shared_ptr<StoreOutbox> outbox;
  std::unordered_map<uint64_t, uint64_t> waits;  // request to watch
  std::string client;                            // whose it is: the key of its Memory
  std::shared_ptr<Memory> memory;
};

/// Belongs to tasks.
struct Core {
  Core(AsioExecutor& on, Security with, std::string drawn)
      : executor(on), security(std::move(with)), life(std::move(drawn)) {}

  AsioExecutor& executor;
  const Security security;
  const std::string life;
  std::unique_ptr<Listener> listener;
  KeyValues values;
  std::unordered_map<std::string, std::shared_ptr<Memory>> memories;
  std::list<std::shared_ptr<Session>> sessions;
  std::list<std::shared_ptr<Opening>> strangers;  // have not proven themselves, the oldest first
  bool closed = false;

  static void Admit(const std::shared_ptr<Core>& self, std::unique_ptr<Stream> stream) {
    if (self->sessions.size() >= kMaxClients) {
      return;  // full: the stream closes as it goes
    }
    while (self->strangers.size() >= kStrangersAtOnce) {
      const auto oldest = self->strangers.front();
      self->strangers.pop_front();
      oldest->Close();  // it has had its chance
    }
    const auto opening = std::make_shared<Opening>();
    self->strangers.push_back(opening);
    internal::DriveVoid(Welcome(self, std::move(stream), opening), arrow::Future<>::Make());
  }

  static Co<void> Welcome(std::shared_ptr<Core> self, std::unique_ptr<Stream> stream,
                          std::shared_ptr<Opening> opening) {
    Identity own;
    own.purpose = kStorePurpose;
    auto proving = OpenAsListener(std::move(stream), self->executor, self->security, own, kNever, opening);
    auto opened = co_await proving;
    self->strangers.remove(opening);
    CYLON_CO_RETURN_NOT_OK(opened.status());
    if (self->closed) {
      co_return StoreClosed();
    }
    auto session = std::make_shared<Session>(std::move(opened->stream));
    self->sessions.push_back(session);
    auto serving = Serve(self, session);
    co_return co_await serving;
  }

  static Co<void> Serve(std::shared_ptr<Core> self, std::shared_ptr<Session> session) {
    auto talking = Converse(self, session);
    const arrow::Status status = co_await talking;
    session->stream->Close();
    for (const auto& [request, watch] : session->waits) {
      self->values.Unwatch(watch);
    }
    session->waits.clear();
    Part(self, *session);
    self->sessions.remove(session);
    co_return status;
  }

  static Co<void> Converse(std::shared_ptr<Core> self, std::shared_ptr<Session> session) {
    auto greeting = ReadStoreFrame(session->stream.get());
    CYLON_CO_ASSIGN_OR_RETURN(const std::string client, co_await greeting);
    CYLON_CO_RETURN_NOT_OK(self->Greet(*session, client));
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
  arrow::Status Greet(Session& session, const std::string& client) {
    if (client.size() != kStoreNonceBytes) {
      return ProtocolError(session.stream->peer_name() + " began with " + std::to_string(client.size()) +
                           " bytes; a session has " + std::to_string(kStoreNonceBytes));
    }
    if (memories.size() >= kMaxMemories && !memories.contains(client)) {
      return arrow::Status::CapacityError("the store knows ", memories.size(), " clients already, its limit");
    }
    auto& memory = memories[client];
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
    session.outbox->Push(life);
    return arrow::Status::OK();
  }

  /// The client's connection has ended.
  static void Part(const std::shared_ptr<Core>& self, Session& session) {
    const auto memory = std::exchange(session.memory, nullptr);
    if (memory == nullptr) {
      return;
    }
    memory->session = nullptr;
    if (memory->answers.empty() || self->closed) {
      self->memories.erase(session.client);
      return;
    }
    memory->end = self->executor.PostAt(self->executor.Now() + kForgetAfter,
                                        [weak = std::weak_ptr<Core>(self), client = session.client] {
                                          if (const auto core = weak.lock()) {
                                            core->memories.erase(client);
                                          }
                                        });
  }

  static std::string EncodeAnswer(uint64_t id, const arrow::Result<std::string>& result) {
    ByteWriter out;
    out.Number(id);
    out.Number(static_cast<uint8_t>(result.ok() ? 1 : 0));
    out.Raw(result.ok() ? *result : EncodeStatus(result.status()));
    return out.Take();
  }
  static void Answer(Session& session, uint64_t id, const arrow::Result<std::string>& result) {
    session.outbox->Push(EncodeAnswer(id, result));
  }

  arrow::Status Handle(const std::shared_ptr<Session>& session, const std::string& frame) {
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
    const TimePoint now = executor.Now();
    const std::string rest(in.rest());
    const auto valid = op == StoreOp::kCancel ? arrow::Status::OK() : CheckKeyAndValue(key, rest);
    if (!valid.ok()) {
      Answer(*session, id, valid);
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
        return AnswerWrite(*session, id, [&] { return Done(values.Set(now, key, rest, time_to_live)); });
      case StoreOp::kAdd:
      case StoreOp::kRaise:
        return AnswerWrite(*session, id, [&] { return Count(op, key, rest, time_to_live); });
      case StoreOp::kDelete:
        return AnswerWrite(*session, id, [&] {
          values.Delete(key);
          return arrow::Result<std::string>(std::string());
        });
      case StoreOp::kSetIfAbsent:  // finds its own value when it is asked again
        Answer(*session, id, values.SetIfAbsent(now, key, rest, time_to_live));
        break;
      case StoreOp::kGet:
        Wait(session, id, key);
        break;
      case StoreOp::kTryGet:
        Answer(*session, id, values.TryGet(now, key));
        break;
      case StoreOp::kCancel: {
        const auto wait = session->waits.find(ByteReader(rest).Number<uint64_t>());
        if (wait != session->waits.end()) {
          values.Unwatch(wait->second);
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

  /// Carries out a write that must not be carried out twice, and remembers the answer.
  template <typename Write>
  static arrow::Status AnswerWrite(Session& session, uint64_t id, Write write) {
    auto& answers = session.memory->answers;
    const bool full = answers.size() >= kMaxRemembered;
    const std::string answer = EncodeAnswer(
        id, full ? arrow::Status::CapacityError("this client has not confirmed the answers to ", answers.size(),
                                                " writes, the store's limit; wait for some before asking for more")
                 : write());
    if (!full) {
      answers.emplace(id, answer);
    }
    session.outbox->Push(answer);
    return arrow::Status::OK();
  }

  static arrow::Result<std::string> Done(const arrow::Status& status) {
    return status.ok() ? arrow::Result<std::string>(std::string()) : arrow::Result<std::string>(status);
  }

  /// Adds to a counter, or raises it.
  arrow::Result<std::string> Count(StoreOp op, const std::string& key, const std::string& rest, Duration time_to_live) {
    ByteReader in(rest);
    const auto number = in.Number<int64_t>();
    if (!in.done()) {
      return arrow::Status::Invalid("an addition to '", key, "' needs a number of 8 bytes, not ", rest.size());
    }
    auto amount = number;
    if (op == StoreOp::kRaise) {
      const auto stands = values.TryGet(executor.Now(), key);
      int64_t value = 0;
      if (stands.ok()) {
        ARROW_ASSIGN_OR_RAISE(value, ParseCounter(key, *stands));
      }
      amount = 0;
      if (value < number && __builtin_sub_overflow(number, value, &amount)) {
        return arrow::Status::Invalid("the counter '", key, "' is ", value, "; it cannot be raised to ", number);
      }
    }
    ARROW_ASSIGN_OR_RAISE(const int64_t sum, values.Add(executor.Now(), key, amount, time_to_live));
    ByteWriter out;
    out.Number(sum);
    return out.Take();
  }

  void Wait(const std::shared_ptr<Session>& session, uint64_t id, const std::string& key) {
    auto value = values.TryGet(executor.Now(), key);
    if (value.ok()) {
      return Answer(*session, id, value);
    }
    if (session->waits.size() >= kMaxWaitsPerClient) {
      return Answer(*session, id,
                    arrow::Status::CapacityError("this client waits for ", session->waits.size(),
                                                 " keys already, the store's limit; wait for fewer at once"));
    }
    const auto watch =
        values.Watch(key, [weak = std::weak_ptr<Session>(session), id, &core = *this](const std::string& set) {
          // Answering may end a session, and that touches what is just being walked: in a task of its own.
          core.executor.Post([weak, id, set] {
            auto waiting = weak.lock();
            if (waiting && waiting->waits.erase(id) > 0) {
              Answer(*waiting, id, set);
            }
          });
        });
    session->waits.emplace(id, watch);
  }

  void Close() {
    closed = true;
    listener.reset();
    for (const auto& opening : std::exchange(strangers, {})) {
      opening->Close();
    }
    for (const auto& session : std::exchange(sessions, {})) {
      session->stream->Close();
    }
  }
};

class Server : public StoreServer {
 public:
  Server(std::shared_ptr<Core> core, HostPort address) : core_(std::move(core)), address_(std::move(address)) {}
  ~Server() override {
    RunNow(core_->executor, [core = core_] { core->Close(); });
  }
  HostPort address() const override { return address_; }
  void SetLocally(const std::string& key, const std::string& value) override {
    core_->executor.Post([core = core_, key, value] {
      static_cast<void>(core->values.SetIfAbsent(core->executor.Now(), key, value, kRunTimeToLive));
    });
  }

 private:
  std::shared_ptr<Core> core_;
  HostPort address_;
};

}  // namespace

StoreServer::~StoreServer() = default;

arrow::Result<std::unique_ptr<StoreServer>> StoreServer::Start(AsioExecutor& executor, const HostPort& listen,
                                                               Security security) {
  if (security.secret.empty()) {
    return AuthenticationError(
        "a store server needs the job's secret; set CYLON_SECRET_FILE to a file with mode 0600 that holds 64 "
        "hexadecimal digits");
  }
  ARROW_ASSIGN_OR_RAISE(std::string life, RandomBytes(kStoreNonceBytes));
  auto core = std::make_shared<Core>(executor, std::move(security), std::move(life));
  auto started = std::make_shared<arrow::Status>();
  auto address = std::make_shared<HostPort>();
  RunNow(executor, [core, started, address, listen] {
    auto listener =
        ListenTcp(core->executor.io(), listen, [weak = std::weak_ptr<Core>(core)](std::unique_ptr<Stream> stream) {
          auto self = weak.lock();
          if (self && !self->closed) {
            Core::Admit(self, std::move(stream));
          }
        });
    *started = listener.status();
    if (listener.ok()) {
      core->listener = std::move(*listener);
      *address = core->listener->address();
    }
  });
  ARROW_RETURN_NOT_OK(*started);
  return std::make_unique<Server>(std::move(core), *address);
}

}  // namespace cylon
