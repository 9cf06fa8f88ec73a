// The network of a simulated world.
#include <algorithm>

#include "cylon/net/sim/sim_core.h"

namespace cylon::internal {

void SimLink::Push(SimParcel parcel) {
  auto& queue = queues[parcel.message.channel];
  if (queue.empty()) {
    active.push_back(parcel.message.channel);
  }
  queue.push_back(std::move(parcel));
}

SimParcel SimLink::Pop(size_t index) {
  auto found = queues.find(active[index]);
  auto parcel = std::move(found->second.front());
  found->second.pop_front();
  if (found->second.empty()) {
    queues.erase(found);
    active[index] = active.back();
    active.pop_back();
  }
  return parcel;
}

void SimLink::PushBackFirst(SimParcel parcel) {
  auto& queue = queues[parcel.message.channel];
  if (queue.empty()) {
    active.push_back(parcel.message.channel);
  }
  queue.push_front(std::move(parcel));
}

void SimLink::Clear() {
  queues.clear();
  active.clear();
}

void SimLink::DropLandings() {
  for (auto& [channel, queue] : queues) {
    queue.front().landing.reset();  // only the first of a channel can have one
  }
}

void SimLink::CopyPayloads() {
  for (auto& [channel, queue] : queues) {
    for (auto& parcel : queue) {
      for (auto& segment : parcel.message.segments) {
        segment = arrow::Buffer::FromString(segment->ToString());
      }
    }
  }
}

void SimCore::ReleaseMemory(Rank rank) {
  for (Rank peer = 0; peer < size(); ++peer) {
    link(peer, rank).DropLandings();
    link(rank, peer).CopyPayloads();
  }
}

void SimCore::LeavePort(Rank rank) {
  if (port(rank).state == SimPort::State::kRunning) {
    AbortPort(rank);
    return;
  }
  Lock lock(mutex_);
  ReleaseMemory(rank);
}

void SimCore::Launch(Rank from, Rank to, SimParcel parcel) {
  Lock lock(mutex_);
  link(from, to).Push(std::move(parcel));
}

void SimCore::StartPort(Rank rank, Sink* sink) {
  Lock lock(mutex_);
  auto& own = ranks_[rank]->port;
  if (!ranks_[rank]->killed) {
    own.sink = sink;
    own.state = SimPort::State::kRunning;
    for (Rank peer = 0; peer < size(); ++peer) {
      const auto& other = *ranks_[peer];
      if (peer != rank && other.port.state == SimPort::State::kRunning && !other.stopped && !IsCut(rank, peer)) {
        TellMet(rank, peer);
        TellMet(peer, rank);
      }
    }
  }
}

/// `to` hears that a link to `from` stands.
void SimCore::TellMet(Rank from, Rank to) {
  ranks_[to]->tasks.push_back([this, from, to] {
    if (auto& port = ranks_[to]->port; port.state == SimPort::State::kRunning) {
      port.sink->OnPeerMet(from);
    }
  });
}

void SimCore::ClosePort(Rank rank) {
  Lock lock(mutex_);
  auto& own = ranks_[rank]->port;
  if (own.state == SimPort::State::kGone) {
    return;
  }
  own.state = SimPort::State::kClosed;
  own.sink = nullptr;
  for (Rank peer = 0; peer < size(); ++peer) {
    link(peer, rank).DropLandings();
  }
  for (Rank peer = 0; peer < size(); ++peer) {
    auto& way = link(rank, peer);
    if (peer != rank && way.end == SimLink::End::kOpen) {
      way.end = SimLink::End::kGoodbye;
    }
  }
}

void SimCore::AbortPort(Rank rank) {
  {
    Lock lock(mutex_);
    auto& own = ranks_[rank]->port;
    own.state = SimPort::State::kGone;
    own.sink = nullptr;
    BreakLinks(rank, "closed its transport without a goodbye");
    ReleaseMemory(rank);
  }
  port(rank).sends.FailAll(arrow::Status::Cancelled("rank ", rank, " closed its transport"));
}

bool SimCore::HeardLoss(Rank rank, Rank lost) {
  Lock lock(mutex_);
  return link(lost, rank).told;
}

bool SimCore::Deliverable(Rank from, Rank to) {
  const auto state = ranks_[to]->port.state;
  return !link(from, to).told && !ranks_[to]->killed && !ranks_[to]->stopped && !IsCut(from, to) &&
         (state == SimPort::State::kRunning || state == SimPort::State::kClosed);
}

bool SimCore::LossIsDue(Rank from, Rank to) {
  const auto& way = link(from, to);
  const auto state = ranks_[to]->port.state;
  return !way.told && !ranks_[to]->killed && !ranks_[to]->stopped && !IsCut(from, to) &&
         (state == SimPort::State::kRunning || state == SimPort::State::kClosed) &&
         (way.end == SimLink::End::kBroken || (way.end == SimLink::End::kGoodbye && way.active.empty()));
}

/// One message, or only the memory for it: transports that stream ask first and deliver later, with others between.
void SimCore::Deliver(Lock& lock, Rank from, Rank to, size_t index) {
  auto& way = link(from, to);
  auto& port = ranks_[to]->port;
  auto parcel = way.Pop(index);
  const bool only_allocate = !parcel.landing && Random(4) == 0;
  const uint64_t channel = std::hash<ChannelId>()(parcel.message.channel);
  Record(only_allocate ? kAllocated : kDelivered, static_cast<uint64_t>(from) << 8 | static_cast<uint64_t>(to),
         channel);
  if (port.state == SimPort::State::kClosed) {
    FinishSend(from, parcel.id);
    return;
  }
  auto* sink = port.sink;
  lock.unlock();
  task_of_.store(to);
  arrow::Status refused;
  if (!parcel.landing) {
    Sizes sizes;
    for (const auto& segment : parcel.message.segments) {
      sizes.push_back(segment->size());
    }
    auto landing = sink->Allocate(from, parcel.message.channel, parcel.message.header, sizes);
    if (landing.ok()) {
      parcel.landing = landing.MoveValueUnsafe();
    }
    refused = landing.status();
  }
  if (refused.ok() && !only_allocate) {
    Message arrived{parcel.message.channel, parcel.message.header, std::move(*parcel.landing)};
    for (size_t i = 0; i < arrived.segments.size(); ++i) {
      const auto& source = parcel.message.segments[i];
      if (source->size() > 0) {
        std::memcpy(arrived.segments[i]->mutable_data(), source->data(), static_cast<size_t>(source->size()));
      }
    }
    parcel.message.segments.clear();
    sink->OnMessage(from, std::move(arrived));
  }
  task_of_.store(-1);
  lock.lock();
  if (!refused.ok()) {
    auto& back = link(to, from);
    if (back.end == SimLink::End::kOpen) {
      back.end = SimLink::End::kBroken;
      back.cause = arrow::Status::IOError("rank ", to, " is gone: it closed the connection");
    }
    TellLoss(from, to, refused);
  } else if (only_allocate) {
    if (port.state != SimPort::State::kRunning) {
      parcel.landing.reset();  // closed meanwhile
    }
    if (!way.told) {
      way.PushBackFirst(std::move(parcel));
    }
  } else {
    FinishSend(from, parcel.id);
  }
}

void SimCore::FinishSend(Rank from, uint64_t id) {
  if (!ranks_[from]->killed) {
    ranks_[from]->tasks.push_back([this, from, id] { port(from).sends.Finish(id, arrow::Status::OK()); });
  }
}

/// `to` hears that nothing comes from `from` any more; its own sends to `from` fail. In a task of its own, so behind
/// the news of sends that did arrive.
void SimCore::TellLoss(Rank from, Rank to, const arrow::Status& cause) {
  auto& way = link(from, to);
  if (way.told) {
    return;
  }
  Record(kToldLoss, from, to);
  way.told = true;
  way.Clear();
  link(to, from).Clear();
  ranks_[to]->tasks.push_back([this, from, to, cause] {
    auto& port = ranks_[to]->port;
    port.sends.FailPeer(from, cause.ok() ? arrow::Status::IOError("rank ", from, " is gone: it said goodbye") : cause);
    if (port.state == SimPort::State::kRunning) {
      port.sink->OnPeerLost(from, cause);
    }
  });
}

void SimCore::BreakLinks(Rank rank, const std::string& cause) {
  for (Rank peer = 0; peer < size(); ++peer) {
    auto& way = link(rank, peer);
    if (peer != rank && way.end == SimLink::End::kOpen) {
      way.end = SimLink::End::kBroken;
      way.cause = arrow::Status::IOError("rank ", rank, " is gone: it ", cause);
    }
  }
}

/// `to` has heard nothing of `from` for so long that its transport gives the link up, which `from` sees when it can.
void SimCore::GiveUp(Rank from, Rank to) {
  Lock lock(mutex_);
  if ((!IsCut(from, to) && !ranks_[from]->stopped) || ranks_[to]->killed) {
    return;
  }
  auto& back = link(to, from);
  if (back.end == SimLink::End::kOpen) {
    back.end = SimLink::End::kBroken;
    back.cause = arrow::Status::IOError("rank ", to, " has given the connection up");
  }
  TellLoss(from, to, arrow::Status::IOError("nothing came over the connection to rank ", from, " any more"));
}

namespace {

class SimTransport : public Transport {
 public:
  SimTransport(SimCore& core, Rank rank) : core_(core), rank_(rank) {}

