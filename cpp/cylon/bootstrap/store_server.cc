// The TCP store server: one store in memory, and a session for each connection.
#include "cylon/bootstrap/store_server.h"

#include <algorithm>
#include <list>
#include <unordered_map>

#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/handshake.h"
#include "cylon/wire/strangers.h"

namespace cylon {

namespace {

constexpr size_t kMaxClients = 4096;
constexpr size_t kMaxWaitsPerClient = 1024;
/// Answers that a client has not taken. Beyond, it is not a client that reads.
constexpr size_t kMaxUnread = 64 << 20;
/// A hundred years, in ms: what is longer fits no clock.
constexpr int64_t kLongestLifeMs = int64_t{100} * 365 * 24 * 3600 * 1000;

struct Session {
  explicit Session(std::unique_ptr<Stream> from)
      : stream(std::move(from)), outbox(std::make_shared<StoreOutbox>(stream.get())) {}
  ~Session() { outbox->Detach(); }
  std::unique_ptr<Stream> stream;
  std::shared_ptr<StoreOutbox> outbox;
  std::unordered_map<uint64_t, uint64_t> waits;  // request to watch
};

/// Belongs to tasks.
struct Core {
  Core(AsioExecutor& on, std::string with) : executor(on), secret(std::move(with)) {}

  AsioExecutor& executor;
  std::string secret;
  std::unique_ptr<Listener> listener;
  KeyValues values;
  std::list<std::shared_ptr<Session>> sessions;
  Strangers<Stream> strangers{kStrangersAtOnce};  // of the sessions
  bool closed = false;

  static void Admit(const std::shared_ptr<Core>& self, std::unique_ptr<Stream> stream) {
    if (self->sessions.size() - self->strangers.size() >= kMaxClients) {
      return;  // full: the stream closes as it goes
    }
    auto session = std::make_shared<Session>(std::move(stream));
    self->strangers.Add(session->stream.get());
    self->sessions.push_back(session);
    internal::DriveVoid(Serve(self, session), arrow::Future<>::Make());
  }

  static Co<void> Serve(std::shared_ptr<Core> self, std::shared_ptr<Session> session) {
    auto talking = Converse(self, session);
    const arrow::Status status = co_await talking;
    self->strangers.Remove(session->stream.get());
    session->stream->Close();
    for (const auto& [request, watch] : session->waits) {
      self->values.Unwatch(watch);
    }
    session->waits.clear();
    self->sessions.remove(session);
    co_return status;
  }

  static Co<void> Converse(std::shared_ptr<Core> self, std::shared_ptr<Session> session) {
    Identity own;
    own.purpose = kStorePurpose;
    auto proving = HandshakeAsListener(session->stream.get(), self->executor, own, self->secret, kNever);
    auto peer = co_await proving;
    CYLON_CO_RETURN_NOT_OK(peer.status());
    self->strangers.Remove(session->stream.get());
    while (true) {
      auto reading = ReadStoreFrame(session->stream.get());
      CYLON_CO_ASSIGN_OR_RETURN(const std::string frame, co_await reading);
      CYLON_CO_RETURN_NOT_OK(self->Handle(session, frame));
      if (session->outbox->bytes() > kMaxUnread) {
        co_return arrow::Status::CapacityError("a client does not read its answers");
      }
    }
  }

  static void Answer(Session& session, uint64_t id, const arrow::Result<std::string>& result) {
    ByteWriter out;
    out.Number(id);
    out.Number(static_cast<uint8_t>(result.ok() ? 1 : 0));
    out.Raw(result.ok() ? *result : EncodeStatus(result.status()));
    session.outbox->Push(out.Take());
  }

  arrow::Status Handle(const std::shared_ptr<Session>& session, const std::string& frame) {
    ByteReader in(frame);
    const auto id = in.Number<uint64_t>();
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
    switch (op) {
      case StoreOp::kSet:
        Answer(*session, id, Done(values.Set(now, key, rest, time_to_live)));
        break;
      case StoreOp::kSetIfAbsent:
        Answer(*session, id, values.SetIfAbsent(now, key, rest, time_to_live));
        break;
      case StoreOp::kGet:
        Wait(session, id, key);
        break;
      case StoreOp::kTryGet:
        Answer(*session, id, values.TryGet(now, key));
        break;
      case StoreOp::kAdd:
        Answer(*session, id, Add(key, rest, time_to_live));
        break;
      case StoreOp::kDelete:
        values.Delete(key);
        Answer(*session, id, std::string());
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

  static arrow::Result<std::string> Done(const arrow::Status& status) {
    return status.ok() ? arrow::Result<std::string>(std::string()) : arrow::Result<std::string>(status);
  }

  arrow::Result<std::string> Add(const std::string& key, const std::string& rest, Duration time_to_live) {
    ByteReader in(rest);
    const auto amount = in.Number<int64_t>();
    if (!in.done()) {
      return arrow::Status::Invalid("an addition to '", key, "' needs a number of 8 bytes, not ", rest.size());
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
      static_cast<void>(core->values.Set(core->executor.Now(), key, value, kRunTimeToLive));
    });
  }

 private:
  std::shared_ptr<Core> core_;
  HostPort address_;
};

}  // namespace

StoreServer::~StoreServer() = default;

arrow::Result<std::unique_ptr<StoreServer>> StoreServer::Start(AsioExecutor& executor, const HostPort& listen,
                                                               std::string secret) {
  if (secret.empty()) {
    return AuthenticationError(
        "a store server needs the job's secret; set CYLON_SECRET_FILE to a file with mode 0600 that holds 64 "
        "hexadecimal digits");
  }
  auto core = std::make_shared<Core>(executor, std::move(secret));
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
