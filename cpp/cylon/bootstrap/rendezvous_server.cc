// The server of stores, couriers, relays and probes: who is let in to which of them.
#include "cylon/bootstrap/rendezvous_server.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "cylon/base/random.h"
#include "cylon/bootstrap/job_stores.h"
#include "cylon/bootstrap/reception.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

namespace {

/// A process has a connection for its store and one for its letters, and some have relays; each kind has a limit of its
/// own below this.
constexpr size_t kMostVisitors = 12288;

/// Belongs to tasks.
class RendezvousCore : public std::enable_shared_from_this<RendezvousCore> {
 public:
  RendezvousCore(AsioExecutor& executor, RendezvousConfig config, std::string life)
      : executor_(executor), config_(std::move(config)), life_(std::move(life)) {}

  arrow::Status Open(const HostPort& listen, uint16_t probe_port) {
    // The second port first: sessions tell of it from the start.
    probes_ = std::make_shared<Reception>(executor_, config_.security, Rules(/*looker=*/1, /*probes_alone=*/true));
    ARROW_RETURN_NOT_OK(Reception::Open(probes_, {listen.host, probe_port}));
    stores_ = std::make_shared<JobStores>(executor_, life_);
    sessions_ = std::make_shared<RendezvousSessions>(executor_, life_, std::vector<uint16_t>{probes_->address().port},
                                                     counters_, config_.sessions);
    relay_ = std::make_shared<RendezvousRelay>(executor_, counters_, config_.relay);
    reception_ = std::make_shared<Reception>(executor_, config_.security, Rules(/*looker=*/0, /*probes_alone=*/false));
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
      rules.serve = [self = shared_from_this()](OpenedStream opened) {
        Guest guest = self->GuestOf(opened);
        return opened.peer.purpose == kStorePurpose
                   ? JobStores::Serve(self->stores_, std::move(opened.stream), std::move(guest))
               : opened.peer.purpose == kRelayPurpose
                   ? RendezvousRelay::Serve(self->relay_, std::move(opened.stream), std::move(guest))
                   : RendezvousSessions::Serve(self->sessions_, std::move(opened.stream), std::move(guest));
      };
    }
    return rules;
  }

  /// The ticket was read before it let anybody in.
  Guest GuestOf(const OpenedStream& opened) const {
    if (opened.ticket.empty()) {
      return {opened.peer.job};
    }
    auto claims = DecodeTicketClaims(opened.ticket).ValueOrDie();
    constexpr int64_t kLongest = int64_t{100} * 365 * 24 * 3600;
    const int64_t left = std::clamp<int64_t>(claims.expires, 0, INT64_MAX / 2) - config_.unix_clock();
    const auto ends = executor_.Now() + std::chrono::seconds(std::clamp<int64_t>(left, 0, kLongest)) + kClockAllowance;
    std::string job = claims.job;
    return {std::move(job), std::move(claims), ends};
  }

  AsioExecutor& executor_;
  const RendezvousConfig config_;
  const std::string life_;
  const std::shared_ptr<RendezvousCounters> counters_ = std::make_shared<RendezvousCounters>();
  std::shared_ptr<JobStores> stores_;
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
                                                                         uint16_t probe_port, RendezvousConfig config) {
  if (config.security.secret.empty() && config.operator_key.empty()) {
    return AuthenticationError(
        "a rendezvous server needs the jobs' secret, or an operator's key to let in by tickets; set CYLON_SECRET_FILE, "
        "or --operator-key-file, to a file with mode 0600 that holds 64 hexadecimal digits");
  }
  if (!config.unix_clock) {
    config.unix_clock = [] { return static_cast<int64_t>(std::time(nullptr)); };
  }
  if (!config.operator_key.empty()) {
    config.security.secret.clear();
    config.security.read_ticket = AdmitByTickets(std::exchange(config.operator_key, {}), config.unix_clock);
  }
  ARROW_ASSIGN_OR_RAISE(std::string life, RandomBytes(kRendezvousNonceBytes));
  auto core = std::make_shared<RendezvousCore>(executor, std::move(config), std::move(life));
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