  ~SimTransport() override { core_.LeavePort(rank_); }

  const Traits& traits() const override { return traits_; }

  arrow::Future<> Start(Sink* sink) override {
    core_.StartPort(rank_, sink);
    // Not at once: nobody may rely on links that stand when Start returns.
    auto done = arrow::Future<>::Make();
    core_.Post(rank_, [done]() mutable { done.MarkFinished(); });
    return done;
  }

  arrow::Future<> Send(Rank to, Message message) override {
    auto& port = core_.port(rank_);
    if (to < 0 || to >= core_.size() || to == rank_) {
      return arrow::Status::Invalid("rank ", rank_, " sent to rank ", to, "; there are ", core_.size(),
                                    " ranks, and a transport does not send to itself");
    }
    if (port.state != SimPort::State::kRunning) {
      return arrow::Status::Cancelled("rank ", rank_, " sent while its transport is not open; start it first");
    }
    if (core_.HeardLoss(rank_, to)) {
      return arrow::Status::IOError("rank ", to, " is gone");
    }
    auto sent = port.sends.Add(to);
    core_.Launch(rank_, to, SimParcel{sent.id, std::move(message), std::nullopt});
    return sent.done;
  }

  arrow::Future<> Flush() override { return core_.port(rank_).sends.Flush(); }

  arrow::Future<> Close() override {
    core_.ClosePort(rank_);
    return core_.port(rank_).sends.Flush();
  }

  void Abort() override { core_.AbortPort(rank_); }

 private:
  SimCore& core_;
  Rank rank_;
  Traits traits_;
};

}  // namespace

std::unique_ptr<Transport> MakeSimTransport(SimCore& core, Rank rank) {
  return std::make_unique<SimTransport>(core, rank);
}

}  // namespace cylon::internal
