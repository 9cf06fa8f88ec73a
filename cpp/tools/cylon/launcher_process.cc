// The processes of a launch: ranks, and a guard that outlives the launcher by a moment.
#include "launcher_process.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <set>

// POSIX: the process's environment.
extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace cylon::tools {

namespace {

namespace fs = std::filesystem;

bool IsProgram(const std::string& file) {
  std::error_code error;
  return fs::is_regular_file(file, error) && ::access(file.c_str(), X_OK) == 0;
}

std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (auto& word : words) {
    pointers.push_back(word.data());
  }
  pointers.push_back(nullptr);
  return pointers;
}

/// In a forked child: only calls that are safe there.
void Redirect(int from, int to) {
  if (from >= 0) {
    ::dup2(from, to);
  }
}

void DefaultSignals() {
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  ::signal(SIGPIPE, SIG_DFL);
}

/// The guard's life: it reads process groups (negative: forget that one) until the launcher's end of the pipe closes.
[[noreturn]] void GuardLoop(int pipe) {
  ::prctl(PR_SET_NAME, "cylon-guard");
  ::setsid();
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  // Held open, the launcher's output would not end when the launcher does.
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (int fd = 0; fd < 3; ++fd) {
    Redirect(null, fd);
  }
  constexpr int kPipe = 3;
  Redirect(pipe, kPipe);
  pipe = kPipe;
  ::close_range(kPipe + 1, ~0U, 0);
  std::set<pid_t> groups;
  pid_t word = 0;
  while (true) {
    const ssize_t got = ::read(pipe, &word, sizeof(word));
    if (got == sizeof(word)) {
      if (word > 0) {
        groups.insert(word);
      } else {
        groups.erase(-word);
      }
    } else if (got >= 0 || errno != EINTR) {
      break;
    }
  }
  for (const pid_t group : groups) {
    ::killpg(group, SIGKILL);
  }
  ::_exit(0);
}

std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  std::error_code error;
  for (const auto& task : fs::directory_iterator("/proc/self/task", error)) {
    std::ifstream list(task.path() / "children");
    for (pid_t child = 0; list >> child;) {
      children.push_back(child);
    }
  }
  return children;
}

}  // namespace

std::map<std::string, std::string> OwnEnvironment() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const auto equals = text.find('=');
    if (equals != std::string_view::npos) {
      variables.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return variables;
}

int FirstFreeDescriptor() {
  int highest = 2;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc/self/fd", error)) {
    highest = std::max(highest, std::atoi(entry.path().filename().c_str()));
  }
  return highest + 1;
}

std::string FindOnPath(const std::string& name, const std::string& search_path) {
  size_t begin = 0;
  while (begin <= search_path.size()) {
    const size_t end = std::min(search_path.find(':', begin), search_path.size());
    const std::string folder = search_path.substr(begin, end - begin);
    const std::string file = (folder.empty() ? "." : folder) + "/" + name;
    if (IsProgram(file)) {
      return file;
    }
    begin = end + 1;
  }
  return "";
}

std::string FindPython(const std::string& chosen, const std::string& search_path) {
  if (!chosen.empty()) {
    return chosen;
  }
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  if (!error && IsProgram(self.parent_path() / "python3")) {
    return self.parent_path() / "python3";
  }
  return FindOnPath("python3", search_path);
}

arrow::Result<Command> ResolveCommand(const std::vector<std::string>& words, const std::string& python,
                                      const std::string& search_path) {
  const std::string& program = words.front();
  std::error_code error;
  if (program.ends_with(".py")) {
    if (!fs::is_regular_file(program, error)) {
      return arrow::Status::Invalid("there is no program '", program, "'; expected a Python file; check the path");
    }
    const std::string file = python.find('/') == std::string::npos ? FindOnPath(python, search_path) : python;
    if (python.empty() || file.empty() || !IsProgram(file)) {
      return arrow::Status::Invalid("no Python to run '", program, "' with", python.empty() ? "" : ": '" + python + "'",
                                    python.empty() ? "" : " is no program",
                                    "; expected python3 on PATH; set CYLON_PYTHON to an interpreter");
    }
    Command command{file, {file}};
    command.arguments.insert(command.arguments.end(), words.begin(), words.end());
    return command;
  }
  const bool named = program.find('/') == std::string::npos;
  const std::string file = named ? FindOnPath(program, search_path) : program;
  if (file.empty() || !fs::exists(file, error)) {
    return arrow::Status::Invalid("there is no program '", program, "'", named ? " on PATH" : "",
                                  "; expected a program or a *.py file; check the name",
                                  named && fs::exists(program, error) ? ", or write ./" + program : std::string());
  }
  if (!IsProgram(file)) {
    return arrow::Status::Invalid("'", program, "' may not be run; expected an executable file; chmod +x it, or name ",
                                  "the program that runs it");
  }
  return Command{file, words};
}

