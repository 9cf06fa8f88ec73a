// The launcher's word as a key and a value of the store.
#include "cylon/comm/launcher_word.h"

#include <nlohmann/json.hpp>

namespace cylon {

std::string LauncherWordKey(std::string_view job, std::string_view epoch, int64_t index) {
  return std::string(job) + "/" + std::string(epoch) + "/launcher-word/" + std::to_string(index);
}

std::string EncodeLauncherWord(const LauncherWord& word) {
  const nlohmann::json json{{"rank", word.rank}, {"cause", word.cause}};
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

arrow::Result<LauncherWord> DecodeLauncherWord(std::string_view text) {
  // A longer one is not parsed: what a parser makes of bytes takes tens of times as much.
  constexpr size_t kMostBytes = 64 << 10;
  const auto json = nlohmann::json::parse(text.size() <= kMostBytes ? text : std::string_view(), nullptr,
                                          /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("rank") || !json["rank"].is_number_integer() ||
      json["rank"].get<int64_t>() < 0 || json["rank"].get<int64_t>() > INT32_MAX || !json.contains("cause") ||
      !json["cause"].is_string()) {
    return ProtocolError("the launcher's word is not a JSON object with rank and cause: " +
                         std::string(text.substr(0, 200)));
  }
  return LauncherWord{json["rank"].get<Rank>(), json["cause"].get<std::string>()};
}

}  // namespace cylon
