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
  }
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
