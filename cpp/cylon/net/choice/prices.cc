// Prices out of JSON.
#include "cylon/net/choice/prices.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "cylon/net/choice/prices_json.h"

namespace cylon {

namespace {

using Json = nlohmann::json;

constexpr double kMillion = 1e6;
constexpr double kGigabyte = 1e9;
constexpr double kHour = 3600;
/// A file of prices has a page.
constexpr std::streamsize kMostPriceBytes = 1 << 20;

arrow::Result<double> PriceAt(const Json& object, const std::string& where, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number() || !std::isfinite(found->get<double>()) ||
      found->get<double>() < 0) {
    return arrow::Status::Invalid("the prices have no '", key, "' in ", where, ", or one that is no number from 0 on");
  }
  return found->get<double>();
}

arrow::Result<std::string> TextAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_string()) {
    return arrow::Status::Invalid("the prices have no text '", key, "'");
  }
  return found->get<std::string>();
}

arrow::Result<const Json*> ObjectAt(const Json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) {
    return arrow::Status::Invalid("the prices have no object '", key, "'");
  }
  return &*found;
}

}  // namespace

ChannelPrice Prices::Of(std::string_view way) const {
  const bool served = way == "relay" || way == "redis" || way == "object";
  const auto found = channels.find(served ? way : std::string_view("direct"));
  return found == channels.end() ? ChannelPrice{} : found->second;
}

arrow::Result<Prices> ParsePrices(std::string_view json) {
  const auto parsed = Json::parse(json, nullptr, /*allow_exceptions=*/false);
  if (!parsed.is_object()) {
    return arrow::Status::Invalid("the prices are no JSON object");
  }
  Prices prices;
  ARROW_ASSIGN_OR_RAISE(prices.as_of, TextAt(parsed, "as_of"));
  ARROW_ASSIGN_OR_RAISE(prices.region, TextAt(parsed, "region"));
  ARROW_ASSIGN_OR_RAISE(const Json* rank, ObjectAt(parsed, "rank"));
  ARROW_ASSIGN_OR_RAISE(prices.rank_per_gib_second, PriceAt(*rank, "rank", "usd_per_gib_second"));
  ARROW_ASSIGN_OR_RAISE(const Json* channels, ObjectAt(parsed, "channels"));
  for (const auto& [name, channel] : channels->items()) {
    if (!channel.is_object()) {
      return arrow::Status::Invalid("the prices of channel '", name, "' are no object");
    }
    const std::string where = "channel '" + name + "'";
    ChannelPrice price;
    ARROW_ASSIGN_OR_RAISE(price.per_message, PriceAt(channel, where, "usd_per_million_messages"));
    ARROW_ASSIGN_OR_RAISE(price.per_byte, PriceAt(channel, where, "usd_per_gb"));
    ARROW_ASSIGN_OR_RAISE(price.per_second, PriceAt(channel, where, "usd_per_hour"));
    price.per_message /= kMillion;
    price.per_byte /= kGigabyte;
    price.per_second /= kHour;
    prices.channels.emplace(name, price);
  }
  return prices;
}

arrow::Result<Prices> ReadPrices(const std::string& path) {
  if (path.empty()) {
    return ParsePrices(internal::kPricesJson);
  }
  std::ifstream file(path, std::ios::binary);
  std::string text(kMostPriceBytes, '\0');
  if (!file) {
    return arrow::Status::Invalid("CYLON_PRICES is '", path, "', which cannot be read; unset it for the prices of ",
                                  "this version, whose form (prices.json) it has to have");
  }
  file.read(text.data(), kMostPriceBytes);
  text.resize(static_cast<size_t>(file.gcount()));
  auto prices = ParsePrices(text);
  return prices.ok() ? prices
                     : prices.status().WithMessage("CYLON_PRICES is '", path, "': ", prices.status().message());
}

}  // namespace cylon
