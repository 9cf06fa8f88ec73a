// Messages by the plan.
#include "cylon/net/choice/choice_core.h"

#include <algorithm>
#include <set>

namespace cylon::internal {

namespace {

/// What all channels can do.
Traits CommonTraits(const std::vector<Channel>& channels) {
  Traits common;
  for (const auto& channel : channels) {
    const auto& traits = channel.transport->traits();
    common.largest_message = std::min(common.largest_message, traits.largest_message);
    common.ranks_may_be_threads = common.ranks_may_be_threads && traits.ranks_may_be_threads;
    common.sees_peer_loss = common.sees_peer_loss && traits.sees_peer_loss;
  }
  return common;
}

/// Finishes when all of `futures` have, with the first error.
arrow::Future<> AllOf(const std::vector<arrow::Future<>>& futures) {
  return futures.empty() ? arrow::Future<>::MakeFinished() : arrow::AllFinished(futures);
}

}  // namespace

arrow::Result<Buffers> ChoiceCore::ChannelSink::Allocate(Rank from, const ChannelId& id, const InlineBytes& header,
                                                         const Sizes& sizes) {
  if (id.kind == ChannelKind::kProbe) {
    return core_->AllocateProbe(from, sizes);
  }
  if (core_->sink_ == nullptr) {
    return core_->Closed();
  }
  return core_->sink_->Allocate(from, id, header, sizes);
}

ChoiceCore::ChoiceCore(Executor& executor, Rank rank, int world_size, std::vector<Channel> channels,
                       ChoiceSettings settings)
    : executor_(executor),
      rank_(rank),
      size_(world_size),
      settings_(settings),
      traits_(CommonTraits(channels)),
      lost_(static_cast<size_t>(world_size)) {
  for (auto& channel : channels) {
    const int number = static_cast<int>(members_.size());
    ways_.push_back({number, /*relayed=*/false, channel.price});
    uses_.push_back({channel.name, channel.price, {-1, 0}});
    if (channel.relay_price) {
      ways_.push_back({number, /*relayed=*/true, *channel.relay_price});
      uses_.push_back({kRelayWay, *channel.relay_price, {-1, 0}});
    }
    auto& member = members_.emplace_back();
    member.channel = std::move(channel);
    member.sink = std::make_unique<ChannelSink>(this, this->channels() - 1);
    member.peers.resize(static_cast<size_t>(world_size));
  }
}

arrow::Status ChoiceCore::Closed() const {
  return arrow::Status::Cancelled("rank ", rank_, " has closed its transport");
}

arrow::Future<> ChoiceCore::Start(Sink* sink) {
  sink_ = sink;
  phase_ = Phase::kPlanning;
  (void)Spawn(executor_, Prepare());
  return started_;
}

arrow::Future<> ChoiceCore::Send(Rank to, Message message) {
  if (phase_ == Phase::kRunning) {
    return SendNow(to, std::move(message));
  }
  if (phase_ == Phase::kClosed) {
    return arrow::Future<>::MakeFinished(Closed());
  }
  held_.push_back({to, std::move(message), arrow::Future<>::Make()});
  return held_.back().done;
}

arrow::Future<> ChoiceCore::SendNow(Rank to, Message message) {
  const auto traffic = TrafficOf(message.channel);
  const int channel = ways_[static_cast<size_t>(plan_.Of(rank_, to, message))].channel;
  const int way = WayTo(to, channel);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    auto& use = uses_[static_cast<size_t>(way)];
    ++use.messages[static_cast<size_t>(traffic)];
    use.bytes[static_cast<size_t>(traffic)] += message.payload_bytes();
  }
  return MemberAt(channel).channel.transport->Send(to, std::move(message));
}

int ChoiceCore::WayTo(Rank peer, int channel) const {
  int found = -1;
  for (size_t way = 0; way < ways_.size(); ++way) {
    if (ways_[way].channel != channel) {
      continue;
    }
    if (ways_[way].relayed && members_[static_cast<size_t>(channel)].channel.transport->way(peer) != kRelayWay) {
      continue;
    }
    found = static_cast<int>(way);  // the relay's comes after the straight one
  }
  return found;
}

std::string ChoiceCore::way(Rank peer) const {
  if (phase_ != Phase::kRunning || peer == rank_) {
    return "";
  }
  const auto& channel = members_[static_cast<size_t>(ChannelTo(peer, Traffic::kCalls))].channel;
  const auto way = channel.transport->way(peer);
  return way.empty() ? channel.name : way;
}

void ChoiceCore::Progress() {
  for (auto& member : members_) {
    member.channel.transport->Progress();
  }
}

arrow::Future<> ChoiceCore::Flush() {
  std::vector<arrow::Future<>> flushed;
  for (const auto& held : held_) {
    flushed.push_back(held.done);
  }
  for (auto& member : members_) {
    if (!member.closed) {
      flushed.push_back(member.channel.transport->Flush());
    }
  }
  return AllOf(flushed);
}

arrow::Future<> ChoiceCore::Close() {
  Fail(Closed());
  sink_ = nullptr;
  std::vector<arrow::Future<>> closed;
  for (auto& member : members_) {
    if (!member.closed) {
      closed.push_back(member.channel.transport->Close());
    }
  }
  return AllOf(closed);
}

void ChoiceCore::Abort() {
  sink_ = nullptr;
  for (auto& member : members_) {
    member.channel.transport->Abort();
  }
  Fail(Closed());
}

void ChoiceCore::TearDown() {
  sink_ = nullptr;
  Fail(Closed());
  for (auto& member : members_) {
    member.channel.transport.reset();
  }
}

