/// The receiving half of lanes: channels, what waits before them, and the memory that was granted.
#pragma once

#include <arrow/memory_pool.h>
#include <arrow/result.h>
#include <atomic>

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/net/interval_set.h"
#include "cylon/net/lane_frame.h"
#include "cylon/net/lane_sender.h"
#include "cylon/net/lanes.h"

namespace cylon::internal {

/// All calls from the rank's tasks.
class LaneReceiver : public std::enable_shared_from_this<LaneReceiver> {
 public:
  LaneReceiver(Rank rank, int world_size, Executor& executor, LaneSender* sender, arrow::MemoryPool* pool,
               const LanesOptions& options);

  void Open(const ChannelId& channel, Receiver* receiver, arrow::MemoryPool* pool);
  void Close(const ChannelId& channel);
  void CloseCommunicator(uint32_t communicator);
  void Retry(const ChannelId& channel);
  /// What comes for channels that are not open is discarded from now on.
  void DiscardUnopened();
  /// Delivers nothing any more.
  void Silence();

  /// A message to the own rank; `ticket` is the sender's.
  void ArriveLocal(Message message, uint64_t ticket);

  // Memory for frames of peers; errors are ProtocolErrors that name the peer.
  arrow::Result<Buffers> AllocateEager(Rank from, const ChannelId& channel, const LaneFrame& frame, const Sizes& sizes);
  arrow::Result<Buffers> AllocateSizes(Rank from, const ChannelId& channel, const LaneFrame& frame, const Sizes& sizes);
  arrow::Result<Buffers> AllocatePiece(Rank from, const ChannelId& channel, const LaneFrame& frame, const Sizes& sizes);

  // Frames of peers, with the memory from above.
  void OnEager(Rank from, const ChannelId& channel, const InlineBytes& user_header, Buffers segments);
  arrow::Status OnAnnounce(Rank from, const ChannelId& channel, const LaneFrame& frame, const InlineBytes& user_header);
  arrow::Status OnSizes(Rank from, const LaneFrame& frame, const Buffers& segments);
  arrow::Status OnPiece(Rank from, const LaneFrame& frame, int64_t bytes);
  arrow::Status OnStop(Rank from, const LaneFrame& frame);

  /// What `peer` had not sent wholly is dropped.
  void PeerLost(Rank peer);

  int64_t bytes_received() const { return bytes_received_; }

 private:
  struct Incoming {
    enum class State {
      kAnnounced,  // waits for the channel, Admit and memory
      kGranted,    // memory stands, pieces come
      kWhole,
      kDiscarded,  // granted, then not wanted: its pieces are dropped until the sender stops
    };
    Rank from = 0;
    uint64_t id = 0;  // of the sender's announced messages
    State state = State::kAnnounced;
    Message message;  // segments: once whole, for the own rank's from the start
    int64_t bytes = 0;
    int64_t span = 0;
    size_t segments = 0;
    int64_t eager_cost = 0;
    arrow::Status refused;  // of an eager one: why there was no memory for it
    uint64_t ticket = 0;    // of the own rank's
    std::shared_ptr<arrow::Buffer> body;
    Sizes sizes;
    bool sizes_known = false;
    size_t segment = 0;  // where the next piece lands: segment, offset in it, its place in the body
    int64_t within = 0;
    int64_t place = 0;
    int64_t asked = 0;  // bytes for which memory was given to the transport
    int64_t landed = 0;
  };
  struct Inbox {
    std::list<std::shared_ptr<Incoming>> queue;  // in the sender's order
    int announced = 0;                           // of them in kAnnounced
    bool refused = false;                        // Admit said no; it is asked again after Retry
  };
  struct Inlet {
    ChannelId channel;
    Receiver* receiver = nullptr;
    arrow::MemoryPool* pool = nullptr;
    bool pumping = false;
    bool pump_posted = false;
    std::map<Rank, Inbox> inboxes;
  };
  using Sequences = std::tuple<uint32_t, uint32_t, ChannelKind>;  // epoch, communicator, kind

  bool IsClosed(const ChannelId& channel) const;
  std::shared_ptr<Inlet> FindInlet(const ChannelId& channel, bool make);
  void PostPump(const std::shared_ptr<Inlet>& inlet);
  void Pump(const std::shared_ptr<Inlet>& inlet);
  bool PumpInbox(const std::shared_ptr<Inlet>& inlet, Rank from);
  bool GrantWaiting(const std::shared_ptr<Inlet>& inlet, Rank from);
  bool Grant(const std::shared_ptr<Inlet>& inlet, const std::shared_ptr<Incoming>& incoming);
  void Arrive(const std::shared_ptr<Incoming>& incoming);
  void CloseInlet(const ChannelId& channel);
  void Discard(const std::shared_ptr<Incoming>& incoming);
  void CompleteIfWhole(const std::shared_ptr<Incoming>& incoming);
  arrow::Result<std::shared_ptr<Incoming>> FindGranted(Rank from, const ChannelId* channel, uint64_t id) const;
  arrow::Result<Buffers> AllocateLanding(Incoming& incoming, const Sizes& sizes);
  arrow::Status Wrong(Rank from, const std::string& what) const;

  const Rank rank_;
  Executor& executor_;
  LaneSender* const sender_;
  arrow::MemoryPool* const pool_;
  const LanesOptions options_;
  bool silent_ = false;
  bool discard_unopened_ = false;
  std::unordered_map<ChannelId, std::shared_ptr<Inlet>> inlets_;
  std::map<Sequences, IntervalSet> closed_;
  IntervalSet closed_communicators_;
  std::vector<int64_t> window_used_;                                                // by peer, of our window
  std::vector<std::unordered_map<ChannelId, arrow::Status>> refused_;               // by peer: of eager ones to come
  std::vector<std::unordered_map<uint64_t, std::shared_ptr<Incoming>>> announced_;  // by peer; until whole or stopped
  std::atomic<int64_t> bytes_received_{0};                                          // callers read it
};

}  // namespace cylon::internal
