/// The network as a watch sees it: links to other ranks' watches, over sockets or simulated.
#pragma once

#include "cylon/comm/watch/judge.h"
#include "cylon/comm/watch/message.h"

namespace cylon::internal {

/// Told in tasks of the wire's executor.
class WatchWireSink {
 public:
  virtual ~WatchWireSink() = default;
  /// A connection to `peer`'s watch stands; there may be several.
  virtual void OnLink(Rank peer) = 0;
  /// The last of them has ended.
  virtual void OnLinkEnd(Rank peer) = 0;
  virtual void OnDialFailed(Rank peer, DialEnd how) = 0;
  virtual void OnMessage(Rank from, const WatchMessage& message) = 0;
};

/// All calls in tasks of the executor.
class WatchWire {
 public:
  virtual ~WatchWire() = default;
  virtual void Start(WatchWireSink* sink) = 0;
  /// OnLink or OnDialFailed follows, within `patience`.
  virtual void Dial(Rank peer, Duration patience) = 0;
  /// Over every link to `to`. Nothing is queued for long: what a link does not take is dropped, a beat first.
  virtual void Send(Rank to, const WatchMessage& message) = 0;
  virtual bool Linked(Rank peer) const = 0;
  /// Ends everything; the sink is told nothing any more. Who dials is refused from now on.
  virtual void Close() = 0;
};

}  // namespace cylon::internal
