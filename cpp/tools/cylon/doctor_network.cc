// `cylon doctor --rendezvous`.
#include "doctor_network.h"

#include <asio/ip/tcp.hpp>
#include <iostream>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "cylon/base/asio_executor.h"
#include "cylon/base/error.h"
#include "cylon/base/options.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/tcp_courier.h"
#include "cylon/net/punch/candidates.h"
#include "finish.h"
#include "knock_port.h"
#include "measure.h"
#include "network_report.h"
#include "peer_visit.h"

namespace cylon::tools {

namespace {

/// Of a step that takes a few round trips, at most; connect_deadline_s where that is less.
constexpr Duration kLongestStep = std::chrono::seconds(5);
constexpr Duration kMeasurePatience = std::chrono::seconds(10);

/// What runs here, and goes in tasks.
class Examination {
 public:
  Examination(Options options, Security security, NetworkRequest request)
      : options_(std::move(options)),
        security_(std::move(security)),
        request_(std::move(request)),
        step_(std::min(kLongestStep, FromSeconds(options_.connect_deadline_s))) {}
  ~Examination() {
    couriers_.clear();
    static_cast<void>(executor_.RunTask([this] {
      if (port_ != nullptr) {
        port_->Close();
        port_.reset();
      }
      return arrow::Status::OK();
    }));
  }
  Examination(const Examination&) = delete;
  Examination& operator=(const Examination&) = delete;

  NetworkReport Run() {
    NetworkReport report;
    const auto status = Examine(&report);
    if (!status.ok()) {
      report.problems.push_back(status.message());
    }
    return report;
  }

 private:
  arrow::Status Examine(NetworkReport* report);
  arrow::Result<std::vector<HostPort>> Resolve(const std::string& text);
  arrow::Result<std::shared_ptr<Courier>> Open(const HostPort& server);
  arrow::Status Look(const HostPort& server, NetworkReport* report);
  arrow::Status Measure(NetworkReport* report);

