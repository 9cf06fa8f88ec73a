// The communicator that callers hold.
#include "cylon/comm/group_communicator.h"

#include <unistd.h>

#include <algorithm>
#include <set>
#include <tuple>
#include <type_traits>

#include "cylon/base/failpoint.h"
#include "cylon/base/readable.h"
#include "cylon/comm/agree.h"
#include "cylon/comm/collectives.h"
#include "cylon/comm/reduce.h"

namespace cylon::internal {

namespace {

/// How often a wait looks whether anything has moved, within the time in which something has to.
constexpr int kLooks = 8;
constexpr auto kShortestLook = std::chrono::milliseconds(1);

arrow::Status StatusOf(const arrow::Status& status) { return status; }
template <typename T>
arrow::Status StatusOf(const arrow::Result<T>& result) {
  return result.status();
}

/// What a rank got by a call.
template <typename Outcome>
int64_t BytesOf(const Outcome& outcome) {
  int64_t bytes = 0;
  if constexpr (std::is_same_v<Outcome, arrow::Result<BufferPtr>>) {
    bytes = *outcome == nullptr ? 0 : (*outcome)->size();
  } else if constexpr (std::is_same_v<Outcome, arrow::Result<Buffers>>) {
    for (const auto& buffer : *outcome) {
      bytes += buffer->size();
    }
  }
  return bytes;
}

/// Begins `op`, runs its algorithm and ends it. What goes wrong at this rank alone (no memory) revokes the
/// communicator: the others cannot finish either.
template <typename T>
Co<T> Drive(OperationPtr op, Co<T> algorithm) {
  if (op->group().doubtful()) {
    auto revoked = op->group().revoked();
    (void)co_await revoked;
  }
  CYLON_CO_RETURN_NOT_OK(op->group().Begin(op));
  if (auto hit = CYLON_FAILPOINT_STATUS("collective.begin"); !hit.ok()) {
    op->group().OnLocalFailure(hit);
    op->End();
    co_return hit;
  }
  auto outcome = co_await algorithm;
  if (const auto status = StatusOf(outcome); !status.ok() && !op->failed()) {
    op->group().OnLocalFailure(status);
  }
  op->End();
  co_return outcome;
}

template <typename T>
arrow::Future<T> Launch(const OperationPtr& op, Co<T> algorithm) {
  auto drive = Drive<T>(op, std::move(algorithm));
  return Spawn(op->group().endpoint().executor(), std::move(drive));
}
arrow::Future<> Launch(const OperationPtr& op, Co<void> algorithm) {
  auto drive = Drive<void>(op, std::move(algorithm));
  return Spawn(op->group().endpoint().executor(), std::move(drive));
}

/// What each rank brings to a Split.
struct SplitProposal {
  int32_t color;
  int32_t key;
  uint32_t next_id;
};

/// All ranks of the parent compute the same: ids above every one that any of them knows, one for each color. So no
/// two communicators that share a rank share an id. nullptr for a negative color.
arrow::Result<std::shared_ptr<Group>> MakeSplitGroup(Endpoint& endpoint, const Group& parent,
                                                     const Buffers& proposals) {
  std::vector<SplitProposal> all(proposals.size());
  uint32_t first_id = 0;
  std::set<int32_t> colors;
  for (size_t i = 0; i < proposals.size(); ++i) {
    if (proposals[i]->size() != sizeof(SplitProposal)) {
      return ProtocolError("rank " + std::to_string(parent.members()[i]) + " sent " +
                               std::to_string(proposals[i]->size()) + " bytes as color and key of a Split",
                           parent.members()[i]);
    }
    std::memcpy(&all[i], proposals[i]->data(), sizeof(SplitProposal));
    first_id = std::max(first_id, all[i].next_id);
    if (all[i].color >= 0) {
      colors.insert(all[i].color);
    }
  }
  endpoint.ReserveIds(first_id + static_cast<uint32_t>(colors.size()));
  const int32_t color = all[static_cast<size_t>(parent.rank())].color;
  if (color < 0) {
    return std::shared_ptr<Group>();
  }
  std::vector<std::pair<int32_t, size_t>> order;  // key, rank
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].color == color) {
      order.emplace_back(all[i].key, i);
    }
  }
  std::sort(order.begin(), order.end());
  std::vector<Rank> members;
  for (const auto& [key, rank] : order) {
    members.push_back(parent.members()[rank]);
  }
  const auto index = static_cast<uint32_t>(std::distance(colors.begin(), colors.find(color)));
  return endpoint.MakeGroup(first_id + index, std::move(members));
}

