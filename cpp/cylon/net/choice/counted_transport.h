/// A transport beside which there is no choice: what goes over it is counted.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cylon/net/choice/choice_transport.h"
#include "cylon/net/choice/prices.h"

namespace cylon {

/// What one rank sends by its one transport. Thread-safe.
class SentCount {
 public:
  /// Of the transport that CYLON_TRANSPORT calls `name`, in a world of `world_size` ranks.
  SentCount(const std::string& name, int world_size, const Prices& prices);

  /// `relayed`: it passes a relay.
  void Add(Rank to, const Message& message, bool relayed);
  /// Straight, and of `punch` over the relay. Nobody has measured them, and their pairs are this rank's: those to whom
  /// it has sent, by the way of the last message.
  std::vector<ChannelUse> Uses() const;

 private:
  static constexpr int8_t kNone = -1;

  mutable std::mutex mutex_;
  std::vector<ChannelUse> uses_;
  std::vector<std::array<int8_t, kTraffics>> last_;  ///< by rank: position in uses_
};

/// The same as `transport`.
std::unique_ptr<Transport> CountSent(std::unique_ptr<Transport> transport, std::shared_ptr<SentCount> count);

}  // namespace cylon