  const Options options_;
  const Security security_;
  const NetworkRequest request_;
  const Duration step_;  // the patience with one
  AsioExecutor executor_{"doctor"};
  std::shared_ptr<KnockPort> port_;
  Couriers couriers_;
};

/// One address of each kind; where certificates secure the server, the name, which they are for.
arrow::Result<std::vector<HostPort>> Examination::Resolve(const std::string& text) {
  ARROW_ASSIGN_OR_RAISE(const HostPort named, HostPort::Parse(text));
  if (!security_.tls_ca.empty() || !security_.tls_certificate.empty()) {
    return std::vector<HostPort>{named};
  }
  auto resolver = std::make_shared<asio::ip::tcp::resolver>(executor_.io());
  auto done = arrow::Future<std::vector<HostPort>>::Make();
  executor_.Post([resolver, named, done]() mutable {
    resolver->async_resolve(named.host, std::to_string(named.port),
                            [resolver, named, done](const asio::error_code& error, const auto& found) mutable {
                              if (error) {
                                done.MarkFinished(arrow::Status::IOError("cannot look up ", named.host, ": ",
                                                                         error.message(), "; check the name"));
                                return;
                              }
                              std::vector<HostPort> all;
                              std::set<bool> kinds;
                              for (const auto& each : found) {
                                const auto address = each.endpoint().address();
                                if (kinds.insert(address.is_v4()).second) {
                                  all.push_back({address.to_string(), named.port});
                                }
                              }
                              done.MarkFinished(std::move(all));
                            });
  });
  return executor_.Await(done, executor_.Now() + step_);
}

arrow::Result<std::shared_ptr<Courier>> Examination::Open(const HostPort& server) {
  // A courier waits for a server that is not up yet; who asks what is wrong wants to know at once.
  const TimePoint deadline = executor_.Now() + step_;
  auto dialled = Finish(executor_, ConnectTcp(executor_.io(), executor_, server, deadline), 2 * step_);
  if (!dialled.ok()) {
    const auto& why = dialled.status().message();
    return IsNobodyListening(dialled.status())
               ? arrow::Status::IOError("nobody listens at ", server.ToString(), " (", why,
                                        "); start cylon-rendezvous there, and check the port")
               : arrow::Status::IOError(
                     server.ToString(), " is not reached (", why,
                     "); check the address, and that a gateway or firewall lets this process dial it");
  }
  ARROW_RETURN_NOT_OK(executor_.RunTask([stream = *std::move(dialled)]() mutable {
    stream.reset();
    return arrow::Status::OK();
  }));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<Courier> courier,
                        Finish(executor_,
                               OpenTcpCourier(&executor_, server, security_, "doctor", executor_.Now() + step_,
                                              RendezvousPatience{.away = step_}),
                               3 * step_));
  return courier;
}

/// What one server sees, by one kind of address.
arrow::Status Examination::Look(const HostPort& server, NetworkReport* report) {
  FamilyReport family;
  family.server = server;
  family.evidence.own = report->own;
  family.evidence.port = port_->number();
  auto opened = Open(server);
  if (!opened.ok()) {
    family.trouble = opened.status().message();
    report->families.push_back(std::move(family));
    return opened.status();
  }
  couriers_.emplace_back(server, *opened);
  auto seen = Finish(executor_, (*opened)->Probe(port_->number(), executor_.Now() + step_), 2 * step_);
  if (seen.ok()) {
    family.evidence.seen = *std::move(seen);
  } else {
    family.trouble =
        "what the server sees is not known: " + seen.status().message() + "; both of its ports have to be open to all";
    report->problems.push_back(family.trouble);
  }
  report->families.push_back(std::move(family));
  return arrow::Status::OK();
}

arrow::Status Examination::Measure(NetworkReport* report) {
  auto& [server, courier] = couriers_.front();
  ARROW_ASSIGN_OR_RAISE(report->round_trip,
                        Finish(executor_, MeasureServer(&executor_, courier.get()), 2 * kMeasurePatience));
  ARROW_ASSIGN_OR_RAISE(const auto second, Open(server));
  const auto rate = Finish(executor_,
                           MeasureRelay(&executor_, courier.get(), second.get(), FromSeconds(request_.seconds),
                                        executor_.Now() + kMeasurePatience),
                           2 * kMeasurePatience);
  if (!rate.ok()) {
    return rate.status().WithMessage("the server's relay does not work: ", rate.status().message());
  }
  report->relay_bytes_per_s = *rate;
  return arrow::Status::OK();
}

arrow::Status Examination::Examine(NetworkReport* report) {
  ARROW_ASSIGN_OR_RAISE(report->own, internal::InterfaceHosts());
  std::erase_if(report->own, [](const std::string& host) {
    return internal::KindOf(host) == internal::AddressKind::kNever;  // link-local ones
  });
  ARROW_ASSIGN_OR_RAISE(auto words, KnockWords::Draw());
  ARROW_RETURN_NOT_OK(executor_.RunTask([this, words = std::move(words)]() mutable -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(port_, KnockPort::Open(executor_, std::move(words)));
    return arrow::Status::OK();
  }));
  arrow::Status trouble;
  for (const auto& text : request_.rendezvous) {
    ARROW_ASSIGN_OR_RAISE(const auto servers, Resolve(text));
    for (const auto& server : servers) {
      const auto looked = Look(server, report);
      trouble = trouble.ok() ? looked : trouble;
      if (IsError(looked, ErrorKind::kAuthentication)) {
        return looked;
      }
    }
  }
  if (couriers_.empty()) {
    return trouble;
  }
  ARROW_RETURN_NOT_OK(Measure(report));
  if (request_.peer.empty()) {
    return arrow::Status::OK();
  }
  return VisitPeer(
      executor_,
      {request_.peer, options_, security_, FromSeconds(options_.join_deadline_s), FromSeconds(request_.seconds)},
      couriers_, *port_, report);
}

arrow::Result<NetworkReport> ExamineNetwork(const std::map<std::string, std::string>& environment,
                                            const NetworkRequest& request) {
  ARROW_ASSIGN_OR_RAISE(Options options, OptionsFrom(environment));
  ARROW_ASSIGN_OR_RAISE(std::string secret, ReadSecret(options));
  if (secret.empty()) {
    return AuthenticationError(
        "there is no secret to show the server; set CYLON_SECRET_FILE to a file with mode 0600 that holds it, or "
        "CYLON_SECRET");
  }
  Security security = SecurityOf(options, std::move(secret));
  return Examination(std::move(options), std::move(security), request).Run();
}

}  // namespace

int DoctorNetwork(const std::map<std::string, std::string>& environment, const NetworkRequest& request) {
  auto examined = ExamineNetwork(environment, request);
  NetworkReport report;
  if (examined.ok()) {
    report = *std::move(examined);
  } else {
    report.problems.push_back(examined.status().message());
  }
  std::cout << (request.json ? JsonReport(report).dump(2) + "\n" : ReadableReport(report));
  return report.problems.empty() ? 0 : 1;
}

}  // namespace cylon::tools
