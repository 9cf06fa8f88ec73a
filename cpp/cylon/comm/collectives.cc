// The algorithms of the collectives.
#include "cylon/comm/collectives.h"

#include <algorithm>
#include <utility>

#include "cylon/comm/reduce.h"

namespace cylon::internal {

namespace {

/// In an all-to-all a rank sends to the next one in every step, so that nobody is sent to by all at once. So many bytes
/// go out ahead of what has come in: steps of small messages do not wait for each other.
constexpr int64_t kAllToAllAhead = 64 << 20;

/// The one buffer of a message; lengths of zero may travel as no segment at all.
BufferPtr Only(Message message) {
  return message.segments.empty() ? std::make_shared<arrow::Buffer>(nullptr, 0) : std::move(message.segments[0]);
}

/// The buffers of the next message of `from`. ProtocolError where they are not `count`.
Co<Buffers> ReceiveBuffers(OperationPtr op, Rank from, size_t count) {
  auto next = op->Receive(from);
  CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
  if (message.segments.size() != count) {
    co_return ProtocolError("rank " + std::to_string(from) + " of the group sent " +
                                std::to_string(message.segments.size()) + " buffers in " + op->text() + "; expected " +
                                std::to_string(count),
                            from);
  }
  co_return std::move(message.segments);
}

arrow::Result<BufferPtr> Combine(const Call& call, const BufferPtr& lower, const BufferPtr& upper,
                                 arrow::MemoryPool* pool) {
  if (lower->size() != call.bytes || upper->size() != call.bytes) {
    return ProtocolError("a part of " + ToText(call) + " has " + std::to_string(upper->size()) + " bytes");
  }
  ARROW_ASSIGN_OR_RAISE(auto out, arrow::AllocateBuffer(call.bytes, pool));
  ReduceInto(call.type, call.reduce, lower->data(), upper->data(), out->mutable_data(), call.bytes);
  return BufferPtr(std::move(out));
}

}  // namespace

Co<void> RunBarrier(OperationPtr op) {
  const int size = op->size();
  for (int distance = 1; distance < size; distance *= 2) {
    op->Send((op->rank() + distance) % size, {});
    auto next = op->Receive((op->rank() - distance + size) % size);
    CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
  }
  auto sent = op->Sent();
  co_return co_await sent;
}

Co<BufferPtr> RunAllReduce(OperationPtr op, BufferPtr values, arrow::MemoryPool* pool) {
  const int size = op->size();
  const Rank rank = op->rank();
  int power = 1;
  while (power * 2 <= size) {
    power *= 2;
  }
  // The first 2 * folded ranks are pairs of which the even one stands for both.
  const int folded = size - power;
  const bool in_pair = rank < 2 * folded;
  BufferPtr result = values;
  if (in_pair && rank % 2 == 1) {
    op->Send(rank - 1, {result});
    auto next = op->Receive(rank - 1);
    CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
    result = Only(std::move(message));
  } else {
    if (in_pair) {
      auto next = op->Receive(rank + 1);
      CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
      CYLON_CO_ASSIGN_OR_RETURN(result, Combine(op->call(), result, Only(std::move(message)), pool));
    }
    // Positions among the `power` ranks that are left keep the order of ranks.
    const int position = in_pair ? rank / 2 : rank - folded;
    for (int distance = 1; distance < power; distance *= 2) {
      const int other = position ^ distance;
      const Rank partner = other < folded ? 2 * other : other + folded;
      op->Send(partner, {result});
      auto next = op->Receive(partner);
      CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
      BufferPtr theirs = Only(std::move(message));
      const BufferPtr& lower = other < position ? theirs : result;
      const BufferPtr& upper = other < position ? result : theirs;
      CYLON_CO_ASSIGN_OR_RETURN(BufferPtr combined, Combine(op->call(), lower, upper, pool));
      result = std::move(combined);
    }
    if (in_pair) {
      op->Send(rank + 1, {result});
    }
  }
  auto sent = op->Sent();
  CYLON_CO_RETURN_NOT_OK(co_await sent);
  co_return result;
}

Co<BufferPtr> RunReduce(OperationPtr op, BufferPtr values, arrow::MemoryPool* pool) {
  const int size = op->size();
  const Rank root = op->call().root;
  const int position = (op->rank() - root + size) % size;  // the root is at 0
  BufferPtr result = std::move(values);
  for (int distance = 1; distance < size; distance *= 2) {
    if ((position & distance) != 0) {
      op->Send((position - distance + root) % size, {result});
      result = nullptr;
      break;
    }
    if (position + distance < size) {
      auto next = op->Receive((position + distance + root) % size);
      CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
      CYLON_CO_ASSIGN_OR_RETURN(BufferPtr combined, Combine(op->call(), result, Only(std::move(message)), pool));
      result = std::move(combined);
    }
  }
  auto sent = op->Sent();
  CYLON_CO_RETURN_NOT_OK(co_await sent);
  co_return result;
}

Co<BufferPtr> RunBroadcast(OperationPtr op, BufferPtr value) {
  const int size = op->size();
  const Rank root = op->call().root;
  const int position = (op->rank() - root + size) % size;
  int distance = 1;
  while (distance < size && (position & distance) == 0) {
    distance *= 2;
  }
  if (position != 0) {
    auto next = op->Receive((position - distance + root) % size);
    CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
    value = Only(std::move(message));
  }
  for (distance /= 2; distance > 0; distance /= 2) {
    if (position + distance < size) {
      op->Send((position + distance + root) % size, {value});
    }
  }
  auto sent = op->Sent();
  CYLON_CO_RETURN_NOT_OK(co_await sent);
  co_return value;
}

Co<Buffers> RunAllGather(OperationPtr op, BufferPtr value) {
  const int size = op->size();
  const Rank rank = op->rank();
  Buffers held{std::move(value)};  // held[i] is of rank - i
  for (int distance = 1; distance < size; distance *= 2) {
    const auto count = static_cast<size_t>(std::min(distance, size - distance));
    op->Send((rank + distance) % size, Buffers(held.begin(), held.begin() + static_cast<int64_t>(count)));
    auto receive = ReceiveBuffers(op, (rank - distance + size) % size, count);
    CYLON_CO_ASSIGN_OR_RETURN(Buffers more, co_await receive);
    held.insert(held.end(), more.begin(), more.end());
  }
  auto sent = op->Sent();
  CYLON_CO_RETURN_NOT_OK(co_await sent);
  Buffers by_rank(held.size());
  for (int i = 0; i < size; ++i) {
    by_rank[static_cast<size_t>((rank - i + size) % size)] = std::move(held[static_cast<size_t>(i)]);
  }
  co_return by_rank;
}

Co<Buffers> RunGather(OperationPtr op, BufferPtr value) {
  const Rank root = op->call().root;
  Buffers by_rank;
  if (op->rank() != root) {
    op->Send(root, {value});
  } else {
    by_rank.resize(static_cast<size_t>(op->size()));
    for (Rank from = 0; from < op->size(); ++from) {
      if (from == root) {
        by_rank[static_cast<size_t>(from)] = value;
        continue;
      }
      auto next = op->Receive(from);
      CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
      by_rank[static_cast<size_t>(from)] = Only(std::move(message));
    }
  }
  auto sent = op->Sent();
  CYLON_CO_RETURN_NOT_OK(co_await sent);
  co_return by_rank;
}

Co<BufferPtr> RunScatter(OperationPtr op, Buffers values) {
  const Rank root = op->call().root;
  BufferPtr own;
  if (op->rank() == root) {
    for (Rank to = 0; to < op->size(); ++to) {
      if (to != root) {
        op->Send(to, {values[static_cast<size_t>(to)]});
      }
    }
    own = values[static_cast<size_t>(root)];
  } else {
    auto next = op->Receive(root);
    CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
    own = Only(std::move(message));
  }
  auto sent = op->Sent();
  CYLON_CO_RETURN_NOT_OK(co_await sent);
  co_return own;
}

Co<Buffers> RunAllToAll(OperationPtr op, Buffers values) {
  const int size = op->size();
  const Rank rank = op->rank();
  Buffers by_rank(static_cast<size_t>(size));
  by_rank[static_cast<size_t>(rank)] = values[static_cast<size_t>(rank)];
  int next_out = 1;
  int64_t ahead = 0;  // bytes that went out for later steps than the one that is waited for
  for (int step = 1; step < size; ++step) {
    for (; next_out < size && (next_out <= step || ahead < kAllToAllAhead); ++next_out) {
      const auto& value = values[static_cast<size_t>((rank + next_out) % size)];
      ahead += value->size();
      op->Send((rank + next_out) % size, {value});
    }
    const Rank from = (rank - step + size) % size;
    auto next = op->Receive(from);
    CYLON_CO_ASSIGN_OR_RETURN(Message message, co_await next);
    by_rank[static_cast<size_t>(from)] = Only(std::move(message));
    ahead -= values[static_cast<size_t>((rank + step) % size)]->size();
  }
  auto sent = op->Sent();
  CYLON_CO_RETURN_NOT_OK(co_await sent);
  co_return by_rank;
}

}  // namespace cylon::internal
