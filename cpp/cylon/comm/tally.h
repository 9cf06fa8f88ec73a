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
    int64_t large_calls = 0;       ///< of the calls: whose data went as tables do
    int64_t large_bytes = 0;       ///< of their bytes
  };

  /// What the channels of calls and of exchanges do, from now on; and from how many bytes in a message on a call takes
  /// the latter.
  void SetRates(const ChannelRates& calls, const ChannelRates& tables, int64_t large_from = INT64_MAX);
  void AddCall(CallKind kind, int size, int64_t bytes, Duration time);
  void AddExchange(int size, int64_t bytes_sent, Duration time);
  /// Of what was called at all.
  std::vector<Row> Rows() const;

 private:
  mutable std::mutex mutex_;
  std::optional<ChannelRates> calls_;
  std::optional<ChannelRates> tables_;
  int64_t large_from_ = INT64_MAX;
  std::array<Row, kCallKinds + 1> rows_;  ///< by kind; 0: exchanges
};

}  // namespace cylon::internal
