// What the machine and its cgroups leave to this process: cgroup v2, v1, or both (a hybrid host).
#include "cylon/base/host_limits.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <thread>

namespace cylon {

namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

std::optional<std::string> FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  if (!std::getline(in, line)) {
    return std::nullopt;
  }
  return line;
}

/// The first number of the file; nullopt where there is none ("max", or no file).
std::optional<int64_t> Number(const std::string& path) {
  std::ifstream in(path);
  int64_t value = 0;
  return in >> value ? std::optional<int64_t>(value) : std::nullopt;
}

/// The number after `key` in a file of lines "key value"; 0 where it is missing.
int64_t Field(const std::string& path, const std::string& key) {
  std::ifstream in(path);
  std::string line;
  while (std::getline(in, line)) {
    std::istringstream words(line);
    std::string name;
    int64_t value = 0;
    if (words >> name >> value && name == key) {
      return value;
    }
  }
  return 0;
}

/// The limits of one cgroup folder, as files of either version.
struct Files {
  std::string limit, usage, stat, inactive, active;
};
const Files kMemoryV2 = {"/memory.max", "/memory.current", "/memory.stat", "inactive_file", "active_file"};
const Files kMemoryV1 = {"/memory.limit_in_bytes", "/memory.usage_in_bytes", "/memory.stat", "total_inactive_file",
                         "total_active_file"};

int64_t MemoryLeft(const std::string& folder, const Files& files) {
  const auto limit = Number(folder + files.limit);
  if (!limit.has_value()) {
    return kUnlimited;
  }
  // Cached file pages count as used, but the kernel drops them when the memory is wanted.
  const int64_t cache = Field(folder + files.stat, files.inactive) + Field(folder + files.stat, files.active);
  const int64_t used = std::max<int64_t>(0, Number(folder + files.usage).value_or(0) - cache);
  return std::max<int64_t>(0, *limit - used);
}

double CoresV2(const std::string& folder) {
  // "max 100000" or "150000 100000": microseconds of quota in each period.
  std::ifstream in(folder + "/cpu.max");
  double quota = 0;
  double period = 0;
  return in >> quota >> period && quota > 0 && period > 0 ? quota / period : HUGE_VAL;
}

double CoresV1(const std::string& folder) {
  const auto quota = Number(folder + "/cpu.cfs_quota_us").value_or(-1);
  const auto period = Number(folder + "/cpu.cfs_period_us").value_or(0);
  return quota > 0 && period > 0 ? static_cast<double>(quota) / static_cast<double>(period) : HUGE_VAL;
}

/// `mount` + `path` and every folder above it up to `mount`: a limit holds for all below. Inside a container the path
/// may not exist under the mount; the mount itself then has the limits.
template <typename Visit>
void WalkUp(const std::string& mount, std::string path, Visit visit) {
  while (true) {
    while (!path.empty() && path.back() == '/') {
      path.pop_back();
    }
    visit(mount + path);
    if (path.empty()) {
      return;
    }
    path.resize(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
  }
}

bool HasController(const std::string& list, const std::string& name) {
  return ("," + list + ",").find("," + name + ",") != std::string::npos;
}

int64_t MachineMemory(const std::string& root) {
  const int64_t available_kib = Field(root + "/proc/meminfo", "MemAvailable:");
  if (available_kib > 0) {
    return available_kib * 1024;
  }
  const int64_t total = static_cast<int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  return std::max<int64_t>(total, 0);
}

}  // namespace

HostLimits HostLimitsUnder(const std::string& root, int affinity_cores) {
  int64_t memory = MachineMemory(root);
  double cores = affinity_cores;
  std::ifstream groups(root + "/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    // "0::/path" is version 2; "4:cpu,cpuacct:/path" is version 1.
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1);
    const std::string mounts = root + "/sys/fs/cgroup";
    if (controllers.empty()) {
      // On a hybrid host version 2 is mounted in a folder of its own.
      const std::string mount = FirstLine(mounts + "/unified/cgroup.controllers") ? mounts + "/unified" : mounts;
      WalkUp(mount, path, [&](const std::string& folder) {
        memory = std::min(memory, MemoryLeft(folder, kMemoryV2));
        cores = std::min(cores, CoresV2(folder));
      });
    } else if (HasController(controllers, "memory")) {
      WalkUp(mounts + "/memory", path,
             [&](const std::string& folder) { memory = std::min(memory, MemoryLeft(folder, kMemoryV1)); });
    } else if (HasController(controllers, "cpu")) {
      WalkUp(mounts + "/cpu", path, [&](const std::string& folder) { cores = std::min(cores, CoresV1(folder)); });
    }
  }
  // A quota of one and a half cores keeps two threads busy most of the time, and starves three.
  return HostLimits{std::max(1, static_cast<int>(std::ceil(cores))), memory};
}

HostLimits DetectHostLimits() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) {
    cores = CPU_COUNT(&set);
  }
  return HostLimitsUnder("", std::max(1, cores));
}

}  // namespace cylon