Co<std::shared_ptr<Group>> RunSplit(std::shared_ptr<Endpoint> endpoint, std::shared_ptr<Group> parent, OperationPtr op,
                                    int color, int key) {
  const SplitProposal proposal{color, key, endpoint->next_id()};
  std::string bytes(sizeof(proposal), '\0');
  std::memcpy(bytes.data(), &proposal, sizeof(proposal));
  Buffers proposals{arrow::Buffer::FromString(std::move(bytes))};
  if (op != nullptr) {
    auto gather = RunAllGather(op, proposals[0]);
    CYLON_CO_ASSIGN_OR_RETURN(proposals, co_await gather);
  }
  co_return MakeSplitGroup(*endpoint, *parent, proposals);
}

arrow::Status MissingBuffer(const char* call) {
  return arrow::Status::Invalid(
      call, " got no buffer (nullptr); expected one, of any length; pass an empty buffer for no bytes");
}

bool Complete(const Buffers& values, int size) {
  return values.size() == static_cast<size_t>(size) &&
         std::all_of(values.begin(), values.end(), [](const auto& value) { return value != nullptr; });
}

arrow::Status WrongBuffers(const char* call, const Buffers& values, int size) {
  return arrow::Status::Invalid(call, " got ", values.size(), " buffers, or one that is nullptr; expected ", size,
                                ", one for each rank; pass an empty buffer for no bytes");
}

/// The proposals of all ranks. A rank that learns of an error may leave at once, and its leaving must not be what the
/// others hear of: then all wait until everybody knows.
Co<Buffers> RunAgree(OperationPtr op, std::shared_ptr<Group> group, BufferPtr bytes, Proposal own) {
  CYLON_CO_ASSIGN_OR_RETURN(Buffers proposals, co_await RunAllGather(op, bytes));
  const auto agreement = Conclude(proposals, group->members(), group->rank(), own);
  if (!agreement.ok()) {
    // That a rank has gone meanwhile is no news: it knew, and so does this one.
    (void)co_await RunBarrier(op);
  }
  co_return proposals;
}

}  // namespace

bool Liveness::forked() const { return ::getpid() != process; }

arrow::Status Liveness::Check() const {
  if (forked()) {
    return arrow::Status::Invalid("this context belongs to process ", process, " and is used in process ", ::getpid(),
                                  ", which was forked from it: its connections and threads stayed behind; make a new "
                                  "context in the child, or start processes by spawn");
  }
  if (closed.load()) {
    return arrow::Status::Invalid("the context of this communicator was closed; make a new one");
  }
  return arrow::Status::OK();
}

GroupCommunicator::GroupCommunicator(std::shared_ptr<Endpoint> endpoint, std::shared_ptr<Group> group,
                                     std::shared_ptr<Liveness> liveness, arrow::MemoryPool* pool)
    : endpoint_(std::move(endpoint)), group_(std::move(group)), liveness_(std::move(liveness)), pool_(pool) {}

GroupCommunicator::~GroupCommunicator() {
  if (!liveness_->Check().ok() || group_->id() == kWorldCommunicator) {
    return;
  }
  auto* executor = &endpoint_->executor();
  executor->Post([endpoint = std::move(endpoint_), group = std::move(group_)] {
    if (!endpoint->closed()) {
      endpoint->ForgetGroup(group);
    }
  });
}

arrow::Status GroupCommunicator::Check() const {
  ARROW_RETURN_NOT_OK(liveness_->Check());
  return group_->Check();
}

int64_t GroupCommunicator::Moved() const {
  const auto& lanes = endpoint_->lanes();
  return lanes.bytes_sent() + lanes.bytes_received() + group_->messages() +
         static_cast<int64_t>(next_collective_ + next_exchange_);
}

