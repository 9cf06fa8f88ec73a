/// The processes of a launch: ranks, and a guard that outlives the launcher by a moment.
#pragma once

#include <arrow/result.h>
#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

namespace cylon::tools {

/// This process's environment.
std::map<std::string, std::string> OwnEnvironment();

/// A program's file and its arguments, as execve takes them.
struct Command {
  std::string file;
  std::vector<std::string> arguments;  ///< the program's name first
};

/// What `words` (a program and its arguments) start: a *.py program is run by `python`, anything else by itself, found
/// on `search_path` where its name has no slash. Invalid where there is no such file, or it may not be run.
arrow::Result<Command> ResolveCommand(const std::vector<std::string>& words, const std::string& python,
                                      const std::string& search_path);

/// The interpreter for *.py programs: `chosen` (CYLON_PYTHON) where it is set, else the python3 beside this program,
/// else the one on `search_path`; empty where there is none.
std::string FindPython(const std::string& chosen, const std::string& search_path);

/// The file `name` on `search_path`; empty where no executable file has that name.
std::string FindOnPath(const std::string& name, const std::string& search_path);

/// Where a rank's descriptors lead: to the launcher's own where -1.
struct Redirects {
  int in = -1;
  int out = -1;
  int error = -1;
};

/// The least descriptor above all that are open: what comes from there on is this process's own.
int FirstFreeDescriptor();

/// Starts `command` in a process group of its own, with default signals, killed when this process ends. Descriptors
/// from `first_own` on stay here. IOError where it cannot be started.
arrow::Result<pid_t> StartRank(const Command& command, const std::map<std::string, std::string>& environment,
                               const Redirects& redirects, int first_own);

/// A small process that kills the ranks' process groups when the launcher ends without having said so: a rank's
/// own children are in its group, and nothing else would tell them. Start it before there are threads.
class Guard {
 public:
  /// IOError where there can be no further process.
  static arrow::Result<Guard> Start();
  Guard(Guard&& other) noexcept;
  Guard& operator=(Guard&&) = delete;
  /// Lets the guard go, and waits for it.
  ~Guard();

  void Watch(pid_t group) { Tell(group); }
  void Forget(pid_t group) { Tell(-group); }
  pid_t pid() const { return pid_; }

 private:
  Guard(pid_t pid, int pipe) : pid_(pid), pipe_(pipe) {}
  void Tell(pid_t word);

  pid_t pid_;
  int pipe_;
};

/// Makes this process the parent of its orphaned grandchildren, so that none is lost.
void AdoptOrphans();

/// Kills the children of this process that are left (adopted ones), but for `spared`, and theirs in turn.
void KillOrphans(pid_t spared);

/// "SIGKILL", or the number's own words.
std::string SignalName(int signal);

}  // namespace cylon::tools
