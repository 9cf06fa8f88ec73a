// Time and money, weighed.
#include "cylon/net/choice/policy.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

namespace cylon {

namespace {

/// Below what anybody measures or pays for one message: keeps ratios finite.
constexpr double kLeastSeconds = 1e-9;
constexpr double kLeastUsd = 1e-15;

}  // namespace

arrow::Result<Policy> Policy::Parse(std::string_view text) {
  if (text.empty() || text == "fastest") {
    return Policy{0};
  }
  if (text == "cheapest") {
    return Policy{1};
  }
  double money = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), money);
  if (error != std::errc() || end != text.data() + text.size() || !(money >= 0 && money <= 1)) {
    return arrow::Status::Invalid("policy is '", text,
                                  "'; expected 'fastest', 'cheapest', or how much money counts beside time, a number "
                                  "from 0 to 1; set CYLON_POLICY");
  }
  return Policy{money};
}

Cost CostOfMessage(const ChannelRates& rates, const ChannelPrice& price, double rank_per_second, int world_size,
                   double bytes) {
  Cost cost;
  cost.seconds = rates.latency_s + bytes / rates.bytes_per_s;
  // A server runs for all pairs at once, half as many as there are ranks.
  const double share = 2.0 / std::max(world_size, 2);
  cost.usd =
      price.per_message + bytes * price.per_byte + cost.seconds * (2 * rank_per_second + share * price.per_second);
  return cost;
}

int BestOf(const Policy& policy, std::span<const Cost> costs) {
  double least_seconds = std::numeric_limits<double>::infinity();
  double least_usd = std::numeric_limits<double>::infinity();
  for (const auto& cost : costs) {
    least_seconds = std::min(least_seconds, std::max(cost.seconds, kLeastSeconds));
    least_usd = std::min(least_usd, std::max(cost.usd, kLeastUsd));
  }
  int best = -1;
  double best_score = std::numeric_limits<double>::infinity();
  for (size_t i = 0; i < costs.size(); ++i) {
    const double score = (1 - policy.money) * std::max(costs[i].seconds, kLeastSeconds) / least_seconds +
                         policy.money * std::max(costs[i].usd, kLeastUsd) / least_usd;
    if (score < best_score) {
      best = static_cast<int>(i);
      best_score = score;
    }
  }
  return best;
}

}  // namespace cylon