arrow::Status GroupCommunicator::Wait(const arrow::Future<>& future, const AwaitedRanks& awaited) {
  const RankReport::Wait reported(liveness_->report.get(), *group_, awaited);
  const Duration limit = liveness_->progress_deadline;
  if (limit == Duration::zero() || size() == 1 || future.is_finished()) {
    return executor().Wait(future);
  }
  // Only waiting counts, over as many waits as it takes: what a rank computes in between is no stall.
  auto look = [&, before = executor().Now()]() mutable {
    const auto now = executor().Now();
    stalled_ += now - std::exchange(before, now);
    if (const auto moved = Moved(); moved != moved_) {
      moved_ = moved;
      stalled_ = Duration::zero();
    }
  };
  look();
  while (true) {
    const auto until = executor().Now() + std::max<Duration>(std::min(limit - stalled_, limit / kLooks), kShortestLook);
    auto status = executor().Wait(future, until);
    look();
    if (future.is_finished()) {
      return arrow::Status::OK();  // be it between the end of the wait and now
    }
    if (!IsError(status, ErrorKind::kDeadline)) {
      return status;
    }
    if (stalled_ >= limit) {
      return EndStall(awaited);
    }
  }
}

arrow::Status GroupCommunicator::EndStall(const AwaitedRanks& awaited) {
  std::set<Rank> others;
  for (const Rank rank : awaited ? awaited() : std::vector<Rank>()) {
    others.insert(rank);
  }
  const double stalled = std::chrono::duration<double>(stalled_).count();
  const double limit = std::chrono::duration<double>(liveness_->progress_deadline).count();
  auto report = [group = group_, others, stalled, limit]() mutable {
    others.merge(group->Awaited());
    std::vector<Rank> named;
    for (const Rank rank : others) {
      if (rank != group->rank()) {
        named.push_back(group->ToWorld(rank));
      }
    }
    std::ranges::sort(named);
    uint64_t sequence = 0;
    const std::string operation = group->FirstUnfinished(&sequence);
    Finding finding;
    finding.source = Finding::Source::kDisagreement;
    finding.kind = ErrorKind::kDeadline;
    finding.rank = group->ToWorld(group->rank());
    finding.text = "rank " + std::to_string(finding.rank) + " has waited " + ReadableSeconds(stalled) +
                   (operation.empty() ? "" : " in " + operation) +
                   (sequence == 0 ? "" : " (operation " + std::to_string(sequence) + ")") +
                   (named.empty() ? "" : " for " + ReadableRanks(named)) +
                   ", and nothing has moved there; expected progress within " + ReadableSeconds(limit) +
                   " (progress_deadline_s); look at what " +
                   (named.empty()       ? "the other ranks"
                    : named.size() == 1 ? "that rank"
                                        : "those ranks") +
                   " did, or raise CYLON_PROGRESS_DEADLINE";
    group->Report(finding);
    return arrow::Status::OK();
  };
  ARROW_RETURN_NOT_OK(executor().RunTask(std::move(report)));
  ARROW_RETURN_NOT_OK(executor().Wait(group_->revoked()));
  return Check();
}

void GroupCommunicator::GiveUp(const std::string& cause) {
  if (liveness_->Check().ok()) {
    endpoint_->executor().Post([endpoint = endpoint_, cause] { endpoint->GiveUp(cause); });
  }
}

OperationPtr GroupCommunicator::NewOperation(Call call) {
  call.within = group_->operation();
  call.site = call_site();
  ++next_collective_;
  if (liveness_->report) {
    liveness_->report->OnCall(call, next_collective_);
  }
  return std::make_shared<Operation>(group_, group_->Channel(ChannelKind::kCollective, next_collective_),
                                     std::move(call));
}

arrow::Status GroupCommunicator::Refuse(Call call, const arrow::Status& why) {
  if (size() > 1 && Check().ok()) {
    call.invalid = true;
    endpoint_->executor().Post([op = NewOperation(std::move(call))] {
      if (op->group().Begin(op).ok()) {
        op->End();
      }
    });
  }
  return why;
}

arrow::Status GroupCommunicator::CheckRoot(Rank root) const {
  if (root < 0 || root >= size()) {
    return arrow::Status::Invalid("root is ", root, "; expected a rank of this communicator, 0 to ", size() - 1);
  }
  return arrow::Status::OK();
}

