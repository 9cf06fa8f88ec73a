// A rank's log on stderr.
#include "cylon/base/log.h"

#include <spdlog/sinks/stdout_sinks.h>

#include <array>
#include <utility>

namespace cylon {

namespace {

constexpr std::array<std::pair<std::string_view, spdlog::level::level_enum>, 6> kLevels = {{
    {"trace", spdlog::level::trace},
    {"debug", spdlog::level::debug},
    {"info", spdlog::level::info},
    {"warning", spdlog::level::warn},
    {"error", spdlog::level::err},
    {"off", spdlog::level::off},
}};

}  // namespace

arrow::Result<std::shared_ptr<Logger>> MakeLogger(int rank, const std::string& level) {
  for (const auto& [name, value] : kLevels) {
    if (name == level) {
      const std::string who = rank >= 0 ? "rank " + std::to_string(rank) : "no rank yet";
      auto logger = std::make_shared<Logger>(who, std::make_shared<spdlog::sinks::stderr_sink_mt>());
      logger->set_level(value);
      logger->set_pattern("%l [%n] %H:%M:%S.%e %v");
      return logger;
    }
  }
  return arrow::Status::Invalid(
      "the log level is '", level,
      "'; expected trace, debug, info, warning, error or off; set CYLON_LOG_LEVEL to one of them");
}

}  // namespace cylon
