// The server of stores, couriers, relays and probes: who is let in to which of them.
#include "cylon/bootstrap/rendezvous_server.h"

#include <algorithm>
#include <ctime>
#include <utility>

#include "cylon/base/random.h"
#include "cylon/bootstrap/job_stores.h"
#include "cylon/bootstrap/metrics_port.h"
#include "cylon/bootstrap/reception.h"
#include "cylon/bootstrap/rendezvous_metrics.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

namespace {

/// A process has a connection for its store and one for its letters, and some have relays; each kind has a limit of its
/// own below this.
size_t MostVisitors(const RendezvousConfig& config) {
  return 2 * config.sessions.sessions + 2 * config.relay.pairs + config.relay.waiting;
}

struct Addresses {
  HostPort main;
  HostPort probe;
  HostPort metrics;
};

/// Belongs to tasks.
class RendezvousCore : public std::enable_shared_from_this<RendezvousCore> {
 public:
  RendezvousCore(AsioExecutor& executor, RendezvousConfig config, std::string life)
      : executor_(executor), config_(std::move(config)), life_(std::move(life)), began_(executor.Now()) {}

  arrow::Status Open(const HostPort& listen, uint16_t probe_port) {
    auto security = config_.security;
    if (!config_.operator_key.empty()) {
      security.secret.clear();
      security.read_ticket =
          AdmitByTickets(config_.operator_key, config_.unix_clock,
                         [counters = counters_](const char* reason) { ++counters->tickets_by_reason[reason]; });
    }
    // The second port first: sessions tell of it from the start.
    probes_ = std::make_shared<Reception>(executor_, security, Rules(/*looker=*/1, /*probes_alone=*/true));
    ARROW_RETURN_NOT_OK(Reception::Open(probes_, {listen.host, probe_port}));
    stores_ = std::make_shared<JobStores>(executor_, life_, [weak = weak_from_this()](const std::string& key) {
      if (const auto self = weak.lock(); self && key.ends_with("/table")) {
        self->SeeWorld(key);
      }
    });
    sessions_ = std::make_shared<RendezvousSessions>(executor_, life_, std::vector<uint16_t>{probes_->address().port},
                                                     counters_, config_.sessions);
    relay_ = std::make_shared<RendezvousRelay>(executor_, counters_, config_.relay);
    if (config_.metrics) {
      metrics_ = std::make_shared<MetricsPort>(executor_, [weak = weak_from_this()] {
        const auto self = weak.lock();
        return self ? RendezvousMetrics(self->Counters()) : std::string();
      });
      ARROW_RETURN_NOT_OK(MetricsPort::Open(metrics_, *config_.metrics));
    }
    reception_ =
        std::make_shared<Reception>(executor_, std::move(security), Rules(/*looker=*/0, /*probes_alone=*/false));
    return Reception::Open(reception_, listen);
  }
  void Close() {
    for (const auto& port : {std::exchange(reception_, nullptr), std::exchange(probes_, nullptr)}) {
      if (port) {
        port->Close();
      }
    }
    if (const auto metrics = std::exchange(metrics_, nullptr)) {
      metrics->Close();
    }
    if (sessions_) {
      sessions_->Close();
      stores_->Close();
      relay_->Close();
    }
  }
  Addresses addresses() const {
    return {reception_->address(), probes_->address(), metrics_ ? metrics_->address() : HostPort{}};
  }
  RendezvousCounters Counters() const {
    RendezvousCounters counters = *counters_;
    counters.jobs = sessions_->jobs();
    counters.strangers = (reception_ ? reception_->strangers() : 0) + (probes_ ? probes_->strangers() : 0);
    counters.store_clients = stores_->connections();
    counters.store_bytes = stores_->bytes();
    counters.queued_bytes = sessions_->queued_bytes();
    counters.uptime_s = std::chrono::duration<double>(executor_.Now() - began_).count();
    return counters;
  }
  AsioExecutor& executor() { return executor_; }

 private:
  ReceptionRules Rules(size_t looker, bool probes_alone) {
    ReceptionRules rules;
    rules.most = MostVisitors(config_);
    rules.self.purpose = kRendezvousPurpose;
    rules.self.also = {kStorePurpose, kRelayPurpose};
    rules.self.any_job = true;
    rules.judge_probe = [weak = weak_from_this(), looker](const std::string& token, const HostPort& from) {
      const auto self = weak.lock();
      return self && self->sessions_ && self->sessions_->Probed(looker, token, from);
    };
    rules.on_refused = [weak = weak_from_this()](const Refusal& refusal) {
      if (const auto self = weak.lock()) {
        self->See(refusal);
      }
    };
    if (!probes_alone) {
      rules.serve = [weak = weak_from_this()](OpenedStream opened) { return Serve(weak.lock(), std::move(opened)); };
    }
    return rules;
  }

