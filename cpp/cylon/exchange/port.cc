// An exchange's end of the lanes.
#include "cylon/exchange/port.h"

#include <algorithm>
#include <utility>

namespace cylon::internal {

namespace {

/// How often a caller that never has to wait does so all the same.
constexpr auto kLookPeriod = std::chrono::milliseconds(50);

}  // namespace

std::shared_ptr<Port> Port::Open(Communicator& communicator, arrow::MemoryPool* pool, int64_t allowance) {
  // Not make_shared: the communicator keeps a weak reference for good, which must not keep the memory.
  std::shared_ptr<Port> port(std::unique_ptr<Port>(new Port(communicator, allowance)));
  communicator.Revoked().AddCallback([weak = std::weak_ptr<Port>(port)](const arrow::Status& status) {
    if (auto self = weak.lock()) {
      self->Update([&] { self->revoked_ = status; });
    }
  });
  port->executor_.Post([port, pool] { port->lanes_.Open(port->channel_, port.get(), pool); });
  return port;
}

Port::Port(Communicator& communicator, int64_t allowance)
    : lanes_(communicator.lanes()),
      executor_(communicator.executor()),
      tell_of_loss_(communicator.TellOfLoss()),
      channel_(communicator.NextExchangeChannel()),
      allowance_(allowance),
      granted_(static_cast<size_t>(communicator.size())),
      in_flight_(static_cast<size_t>(communicator.size()), 0) {
  for (Rank rank = 0; rank < communicator.size(); ++rank) {
    to_world_.push_back(communicator.ToWorld(rank));
    from_world_[to_world_.back()] = rank;
  }
}

Rank Port::FromWorld(Rank world) const {
  auto found = from_world_.find(world);
  return found == from_world_.end() ? -1 : found->second;
}

// Changes the state under the mutex, and wakes the caller.
template <typename Change>
void Port::Update(const Change& change) {
  std::optional<arrow::Future<>> waiter;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    change();
    changed_ = true;
    waiter.swap(waiter_);
  }
  if (waiter) {
    waiter->MarkFinished();
  }
}

void Port::Fail(const arrow::Status& status) {
  Update([&] {
    if (failure_.ok()) {
      failure_ = status;
    }
  });
}

arrow::Status Port::Wait(Communicator& communicator, const Communicator::AwaitedRanks& awaited) {
  auto future = arrow::Future<>::Make();
  bool changed = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    changed = std::exchange(changed_, false);
    if (!changed) {
      waiter_ = future;
    }
  }
  if (changed) {
    return Look();
  }
  next_look_ = executor_.Now() + kLookPeriod;
  auto status = communicator.Wait(future, awaited);
  std::lock_guard<std::mutex> lock(mutex_);
  waiter_.reset();
  changed_ = false;
  return status;
}

arrow::Status Port::Look() {
  if (executor_.Now() < next_look_) {
    return arrow::Status::OK();
  }
  next_look_ = executor_.Now() + kLookPeriod;
  auto future = arrow::Future<>::Make();
  executor_.Post([future]() mutable { future.MarkFinished(); });
  return executor_.Wait(future);
}

void Port::Send(Rank to, std::vector<Message> messages) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ++in_flight_[to];
    for (const auto& message : messages) {
      bytes_sent_ += message.payload_bytes();
    }
  }
  executor_.Post([self = shared_from_this(), to, messages = std::move(messages)]() mutable {
    for (size_t i = 0; i < messages.size(); ++i) {
      const bool last = i + 1 == messages.size();
      auto gone = self->lanes_.Send(self->to_world_[to], std::move(messages[i]));
      gone.AddCallback([self, to, last](const arrow::Status& status) { self->Sent(to, status, last); });
    }
  });
}

void Port::Sent(Rank to, const arrow::Status& status, bool last) {
  if (status.IsIOError() && !IsError(status, ErrorKind::kIsolated)) {
    // The rank is lost, or the way to it. Who of the two is found out, and said at every rank with the same words; till
    // then this send is under way.
    return tell_of_loss_(to_world_[to], status);
  }
  Update([&] {
    in_flight_[to] -= last ? 1 : 0;
    if (!status.ok() && failure_.ok()) {
      failure_ = status;
    }
  });
}

int Port::in_flight(Rank to) const {
  std::lock_guard<std::mutex> lock(mutex_);
  return in_flight_[to];
}

bool Port::idle() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return std::all_of(in_flight_.begin(), in_flight_.end(), [](int count) { return count == 0; });
}

std::optional<Port::Arrival> Port::Take() {
  std::optional<Arrival> taken;
  bool retry = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (arrivals_.empty()) {
      return taken;
    }
    taken = std::move(arrivals_.front().arrival);
    used_ -= arrivals_.front().granted;
    arrivals_.pop_front();
    retry = std::exchange(refused_, false);
  }
  if (retry) {
    executor_.Post([self = shared_from_this()] { self->lanes_.Retry(self->channel_); });
  }
  return taken;
}

arrow::Status Port::failure() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return failure_;
}

arrow::Status Port::revoked() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return revoked_;
}

void Port::Close() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (std::exchange(closed_, true)) {
      return;
    }
    arrivals_.clear();
  }
  // The task keeps the receiver until the lanes have let it go.
  executor_.Post([self = shared_from_this()] { self->lanes_.Close(self->channel_); });
}

int64_t Port::bytes_sent() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return bytes_sent_;
}

int64_t Port::bytes_received() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return bytes_received_;
}

bool Port::Admit(Rank from, int64_t bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  const Rank rank = FromWorld(from);
  // One is always let in: a message may be larger than the whole allowance.
  if (rank < 0 || (used_ > 0 && used_ + bytes > allowance_)) {
    refused_ = true;
    return false;
  }
  used_ += bytes;
  granted_[rank].push_back(bytes);
  return true;
}

void Port::OnMessage(Rank from, Message message) {
  const Rank rank = FromWorld(from);
  if (rank < 0) {
    return Fail(ProtocolError("a message of an exchange came from rank " + std::to_string(from) +
                                  " of the world, which does not take part in it; all ranks must make the same calls",
                              from));
  }
  Update([&] {
    const int64_t bytes = message.payload_bytes();
    bytes_received_ += bytes;
    // Messages of a peer come in their order; those without a grant are told by their size.
    int64_t granted = 0;
    auto& grants = granted_[rank];
    if (!grants.empty() && grants.front() == bytes) {
      granted = bytes;
      grants.pop_front();
    }
    if (!closed_) {
      arrivals_.push_back(Waiting{Arrival{rank, std::move(message)}, granted});
    }
  });
}

void Port::OnReceiveError(Rank from, const arrow::Status& status) {
  Fail(status.WithMessage("no memory for what rank ", FromWorld(from), " sends: ", status.message()));
}

}  // namespace cylon::internal
