// `cylon doctor`: what is here, and what is wrong with it.
#include "doctor.h"

#include <arrow/config.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <iomanip>
#include <iostream>
#include <sstream>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/failpoint.h"
#include "cylon/base/options.h"
#include "cylon/base/resources.h"
#include "cylon/bootstrap/store.h"
#include "cylon/net/object/object_place.h"
#include "cylon/net/shm/shm_path.h"
#include "launcher_process.h"

namespace cylon::tools {

namespace {

/// Every pair of ranks may hold a connection, beside files.
constexpr rlim_t kFewDescriptors = 256;

void Line(const std::string& name, const std::string& value) {
  std::cout << std::left << std::setw(16) << name << value << "\n";
}

std::string Bytes(int64_t bytes) {
  std::ostringstream text;
  constexpr double kGiB = 1 << 30;
  text << std::fixed << std::setprecision(1) << static_cast<double>(bytes) / kGiB << " GiB";
  return text.str();
}

std::string Compiler() {
#if defined(__clang__)
  return std::string("clang ") + __clang_version__;
#else
  return std::string("g++ ") + __VERSION__;
#endif
}

/// The first line that `command` prints; empty where it fails.
std::string FirstLineOf(const Command& command, const std::map<std::string, std::string>& environment) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return "";
  }
  const auto child = StartRank(command, environment, Redirects{-1, ends[1], ends[1]}, FirstFreeDescriptor());
  ::close(ends[1]);
  std::string text;
  char bytes[4096];
  for (ssize_t got = 0; child.ok() && (got = ::read(ends[0], bytes, sizeof(bytes))) > 0;) {
    text.append(bytes, static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  if (!child.ok() || ::waitpid(*child, &status, 0) < 0 || status != 0) {
    return "";
  }
  return text.substr(0, text.find('\n'));
}

/// What the memory of this host takes is tried, as a container may lack it.
void ShowTransports() {
  AsioExecutor executor("doctor");
  const auto shm = executor.RunTask([&] { return ListenShm(executor, {}).status(); });
  Line("Transports", "auto: shm between processes of a host, tcp between hosts; inproc between threads");
  if (!shm.ok()) {
    Line("  shm", "not here, tcp takes its place: " + shm.message());
  }
}

void ShowPython(const std::map<std::string, std::string>& environment) {
  auto value = [&](const char* name) {
    const auto found = environment.find(name);
    return found == environment.end() ? std::string() : found->second;
  };
  const std::string python = FindPython(value("CYLON_PYTHON"), value("PATH"));
  if (python.empty()) {
    Line("Python", "not found; *.py programs need python3 on PATH, or CYLON_PYTHON");
    return;
  }
  auto ask = [&](const std::string& code) {
    const std::string answer = FirstLineOf(Command{python, {python, "-c", code}}, environment);
    return answer.empty() ? std::string("not found") : answer;
  };
  Line("Python", python + ", " + ask("import platform; print(platform.python_version())"));
  // Looking is cheaper than importing, and a broken module cannot hang it. A build tree has no version to show.
  for (const std::string module : {"pyarrow", "pycylon"}) {
    Line("  " + module, ask("import importlib.metadata as m, importlib.util as u\n"
                            "try:\n  print(m.version('" +
                            module +
                            "'))\n"
                            "except m.PackageNotFoundError:\n  print(u.find_spec('" +
                            module + "').origin)\n"));
  }
}

/// Only of builds that have them.
void ShowFailpoints() {
  for (const auto& row : FailpointTable()) {
    Line(&row == FailpointTable().data() ? "Failpoints" : "", std::string(row.name) + ": " + std::string(row.meaning));
  }
}

void ShowVariables(const std::map<std::string, std::string>& environment) {
  bool any = false;
  for (const auto& [name, value] : environment) {
    if (name.starts_with("CYLON_")) {
      any = true;
      const bool secret = (name == "CYLON_SECRET" || name == "CYLON_TICKET") && !value.empty();
      const std::string shown = secret                                           ? "(set, not shown)"
                                : name == "CYLON_STORE" || name == "CYLON_REDIS" ? ReadableStore(value)
                                : name == "CYLON_OBJECT_STORE"                   ? ReadableObjectStore(value)
                                                                                 : value;
      Line("  " + name, (name.size() < 14 ? "" : " ") + shown);
    }
  }
  if (!any) {
    std::cout << "  none\n";
  }
}

}  // namespace

int Doctor(const std::map<std::string, std::string>& environment) {
  std::vector<std::string> problems;
  Line("Cylon", CYLON_VERSION);
  Line("Arrow", arrow::GetBuildInfo().version_string);
  Line("Compiler", Compiler());
  Line("OpenSSL", ::OpenSSL_version(OPENSSL_VERSION));
  ShowTransports();
  ShowPython(environment);
  ShowFailpoints();

  const HostLimits limits = DetectHostLimits();
  Line("Cores", std::to_string(limits.cores) + " for this process (" + std::to_string(::sysconf(_SC_NPROCESSORS_ONLN)) +
                    " in the machine)");
  const auto machine = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  Line("Memory", Bytes(limits.memory_bytes) + " left by machine and cgroup (" + Bytes(machine) + " in the machine)");

  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  Line("Open files", "at most " + std::to_string(files.rlim_cur));
  if (files.rlim_cur < kFewDescriptors) {
    problems.push_back("at most " + std::to_string(files.rlim_cur) + " files may be open; expected at least " +
                       std::to_string(kFewDescriptors) + "; raise the limit with ulimit -n");
  }

  const auto options = OptionsFrom(environment);
  if (options.ok()) {
    const auto resources = Resources::Make(*options);
    const std::string spill = resources.ok() ? (*resources)->options().spill_directory : options->spill_directory;
    std::error_code error;
    const auto space = std::filesystem::space(spill.empty() ? "/tmp" : spill, error);
    Line("Spill folder", (spill.empty() ? "/tmp" : spill) + ", " +
                             (error ? error.message() : Bytes(static_cast<int64_t>(space.available)) + " free"));
    if (resources.ok()) {
      const auto& chosen = (*resources)->options();
      Line("One rank gets", std::to_string(chosen.threads) + " threads, " + Bytes(chosen.memory_bytes) + " of memory");
    } else {
      problems.push_back(resources.status().message());
    }
    const auto secret = ReadSecret(*options);
    if (!secret.ok()) {
      problems.push_back(secret.status().message());
    }
  } else {
    problems.push_back(options.status().message());
  }
  std::cout << "Variables that are set\n";
  ShowVariables(environment);

  for (const auto& problem : problems) {
    std::cout << "Problem: " << problem << "\n";
  }
  std::cout << (problems.empty() ? "No problems found\n" : "");
  return problems.empty() ? 0 : 1;
}

}  // namespace cylon::tools
