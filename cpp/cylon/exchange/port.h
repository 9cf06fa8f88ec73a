/// An exchange's end of the lanes: what arrives waits here within a credit, what is sent is counted until it is gone.
#pragma once

#include <arrow/status.h>
#include <arrow/util/future.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cylon/comm/communicator.h"
#include "cylon/net/lanes.h"

namespace cylon::internal {

/// The thread that calls the exchange is on one side, tasks of the rank's executor are on the other; one mutex between
/// them. Ranks are those of the communicator.
class Port : public Receiver, public std::enable_shared_from_this<Port> {
 public:
  struct Arrival {
    Rank from = 0;
    Message message;
  };

  /// Opens the next exchange channel of `communicator`. `allowance`: bytes that may be granted, or here and not taken.
  static std::shared_ptr<Port> Open(Communicator& communicator, arrow::MemoryPool* pool, int64_t allowance);

  // From the calling thread.
  const ChannelId& channel() const { return channel_; }
  /// Sends `messages`, which together count as one until the last is gone.
  void Send(Rank to, std::vector<Message> messages);
  /// Sends to `to` that are not gone.
  int in_flight(Rank to) const;
  bool idle() const;
  std::optional<Arrival> Take();
  /// Why the channel is of no more use: no memory for what was to arrive, or a send that failed. (Not because its rank
  /// is lost: that is found out, and revokes the communicator.)
  arrow::Status failure() const;
  /// Why the communicator is revoked.
  arrow::Status revoked() const;
  /// Returns when anything above has changed since the last call; not OK: the wait was interrupted, or has lasted too
  /// long (Communicator::Wait).
  arrow::Status Wait(Communicator& communicator, const Communicator::AwaitedRanks& awaited);
  /// Now and then a wait that is over at once, for callers that have no need of one: waits are where Ctrl-C is heard.
  arrow::Status Look();
  /// Drops what is here and what still comes. Sends go on.
  void Close();
  int64_t bytes_sent() const;
  int64_t bytes_received() const;

  // In tasks.
  bool Admit(Rank from, int64_t bytes) override;
  void OnMessage(Rank from, Message message) override;
  void OnReceiveError(Rank from, const arrow::Status& status) override;

 private:
  struct Waiting {
    Arrival arrival;
    int64_t granted;  // bytes of the allowance that it holds
  };

  Port(Communicator& communicator, int64_t allowance);
  Rank FromWorld(Rank world) const;
  void Fail(const arrow::Status& status);
  void Sent(Rank to, const arrow::Status& status, bool last);
  template <typename Change>
  void Update(const Change& change);

  Lanes& lanes_;
  Executor& executor_;
  const std::function<void(Rank, const arrow::Status&)> tell_of_loss_;
  const ChannelId channel_;
  const int64_t allowance_;
  std::vector<Rank> to_world_;
  std::unordered_map<Rank, Rank> from_world_;
  TimePoint next_look_{};  // of the calling thread

  mutable std::mutex mutex_;  // guards what follows
  std::deque<Waiting> arrivals_;
  std::vector<std::deque<int64_t>> granted_;  // by source, not yet arrived
  std::vector<int> in_flight_;
  int64_t used_ = 0;      // of the allowance
  bool refused_ = false;  // somebody waits for the allowance
  bool closed_ = false;
  bool changed_ = false;
  std::optional<arrow::Future<>> waiter_;
  arrow::Status failure_;
  arrow::Status revoked_;
  int64_t bytes_sent_ = 0;
  int64_t bytes_received_ = 0;
};

}  // namespace cylon::internal
