// The sending half of lanes.
#include "cylon/net/lane_sender.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "cylon/base/co.h"

namespace cylon::internal {

namespace {

/// Pieces of one peer in the transport, which has done with one when the peer has it: one on the wire, one behind it,
/// and two whose acknowledgements are on their way back, so that the wire does not fall idle. Other channels' messages
/// wait for these at most; control waits for less, as a transport lets it overtake what has not left.
constexpr int kPiecesInTransport = 4;

/// Up to here an eager message is copied and its future finished at once: a copy of 1 KiB takes 0.05 us, and to hear
/// from the transport that it is gone takes ten times that, three futures and a second trip through every queue.
constexpr int64_t kCopiedSmallBytes = 1 << 10;

/// The segments' bytes in memory of their own.
Buffers Copy(const Buffers& segments, int64_t bytes) {
  if (segments.empty()) {
    return {};
  }
  std::string all;
  all.reserve(static_cast<size_t>(bytes));
  for (const auto& segment : segments) {
    all.append(std::string_view(*segment));
  }
  const std::shared_ptr<arrow::Buffer> whole = arrow::Buffer::FromString(std::move(all));
  if (segments.size() == 1) {
    return {whole};
  }
  Buffers copy;
  copy.reserve(segments.size());
  int64_t offset = 0;
  for (const auto& segment : segments) {
    copy.push_back(arrow::SliceBuffer(whole, offset, segment->size()));
    offset += segment->size();
  }
  return copy;
}

arrow::Status Lost(Rank peer, const arrow::Status& cause) {
  return cause.ok() ? arrow::Status::IOError("rank ", peer, " is gone: it said goodbye") : cause;
}

}  // namespace

LaneSender::LaneSender(Rank rank, int world_size, Transport* transport, const LanesOptions& options)
    : rank_(rank), transport_(transport), options_(options), peers_(static_cast<size_t>(world_size)) {
  const auto& traits = transport->traits();
  piece_bytes_ =
      traits.wants_whole_messages ? traits.largest_message : std::min(options.piece_bytes, traits.largest_message);
}

arrow::Status LaneSender::Check(Rank to, const Message& message) const {
  if (!closed_.ok()) {
    return closed_;
  }
  if (to < 0 || static_cast<size_t>(to) >= peers_.size()) {
    return arrow::Status::Invalid("rank ", rank_, " sent to rank ", to, "; there are ", peers_.size(), " ranks");
  }
  if (message.header.size() > kMaxUserHeader) {
    return arrow::Status::Invalid("a message's header has ", message.header.size(), " bytes; it may have ",
                                  kMaxUserHeader, "; put the rest into a segment");
  }
  const auto most = std::min(static_cast<int64_t>(kMaxLaneSegments),
                             transport_->traits().largest_message / static_cast<int64_t>(sizeof(int64_t)));
  if (static_cast<int64_t>(message.segments.size()) > most) {
    return arrow::Status::Invalid("a message has ", message.segments.size(), " segments; it may have ", most,
                                  "; send it as several");
  }
  for (const auto& segment : message.segments) {
    if (segment == nullptr) {
      return arrow::Status::Invalid("a message has a segment that is null; send an empty buffer for what is absent");
    }
  }
  const int64_t bytes = message.payload_bytes();
  const int64_t limit = message.channel.kind == ChannelKind::kControl ? kMaxControlBytes : kMaxLaneBytes;
  if (bytes > limit) {
    return arrow::Status::Invalid("a message has ", bytes, " bytes; on this kind of channel it may have ", limit,
                                  "; send it as several");
  }
  if (peers_[to].lost) {
    return Lost(to, peers_[to].cause);
  }
  return arrow::Status::OK();
}

arrow::Future<> LaneSender::Hand(Rank to, const ChannelId& channel, LaneFrame frame, const InlineBytes& user_header,
                                 Buffers segments, int64_t piece_of) {
  frame.credit = std::exchange(peers_[to].owed, 0);
  Message message{channel, EncodeLaneFrame(frame, user_header), std::move(segments), piece_of};
  bytes_sent_ += frame.type == LaneType::kSizes ? 0 : message.payload_bytes();
  return transport_->Send(to, std::move(message));
}

arrow::Future<> LaneSender::Send(Rank to, Message message) {
  if (auto small = TrySmall(to, &message)) {
    return std::move(*small);
  }
  auto sent = sends_.Add(to);
  if (message.channel.kind == ChannelKind::kControl) {
    LaneFrame frame{.type = LaneType::kControl, .segments = static_cast<uint32_t>(message.segments.size())};
    auto gone = Hand(to, message.channel, frame, message.header, std::move(message.segments));
    gone.AddCallback([weak = weak_from_this(), ticket = sent.id](const arrow::Status& status) {
      if (auto self = weak.lock()) {
        self->sends_.Finish(ticket, status);
      }
    });
    return sent.done;
  }
  auto& peer = peers_[to];
  auto sizes = SizesOf(message);
  auto found = peer.outlets.find(message.channel);
  const bool behind_others = found != peer.outlets.end() && !found->second->waiting.empty();
  if (!behind_others && TryEager(to, sent.id, &message, sizes)) {
    return sent.done;
  }
  auto outgoing = std::make_shared<Outgoing>();
  outgoing->ticket = sent.id;
  outgoing->bytes = message.payload_bytes();
  outgoing->sizes = std::move(sizes);
  outgoing->message = std::move(message);
  if (found == peer.outlets.end()) {
    found = peer.outlets.emplace(outgoing->message.channel, std::make_shared<Outlet>()).first;
    found->second->channel = outgoing->message.channel;
  }
  auto outlet = found->second;
  outlet->waiting.push_back(std::move(outgoing));
  Drain(to, outlet);
  return sent.done;
}

/// Takes the room in `to`'s window that an eager message of `sizes` needs, where there is.
bool LaneSender::TakeWindow(Rank to, const ChannelId& channel, const Sizes& sizes) {
  auto& peer = peers_[to];
  const int64_t cost = EagerCost(sizes);
  if (cost > EagerLimit(options_, channel) || cost > transport_->traits().largest_message ||
      peer.window_used + cost > options_.eager_bytes) {
    return false;
  }
  peer.window_used += cost;
  return true;
}

/// A message that is sent at once, and its future: finished, unless `to` has just gone.
std::optional<arrow::Future<>> LaneSender::TrySmall(Rank to, Message* message) {
  const int64_t bytes = message->payload_bytes();
  if (bytes > kCopiedSmallBytes || message->channel.kind == ChannelKind::kControl) {
    return std::nullopt;
  }
  const auto found = peers_[to].outlets.find(message->channel);
  const bool behind_others = found != peers_[to].outlets.end() && !found->second->waiting.empty();
  if (behind_others || !TakeWindow(to, message->channel, SizesOf(*message))) {
    return std::nullopt;
  }
  LaneFrame frame{.type = LaneType::kEager, .segments = static_cast<uint32_t>(message->segments.size())};
  auto gone = Hand(to, message->channel, frame, message->header, Copy(message->segments, bytes));
  return gone.is_finished() && !gone.status().ok() ? gone : Done();
}

bool LaneSender::TryEager(Rank to, uint64_t ticket, Message* message, const Sizes& sizes) {
  if (!TakeWindow(to, message->channel, sizes)) {
    return false;
  }
  LaneFrame frame{.type = LaneType::kEager, .segments = static_cast<uint32_t>(sizes.size())};
  auto gone = Hand(to, message->channel, frame, message->header, std::move(message->segments));
  gone.AddCallback([weak = weak_from_this(), ticket](const arrow::Status& status) {
    if (auto self = weak.lock()) {
      self->sends_.Finish(ticket, status);
    }
  });
  return true;
}

bool LaneSender::TryAnnounce(Rank to, Outlet& outlet, const std::shared_ptr<Outgoing>& outgoing) {
  auto& peer = peers_[to];
  if (outlet.announced.size() >= static_cast<size_t>(options_.announced) ||
      peer.announced.size() >= kMaxAnnouncedByPeer) {
    return false;
  }
  outgoing->id = peer.next_id++;
  outlet.announced.push_back(outgoing);
  peer.announced.emplace(outgoing->id, outgoing);
  LaneFrame frame{.type = LaneType::kAnnounce,
                  .segments = static_cast<uint32_t>(outgoing->sizes.size()),
                  .message = outgoing->id,
                  .bytes = outgoing->bytes};
  for (const int64_t size : outgoing->sizes) {
    frame.span += AlignSegment(size);
  }
  // Should it fail, the peer is lost and all of its messages fail.
  std::ignore = Hand(to, outlet.channel, frame, outgoing->message.header, {});
  return true;
}

/// Lets go what waits, as far as it may; forgets the outlet when nothing is left.
void LaneSender::Drain(Rank to, const std::shared_ptr<Outlet>& outlet) {
  auto& peer = peers_[to];
  while (!peer.lost && !outlet->waiting.empty()) {
    // Out of the queue first: a send that finishes at once may bring its owner's next one here.
    auto next = std::move(outlet->waiting.front());
    outlet->waiting.pop_front();
    if (!TryEager(to, next->ticket, &next->message, next->sizes) && !TryAnnounce(to, *outlet, next)) {
      outlet->waiting.push_front(std::move(next));
      break;
    }
  }
  auto known = peer.outlets.find(outlet->channel);
  if (outlet->waiting.empty() && outlet->announced.empty() && !outlet->in_turn && known != peer.outlets.end() &&
      known->second == outlet) {
    peer.outlets.erase(known);
  }
}

void LaneSender::Reply(Rank to, const ChannelId& channel, LaneType type, uint64_t message) {
  if (closed_.ok() && !peers_[to].lost) {
    std::ignore = Hand(to, channel, LaneFrame{.type = type, .message = message}, {}, {});
  }
}

void LaneSender::Owe(Rank to, int64_t cost) {
  peers_[to].owed += cost;
  if (peers_[to].owed >= options_.eager_bytes / 2) {
    Reply(to, kCreditChannel, LaneType::kCredit, 0);
  }
}

arrow::Status LaneSender::OnCredit(Rank from, int64_t credit) {
  auto& peer = peers_[from];
  if (credit > peer.window_used) {
    return ProtocolError("rank " + std::to_string(from) + " gave back " + std::to_string(credit) +
                             " bytes of its window, of which only " + std::to_string(peer.window_used) +
                             " are used; all ranks must have the same options",
                         from);
  }
  peer.window_used -= credit;
  return arrow::Status::OK();
}

arrow::Status LaneSender::OnGrant(Rank from, const ChannelId& channel, uint64_t message) {
  auto& peer = peers_[from];
  auto found = peer.announced.find(message);
  if (found == peer.announced.end() || found->second->granted || found->second->message.channel != channel) {
    return ProtocolError("rank " + std::to_string(from) + " granted message " + std::to_string(message) +
                             ", which was not announced on that channel or is granted already",
                         from);
  }
  found->second->granted = true;
  auto outlet = peer.outlets.at(channel);
  if (!outlet->in_turn) {
    outlet->in_turn = true;
    peer.turns.push_back(std::move(outlet));
  }
  Pump(from);
  return arrow::Status::OK();
}

void LaneSender::OnDiscard(Rank from, const ChannelId& channel, uint64_t message) {
  auto& peer = peers_[from];
  auto found = peer.announced.find(message);
  if (found == peer.announced.end() || found->second->message.channel != channel) {
    return;  // its last piece is on its way already
  }
  auto outgoing = found->second;
  auto outlet = peer.outlets.at(channel);
  if (outgoing->granted) {
    // After the pieces that are under way, so the way that they go.
    std::ignore = Hand(from, channel, LaneFrame{.type = LaneType::kStop, .message = message}, {}, {}, outgoing->bytes);
  }
  End(from, outlet, outgoing);
  FinishIfGone(outgoing);
  Drain(from, outlet);
}

/// Hands pieces to the transport, a channel after the other.
void LaneSender::Pump(Rank to) {
  auto& peer = peers_[to];
  if (peer.pumping) {
    return;
  }
  peer.pumping = true;
  while (peer.pieces < kPiecesInTransport && !peer.turns.empty()) {
    auto outlet = std::move(peer.turns.front());
    peer.turns.pop_front();
    outlet->in_turn = SendNext(to, outlet);
    if (peer.lost) {
      break;
    }
    if (outlet->in_turn) {
      peer.turns.push_back(std::move(outlet));
    } else {
      Drain(to, outlet);
    }
  }
  peer.pumping = false;
}

/// One piece of the channel's first granted message. True where there is more to send.
bool LaneSender::SendNext(Rank to, const std::shared_ptr<Outlet>& outlet) {
  const auto granted = [](const auto& outgoing) { return outgoing->granted; };
  auto first = std::find_if(outlet->announced.begin(), outlet->announced.end(), granted);
  if (first == outlet->announced.end()) {
    return false;
  }
  auto outgoing = *first;
  if (!outgoing->sizes_sent) {
    SendSizes(to, outgoing);
  }
  if (outgoing->offset < outgoing->bytes && !outgoing->ended) {
    SendPiece(to, outgoing);
  }
  if (outgoing->offset == outgoing->bytes && !outgoing->ended) {
    End(to, outlet, outgoing);
    FinishIfGone(outgoing);
  }
  return std::any_of(outlet->announced.begin(), outlet->announced.end(), granted);
}

void LaneSender::SendSizes(Rank to, const std::shared_ptr<Outgoing>& outgoing) {
  outgoing->sizes_sent = true;
  Buffers segments;
  if (!outgoing->sizes.empty()) {
    segments.push_back(arrow::Buffer::FromVector(outgoing->sizes));
  }
  ++outgoing->in_transport;
  auto gone = Hand(to, outgoing->message.channel, LaneFrame{.type = LaneType::kSizes, .message = outgoing->id}, {},
                   std::move(segments), outgoing->bytes);
  gone.AddCallback([weak = weak_from_this(), outgoing](const arrow::Status& status) {
    if (auto self = weak.lock()) {
      --outgoing->in_transport;
      if (status.ok()) {
        self->FinishIfGone(outgoing);
      } else {
        self->sends_.Finish(outgoing->ticket, status);
      }
    }
  });
}

void LaneSender::SendPiece(Rank to, const std::shared_ptr<Outgoing>& outgoing) {
  LaneFrame frame{.type = LaneType::kPiece, .message = outgoing->id, .bytes = outgoing->offset};
  Buffers segments;
  int64_t room = piece_bytes_;
  while (room > 0 && outgoing->offset < outgoing->bytes && segments.size() < kMaxPieceSegments) {
    const int64_t left = outgoing->sizes[outgoing->segment] - outgoing->within;
    const int64_t take = std::min(left, room);
    if (take > 0) {
      segments.push_back(arrow::SliceBuffer(outgoing->message.segments[outgoing->segment], outgoing->within, take));
    }
    room -= take;
    outgoing->offset += take;
    outgoing->within += take;
    if (take == left) {
      ++outgoing->segment;
      outgoing->within = 0;
    }
  }
  ++outgoing->in_transport;
  ++peers_[to].pieces;
  auto gone = Hand(to, outgoing->message.channel, frame, {}, std::move(segments), outgoing->bytes);
  gone.AddCallback([weak = weak_from_this(), outgoing, to](const arrow::Status& status) {
    if (auto self = weak.lock()) {
      --outgoing->in_transport;
      --self->peers_[to].pieces;
      if (status.ok()) {
        self->FinishIfGone(outgoing);
        self->Pump(to);
      } else {
        self->sends_.Finish(outgoing->ticket, status);
      }
    }
  });
}

/// Nothing more of `outgoing` will be sent: its place among the announced is free.
void LaneSender::End(Rank to, const std::shared_ptr<Outlet>& outlet, const std::shared_ptr<Outgoing>& outgoing) {
  outgoing->ended = true;
  peers_[to].announced.erase(outgoing->id);
  std::erase(outlet->announced, outgoing);
}

void LaneSender::FinishIfGone(const std::shared_ptr<Outgoing>& outgoing) {
  if (outgoing->ended && outgoing->in_transport == 0) {
    outgoing->message.segments.clear();
    sends_.Finish(outgoing->ticket, arrow::Status::OK());
  }
}

arrow::Future<> LaneSender::Flush() {
  auto done = arrow::Future<>::Make();
  sends_.Flush().AddCallback([weak = weak_from_this(), done](const arrow::Status&) mutable {
    auto self = weak.lock();
    if (self == nullptr || !self->closed_.ok()) {
      done.MarkFinished();
      return;
    }
    // Copied messages are told of by the transport alone.
    self->transport_->Flush().AddCallback([done](const arrow::Status&) mutable { done.MarkFinished(); });
  });
  return done;
}

void LaneSender::PeerLost(Rank peer, const arrow::Status& cause) {
  auto& gone = peers_[peer];
  if (gone.lost) {
    return;
  }
  gone.lost = true;
  gone.cause = cause;
  gone.outlets.clear();
  gone.announced.clear();
  gone.turns.clear();
  gone.owed = 0;
  sends_.FailPeer(peer, Lost(peer, cause));
}

void LaneSender::Close(const arrow::Status& status) {
  closed_ = status;
  for (auto& peer : peers_) {
    peer.outlets.clear();
    peer.announced.clear();
    peer.turns.clear();
  }
  sends_.FailAll(status);
}

}  // namespace cylon::internal
