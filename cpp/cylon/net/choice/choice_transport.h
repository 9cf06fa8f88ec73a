/// Several transports as one: each pair of ranks takes the one that is best for it, by a model of time and money whose
/// figures are measured when the world forms.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/net/choice/plan.h"
#include "cylon/net/transport.h"

namespace cylon {

/// What transports call a way that passes a relay (see Transport::way).
inline constexpr const char* kRelayWay = "relay";

/// One of the transports between which there is a choice.
struct Channel {
  std::string name;
  std::unique_ptr<Transport> transport;
  ChannelPrice price;
  /// Of messages that pass a relay, where it has one.
  std::optional<ChannelPrice> relay_price = std::nullopt;
};

struct ChoiceSettings {
  Policy policy{};
  double rank_per_second = 0;  ///< US dollars
  /// How long peers and channels have to answer; and then once more for the plan.
  Duration patience = std::chrono::seconds(10);
};

/// What went one way, out of this rank.
struct ChannelUse {
  std::string name;  ///< the channel's, or kRelayWay
  ChannelPrice price;
  ChannelRates rates;                      ///< as measured; latency below 0 where no pair has it
  std::array<int64_t, kTraffics> pairs{};  ///< of ranks that take it
  std::array<int64_t, kTraffics> messages{};
  std::array<int64_t, kTraffics> bytes{};
  /// Where it is taken for tables, and another for calls: from so many bytes on a message of a call goes here too.
  int64_t large_from = INT64_MAX;
};

/// In tasks of the executor, like a transport.
class CYLON_EXPORT ChoiceTransport : public Transport {
 public:
  /// Of rank `rank` of `world_size`; `channels` in the same order at every rank, the one to prefer among equals first.
  ///
  /// Start measures all channels to all peers (which connects all of them), tells rank 0, and finishes when the plan
  /// has come from there: a decision for each pair and kind of traffic, equal at all ranks. A channel that no pair
  /// takes is closed then. A peer is lost where it is lost on a channel that the pair takes; before there is a plan,
  /// where it is on all channels.
  static std::unique_ptr<ChoiceTransport> Make(Executor& executor, Rank rank, int world_size,
                                               std::vector<Channel> channels, const ChoiceSettings& settings);
  /// Tells what was measured, decided and sent so far; from any thread, and after the transport has gone too.
  virtual std::function<std::vector<ChannelUse>()> Teller() const = 0;
  std::vector<ChannelUse> Uses() const { return Teller()(); }
};

}  // namespace cylon