arrow::Result<pid_t> StartRank(const Command& command, const std::map<std::string, std::string>& environment,
                               const Redirects& redirects, int first_own) {
  // Whatever needs memory comes before the fork: this process has threads.
  std::vector<std::string> arguments = command.arguments;
  std::vector<std::string> settings;
  for (const auto& [name, value] : environment) {
    settings.push_back(name + "=" + value);
  }
  const std::vector<char*> argv = Pointers(arguments);
  const std::vector<char*> envp = Pointers(settings);
  int failure[2];
  if (::pipe2(failure, O_CLOEXEC) != 0) {
    return arrow::Status::IOError("cannot open a pipe: ", ::strerror(errno), "; raise the open-file limit (ulimit -n)");
  }
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) {
    ::setpgid(0, 0);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) {
      ::_exit(1);  // the launcher ended before this was set
    }
    Redirect(redirects.in, 0);
    Redirect(redirects.out, 1);
    Redirect(redirects.error, 2);
    DefaultSignals();
    // Sockets of the store are opened without close-on-exec.
    ::close_range(static_cast<unsigned>(first_own), ~0U, CLOSE_RANGE_CLOEXEC);
    ::execve(command.file.c_str(), argv.data(), envp.data());
    const int error = errno;
    (void)!::write(failure[1], &error, sizeof(error));
    ::_exit(127);
  }
  const int fork_error = errno;
  ::close(failure[1]);
  int error = 0;
  const bool failed = child > 0 && ::read(failure[0], &error, sizeof(error)) == sizeof(error);
  ::close(failure[0]);
  if (child < 0) {
    return arrow::Status::IOError("cannot start a process: ", ::strerror(fork_error),
                                  "; use fewer ranks, or raise the limit of processes (ulimit -u)");
  }
  ::setpgid(child, child);
  if (failed) {
    ::waitpid(child, nullptr, 0);
    return arrow::Status::IOError("cannot run '", command.file, "': ", ::strerror(error),
                                  "; expected a program for this machine, or a script that begins with #!");
  }
  return child;
}

arrow::Result<Guard> Guard::Start() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return arrow::Status::IOError("cannot open a pipe: ", ::strerror(errno), "; raise the open-file limit (ulimit -n)");
  }
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[1]);
    GuardLoop(ends[0]);
  }
  const int error = errno;
  ::close(ends[0]);
  if (pid < 0) {
    ::close(ends[1]);
    return arrow::Status::IOError("cannot start a process: ", ::strerror(error),
                                  "; raise the limit of processes (ulimit -u)");
  }
  return Guard(pid, ends[1]);
}

Guard::Guard(Guard&& other) noexcept : pid_(other.pid_), pipe_(std::exchange(other.pipe_, -1)) {}

Guard::~Guard() {
  if (pipe_ >= 0) {
    ::close(pipe_);
    while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }
}

void Guard::Tell(pid_t word) {
  // The guard may have been killed; then there is nobody to tell.
  (void)!::write(pipe_, &word, sizeof(word));
}

void AdoptOrphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

void KillOrphans(pid_t spared) {
  // Each round may orphan the next generation. Killed processes end soon; the bound is for one stuck in the kernel.
  constexpr int kRounds = 1000;
  constexpr useconds_t kPause = 1000;
  for (int round = 0; round < kRounds; ++round) {
    bool left = false;
    for (const pid_t child : Children()) {
      if (child != spared) {
        left = true;
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, WNOHANG);
      }
    }
    if (!left) {
      return;
    }
    ::usleep(kPause);
  }
}

std::string SignalName(int signal) {
  const char* name = ::sigabbrev_np(signal);
  return name != nullptr ? std::string("SIG") + name : "signal " + std::to_string(signal);
}

}  // namespace cylon::tools
