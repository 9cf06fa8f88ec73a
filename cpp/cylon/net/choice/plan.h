/// Which way each pair of ranks takes for what: measured by all, decided by one, known to all.
#pragma once

#include <arrow/result.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/net/choice/policy.h"
#include "cylon/net/message.h"

namespace cylon {

/// What a message is part of. All messages of one kind of channel go the same way, so that their order is kept; but for
/// the pieces of large ones (Message::piece_of), which go as tables do where that is better for so many bytes.
enum class Traffic : uint8_t {
  kCalls = 0,   ///< collectives, messages with a tag, control: what is waited for
  kTables = 1,  ///< exchanges: what has to get through
};
inline constexpr int kTraffics = 2;
/// What a decision is made for, in bytes: a small collective, and a chunk of an exchange.
inline constexpr std::array<double, kTraffics> kTypicalBytes = {1 << 10, 4 << 20};

inline Traffic TrafficOf(const ChannelId& channel) {
  return channel.kind == ChannelKind::kExchange ? Traffic::kTables : Traffic::kCalls;
}

/// What a pair may take: a channel, and whether its messages pass a relay there. A pair has one of a channel's ways:
/// that by which the channel has connected it.
struct Way {
  int channel = 0;
  bool relayed = false;
  ChannelPrice price{};
};

/// What one rank has seen.
struct Measurement {
  /// By channel, then by rank: seconds one way; below 0 where nothing came back.
  std::vector<std::vector<double>> latency_s;
  /// By channel, then by rank: whether messages pass a relay.
  std::vector<std::vector<bool>> relayed;
  /// By channel: to the next rank; 0 where nothing came back.
  std::vector<double> bytes_per_s;
};

/// The same at every rank.
struct Plan {
  int world_size = 0;
  std::vector<ChannelRates> rates;  ///< by way: medians over all pairs; latency below 0 where no pair has it
  std::vector<int8_t> ways;         ///< by traffic, lower and higher rank
  std::vector<uint8_t> large_from;  ///< by lower and higher rank: see LargeFrom, as a power of two

  int Of(Rank one, Rank other, Traffic traffic) const;
  /// The way of `message`.
  int Of(Rank one, Rank other, const Message& message) const;
  /// From so many bytes on a message of kCalls goes in pieces as kTables do.
  int64_t LargeFrom(Rank one, Rank other) const;
  void Set(Rank one, Rank other, Traffic traffic, int way);
  /// Whether any pair takes it.
  bool Uses(int way) const { return Pairs(way, Traffic::kCalls) > 0 || Pairs(way, Traffic::kTables) > 0; }
  int64_t Pairs(int way, Traffic traffic) const;
  /// The least of those pairs that take `way` for kTables only; INT64_MAX where there are none.
  int64_t LargeFrom(int way) const;
};

struct PlanInputs {
  Policy policy;
  double rank_per_second = 0;  ///< US dollars
  std::vector<Way> ways;       ///< of all channels, the one to prefer among equals first
};

/// `measurements` by rank. A pair of which either rank says that messages pass a relay is relayed. IOError that names
/// the pair where two ranks have no channel in common.
CYLON_EXPORT arrow::Result<Plan> MakePlan(const PlanInputs& inputs, const std::vector<Measurement>& measurements);

/// As bytes, and back: ProtocolError for what is none, for so many channels or ways, and ranks.
CYLON_EXPORT std::string EncodeMeasurement(const Measurement& measurement);
CYLON_EXPORT arrow::Result<Measurement> DecodeMeasurement(std::string_view bytes, int channels, int world_size);
CYLON_EXPORT std::string EncodePlan(const Plan& plan);
CYLON_EXPORT arrow::Result<Plan> DecodePlan(std::string_view bytes, int ways, int world_size);

}  // namespace cylon
