// The server of stores, couriers, relays and probes: who is let in to which of them.
#include "cylon/bootstrap/rendezvous_server.h"

#include <utility>

#include "cylon/base/random.h"
#include "cylon/bootstrap/reception.h"
#include "cylon/bootstrap/rendezvous_relay.h"
#include "cylon/bootstrap/rendezvous_sessions.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/store_sessions.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

namespace {

/// A process has a connection for its store and one for its letters, and some have relays; each kind has a limit of its
/// own below this.
constexpr size_t kMostVisitors = 12288;

/// Belongs to tasks.
class RendezvousCore : public std::enable_shared_from_this<RendezvousCore> {
 public:
  RendezvousCore(AsioExecutor& executor, Security security, std::string life)
      : executor_(executor), security_(std::move(security)), life_(std::move(life)) {}

  arrow::Status Open(const HostPort& listen, uint16_t probe_port) {
    // The second port first: sessions tell of it from the start.
    probes_ = std::make_shared<Reception>(executor_, security_, Rules(/*looker=*/1, /*probes_alone=*/true));
    ARROW_RETURN_NOT_OK(Reception::Open(probes_, {listen.host, probe_port}));
    stores_ = std::make_shared<StoreSessions>(executor_, life_);
    sessions_ = std::make_shared<RendezvousSessions>(executor_, life_, std::vector<uint16_t>{probes_->address().port},
                                                     counters_);
    relay_ = std::make_shared<RendezvousRelay>(executor_, counters_);
    reception_ = std::make_shared<Reception>(executor_, security_, Rules(/*looker=*/0, /*probes_alone=*/false));
    return Reception::Open(reception_, listen);
  }
  void Close() {
    for (const auto& port : {std::exchange(reception_, nullptr), std::exchange(probes_, nullptr)}) {
      if (port) {
        port->Close();
      }
    }
    if (sessions_) {
      sessions_->Close();
      stores_->Close();
      relay_->Close();
    }
  }
  HostPort address() const { return reception_->address(); }
  HostPort probe_address() const { return probes_->address(); }
  const RendezvousCounters& counters() const { return *counters_; }
  AsioExecutor& executor() { return executor_; }

 private:
  ReceptionRules Rules(size_t looker, bool probes_alone) {
    ReceptionRules rules;
    rules.most = kMostVisitors;
    rules.self.purpose = kRendezvousPurpose;
    rules.self.also = {kStorePurpose, kRelayPurpose};
    rules.self.any_job = true;
    rules.judge_probe = [weak = weak_from_this(), looker](const std::string& token, const HostPort& from) {
      const auto self = weak.lock();
      return self && self->sessions_ && self->sessions_->Probed(looker, token, from);
    };
    rules.on_refused = [counters = counters_] { ++counters->strangers_refused; };
    if (!probes_alone) {
      rules.serve = [stores = stores_, sessions = sessions_, relay = relay_](OpenedStream opened) {
        return opened.peer.purpose == kStorePurpose ? StoreSessions::Serve(stores, std::move(opened.stream))
               : opened.peer.purpose == kRelayPurpose
                   ? RendezvousRelay::Serve(relay, std::move(opened.stream), std::move(opened.peer.job))
                   : RendezvousSessions::Serve(sessions, std::move(opened.stream));
      };
    }
    return rules;
  }

  AsioExecutor& executor_;
  const Security security_;
  const std::string life_;
  const std::shared_ptr<RendezvousCounters> counters_ = std::make_shared<RendezvousCounters>();
  std::shared_ptr<StoreSessions> stores_;
  std::shared_ptr<RendezvousSessions> sessions_;
  std::shared_ptr<RendezvousRelay> relay_;
  std::shared_ptr<Reception> reception_;
  std::shared_ptr<Reception> probes_;
};

class TheRendezvousServer : public RendezvousServer {
 public:
  TheRendezvousServer(std::shared_ptr<RendezvousCore> core, HostPort address, HostPort probe_address)
      : core_(std::move(core)), address_(std::move(address)), probe_address_(std::move(probe_address)) {}
  ~TheRendezvousServer() override {
    RunNow(core_->executor(), [core = core_] { core->Close(); });
  }
  TheRendezvousServer(const TheRendezvousServer&) = delete;
  TheRendezvousServer& operator=(const TheRendezvousServer&) = delete;
  HostPort address() const override { return address_; }
  HostPort probe_address() const override { return probe_address_; }
  RendezvousCounters counters() const override {
    const auto copy = std::make_shared<RendezvousCounters>();
    RunNow(core_->executor(), [core = core_, copy] { *copy = core->counters(); });
    return *copy;
  }

 private:
  std::shared_ptr<RendezvousCore> core_;
  HostPort address_;
  HostPort probe_address_;
};

}  // namespace

RendezvousServer::~RendezvousServer() = default;

arrow::Result<std::unique_ptr<RendezvousServer>> RendezvousServer::Start(AsioExecutor& executor, const HostPort& listen,
                                                                         uint16_t probe_port, Security security) {
  if (security.secret.empty()) {
    return AuthenticationError(
        "a rendezvous server needs the jobs' secret; set CYLON_SECRET_FILE to a file with mode 0600 that holds 64 "
        "hexadecimal digits");
  }
  ARROW_ASSIGN_OR_RAISE(std::string life, RandomBytes(kRendezvousNonceBytes));
  auto core = std::make_shared<RendezvousCore>(executor, std::move(security), std::move(life));
  auto opened = std::make_shared<arrow::Status>();
  auto places = std::make_shared<std::pair<HostPort, HostPort>>();
  RunNow(executor, [core, opened, places, listen, probe_port] {
    *opened = core->Open(listen, probe_port);
    if (opened->ok()) {
      *places = {core->address(), core->probe_address()};
    } else {
      core->Close();
    }
  });
  ARROW_RETURN_NOT_OK(*opened);
  return std::make_unique<TheRendezvousServer>(std::move(core), places->first, places->second);
}

}  // namespace cylon
