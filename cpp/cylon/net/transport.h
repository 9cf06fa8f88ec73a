/// A transport moves messages between the ranks of a world, and nothing else.
#pragma once

#include <arrow/result.h>
#include <arrow/util/future.h>

#include <string>

#include "cylon/base/error.h"
#include "cylon/base/export.h"
#include "cylon/net/message.h"

namespace cylon {

/// What a transport can do, so that the layer above and the tests ask for no more.
struct Traits {
  int64_t largest_message = INT64_MAX;  ///< payload bytes
  bool ranks_may_be_threads = true;
  bool sees_peer_loss = true;         ///< tells of a peer that is gone without being asked to send to it
  bool wants_whole_messages = false;  ///< cutting large messages into pieces only costs here
};

/// What a transport tells its owner. Called in tasks of the rank's executor; no call blocks.
class CYLON_EXPORT Sink {
 public:
  virtual ~Sink();
  /// Memory for the segments of an arriving message, one buffer for each size, so that bytes land where they will be
  /// used. Called for every message, also one without segments, and for a channel's next one
  /// only after its last one was delivered. An error drops the connection: it is how a sink
  /// refuses what breaks the rules.
  virtual arrow::Result<Buffers> Allocate(Rank from, const ChannelId& channel, const InlineBytes& header,
                                          const Sizes& sizes) = 0;
  /// A whole message; its segments are the buffers from Allocate.
  virtual void OnMessage(Rank from, Message message) = 0;
  /// A connection to `peer` stands for the first time: its process runs. Not told by transports without connections.
  virtual void OnPeerMet(Rank peer);
  /// Nothing will come from `peer` any more. Once per peer. OK as cause: it said goodbye.
  virtual void OnPeerLost(Rank peer, const arrow::Status& cause) = 0;
};

/// All calls from tasks of the executor that it was made with. A transport is one rank's end of a world.
class CYLON_EXPORT Transport {
 public:
  virtual ~Transport();

  virtual const Traits& traits() const = 0;

  /// From now on `sink` is told what arrives. Finishes when the links that are made at the start (ring neighbours)
  /// stand.
  virtual arrow::Future<> Start(Sink* sink) = 0;

  /// Queues `message` and returns at once; the future finishes when its buffers may be reused, or fails when `to` is
  /// gone. Messages of one channel from one peer arrive once, whole and in order. `to` is never the own rank.
  virtual arrow::Future<> Send(Rank to, Message message) = 0;

  /// Moves what can be moved without blocking; for transports that have to be polled. Most do nothing here.
  virtual void Progress();

  /// The way that messages to `peer` go now: "shm", "tcp", "punch" (straight to it, through whatever gateways),
  /// "relay".
  /// "" while there is none, and where a transport knows no difference.
  virtual std::string way(Rank peer) const;

  /// Finishes when everything queued so far is gone.
  virtual arrow::Future<> Flush() = 0;

  /// Says goodbye to connected peers after what is queued, and closes. Messages that still arrive are dropped.
  virtual arrow::Future<> Close() = 0;

  /// Closes at once, without goodbye: peers see a loss. For tests and for a rank that gives up.
  virtual void Abort() = 0;
};

}  // namespace cylon
