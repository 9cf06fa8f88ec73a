// The TCP store server: who is let in to its sessions.
#include "cylon/bootstrap/store_server.h"

#include <utility>

#include "cylon/base/random.h"
#include "cylon/bootstrap/reception.h"
#include "cylon/bootstrap/store.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/store_sessions.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/secure.h"

namespace cylon {

namespace {

/// Belongs to tasks.
struct Core {
  Core(AsioExecutor& on, Security security, std::string drawn)
      : executor(on), sessions(std::make_shared<StoreSessions>(on, std::move(drawn))) {
    ReceptionRules rules;
    rules.self.purpose = kStorePurpose;
    rules.serve = [sessions = sessions](OpenedStream opened) {
      return StoreSessions::Serve(sessions, std::move(opened.stream));
    };
    reception = std::make_shared<Reception>(on, std::move(security), std::move(rules));
  }
  void Close() {
    reception->Close();
    sessions->Close();
  }

  AsioExecutor& executor;
  const std::shared_ptr<StoreSessions> sessions;
  std::shared_ptr<Reception> reception;
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
    *started = Reception::Open(core->reception, listen);
    if (started->ok()) {
      *address = core->reception->address();
    }
  });
  ARROW_RETURN_NOT_OK(*started);
  return std::make_unique<Server>(std::move(core), *address);
}

}  // namespace cylon
