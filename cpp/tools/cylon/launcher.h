/// `cylon run`: starts the ranks of a job on this machine, and ends them.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace cylon::tools {

struct LaunchRequest {
  int ranks = 1;
  std::vector<std::string> command;             ///< the program and its arguments
  bool keep_going = false;                      ///< leave the other ranks alone when one fails
  double stall_after_s = 0;                     ///< when all have been idle for so long, they are asked why; 0: never
  std::map<std::string, std::string> settings;  ///< CYLON_* variables for every rank
};

/// Runs the job. Returns what the launcher's process should exit with: 0, the code of the rank that failed first (128 +
/// signal where one killed it), or 2 where the job could not be started; then the reason is on stderr. Call it from the
/// main thread of a process that has no other.
int Launch(const LaunchRequest& request);

}  // namespace cylon::tools
