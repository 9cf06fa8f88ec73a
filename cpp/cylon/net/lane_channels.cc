// The receiving half of lanes: channels that open and close, and what is delivered to them.
#include <algorithm>
#include <vector>

#include "cylon/net/lane_receiver.h"

namespace cylon::internal {

bool LaneReceiver::IsClosed(const ChannelId& channel) const {
  if (silent_ || discard_unopened_ || closed_communicators_.Contains(channel.communicator)) {
    return true;
  }
  auto closed = closed_.find({channel.epoch, channel.communicator, channel.kind});
  return closed != closed_.end() && closed->second.Contains(channel.sequence);
}

std::shared_ptr<LaneReceiver::Inlet> LaneReceiver::FindInlet(const ChannelId& channel, bool make) {
  auto found = inlets_.find(channel);
  if (found != inlets_.end()) {
    return found->second;
  }
  if (!make) {
    return nullptr;
  }
  auto inlet = std::make_shared<Inlet>();
  inlet->channel = channel;
  inlets_.emplace(channel, inlet);
  return inlet;
}

void LaneReceiver::Open(const ChannelId& channel, Receiver* receiver, arrow::MemoryPool* pool) {
  if (silent_) {
    return;
  }
  auto inlet = FindInlet(channel, true);
  inlet->receiver = receiver;
  inlet->pool = pool != nullptr ? pool : pool_;
  if (!inlet->inboxes.empty()) {
    PostPump(inlet);
  }
}

void LaneReceiver::Retry(const ChannelId& channel) {
  if (auto inlet = FindInlet(channel, false)) {
    for (auto& [rank, inbox] : inlet->inboxes) {
      inbox.refused = false;
    }
    PostPump(inlet);
  }
}

void LaneReceiver::PostPump(const std::shared_ptr<Inlet>& inlet) {
  if (inlet->pump_posted) {
    return;
  }
  inlet->pump_posted = true;
  executor_.Post([weak = weak_from_this(), inlet] {
    if (auto self = weak.lock()) {
      inlet->pump_posted = false;
      self->Pump(inlet);
    }
  });
}

void LaneReceiver::Close(const ChannelId& channel) {
  closed_[{channel.epoch, channel.communicator, channel.kind}].Insert(channel.sequence);
  CloseInlet(channel);
}

void LaneReceiver::CloseCommunicator(uint32_t communicator) {
  closed_communicators_.Insert(communicator);
  std::erase_if(closed_, [&](const auto& entry) { return std::get<1>(entry.first) == communicator; });
  std::vector<ChannelId> channels;
  for (const auto& [channel, inlet] : inlets_) {
    if (channel.communicator == communicator) {
      channels.push_back(channel);
    }
  }
  std::sort(channels.begin(), channels.end());  // answers go out in an order that a simulation can repeat
  for (const auto& channel : channels) {
    CloseInlet(channel);
  }
}

void LaneReceiver::DiscardUnopened() {
  discard_unopened_ = true;
  std::vector<ChannelId> channels;
  for (const auto& [channel, inlet] : inlets_) {
    if (inlet->receiver == nullptr) {
      channels.push_back(channel);
    }
  }
  std::sort(channels.begin(), channels.end());
  for (const auto& channel : channels) {
    CloseInlet(channel);
  }
}

void LaneReceiver::Silence() {
  silent_ = true;
  for (auto& [channel, inlet] : inlets_) {
    inlet->receiver = nullptr;
    inlet->inboxes.clear();
  }
  inlets_.clear();
  for (auto& announced : announced_) {
    announced.clear();
  }
}

void LaneReceiver::CloseInlet(const ChannelId& channel) {
  auto found = inlets_.find(channel);
  if (found == inlets_.end()) {
    return;
  }
  auto inlet = std::move(found->second);
  inlets_.erase(found);
  inlet->receiver = nullptr;
  auto inboxes = std::move(inlet->inboxes);
  inlet->inboxes.clear();
  for (auto& [rank, inbox] : inboxes) {
    for (auto& incoming : inbox.queue) {
      Discard(incoming);
    }
  }
}

/// Of no channel any more: its memory is freed and its sender told.
void LaneReceiver::Discard(const std::shared_ptr<Incoming>& incoming) {
  incoming->message.segments.clear();
  incoming->body.reset();
  if (incoming->from == rank_) {
    sender_->FinishLocal(incoming->ticket);
  } else if (incoming->eager_cost > 0) {
    window_used_[incoming->from] -= incoming->eager_cost;
    sender_->Owe(incoming->from, incoming->eager_cost);
  } else if (incoming->state != Incoming::State::kWhole) {
    if (incoming->state == Incoming::State::kAnnounced) {
      announced_[incoming->from].erase(incoming->id);
    }
    incoming->state = Incoming::State::kDiscarded;
    sender_->Reply(incoming->from, incoming->message.channel, LaneType::kDiscard, incoming->id);
  }
}

void LaneReceiver::ArriveLocal(Message message, uint64_t ticket) {
  auto incoming = std::make_shared<Incoming>();
  incoming->from = rank_;
  incoming->ticket = ticket;
  incoming->bytes = message.payload_bytes();
  const bool small = EagerCost(SizesOf(message)) <= EagerLimit(options_, message.channel);
  incoming->state = small ? Incoming::State::kWhole : Incoming::State::kAnnounced;
  incoming->message = std::move(message);
  Arrive(incoming);
}

/// Behind what came on its channel before, and onward from there.
void LaneReceiver::Arrive(const std::shared_ptr<Incoming>& incoming) {
  auto inlet = FindInlet(incoming->message.channel, false);
  if ((inlet == nullptr || inlet->receiver == nullptr) && IsClosed(incoming->message.channel)) {
    Discard(incoming);
    return;
  }
  if (inlet == nullptr) {
    inlet = FindInlet(incoming->message.channel, true);
  }
  auto& inbox = inlet->inboxes[incoming->from];
  inbox.queue.push_back(incoming);
  if (incoming->state == Incoming::State::kAnnounced) {
    ++inbox.announced;
  }
  Pump(inlet);
}

/// Grants and delivers what can be. The receiver may close the channel, and open others, in every call of it.
void LaneReceiver::Pump(const std::shared_ptr<Inlet>& inlet) {
  if (inlet->receiver == nullptr) {
    return;
  }
  if (inlet->pumping) {
    PostPump(inlet);
    return;
  }
  inlet->pumping = true;
  std::vector<Rank> ranks;
  ranks.reserve(inlet->inboxes.size());
  for (const auto& [rank, inbox] : inlet->inboxes) {
    ranks.push_back(rank);
  }
  for (const Rank rank : ranks) {
    if (!PumpInbox(inlet, rank)) {
      break;
    }
  }
  inlet->pumping = false;
}

/// False where the channel was closed meanwhile.
bool LaneReceiver::PumpInbox(const std::shared_ptr<Inlet>& inlet, Rank from) {
  while (inlet->receiver != nullptr) {
    auto found = inlet->inboxes.find(from);
    if (found == inlet->inboxes.end()) {
      return true;
    }
    auto& inbox = found->second;
    if (inbox.queue.empty()) {
      inlet->inboxes.erase(found);
      return true;
    }
    if (inbox.announced > 0 && !inbox.refused) {
      GrantWaiting(inlet, from);
      continue;
    }
    if (inbox.queue.front()->state != Incoming::State::kWhole) {
      return true;
    }
    auto incoming = std::move(inbox.queue.front());
    inbox.queue.pop_front();
    if (incoming->eager_cost > 0) {
      window_used_[from] -= incoming->eager_cost;
      sender_->Owe(from, incoming->eager_cost);
    }
    if (incoming->refused.ok()) {
      inlet->receiver->OnMessage(from, std::move(incoming->message));
    } else {
      inlet->receiver->OnReceiveError(from, incoming->refused);
    }
    if (from == rank_) {
      sender_->FinishLocal(incoming->ticket);
    }
  }
  return false;
}

/// Asks for the first message of `from` that has no memory yet. False where it has to wait.
bool LaneReceiver::GrantWaiting(const std::shared_ptr<Inlet>& inlet, Rank from) {
  auto& inbox = inlet->inboxes[from];
  auto waiting = std::find_if(inbox.queue.begin(), inbox.queue.end(),
                              [](const auto& incoming) { return incoming->state == Incoming::State::kAnnounced; });
  auto incoming = *waiting;
  if (!inlet->receiver->Admit(from, incoming->bytes)) {
    // Unless the channel was closed in that call, and the inbox with it.
    auto still = inlet->inboxes.find(from);
    if (still != inlet->inboxes.end()) {
      still->second.refused = true;
    }
    return false;
  }
  return inlet->receiver != nullptr && incoming->state == Incoming::State::kAnnounced && Grant(inlet, incoming);
}

bool LaneReceiver::Grant(const std::shared_ptr<Inlet>& inlet, const std::shared_ptr<Incoming>& incoming) {
  auto& inbox = inlet->inboxes[incoming->from];
  --inbox.announced;
  if (incoming->from == rank_) {
    incoming->state = Incoming::State::kWhole;
    return true;
  }
  auto body = arrow::AllocateBuffer(incoming->span, inlet->pool);
  if (!body.ok()) {
    std::erase(inbox.queue, incoming);
    Discard(incoming);
    inlet->receiver->OnReceiveError(incoming->from, body.status());
    return false;
  }
  incoming->body = body.MoveValueUnsafe();
  incoming->state = Incoming::State::kGranted;
  sender_->Reply(incoming->from, incoming->message.channel, LaneType::kGrant, incoming->id);
  return true;
}

}  // namespace cylon::internal
