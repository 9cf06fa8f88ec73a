// The TCP store server: who is let in to its sessions.
#include "cylon/bootstrap/store_server.h"

#include <list>
#include <utility>

#include "cylon/base/random.h"
#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/store_sessions.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/strangers.h"

namespace cylon {

namespace {

constexpr size_t kMaxClients = 4096;

/// Belongs to tasks.
struct Core {
  Core(AsioExecutor& on, Security with, std::string drawn)
      : executor(on),
        security(std::move(with)),
        sessions(std::make_shared<StoreSessions>(executor, std::move(drawn))) {}

  AsioExecutor& executor;
  const Security security;
  const std::shared_ptr<StoreSessions> sessions;
  std::unique_ptr<Listener> listener;
  std::list<std::shared_ptr<Opening>> strangers;  // have not proven themselves, the oldest first

  static void Admit(const std::shared_ptr<Core>& self, std::unique_ptr<Stream> stream) {
    if (self->sessions->connections() >= kMaxClients) {
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
    auto serving = StoreSessions::Serve(self->sessions, std::move(opened->stream));
    co_return co_await serving;
  }

  void Close() {
    listener.reset();
    for (const auto& opening : std::exchange(strangers, {})) {
      opening->Close();
    }
    sessions->Close();
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
    core_->executor.Post([core = core_, key, value] { core->sessions->SetIfAbsent(key, value, kRunTimeToLive); });
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
          if (const auto self = weak.lock()) {
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
