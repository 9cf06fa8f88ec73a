/// What decides between channels: time, money, or both.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "cylon/base/export.h"
#include "cylon/net/choice/prices.h"

namespace cylon {

/// How much money counts beside time.
struct Policy {
  double money = 0;  ///< 0: fastest; 1: cheapest
  /// "" or "fastest", "cheapest", or a number from 0 to 1; Invalid for anything else.
  static CYLON_EXPORT arrow::Result<Policy> Parse(std::string_view text);
};

/// What a channel does for one pair.
struct ChannelRates {
  double latency_s = 0;    ///< of a message of no size, one way
  double bytes_per_s = 0;  ///< of messages without end, one way, while all pairs of a ring send
};

struct Cost {
  double seconds = 0;
  double usd = 0;
};

/// What both ranks of a pair, at `rank_per_second` dollars each, and their share of the channel cost while a message of
/// `bytes` travels.
CYLON_EXPORT Cost CostOfMessage(const ChannelRates& rates, const ChannelPrice& price, double rank_per_second,
                                int world_size, double bytes);

/// The best of `costs`: each is compared with the least seconds and the least dollars that there are among them, so
/// that only ratios count. The first of equals. -1 for none.
CYLON_EXPORT int BestOf(const Policy& policy, std::span<const Cost> costs);

}  // namespace cylon
