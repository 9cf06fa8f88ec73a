// Figures as JSON.
#include "cylon/comm/explain.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cylon/comm/choice_network.h"

namespace cylon::internal {

namespace {

using Json = nlohmann::json;

Json TrafficOf(const ChannelUse& use, Traffic traffic) {
  const auto at = static_cast<size_t>(traffic);
  return {{"pairs", use.pairs[at]}, {"messages", use.messages[at]}, {"bytes", use.bytes[at]}};
}

double SentUsd(const ChannelUse& use, int64_t messages, int64_t bytes) {
  return static_cast<double>(messages) * use.price.per_message + static_cast<double>(bytes) * use.price.per_byte;
}

}  // namespace

double UsdOf(const ChannelUse& use, double seconds, int world_size) {
  const bool taken = use.pairs[0] + use.pairs[1] > 0;
  return SentUsd(use, use.messages[0] + use.messages[1], use.bytes[0] + use.bytes[1]) +
         (taken ? seconds * use.price.per_second / std::max(world_size, 1) : 0);
}

const ChannelUse* MostTaken(const std::vector<ChannelUse>& uses, Traffic traffic) {
  const auto most = std::max_element(uses.begin(), uses.end(), [&](const ChannelUse& one, const ChannelUse& other) {
    return one.pairs[static_cast<size_t>(traffic)] < other.pairs[static_cast<size_t>(traffic)];
  });
  return most == uses.end() ? nullptr : &*most;
}

arrow::Result<std::string> ExplainAsJson(const Options& options, Duration age, const std::vector<ChannelUse>& uses,
                                         const std::vector<CallTally::Row>& calls) {
  ARROW_ASSIGN_OR_RAISE(const auto prices, ReadPrices(options.prices));
  const double seconds = std::chrono::duration<double>(age).count();
  const double rank_per_second = RankPerSecond(options, prices);
  Json out;
  out["rank"] = options.rank;
  out["world_size"] = options.world_size;
  out["transport"] = options.transport.empty() ? "auto" : options.transport;
  out["policy"] = options.policy.empty() ? "fastest" : options.policy;
  out["prices"] = {{"as_of", prices.as_of}, {"region", prices.region}, {"rank_usd_per_second", rank_per_second}};
  out["seconds"] = seconds;
  double channels_usd = 0;
  out["channels"] = Json::array();
  for (const auto& use : uses) {
    const bool reaches = IsMeasured(use);
    const double usd = UsdOf(use, seconds, options.world_size);
    channels_usd += usd;
    out["channels"].push_back({{"name", use.name},
                               {"latency_s", reaches ? Json(use.rates.latency_s) : Json()},
                               {"bytes_per_s", reaches ? Json(use.rates.bytes_per_s) : Json()},
                               {"calls", TrafficOf(use, Traffic::kCalls)},
                               {"tables", TrafficOf(use, Traffic::kTables)},
                               {"large_from", use.large_from < INT64_MAX ? Json(use.large_from) : Json()},
                               {"usd", usd}});
  }
  out["operations"] = Json::array();
  for (const auto& row : calls) {
    const auto* channel = MostTaken(uses, row.name == kExchangeName ? Traffic::kTables : Traffic::kCalls);
    const double sent_usd = channel == nullptr
                                ? 0
                                : SentUsd(*channel, row.calls - row.large_calls, row.bytes - row.large_bytes) +
                                      SentUsd(*MostTaken(uses, Traffic::kTables), row.large_calls, row.large_bytes);
    const bool foretold = channel != nullptr && IsMeasured(*channel);
    out["operations"].push_back(
        {{"name", row.name},
         {"calls", row.calls},
         {"bytes", row.bytes},
         {"seconds", row.seconds},
         {"predicted_seconds", foretold ? Json(row.predicted_seconds) : Json()},
         {"usd", row.seconds * rank_per_second + sent_usd},
         {"predicted_usd", foretold ? Json(row.predicted_seconds * rank_per_second + sent_usd) : Json()}});
  }
  out["usd"] = {{"rank", seconds * rank_per_second}, {"channels", channels_usd}};
  return out.dump();
}

void TraceCosts(Tracer* tracer, const std::vector<ChannelUse>& uses, const std::vector<CallTally::Row>& calls,
                int world_size, TimePoint began, TimePoint ended) {
  if (!tracer->enabled() || std::none_of(uses.begin(), uses.end(), IsMeasured)) {
    return;
  }
  const auto micro = [](double seconds) { return static_cast<int64_t>(seconds * 1e6); };
  const double age = std::chrono::duration<double>(ended - began).count();
  for (const auto& use : uses) {
    tracer->Record("channel: " + use.name, began, ended,
                   {{"latency_us", micro(use.rates.latency_s)},
                    {"bytes_per_s", static_cast<int64_t>(use.rates.bytes_per_s)},
                    {"pairs_calls", use.pairs[0]},
                    {"pairs_tables", use.pairs[1]},
                    {"messages", use.messages[0] + use.messages[1]},
                    {"bytes", use.bytes[0] + use.bytes[1]},
                    {"nano_usd", static_cast<int64_t>(UsdOf(use, age, world_size) * 1e9)}});
  }
  for (const auto& row : calls) {
    tracer->Record("calls: " + row.name, began, ended,
                   {{"calls", row.calls},
                    {"bytes", row.bytes},
                    {"real_us", micro(row.seconds)},
                    {"predicted_us", micro(row.predicted_seconds)}});
  }
}

}  // namespace cylon::internal
