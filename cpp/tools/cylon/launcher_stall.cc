// Processor time and signal masks out of /proc.
#include "launcher_stall.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>

namespace cylon::tools {

namespace {

namespace fs = std::filesystem;

/// Of a limit of 10 s a look is due every second: a report is at most a tenth late.
constexpr int kLooksPerLimit = 10;
constexpr auto kLongestPause = std::chrono::seconds(1);
/// A rank that is stuck answers after 1 s.
constexpr auto kTimeToAnswer = std::chrono::seconds(2);
constexpr double kIdleShare = 0.02;
/// The kernel counts in ticks of 10 ms; one that was begun and one that was ended may be counted too much.
constexpr double kTickSlack = 0.02;

struct ProcessTimes {
  pid_t pid = 0;
  pid_t group = 0;
  double seconds = 0;
};

/// proc(5), stat: pid (name) state ppid pgrp session tty tpgid flags minflt cminflt majflt cmajflt utime stime …
std::optional<ProcessTimes> ReadProcess(const fs::path& folder, pid_t pid) {
  std::ifstream file(folder / "stat");
  std::string text;
  if (!std::getline(file, text)) {
    return std::nullopt;  // it has ended meanwhile
  }
  std::istringstream fields(text.substr(std::min(text.rfind(')') + 1, text.size())));
  std::string skipped;
  ProcessTimes process{pid};
  fields >> skipped >> skipped >> process.group;
  for (int i = 0; i < 8; ++i) {
    fields >> skipped;
  }
  double user = 0;
  double system = 0;
  if (!(fields >> user >> system)) {
    return std::nullopt;
  }
  process.seconds = (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
  return process;
}

std::vector<ProcessTimes> ProcessesOf(const std::vector<pid_t>& groups) {
  const std::set<pid_t> wanted(groups.begin(), groups.end());
  std::vector<ProcessTimes> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename();
    pid_t pid = 0;
    const auto [end, wrong] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (wrong != std::errc() || end != name.data() + name.size()) {
      continue;
    }
    if (auto process = ReadProcess(entry.path(), pid); process && wanted.contains(process->group)) {
      found.push_back(*process);
    }
  }
  return found;
}

bool Catches(pid_t pid, int signal) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  constexpr std::string_view kCaught = "SigCgt:\t";
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(kCaught)) {
      uint64_t mask = 0;
      std::from_chars(line.data() + kCaught.size(), line.data() + line.size(), mask, 16);
      return (mask >> (signal - 1) & 1) != 0;
    }
  }
  return false;
}

}  // namespace

std::vector<pid_t> AskForReports(const std::vector<pid_t>& groups) {
  std::set<pid_t> silent(groups.begin(), groups.end());
  for (const auto& process : ProcessesOf(groups)) {
    if (Catches(process.pid, SIGUSR1) && ::kill(process.pid, SIGUSR1) == 0) {
      silent.erase(process.group);
    }
  }
  return {silent.begin(), silent.end()};
}

std::map<pid_t, double> StallWatch::ProcessorTimes(const std::vector<pid_t>& groups) {
  std::map<pid_t, double> times;
  for (const auto& process : ProcessesOf(groups)) {
    times[process.group] += process.seconds;
  }
  return times;
}

void StallWatch::OnOutput(Clock::time_point now) {
  if (now >= answers_until_) {
    Restart(now);
  }
}

void StallWatch::Restart(Clock::time_point now) {
  since_ = now;
  report_after_ = limit_;
  at_start_.reset();
}

bool StallWatch::Judge(const std::map<pid_t, double>& times, Clock::time_point now) {
  next_look_ = now + std::min<Clock::duration>(limit_ / kLooksPerLimit, kLongestPause);
  if (!at_start_) {
    since_ = now;
    at_start_ = times;
    return false;
  }
  const double allowed = kTickSlack + kIdleShare * std::chrono::duration<double>(now - since_).count();
  for (const auto& [group, seconds] : times) {
    const auto before = at_start_->find(group);
    if (before == at_start_->end() || seconds - before->second > allowed) {
      Restart(now);
      at_start_ = times;
      return false;
    }
  }
  if (now - since_ < report_after_) {
    return false;
  }
  report_after_ = 2 * (now - since_);
  answers_until_ = now + kTimeToAnswer;
  return true;
}

}  // namespace cylon::tools