void ChoiceCore::Begin(Plan plan) {
  plan_ = std::move(plan);
  phase_ = Phase::kRunning;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (size_t way = 0; way < ways_.size(); ++way) {
      const auto number = static_cast<int>(way);
      uses_[way].rates = plan_.rates[way];
      uses_[way].pairs = {plan_.Pairs(number, Traffic::kCalls), plan_.Pairs(number, Traffic::kTables)};
      uses_[way].large_from = plan_.LargeFrom(number);
    }
  }
  for (auto& held : std::exchange(held_, {})) {
    SendNow(held.to, std::move(held.message)).AddCallback([done = held.done](const arrow::Status& status) mutable {
      done.MarkFinished(status);
    });
  }
  for (Rank peer = 0; peer < size_ && phase_ == Phase::kRunning; ++peer) {
    LookAt(peer);
  }
  if (phase_ == Phase::kRunning) {
    CloseUnused();
    started_.MarkFinished();
  }
}

void ChoiceCore::CloseUnused() {
  std::set<int> used;
  for (size_t way = 0; way < ways_.size(); ++way) {
    if (plan_.Uses(static_cast<int>(way))) {
      used.insert(ways_[way].channel);
    }
  }
  for (int channel = 0; channel < channels(); ++channel) {
    if (!used.contains(channel)) {
      MemberAt(channel).closed = true;
      (void)MemberAt(channel).channel.transport->Close();
    }
  }
}

void ChoiceCore::Fail(const arrow::Status& status) {
  phase_ = Phase::kClosed;
  // What is finished here may call back.
  auto asked = std::exchange(asked_, {});
  auto held = std::exchange(held_, {});
  auto reports = std::exchange(reports_, {});
  for (auto& [key, answer] : asked) {
    answer.MarkFinished(status);
  }
  for (auto& [from, report] : reports) {
    if (!report.is_finished()) {
      report.MarkFinished(status);
    }
  }
  if (!told_.is_finished()) {
    told_.MarkFinished(status);
  }
  for (auto& each : held) {
    each.done.MarkFinished(status);
  }
  if (!started_.is_finished()) {
    started_.MarkFinished(status);
  }
}

void ChoiceCore::OnMessage(int channel, Rank from, Message message) {
  const auto keep = shared_from_this();  // the sink may destroy this one's owner
  if (message.channel.kind == ChannelKind::kProbe) {
    OnProbe(channel, from, message);
  } else if (sink_ != nullptr && !lost_[static_cast<size_t>(from)]) {
    sink_->OnMessage(from, std::move(message));
  }
}

void ChoiceCore::OnPeerMet(Rank peer) {
  if (sink_ != nullptr) {
    sink_->OnPeerMet(peer);
  }
}

void ChoiceCore::OnPeerLost(int channel, Rank peer, const arrow::Status& cause) {
  const auto keep = shared_from_this();
  auto& seen = PeerAt(channel, peer);
  seen.state = cause.ok() ? PeerState::kLeft : PeerState::kLost;
  seen.cause = cause;
  const auto gone = cause.ok() ? arrow::Status::IOError("rank ", peer, " has left") : cause;
  std::vector<ProbeKey> unanswered;
  for (const auto& [key, answer] : asked_) {
    if (std::get<0>(key) == channel && std::get<1>(key) == peer) {
      unanswered.push_back(key);
    }
  }
  for (const auto& key : unanswered) {
    Answer(key, gone);
  }
  LookAt(peer);
}

void ChoiceCore::LookAt(Rank peer) {
  if (peer == rank_ || lost_[static_cast<size_t>(peer)] || phase_ == Phase::kClosed || phase_ == Phase::kNew) {
    return;
  }
  arrow::Status cause;
  bool there = false;
  bool taken_is_lost = false;
  for (int channel = 0; channel < channels(); ++channel) {
    const bool taken = phase_ == Phase::kPlanning || ChannelTo(peer, Traffic::kCalls) == channel ||
                       ChannelTo(peer, Traffic::kTables) == channel;
    if (!taken) {
      continue;
    }
    const auto& seen = PeerAt(channel, peer);
    there = there || seen.state == PeerState::kThere;
    if (seen.state == PeerState::kLost) {
      taken_is_lost = true;
      cause = cause.ok() ? seen.cause
                         : cause.WithMessage(cause.message(), "; by ", MemberAt(channel).channel.name, ": ",
                                             seen.cause.message());
    }
  }
  if (phase_ == Phase::kPlanning) {
    // Who has left in order has a plan, or needs none; what it knew may be missing here.
    const auto report = reports_.find(peer);
    const bool needed = rank_ == 0 ? report != reports_.end() && !report->second.is_finished() : peer == 0;
    if (!there && (taken_is_lost || needed)) {
      Tell(peer, cause);
    }
  } else if (!there || taken_is_lost) {
    Tell(peer, cause);
  }
}

void ChoiceCore::Tell(Rank peer, const arrow::Status& cause) {
  lost_[static_cast<size_t>(peer)] = true;
  const bool planning = phase_ == Phase::kPlanning;
  if (sink_ != nullptr) {
    sink_->OnPeerLost(peer, cause);
  }
  if (planning && phase_ == Phase::kPlanning && !decided_) {
    // Without it there is no plan that all have agreed on.
    Fail(cause.ok() ? arrow::Status::IOError("rank ", peer, " left before the channels were chosen") : cause);
  }
}

std::vector<ChannelUse> ChoiceCore::Uses() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return uses_;
}

}  // namespace cylon::internal
