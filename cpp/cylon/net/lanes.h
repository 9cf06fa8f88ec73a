/// The one layer over all transports: pieces, interleaving, control first, credits.
#pragma once

#include <arrow/memory_pool.h>
#include <arrow/result.h>
#include <arrow/util/future.h>

#include <functional>
#include <memory>

#include "cylon/base/executor.h"
#include "cylon/base/export.h"
#include "cylon/net/message.h"
#include "cylon/net/transport.h"

namespace cylon {

/// What a user's header may have; the rest of a message's inline bytes is the lanes' own.
inline constexpr size_t kMaxUserHeader = 192;
/// Segments of one message: their sizes (8 bytes each) travel ahead of it, in one message of at most 1 MiB.
inline constexpr size_t kMaxLaneSegments = 1 << 17;
/// Payload of one message on a control channel.
inline constexpr int64_t kMaxControlBytes = 64 << 10;

/// Takes the messages of one open channel. Called in tasks of the rank's executor.
class CYLON_EXPORT Receiver {
 public:
  virtual ~Receiver();
  /// `from` wants to send a message with `bytes` of payload. True: memory is taken from the channel's pool and granted
  /// now. False: `from` is kept waiting until Lanes::Retry(channel). Small messages come without asking.
  virtual bool Admit(Rank from, int64_t bytes);
  /// A whole message. A message's segments are slices of one allocation in which each begins at a multiple of 64
  /// bytes, in their order (so an Arrow IPC body with 64-byte alignment is contiguous).
  virtual void OnMessage(Rank from, Message message) = 0;
  /// The pool refused the memory for a message; the message is lost and the channel is useless.
  virtual void OnReceiveError(Rank from, const arrow::Status& status) = 0;
};

/// Peer loss and what is not of any channel. Called in tasks of the rank's executor.
class CYLON_EXPORT LanesObserver {
 public:
  virtual ~LanesObserver();
  /// A connection to `peer` stands for the first time; see Sink.
  virtual void OnPeerMet(Rank peer);
  /// `peer` is gone (OK as cause: it said goodbye). Sends to it fail from now on, those queued too.
  virtual void OnPeerLost(Rank peer, const arrow::Status& cause) = 0;
  /// A message on a channel of kind kControl: at most 64 KiB, ahead of everything else that was queued.
  virtual void OnControl(Rank from, Message message) = 0;
};

/// The same on every rank.
struct LanesOptions {
  int64_t piece_bytes = 1 << 20;   ///< large messages are cut into pieces of this size
  int64_t eager_bytes = 64 << 10;  ///< payload that a peer may have sent without a grant and not yet delivered
  int announced = 4;               ///< messages of one channel and pair that may be announced ahead
};

/// The window of every pair in a world of so many ranks, where nobody asks for another: 32 MiB for all peers of a rank,
/// but 64 KiB for each at least and 16 MiB at most.
CYLON_EXPORT int64_t EagerBytesFor(int world_size);

/// How a message travels. Small ones are *eager*: sent at once while the receiver's window for this peer (eager_bytes)
/// has room, and parked there until their channel is opened; the window opens again as messages are delivered. Small is
/// a quarter of the window on the channel of a collective, whose messages are all awaited, and an eighth of it, at most
/// 8 KiB, on others. Larger ones (and eager ones that find the window full) are *announced* with their sizes; the
/// receiver answers with a *grant* once the channel is open, admitted and the memory reserved; then *pieces* follow,
/// interleaved with those of other channels, at most four of a peer in the transport at once so that control overtakes.
/// So an early or a fast rank cannot fill a slow one's memory. A message for a closed channel is *discarded*: its
/// sender's future finishes.
class CYLON_EXPORT Lanes {
 public:
  /// `rank` and `world_size` as in the transport. Messages to the own rank are delivered without the transport, in a
  /// later task and through the same channels (large ones ask Admit too), but nothing is copied: the receiver gets the
  /// sender's own buffers, wherever they lie, and the future finishes when it has them. Do not write to them after.
  /// `pool` (nullptr: Arrow's) takes what has no channel yet, at most eager_bytes a peer.
  Lanes(Rank rank, int world_size, std::unique_ptr<Transport> transport, Executor& executor, arrow::MemoryPool* pool,
        LanesOptions options);
  /// In a task, or on a thread that may wait for one. Sends that have not finished fail with Cancelled, so what awaits
  /// them must still be there.
  ~Lanes();

  Rank rank() const;
  int world_size() const;
  Executor& executor();
  Transport& transport();

  /// All calls below from tasks of the executor.
  arrow::Future<> Start(LanesObserver* observer);

  /// The future finishes when the message's buffers may be reused. Order within a channel and pair is kept. Invalid
  /// where the header has more than kMaxUserHeader bytes, a segment is null, there are more than kMaxLaneSegments, or a
  /// control message has more than kMaxControlBytes. IOError where `to` is gone.
  arrow::Future<> Send(Rank to, Message message);

  /// Messages of `channel` go to `receiver` from now on, those that came earlier first; memory from `pool` (nullptr:
  /// the one of the constructor). Those that wait are delivered in a later task, never inside this call.
  void Open(const ChannelId& channel, Receiver* receiver, arrow::MemoryPool* pool = nullptr);
  /// Nothing is delivered from now on; what still comes is discarded. A closed channel is not opened again. (What is
  /// remembered of closed channels is compacted: sequences of one communicator and kind are mostly consecutive.)
  void Close(const ChannelId& channel);
  /// Closes every channel of a communicator and forgets them.
  void CloseCommunicator(uint32_t communicator);
  /// Asks Admit again for what waits on `channel`.
  void Retry(const ChannelId& channel);

  arrow::Future<> Flush();
  /// Transport::Close after what is queued. What comes for channels that are not open is discarded from now on, so that
  /// ranks that shut down at once do not wait for each other.
  arrow::Future<> Shutdown();
  /// Transport::Abort; every send that has not finished fails with Cancelled.
  void Abort();

  /// Bytes of payload sent to and received from other ranks so far.
  int64_t bytes_sent() const;
  int64_t bytes_received() const;

 private:
  class Impl;
  std::shared_ptr<Impl> impl_;  // shared with tasks
};

}  // namespace cylon