template <typename T, typename Alone, typename Algorithm>
arrow::Future<T> GroupCommunicator::Make(Call call, const arrow::Status& fits, Alone alone, Algorithm algorithm) {
  if (auto status = liveness_->Check(); !status.ok()) {
    return arrow::Future<T>::MakeFinished(status);
  }
  if (!fits.ok()) {
    return arrow::Future<T>::MakeFinished(Refuse(std::move(call), fits));
  }
  if (size() == 1) {
    auto status = group_->Check(ToText(call));
    return status.ok() ? arrow::Future<T>::MakeFinished(alone()) : arrow::Future<T>::MakeFinished(status);
  }
  const auto kind = call.kind;
  const int64_t bytes = call.bytes;
  auto op = NewOperation(std::move(call));
  const auto began = executor().Now();
  auto outcome = Launch(op, algorithm(op));
  outcome.AddCallback(
      [tally = liveness_->tally, &clock = executor(), kind, bytes, size = size(), began](const auto& result) {
        if (StatusOf(result).ok()) {
          tally->AddCall(kind, size, std::max(bytes, BytesOf(result)), clock.Now() - began);
        }
      });
  return outcome;
}

arrow::Future<> GroupCommunicator::BarrierAsync() {
  return Make<arrow::internal::Empty>(
      Call{.kind = CallKind::kBarrier}, arrow::Status::OK(), [] { return arrow::Status::OK(); }, RunBarrier);
}

arrow::Future<BufferPtr> GroupCommunicator::AllReduceAsync(BufferPtr values, ElementType type, ReduceOp op) {
  const Call call{.kind = CallKind::kAllReduce, .type = type, .reduce = op, .bytes = values ? values->size() : -1};
  const auto fits = values ? CheckReduction(type, op, values->size()) : MissingBuffer("AllReduce");
  return Make<BufferPtr>(
      call, fits, [&] { return values; },
      [&](const OperationPtr& operation) { return RunAllReduce(operation, values, pool_); });
}

arrow::Future<BufferPtr> GroupCommunicator::ReduceAsync(BufferPtr values, ElementType type, ReduceOp op, Rank root) {
  const Call call{
      .kind = CallKind::kReduce, .type = type, .reduce = op, .root = root, .bytes = values ? values->size() : -1};
  auto fits = values ? CheckReduction(type, op, values->size()) : MissingBuffer("Reduce");
  fits &= CheckRoot(root);
  return Make<BufferPtr>(
      call, fits, [&] { return values; },
      [&](const OperationPtr& operation) { return RunReduce(operation, values, pool_); });
}

arrow::Future<BufferPtr> GroupCommunicator::BroadcastAsync(BufferPtr value, Rank root) {
  auto fits = CheckRoot(root);
  if (fits.ok() && rank() == root && !value) {
    fits = MissingBuffer("Broadcast at its root");
  }
  return Make<BufferPtr>(
      Call{.kind = CallKind::kBroadcast, .root = root}, fits, [&] { return value; },
      [&](const OperationPtr& operation) { return RunBroadcast(operation, value); });
}

arrow::Future<Buffers> GroupCommunicator::AllGatherAsync(BufferPtr value) {
  const auto fits = value ? arrow::Status::OK() : MissingBuffer("AllGather");
  return Make<Buffers>(
      Call{.kind = CallKind::kAllGather}, fits, [&] { return Buffers{value}; },
      [&](const OperationPtr& operation) { return RunAllGather(operation, value); });
}

arrow::Future<Buffers> GroupCommunicator::GatherAsync(BufferPtr value, Rank root) {
  const auto fits = value ? CheckRoot(root) : MissingBuffer("Gather");
  return Make<Buffers>(
      Call{.kind = CallKind::kGather, .root = root}, fits, [&] { return Buffers{value}; },
      [&](const OperationPtr& operation) { return RunGather(operation, value); });
}

arrow::Future<BufferPtr> GroupCommunicator::ScatterAsync(Buffers values, Rank root) {
  auto fits = CheckRoot(root);
  if (fits.ok() && rank() == root && !Complete(values, size())) {
    fits = WrongBuffers("Scatter at its root", values, size());
  }
  return Make<BufferPtr>(
      Call{.kind = CallKind::kScatter, .root = root}, fits, [&] { return values[0]; },
      [&](const OperationPtr& operation) { return RunScatter(operation, std::move(values)); });
}

