// The watches' network of a simulated world.
#include "cylon/comm/watch/sim_wire.h"

namespace cylon::internal {

SimWatchNet::SimWatchNet(SimWorld* world, int size, uint64_t seed)
    : world_(world),
      random_(seed),
      doors_(static_cast<size_t>(size), Door::kNotYet),
      wires_(static_cast<size_t>(size)) {}

std::shared_ptr<WatchWire> SimWatchNet::MakeWire(Rank rank) {
  auto wire = std::make_shared<SimWire>(this, rank);
  wires_[static_cast<size_t>(rank)] = wire;
  return wire;
}

void SimWatchNet::MakeWaysWithin(Duration longest) {
  const auto size = static_cast<Rank>(doors_.size());
  for (Rank a = 0; a < size; ++a) {
    for (Rank b = a + 1; b < size; ++b) {
      made_[{a, b}] = TimePoint(Duration(random_() % static_cast<uint64_t>(longest.count())));
    }
  }
}

bool SimWatchNet::Made(Rank a, Rank b) const {
  const auto made = made_.find(std::minmax(a, b));
  return made == made_.end() || world_->executor(a).Now() >= made->second;
}

void SimWatchNet::Carry(Rank from, Rank to, std::function<void(SimWire&)> task) {
  auto& executor = world_->executor(to);
  auto& last = last_[{from, to}];
  last = std::max(last, executor.Now() + Lag());
  executor.PostAt(last, [this, from, to, task = std::move(task)] {
    auto wire = wires_[static_cast<size_t>(to)].lock();
    if (wire && world_->Passes(from, to)) {
      task(*wire);
    }
  });
}

void SimWire::Start(WatchWireSink* sink) {
  sink_ = sink;
  net_->doors_[static_cast<size_t>(rank_)] = SimWatchNet::Door::kOpen;
}

void SimWire::Dial(Rank peer, Duration patience) {
  if (closed_ || !dialling_.insert(peer).second) {
    return;
  }
  auto& executor = net_->world_->executor(rank_);
  const TimePoint deadline = executor.Now() + patience;
  executor.PostAt(executor.Now() + net_->Lag(), [weak = weak_from_this(), peer, deadline] {
    if (auto self = weak.lock(); self && !self->closed_) {
      self->Knock(peer, deadline);
    }
  });
}

void SimWire::Knock(Rank peer, TimePoint deadline) {
  auto& world = *net_->world_;
  const auto door = net_->doors_[static_cast<size_t>(peer)];
  const bool passes = world.Passes(rank_, peer);
  const bool made = net_->Made(rank_, peer);
  if (passes && made && !world.Stopped(peer) && door == SimWatchNet::Door::kOpen) {
    dialling_.erase(peer);
    net_->Carry(rank_, peer, [from = rank_](SimWire& wire) { wire.Link(from); });
    Link(peer);
    return;
  }
  if (passes && door == SimWatchNet::Door::kClosed) {
    Fail(peer, DialEnd::kRefused);
    return;
  }
  world.executor(rank_).PostAt(deadline, [weak = weak_from_this(), peer, reached = passes && made] {
    if (auto self = weak.lock()) {
      self->Fail(peer, reached ? DialEnd::kUnanswered : DialEnd::kUnreachable);
    }
  });
}

void SimWire::Fail(Rank peer, DialEnd how) {
  if (!closed_ && dialling_.erase(peer) > 0) {
    sink_->OnDialFailed(peer, how);
  }
}

void SimWire::Link(Rank peer) {
  if (!closed_ && net_->doors_[static_cast<size_t>(peer)] != SimWatchNet::Door::kClosed) {
    linked_.insert(peer);
    sink_->OnLink(peer);
  }
}

void SimWire::Unlink(Rank peer) {
  if (!closed_ && linked_.erase(peer) > 0) {
    sink_->OnLinkEnd(peer);
  }
}

void SimWire::Send(Rank to, const WatchMessage& message) {
  if (closed_ || !Linked(to)) {
    return;
  }
  // As bytes, so that the encoding takes part.
  net_->Carry(rank_, to, [from = rank_, bytes = Encode(message)](SimWire& wire) {
    std::array<uint8_t, kWatchHeaderBytes> header;
    std::copy_n(bytes.begin(), header.size(), header.begin());
    const auto message =
        DecodeWatchBody(DecodeWatchHeader(header)->type, std::string_view(bytes).substr(header.size()));
    if (!wire.closed_) {
      wire.sink_->OnMessage(from, *message);
    }
  });
}

void SimWire::Close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  net_->doors_[static_cast<size_t>(rank_)] = SimWatchNet::Door::kClosed;
  // Those too whose connection this end has not taken up yet: a system ends them with the process.
  for (Rank peer = 0; peer < static_cast<Rank>(net_->wires_.size()); ++peer) {
    const auto other = net_->wires_[static_cast<size_t>(peer)].lock();
    if (linked_.contains(peer) || (other != nullptr && other->linked_.contains(rank_))) {
      net_->Carry(rank_, peer, [from = rank_](SimWire& wire) { wire.Unlink(from); });
    }
  }
}

}  // namespace cylon::internal
