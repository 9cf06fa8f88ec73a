// A line for each event.
#include "server_log.h"

#include <array>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>

namespace cylon::tools {

namespace {

constexpr double kLinesPerSecond = 20;

/// "2026-11-30T10:00:00.123Z"
std::string Time(double unix_seconds) {
  const auto seconds = static_cast<std::time_t>(std::floor(unix_seconds));
  std::tm parts{};
  std::array<char, 32> text{};
  ::gmtime_r(&seconds, &parts);
  const size_t length = std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::array<char, 16> fraction{};
  std::snprintf(fraction.data(), fraction.size(), ".%03dZ",
                static_cast<int>((unix_seconds - static_cast<double>(seconds)) * 1000));
  return std::string(text.data(), length) + fraction.data();
}

std::string Quoted(const std::string& text) {
  // What others have sent is in it: JSON's quotes keep it on its line.
  return nlohmann::json(text).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace

std::string LogLine(const ServerEvent& event, bool json, double unix_seconds, uint64_t left_out) {
  const char* level = event.warning ? "warning" : "info";
  if (json) {
    nlohmann::ordered_json line{{"time", Time(unix_seconds)}, {"level", level}, {"event", event.what}};
    for (const auto& [name, value] : event.fields) {
      if (!value.empty()) {
        line[name] = value;
      }
    }
    if (left_out > 0) {
      line["left_out"] = left_out;
    }
    return line.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  }
  std::string line = Time(unix_seconds) + " " + level + " " + event.what;
  for (const auto& [name, value] : event.fields) {
    line += value.empty() ? "" : " " + name + "=" + Quoted(value);
  }
  return left_out > 0 ? line + " left_out=" + std::to_string(left_out) : line;
}

void ServerLog::Write(const ServerEvent& event, TimePoint now, double unix_seconds) {
  if (warnings_alone_ && !event.warning) {
    return;
  }
  if (lines_.Draw(now, 1, kLinesPerSecond) > Duration::zero()) {
    lines_.Draw(now, -1, kLinesPerSecond);  // nobody waits for it
    ++left_out_;
    return;
  }
  const std::string line = LogLine(event, json_, unix_seconds, std::exchange(left_out_, 0)) + "\n";
  // Nowhere else is there to tell that stderr is gone.
  static_cast<void>(std::fwrite(line.data(), 1, line.size(), out_));
  static_cast<void>(std::fflush(out_));
}

}  // namespace cylon::tools
