/// The sending half of lanes: windows, announcements, pieces in turn.
#pragma once

#include <arrow/util/future.h>
#include <atomic>

#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "cylon/net/lane_frame.h"
#include "cylon/net/lanes.h"
#include "cylon/net/send_tracker.h"

namespace cylon::internal {

/// All calls from the rank's tasks. Held by a shared_ptr: a transport may finish a send late.
class LaneSender : public std::enable_shared_from_this<LaneSender> {
 public:
  LaneSender(Rank rank, int world_size, Transport* transport, const LanesOptions& options);

  /// Invalid where `message` cannot travel, the loss where `to` is gone.
  arrow::Status Check(Rank to, const Message& message) const;
  /// After Check, to another rank.
  arrow::Future<> Send(Rank to, Message message);
  /// For a message that lanes deliver themselves: finishes with FinishLocal.
  SendTracker::Sent AddLocal() { return sends_.Add(rank_); }
  void FinishLocal(uint64_t ticket) { sends_.Finish(ticket, arrow::Status::OK()); }

  /// A frame of the lanes' own, ahead of all that is queued. Nothing happens where `to` is gone.
  void Reply(Rank to, const ChannelId& channel, LaneType type, uint64_t message);
  /// `cost` of `to`'s window is free again.
  void Owe(Rank to, int64_t cost);

  // What peers answer. Errors are ProtocolErrors that name the peer.
  arrow::Status OnCredit(Rank from, int64_t credit);
  arrow::Status OnGrant(Rank from, const ChannelId& channel, uint64_t message);
  void OnDiscard(Rank from, const ChannelId& channel, uint64_t message);

  void PeerLost(Rank peer, const arrow::Status& cause);
  /// Every send that is open and every later one fails with `status`.
  void Close(const arrow::Status& status);
  /// When all that was sent so far is gone, out of the transport too.
  arrow::Future<> Flush();

  int64_t bytes_sent() const { return bytes_sent_; }

 private:
  /// A message that was too large, or came too late, to go at once.
  struct Outgoing {
    uint64_t id = 0;
    uint64_t ticket = 0;
    Message message;
    Sizes sizes;
    int64_t bytes = 0;
    bool granted = false;
    bool sizes_sent = false;
    bool ended = false;  // nothing more of it is handed to the transport
    size_t segment = 0;  // the next byte to go: segment, offset in it, offset in the message
    int64_t within = 0;
    int64_t offset = 0;
    int in_transport = 0;
  };
  struct Outlet {
    ChannelId channel;
    std::deque<std::shared_ptr<Outgoing>> waiting;    // for room to be announced
    std::deque<std::shared_ptr<Outgoing>> announced;  // in order; leave when they have ended
    bool in_turn = false;
  };
  struct Peer {
    int64_t window_used = 0;
    int64_t owed = 0;
    uint64_t next_id = 0;
    int pieces = 0;  // in the transport
    bool pumping = false;
    bool lost = false;
    arrow::Status cause;
    std::unordered_map<ChannelId, std::shared_ptr<Outlet>> outlets;
    std::unordered_map<uint64_t, std::shared_ptr<Outgoing>> announced;
    std::deque<std::shared_ptr<Outlet>> turns;  // channels that have a piece to send
  };

  bool TakeWindow(Rank to, const ChannelId& channel, const Sizes& sizes);
  std::optional<arrow::Future<>> TrySmall(Rank to, Message* message);
  bool TryEager(Rank to, uint64_t ticket, Message* message, const Sizes& sizes);
  bool TryAnnounce(Rank to, Outlet& outlet, const std::shared_ptr<Outgoing>& outgoing);
  void Drain(Rank to, const std::shared_ptr<Outlet>& outlet);
  void Pump(Rank to);
  bool SendNext(Rank to, const std::shared_ptr<Outlet>& outlet);
  void SendSizes(Rank to, const std::shared_ptr<Outgoing>& outgoing);
  void SendPiece(Rank to, const std::shared_ptr<Outgoing>& outgoing);
  void End(Rank to, const std::shared_ptr<Outlet>& outlet, const std::shared_ptr<Outgoing>& outgoing);
  void FinishIfGone(const std::shared_ptr<Outgoing>& outgoing);
  arrow::Future<> Hand(Rank to, const ChannelId& channel, LaneFrame frame, const InlineBytes& user_header,
                       Buffers segments, int64_t piece_of = 0);

  const Rank rank_;
  Transport* const transport_;
  const LanesOptions options_;
  int64_t piece_bytes_;
  std::vector<Peer> peers_;
  SendTracker sends_;
  arrow::Status closed_;
  std::atomic<int64_t> bytes_sent_{0};  // callers read it
};

}  // namespace cylon::internal
