/// Two processes that look at the way between them: `cylon doctor --peer` at both.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/wire/secure.h"
#include "knock_port.h"
#include "network_report.h"

namespace cylon::tools {

struct PeerVisit {
  std::string name;  ///< what both were started with
  Options options;   ///< with the secret
  Security security;
  Duration patience{};  ///< for the other one to come
  Duration span{};      ///< of a measurement
};

/// By the address of the server that each is at.
using Couriers = std::vector<std::pair<HostPort, std::shared_ptr<Courier>>>;

/// Meets the other in the store of the first of `couriers`, lets each dial the other's `port` as a stranger (what came
/// of it goes into `report`), connects as the ranks of a job do, and measures. Blocks. DeadlineError where nobody
/// comes.
arrow::Status VisitPeer(AsioExecutor& executor, const PeerVisit& visit, const Couriers& couriers, const KnockPort& port,
                        NetworkReport* report);

}  // namespace cylon::tools
