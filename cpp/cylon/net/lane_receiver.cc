// The receiving half of lanes: frames of peers, checked and landed.
#include "cylon/net/lane_receiver.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

namespace cylon::internal {

LaneReceiver::LaneReceiver(Rank rank, int world_size, Executor& executor, LaneSender* sender, arrow::MemoryPool* pool,
                           const LanesOptions& options)
    : rank_(rank),
      executor_(executor),
      sender_(sender),
      pool_(pool != nullptr ? pool : arrow::default_memory_pool()),
      options_(options),
      window_used_(static_cast<size_t>(world_size)),
      refused_(static_cast<size_t>(world_size)),
      announced_(static_cast<size_t>(world_size)) {}

arrow::Status LaneReceiver::Wrong(Rank from, const std::string& what) const {
  return ProtocolError("rank " + std::to_string(from) + " sent " + what +
                           "; all ranks must run the same version of Cylon with the same options",
                       from);
}

arrow::Result<Buffers> LaneReceiver::AllocateEager(Rank from, const ChannelId& channel, const LaneFrame& frame,
                                                   const Sizes& sizes) {
  const int64_t cost = EagerCost(sizes);
  const int64_t limit = EagerLimit(options_, channel);
  if (frame.segments != sizes.size() || cost > limit) {
    return Wrong(from, "without a grant a message of " + std::to_string(sizes.size()) + " segments that takes " +
                           std::to_string(cost) + " bytes; at most " + std::to_string(limit) + " are allowed");
  }
  if (window_used_[from] + cost > options_.eager_bytes) {
    return Wrong(from, std::to_string(cost) + " bytes without a grant while " + std::to_string(window_used_[from]) +
                           " wait here already; its window has " + std::to_string(options_.eager_bytes));
  }
  window_used_[from] += cost;
  auto inlet = inlets_.find(channel);
  auto* pool = inlet != inlets_.end() && inlet->second->pool != nullptr ? inlet->second->pool : pool_;
  auto segments = AllocateSegments(sizes, pool);
  if (!segments.ok()) {
    // A full budget must not break the link. What is small comes all the same, and what is not lands to be dropped.
    if (cost > kMostUncounted) {
      refused_[from].insert_or_assign(channel, segments.status());
    }
    return AllocateSegments(sizes, arrow::system_memory_pool());
  }
  return segments;
}

void LaneReceiver::OnEager(Rank from, const ChannelId& channel, const InlineBytes& user_header, Buffers segments) {
  Message message{channel, user_header, std::move(segments)};
  const int64_t cost = EagerCost(SizesOf(message));
  bytes_received_ += message.payload_bytes();
  arrow::Status refused;
  if (auto at = refused_[from].find(channel); at != refused_[from].end()) {
    refused = std::move(at->second);
    refused_[from].erase(at);
    message.segments.clear();
  }
  // Most find their channel open and nothing before them: those need no place in a queue.
  auto found = inlets_.find(channel);
  if (found != inlets_.end() && found->second->receiver != nullptr && !found->second->pumping &&
      !found->second->inboxes.contains(from) && refused.ok()) {
    const auto inlet = found->second;
    window_used_[from] -= cost;
    sender_->Owe(from, cost);
    inlet->pumping = true;
    inlet->receiver->OnMessage(from, std::move(message));
    inlet->pumping = false;
    return;
  }
  auto incoming = std::make_shared<Incoming>();
  incoming->from = from;
  incoming->state = Incoming::State::kWhole;
  incoming->message = std::move(message);
  incoming->eager_cost = cost;
  incoming->refused = std::move(refused);
  Arrive(incoming);
}

arrow::Status LaneReceiver::OnAnnounce(Rank from, const ChannelId& channel, const LaneFrame& frame,
                                       const InlineBytes& user_header) {
  auto& announced = announced_[from];
  const int64_t most = frame.bytes + static_cast<int64_t>(frame.segments) * (kSegmentAlignment - 1);
  if (frame.span < frame.bytes || frame.span > most || frame.span % kSegmentAlignment != 0) {
    return Wrong(from, "an announcement of " + std::to_string(frame.bytes) + " bytes in " +
                           std::to_string(frame.segments) + " segments with the span " + std::to_string(frame.span));
  }
  if (announced.contains(frame.message)) {
    return Wrong(from, "a second announcement of message " + std::to_string(frame.message));
  }
  auto inlet = inlets_.find(channel);
  if (inlet != inlets_.end()) {
    // Of those without a grant: what has one may be sent wholly, and still come after the next announcement (piece_of).
    auto inbox = inlet->second->inboxes.find(from);
    if (inbox != inlet->second->inboxes.end() && inbox->second.announced >= options_.announced) {
      return Wrong(
          from, "more than " + std::to_string(options_.announced) + " announcements on one channel that have no grant");
    }
  }
  // Twice what a sender allows itself: its stops and its next announcements may overtake each other.
  if (announced.size() >= 2 * kMaxAnnouncedByPeer) {
    return Wrong(from, "more than " + std::to_string(2 * kMaxAnnouncedByPeer) + " announcements");
  }
  auto incoming = std::make_shared<Incoming>();
  incoming->from = from;
  incoming->id = frame.message;
  incoming->message.channel = channel;
  incoming->message.header = user_header;
  incoming->bytes = frame.bytes;
  incoming->span = frame.span;
  incoming->segments = frame.segments;
  announced.emplace(incoming->id, incoming);
  Arrive(incoming);
  return arrow::Status::OK();
}

arrow::Result<std::shared_ptr<LaneReceiver::Incoming>> LaneReceiver::FindGranted(Rank from, const ChannelId* channel,
                                                                                 uint64_t id) const {
  auto found = announced_[from].find(id);
  if (found == announced_[from].end() || found->second->state == Incoming::State::kAnnounced ||
      (channel != nullptr && found->second->message.channel != *channel)) {
    return Wrong(from, "a part of message " + std::to_string(id) + ", which was not granted on that channel");
  }
  return found->second;
}

arrow::Result<Buffers> LaneReceiver::AllocateSizes(Rank from, const ChannelId& channel, const LaneFrame& frame,
                                                   const Sizes& sizes) {
  ARROW_ASSIGN_OR_RAISE(auto incoming, FindGranted(from, &channel, frame.message));
  const auto expected = static_cast<int64_t>(incoming->segments * sizeof(int64_t));
  const int64_t told = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  if (incoming->sizes_known || told != expected || sizes.size() > 1) {
    return Wrong(from, std::to_string(told) + " bytes of sizes for message " + std::to_string(frame.message) +
                           ", which has " + std::to_string(incoming->segments) + " segments");
  }
  // At most 1 MiB, gone as soon as it is read: not worth a place in the budget.
  return AllocateSegments(sizes, arrow::system_memory_pool());
}

arrow::Status LaneReceiver::OnSizes(Rank from, const LaneFrame& frame, const Buffers& segments) {
  ARROW_ASSIGN_OR_RAISE(auto incoming, FindGranted(from, nullptr, frame.message));
  if (incoming->sizes_known) {
    return Wrong(from, "the sizes of message " + std::to_string(frame.message) + " twice");
  }
  Sizes sizes(incoming->segments);
  if (!segments.empty()) {
    std::memcpy(sizes.data(), segments[0]->data(), sizes.size() * sizeof(int64_t));
  }
  int64_t bytes = 0;
  int64_t span = 0;
  for (const int64_t size : sizes) {
    if (size < 0 || size > incoming->bytes - bytes) {
      return Wrong(from, "a segment of " + std::to_string(size) + " bytes in message " + std::to_string(frame.message) +
                             ", of which " + std::to_string(incoming->bytes) + " bytes were announced");
    }
    bytes += size;
    span += AlignSegment(size);
  }
  if (bytes != incoming->bytes || span != incoming->span) {
    return Wrong(from, "sizes that add up to " + std::to_string(bytes) + " bytes for message " +
                           std::to_string(frame.message) + ", of which " + std::to_string(incoming->bytes) +
                           " were announced");
  }
  incoming->sizes = std::move(sizes);
  incoming->sizes_known = true;
  CompleteIfWhole(incoming);
  return arrow::Status::OK();
}

arrow::Result<Buffers> LaneReceiver::AllocatePiece(Rank from, const ChannelId& channel, const LaneFrame& frame,
                                                   const Sizes& sizes) {
  ARROW_ASSIGN_OR_RAISE(auto incoming, FindGranted(from, &channel, frame.message));
  if (!incoming->sizes_known || frame.bytes != incoming->asked) {
    return Wrong(from, "a piece at byte " + std::to_string(frame.bytes) + " of message " +
                           std::to_string(frame.message) + "; the next is due at " + std::to_string(incoming->asked));
  }
  return AllocateLanding(*incoming, sizes);
}

/// The places of the next bytes: `sizes` has to follow the message's own segments, empty ones skipped.
arrow::Result<Buffers> LaneReceiver::AllocateLanding(Incoming& incoming, const Sizes& sizes) {
  Buffers landing;
  landing.reserve(std::min(sizes.size(), kMaxPieceSegments));
  if (sizes.empty()) {
    return Wrong(incoming.from, "an empty piece");
  }
  for (const int64_t size : sizes) {
    while (incoming.segment < incoming.segments && incoming.within == incoming.sizes[incoming.segment]) {
      incoming.place += AlignSegment(incoming.sizes[incoming.segment]);
      incoming.within = 0;
      ++incoming.segment;
    }
    if (size <= 0 || incoming.segment == incoming.segments ||
        size > incoming.sizes[incoming.segment] - incoming.within) {
      return Wrong(incoming.from,
                   "a piece with " + std::to_string(size) + " bytes where the message's segments do not have them");
    }
    if (incoming.state == Incoming::State::kDiscarded) {
      // Its memory is free already. What comes before the sender stops lands anywhere, at most what was granted.
      ARROW_ASSIGN_OR_RAISE(auto scratch, arrow::AllocateBuffer(size, arrow::system_memory_pool()));
      landing.push_back(std::move(scratch));
    } else {
      landing.push_back(arrow::SliceMutableBuffer(incoming.body, incoming.place + incoming.within, size));
    }
    incoming.within += size;
    incoming.asked += size;
  }
  return landing;
}

arrow::Status LaneReceiver::OnPiece(Rank from, const LaneFrame& frame, int64_t bytes) {
  ARROW_ASSIGN_OR_RAISE(auto incoming, FindGranted(from, nullptr, frame.message));
  incoming->landed += bytes;
  bytes_received_ += bytes;
  CompleteIfWhole(incoming);
  return arrow::Status::OK();
}

void LaneReceiver::CompleteIfWhole(const std::shared_ptr<Incoming>& incoming) {
  if (!incoming->sizes_known || incoming->landed != incoming->bytes) {
    return;
  }
  announced_[incoming->from].erase(incoming->id);
  if (incoming->state == Incoming::State::kDiscarded) {
    return;
  }
  incoming->state = Incoming::State::kWhole;
  incoming->message.segments = SliceBody(incoming->body, incoming->sizes);
  incoming->body.reset();
  auto inlet = FindInlet(incoming->message.channel, false);
  Pump(inlet);
}

arrow::Status LaneReceiver::OnStop(Rank from, const LaneFrame& frame) {
  ARROW_ASSIGN_OR_RAISE(auto incoming, FindGranted(from, nullptr, frame.message));
  if (incoming->state != Incoming::State::kDiscarded) {
    return Wrong(from, "the end of message " + std::to_string(frame.message) + " in its middle without being asked to");
  }
  announced_[from].erase(frame.message);
  return arrow::Status::OK();
}

void LaneReceiver::PeerLost(Rank peer) {
  announced_[peer].clear();
  for (auto& [channel, inlet] : inlets_) {
    auto inbox = inlet->inboxes.find(peer);
    if (inbox == inlet->inboxes.end()) {
      continue;
    }
    // What follows a message that will never be whole cannot be delivered in order.
    auto& queue = inbox->second.queue;
    auto first = std::find_if(queue.begin(), queue.end(),
                              [](const auto& incoming) { return incoming->state != Incoming::State::kWhole; });
    for (auto dropped = first; dropped != queue.end(); ++dropped) {
      (*dropped)->state = Incoming::State::kDiscarded;  // whoever holds it sees that it is none any more
    }
    queue.erase(first, queue.end());
    inbox->second.announced = 0;
  }
}

}  // namespace cylon::internal
