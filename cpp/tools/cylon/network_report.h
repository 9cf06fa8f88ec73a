/// What `cylon doctor --rendezvous` has found out, and how it is shown.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "gateway.h"

namespace cylon::tools {

struct RoundTrips {
  double median_ms = 0;
  double p99_ms = 0;
  int count = 0;
};

/// Of times in milliseconds, one or more.
RoundTrips Summarize(std::vector<double> times_ms);

/// By one kind of address.
struct FamilyReport {
  HostPort server;
  GatewayEvidence evidence;
  std::string trouble;  ///< why nothing more is known; else ""
};

/// A process elsewhere that was started with the same name.
struct PeerReport {
  std::string name;
  int rank = 0;         ///< which of the two this is
  std::string way;      ///< "direct", "punched" or "relay"
  std::string address;  ///< of the other end, as it is seen here
  double setup_ms = 0;  ///< from the first word about it, until both have proven themselves
  bool same_gateway = false;
  bool same_private_address = false;  ///< and different gateways
  RoundTrips round_trip;
  double sent_bytes_per_s = 0;
  double received_bytes_per_s = 0;
};

struct NetworkReport {
  std::vector<std::string> own;
  std::vector<FamilyReport> families;
  std::optional<RoundTrips> round_trip;
  std::optional<double> relay_bytes_per_s;
  std::optional<PeerReport> peer;
  std::vector<std::string> problems;
};

/// For people: what the first line says holds for all that follow it with a deeper indent.
std::string ReadableReport(const NetworkReport& report);

nlohmann::json JsonReport(const NetworkReport& report);

}  // namespace cylon::tools
