// Collectives with known answers; those on tables are in table_operations.cc.
#include "operations.h"

#include <cstring>
#include <functional>
#include <utility>

#include "diary.h"
#include "table_operations.h"

namespace cylon::chaos {

namespace {

using arrow::Status;
using Value = std::shared_ptr<arrow::Buffer>;

/// Bytes that only this pair has in this round.
Value Pattern(Rank from, Rank to, int64_t round, int64_t bytes) {
  std::string text(static_cast<size_t>(bytes), '\0');
  uint64_t state = (static_cast<uint64_t>(from) << 40) ^ (static_cast<uint64_t>(to) << 20) ^
                   static_cast<uint64_t>(round) ^ 0x9e3779b97f4a7c15U;
  for (size_t at = 0; at < text.size(); at += sizeof(state)) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    std::memcpy(text.data() + at, &state, std::min(sizeof(state), text.size() - at));
  }
  return arrow::Buffer::FromString(std::move(text));
}

Status Expect(const Value& found, const Value& expected, const std::string& what) {
  if (!found->Equals(*expected)) {
    return WrongAnswer(what + ": " + std::to_string(found->size()) + " bytes that differ from the " +
                       std::to_string(expected->size()) + " that were sent");
  }
  return Status::OK();
}

/// A size that all ranks can tell of a pair: mostly unequal, now and then nothing.
int64_t SizeOf(Rank from, Rank to, int64_t round, int64_t bytes) {
  return (from * 7 + to * 3 + round) % 5 == 0 ? 0 : bytes * (1 + (from + to + round) % 3) / 3;
}

Status RunBarrier(Context& context, int64_t round, int64_t) {
  auto& communicator = context.communicator();
  ARROW_RETURN_NOT_OK(communicator.Barrier());
  ARROW_ASSIGN_OR_RAISE(const int64_t least, communicator.AllReduce(round, ReduceOp::kMin));
  ARROW_RETURN_NOT_OK(communicator.Barrier());
  return least == round ? Status::OK() : WrongAnswer("a barrier let rounds mix");
}

Status RunAllReduce(Context& context, int64_t round, int64_t bytes) {
  const int64_t ranks = context.world_size();
  const int64_t count = std::max<int64_t>(bytes / 8, 1);
  std::string text(static_cast<size_t>(count * 8), '\0');
  for (int64_t i = 0; i < count; ++i) {
    const int64_t value = (context.rank() + 1) * (round + i);
    std::memcpy(text.data() + i * 8, &value, sizeof(value));
  }
  ARROW_ASSIGN_OR_RAISE(const auto sum, context.communicator().AllReduce(arrow::Buffer::FromString(std::move(text)),
                                                                         arrow::Type::INT64, ReduceOp::kSum));
  for (int64_t i = 0; i < count; ++i) {
    int64_t value = 0;
    std::memcpy(&value, sum->data() + i * 8, sizeof(value));
    if (value != ranks * (ranks + 1) / 2 * (round + i)) {
      return WrongAnswer("element " + std::to_string(i) + " of a sum is " + std::to_string(value));
    }
  }
  return Status::OK();
}

Status RunBroadcast(Context& context, int64_t round, int64_t bytes) {
  const auto root = static_cast<Rank>(round % context.world_size());
  const Value expected = Pattern(root, root, round, bytes);
  ARROW_ASSIGN_OR_RAISE(const auto found,
                        context.communicator().Broadcast(context.rank() == root ? expected : nullptr, root));
  return Expect(found, expected, "broadcast");
}

Status RunAllGather(Context& context, int64_t round, int64_t bytes) {
  const auto of = [&](Rank rank) { return Pattern(rank, rank, round, SizeOf(rank, rank, round, bytes)); };
  ARROW_ASSIGN_OR_RAISE(const auto found, context.communicator().AllGather(of(context.rank())));
  for (Rank rank = 0; rank < context.world_size(); ++rank) {
    ARROW_RETURN_NOT_OK(Expect(found[rank], of(rank), "allgather"));
  }
  return Status::OK();
}

Status RunAllToAll(Context& context, int64_t round, int64_t bytes) {
  const auto of = [&](Rank from, Rank to) { return Pattern(from, to, round, SizeOf(from, to, round, bytes)); };
  Buffers values;
  for (Rank to = 0; to < context.world_size(); ++to) {
    values.push_back(of(context.rank(), to));
  }
  ARROW_ASSIGN_OR_RAISE(const auto found, context.communicator().AllToAll(std::move(values)));
  for (Rank from = 0; from < context.world_size(); ++from) {
    ARROW_RETURN_NOT_OK(Expect(found[from], of(from, context.rank()), "all-to-all"));
  }
  return Status::OK();
}

Status RunPassAlong(Context& context, int64_t round, int64_t bytes) {
  auto& communicator = context.communicator();
  const int ranks = context.world_size();
  const Rank right = (context.rank() + 1) % ranks;
  const Rank left = (context.rank() + ranks - 1) % ranks;
  const auto sent = communicator.SendAsync(right, Pattern(context.rank(), right, round, bytes), round);
  ARROW_ASSIGN_OR_RAISE(const auto found, communicator.Receive(left, round));
  ARROW_RETURN_NOT_OK(Expect(found, Pattern(left, context.rank(), round, bytes), "a message along the ring"));
  return communicator.Await(sent);
}

using Operation = std::function<Status(Context&, int64_t, int64_t)>;
const std::vector<std::pair<std::string, Operation>>& Operations() {
  static const std::vector<std::pair<std::string, Operation>> kOperations{
      {"barrier", RunBarrier},   {"allreduce", RunAllReduce}, {"broadcast", RunBroadcast}, {"allgather", RunAllGather},
      {"alltoall", RunAllToAll}, {"passalong", RunPassAlong}, {"shuffle", RunShuffle},     {"join", RunJoin},
      {"sort", RunSort},         {"groupby", RunGroupBy},
  };
  return kOperations;
}

}  // namespace

std::vector<std::string> OperationNames() {
  std::vector<std::string> names;
  for (const auto& [name, operation] : Operations()) {
    names.push_back(name);
  }
  return names;
}

Status RunOperation(Context& context, const std::string& name, int64_t round, int64_t bytes) {
  for (const auto& [known, operation] : Operations()) {
    if (known == name) {
      return operation(context, round, bytes);
    }
  }
  return Status::KeyError("there is no operation '", name, "'");
}

}  // namespace cylon::chaos
