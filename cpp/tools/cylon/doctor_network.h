/// `cylon doctor --rendezvous`: what the gateway before this process does, which ways work, and how fast they are.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace cylon::tools {

struct NetworkRequest {
  std::vector<std::string>
      rendezvous;      ///< host:port of one server; twice where a name does not stand for IPv4 and IPv6
  std::string peer;    ///< "" or a name: another process is started with it at the same time
  double seconds = 1;  ///< that a bandwidth is looked at for
  bool json = false;
};

/// Prints what it finds to stdout; every step has a deadline. Returns 0, or 1 where something keeps a job from running
/// there; each problem is named with what to do.
int DoctorNetwork(const std::map<std::string, std::string>& environment, const NetworkRequest& request);

}  // namespace cylon::tools
