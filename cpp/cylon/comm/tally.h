/// What the calls of one rank took, beside what the model of their channel foretold.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/comm/call.h"
#include "cylon/net/choice/policy.h"

namespace cylon::internal {

/// What a call costs every rank that takes part, if all begin it at once: `rounds` messages, one after the other, and
/// `bytes` in all, out of one rank.
struct CallShape {
  double rounds = 0;
  double bytes = 0;
};

/// Of the algorithms in collectives.h. `bytes` is what this rank brings or gets, whichever is more.
CallShape ShapeOf(CallKind kind, int size, double bytes);

/// The row of exchanges, which are no collectives.
inline constexpr const char* kExchangeName = "exchange";

/// Thread-safe. Of one world.
class CallTally {
 public:
  struct Row {
    std::string name;  ///< "AllReduce", "exchange"
    int64_t calls = 0;
    int64_t bytes = 0;  ///< that this rank brought or got
    double seconds = 0;
    double predicted_seconds = 0;  ///< 0 where nothing is known of the channel
  };

  /// What the channels of calls and of exchanges do, from now on.
  void SetRates(const ChannelRates& calls, const ChannelRates& tables);
  void AddCall(CallKind kind, int size, int64_t bytes, Duration time);
  void AddExchange(int size, int64_t bytes_sent, Duration time);
  /// Of what was called at all.
  std::vector<Row> Rows() const;

 private:
  mutable std::mutex mutex_;
  std::optional<ChannelRates> calls_;
  std::optional<ChannelRates> tables_;
  std::array<Row, kCallKinds + 1> rows_;  ///< by kind; 0: exchanges
};

}  // namespace cylon::internal
