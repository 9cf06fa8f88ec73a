/// The communicator that callers hold: hands calls to tasks, where the group answers them.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <string>

#include "cylon/base/co.h"
#include "cylon/comm/communicator.h"
#include "cylon/comm/endpoint.h"
#include "cylon/comm/rank_report.h"
#include "cylon/comm/tally.h"

namespace cylon::internal {

/// Shared by the communicators and contexts of one world at one rank.
struct Liveness {
  std::atomic<bool> closed{false};
  pid_t process;
  Duration progress_deadline{0};       // of a wait in which nothing moves; 0: none
  std::shared_ptr<RankReport> report;  ///< or none
  std::shared_ptr<CallTally> tally = std::make_shared<CallTally>();
  /// OK where calls may be made: the context is open, and this is the process that made it.
  arrow::Status Check() const;
  bool forked() const;
};

class GroupCommunicator final : public Communicator {
 public:
  GroupCommunicator(std::shared_ptr<Endpoint> endpoint, std::shared_ptr<Group> group,
                    std::shared_ptr<Liveness> liveness, arrow::MemoryPool* pool);
  ~GroupCommunicator() override;

  Rank rank() const override { return group_->rank(); }
  int size() const override { return group_->size(); }
  Executor& executor() override { return endpoint_->executor(); }
  const std::string& host(Rank rank) const override { return endpoint_->host(group_->ToWorld(rank)); }
  arrow::Status Check() const override;
  arrow::Status Wait(const arrow::Future<>& future, const AwaitedRanks& awaited) override;
  void GiveUp(const std::string& cause) override;

  arrow::Future<> BarrierAsync() override;
  arrow::Future<std::shared_ptr<arrow::Buffer>> AllReduceAsync(std::shared_ptr<arrow::Buffer> values, ElementType type,
                                                               ReduceOp op) override;
  arrow::Future<std::shared_ptr<arrow::Buffer>> ReduceAsync(std::shared_ptr<arrow::Buffer> values, ElementType type,
                                                            ReduceOp op, Rank root) override;
  arrow::Future<std::shared_ptr<arrow::Buffer>> BroadcastAsync(std::shared_ptr<arrow::Buffer> value,
                                                               Rank root) override;
  arrow::Future<Buffers> AllGatherAsync(std::shared_ptr<arrow::Buffer> value) override;
  arrow::Future<Buffers> GatherAsync(std::shared_ptr<arrow::Buffer> value, Rank root) override;
  arrow::Future<std::shared_ptr<arrow::Buffer>> ScatterAsync(Buffers values, Rank root) override;
  arrow::Future<Buffers> AllToAllAsync(Buffers values) override;
  arrow::Future<> SendAsync(Rank to, std::shared_ptr<arrow::Buffer> value, int64_t tag) override;
  arrow::Future<std::shared_ptr<arrow::Buffer>> ReceiveAsync(Rank from, int64_t tag) override;
  arrow::Future<Agreement> AgreeAsync(Proposal proposal) override;
  arrow::Result<std::shared_ptr<Communicator>> Split(int color, int key) override;

  Lanes& lanes() override { return endpoint_->lanes(); }
  ChannelId NextExchangeChannel() override;
  void CountExchange(int64_t bytes_sent, Duration time) override {
    liveness_->tally->AddExchange(size(), bytes_sent, time);
  }
  Rank ToWorld(Rank rank) const override { return group_->ToWorld(rank); }
  Rank FromWorld(Rank world_rank) const override { return group_->FromWorld(world_rank); }
  arrow::Future<> Revoked() override { return group_->revoked(); }
  std::function<void(Rank, const arrow::Status&)> TellOfLoss() override {
    return [weak = std::weak_ptr<Endpoint>(endpoint_)](Rank world_to, const arrow::Status& why) {
      if (const auto endpoint = weak.lock()) {
        endpoint->OnSendFailed(world_to, why);
      }
    };
  }
  void SetOperation(std::string operation) override { group_->SetOperation(std::move(operation)); }

 private:
  /// What all collectives share: refuses a call that does not fit, answers with alone() in a group of one, and
  /// otherwise runs algorithm(operation).
  template <typename T, typename Alone, typename Algorithm>
  arrow::Future<T> Make(Call call, const arrow::Status& fits, Alone alone, Algorithm algorithm);
  /// An operation for `call`, not begun. Calls are numbered in the order in which they are made.
  std::shared_ptr<Operation> NewOperation(Call call);
  /// A call that this rank refuses: its peers have to see it all the same, or they would wait.
  arrow::Status Refuse(Call call, const arrow::Status& why);
  arrow::Status CheckRoot(Rank root) const;
  /// Changes with every call and everything that comes or goes at this rank.
  int64_t Moved() const;
  /// Tells everybody that nothing has moved for `stalled_`, and returns that as an error.
  arrow::Status EndStall(const AwaitedRanks& awaited);

  std::shared_ptr<Endpoint> endpoint_;
  std::shared_ptr<Group> group_;
  std::shared_ptr<Liveness> liveness_;
  arrow::MemoryPool* pool_;
  uint64_t next_collective_ = 0;
  uint64_t next_exchange_ = 0;
  int64_t moved_ = 0;    // at the last look
  Duration stalled_{0};  // that waits have taken since it changed
};

}  // namespace cylon::internal