  static Co<void> Serve(std::shared_ptr<RendezvousCore> self, OpenedStream opened) {
    if (!self) {
      co_return arrow::Status::Cancelled("the rendezvous server ends");
    }
    Guest guest = self->GuestOf(opened);
    const std::string& purpose = opened.peer.purpose;
    const std::vector<std::pair<std::string, std::string>> who = {
        {"purpose", purpose.substr(0, purpose.find('/'))},
        {"job", guest.job},
        {"ticket", guest.ticket ? HexEncode(guest.ticket->id) : ""},
        {"peer", opened.stream->peer_name()}};
    self->Tell({false, "admitted", who});
    auto serving = purpose == kStorePurpose
                       ? JobStores::Serve(self->stores_, std::move(opened.stream), std::move(guest))
                   : purpose == kRelayPurpose
                       ? RendezvousRelay::Serve(self->relay_, std::move(opened.stream), std::move(guest))
                       : RendezvousSessions::Serve(self->sessions_, std::move(opened.stream), std::move(guest));
    const arrow::Status status = co_await serving;
    const bool limit = status.IsCapacityError();
    if (limit || IsError(status, ErrorKind::kProtocol)) {
      ServerEvent event{true, limit ? "limit" : "broken", who};
      event.fields.emplace_back("message", status.message());
      self->Tell(event);
    }
    co_return status;
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

  void See(const Refusal& refusal) {
    ++counters_->strangers_refused;
    ++counters_->strangers_by_reason[refusal.reason];
    if (refusal.reason == "secret" && !config_.operator_key.empty()) {
      ++counters_->tickets_by_reason["unsigned"];
    }
    Tell(
        {true, "refused", {{"reason", refusal.reason}, {"peer", refusal.peer}, {"message", refusal.status.message()}}});
  }
  void SeeWorld(const std::string& key) {
    ++counters_->worlds;
    Tell({false, "world", {{"key", key}}});
  }
  void Tell(const ServerEvent& event) const {
    if (config_.log) {
      config_.log(event);
    }
  }

  AsioExecutor& executor_;
  const RendezvousConfig config_;
  const std::string life_;
  const TimePoint began_;
  const std::shared_ptr<RendezvousCounters> counters_ = std::make_shared<RendezvousCounters>();
  std::shared_ptr<JobStores> stores_;
  std::shared_ptr<RendezvousSessions> sessions_;
  std::shared_ptr<RendezvousRelay> relay_;
  std::shared_ptr<MetricsPort> metrics_;
  std::shared_ptr<Reception> reception_;
  std::shared_ptr<Reception> probes_;
};

class TheRendezvousServer : public RendezvousServer {
 public:
  TheRendezvousServer(std::shared_ptr<RendezvousCore> core, Addresses addresses)
      : core_(std::move(core)), addresses_(std::move(addresses)) {}
  ~TheRendezvousServer() override {
    RunNow(core_->executor(), [core = core_] { core->Close(); });
  }
  TheRendezvousServer(const TheRendezvousServer&) = delete;
  TheRendezvousServer& operator=(const TheRendezvousServer&) = delete;
  HostPort address() const override { return addresses_.main; }
  HostPort probe_address() const override { return addresses_.probe; }
  HostPort metrics_address() const override { return addresses_.metrics; }
  RendezvousCounters counters() const override {
    const auto copy = std::make_shared<RendezvousCounters>();
    RunNow(core_->executor(), [core = core_, copy] { *copy = core->Counters(); });
    return *copy;
  }

 private:
  std::shared_ptr<RendezvousCore> core_;
  Addresses addresses_;
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
  ARROW_ASSIGN_OR_RAISE(std::string life, RandomBytes(kRendezvousNonceBytes));
  auto core = std::make_shared<RendezvousCore>(executor, std::move(config), std::move(life));
  auto opened = std::make_shared<arrow::Status>();
  auto places = std::make_shared<Addresses>();
  RunNow(executor, [core, opened, places, listen, probe_port] {
    *opened = core->Open(listen, probe_port);
    if (opened->ok()) {
      *places = core->addresses();
    } else {
      core->Close();
    }
  });
  ARROW_RETURN_NOT_OK(*opened);
  return std::make_unique<TheRendezvousServer>(std::move(core), *places);
}

}  // namespace cylon