arrow::Future<Buffers> GroupCommunicator::AllToAllAsync(Buffers values) {
  const auto fits = Complete(values, size()) ? arrow::Status::OK() : WrongBuffers("AllToAll", values, size());
  return Make<Buffers>(
      Call{.kind = CallKind::kAllToAll}, fits, [&] { return values; },
      [&](const OperationPtr& operation) { return RunAllToAll(operation, std::move(values)); });
}

arrow::Future<Agreement> GroupCommunicator::AgreeAsync(Proposal proposal) {
  auto bytes = EncodeProposal(proposal, call_site());
  return Make<Buffers>(
             Call{.kind = CallKind::kAgree}, arrow::Status::OK(), [&] { return Buffers{bytes}; },
             [&](const OperationPtr& operation) { return RunAgree(operation, group_, bytes, proposal); })
      .Then([group = group_, proposal](const Buffers& proposals) {
        return Conclude(proposals, group->members(), group->rank(), proposal);
      });
}

arrow::Result<std::shared_ptr<Communicator>> GroupCommunicator::Split(int color, int key) {
  ARROW_RETURN_NOT_OK(liveness_->Check());
  if (color < -1) {
    return Refuse(Call{.kind = CallKind::kSplit},
                  arrow::Status::Invalid("color of a Split is ", color,
                                         "; expected 0 or more, or -1 for no part in any of the new communicators"));
  }
  arrow::Future<std::shared_ptr<Group>> made;
  if (size() == 1) {
    ARROW_RETURN_NOT_OK(Check());
    made = Spawn(executor(), RunSplit(endpoint_, group_, nullptr, color, key));
  } else {
    auto op = NewOperation(Call{.kind = CallKind::kSplit});
    made = Launch(op, RunSplit(endpoint_, group_, op, color, key));
  }
  ARROW_ASSIGN_OR_RAISE(auto group, Await(made));
  if (group == nullptr) {
    return std::shared_ptr<Communicator>();
  }
  return std::make_shared<GroupCommunicator>(endpoint_, std::move(group), liveness_, pool_);
}

arrow::Future<> GroupCommunicator::SendAsync(Rank to, BufferPtr value, int64_t tag) {
  auto status = liveness_->Check();
  if (status.ok() && (to < 0 || to >= size() || tag < 0 || !value)) {
    status = arrow::Status::Invalid("Send to rank ", to, " with tag ", tag, value ? "" : " and no buffer (nullptr)",
                                    "; expected a rank from 0 to ", size() - 1, ", a tag of 0 or more and a buffer");
  }
  if (!status.ok()) {
    return arrow::Future<>::MakeFinished(status);
  }
  auto done = arrow::Future<>::Make();
  executor().Post([group = group_, to, value = std::move(value), tag, done]() mutable {
    group->Send(to, std::move(value), static_cast<uint64_t>(tag))
        .AddCallback([done](const arrow::Status& sent) mutable { done.MarkFinished(sent); });
  });
  return done;
}

arrow::Future<BufferPtr> GroupCommunicator::ReceiveAsync(Rank from, int64_t tag) {
  auto status = liveness_->Check();
  if (status.ok() && (from < 0 || from >= size() || tag < 0)) {
    status = arrow::Status::Invalid("Receive from rank ", from, " with tag ", tag, "; expected a rank from 0 to ",
                                    size() - 1, " and a tag of 0 or more");
  }
  if (!status.ok()) {
    return arrow::Future<BufferPtr>::MakeFinished(status);
  }
  auto done = arrow::Future<BufferPtr>::Make();
  executor().Post([group = group_, from, tag, done]() mutable {
    group->Receive(from, static_cast<uint64_t>(tag)).AddCallback([done](const arrow::Result<BufferPtr>& value) mutable {
      done.MarkFinished(value);
    });
  });
  return done;
}

ChannelId GroupCommunicator::NextExchangeChannel() { return group_->Channel(ChannelKind::kExchange, ++next_exchange_); }

}  // namespace cylon::internal
