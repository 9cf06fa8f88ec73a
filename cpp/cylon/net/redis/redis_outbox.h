/// What one rank sends to one other through a Redis server.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/message.h"
#include "cylon/net/redis/seal.h"

namespace cylon::internal {

/// Every rank has one inbox, a stream of the server: `cylon:job/epoch/inbox/<rank>.<tag>`. Each entry of it has one
/// field:
///
///   name    "<sender's rank>.<number>": entries of a pair count from 1
///   value   sealed under that number:  kind (1) | acknowledged (8) | bytes of the pair's stream, or a reason
///
/// `acknowledged` is the number of the last entry that the sender of this one has received from the other; what is
/// below need not be sent again, and no longer counts as under way.
enum class MailKind : uint8_t { kData = 1, kGoodbye, kDropped };

/// How much may be under way, of one pair.
struct MailLimits {
  int64_t window_bytes;  ///< sent and not acknowledged: at most so much of a pair lies in the server, and here
  int64_t entry_bytes;   ///< of one entry
};

/// All ranks' inboxes together hold at most 32 MiB for each of them, but a pair of many ranks has its minimum; an entry
/// of 1 MiB costs a server half of what as many bytes in entries of 64 KiB do.
MailLimits LimitsOf(int world_size);

/// What an entry of so many sealed bytes counts for: a server needs some more for each. One that only acknowledges
/// counts for nothing, at both ends.
inline int64_t CostOf(size_t sealed_bytes) { return static_cast<int64_t>(sealed_bytes) + 256; }

/// Belongs to the rank's tasks. Keeps each entry until it is acknowledged: a server that is started anew, or a
/// connection that is lost, takes nothing with it that cannot be put there again.
class RedisOutbox {
 public:
  /// `inbox` is the key of the peer's; it goes so long after the last entry was put there.
  RedisOutbox(Rank own, Seal seal, std::string inbox, int64_t time_to_live_ms, MailLimits limits);

  /// `id` is told by Stored when all of the message lies in the server.
  void Queue(uint64_t id, Message message);
  /// The last entry: after what is queued, or instead of it.
  void QueueGoodbye();
  void QueueDropped(const std::string& reason);

  /// An entry for the server: two commands with two replies.
  struct Entry {
    uint64_t number = 0;
    std::shared_ptr<const std::string> commands;
    bool fresh = false;  ///< made now, with the acknowledgement that was given
  };
  /// The next entry that may be put into the server now; nothing where there is none. `acknowledged` goes with it.
  arrow::Result<Entry> Next(uint64_t acknowledged);
  /// The next entry is made even though there is nothing else to say.
  void OweAcknowledgement() { owes_acknowledgement_ = true; }

  /// The server has taken `number`. Returns the messages that lie there whole now.
  std::vector<uint64_t> Stored(uint64_t number);
  /// The peer has received up to `number`. False where that was never sent. Adds to `whole` what Stored would return.
  bool Acknowledged(uint64_t number, std::vector<uint64_t>* whole);
  /// What is not acknowledged may be gone from the server: it will be put there again.
  void Rewind();

  /// Nothing waits to be put into the server, or for its word that it was.
  bool idle() const { return queue_.empty() && !has_end_ && asked_ == 0 && next_ == entries_.size(); }
  /// The last entry lies in the server.
  bool ended() const { return ended_ && idle(); }
  bool used() const { return last_ > 0; }

 private:
  struct Queued {
    uint64_t id = 0;
    std::string prefix;
    Message message;
    size_t part = 0;  // 0: the prefix; then the segments
    size_t within = 0;
  };
  struct Sent {
    Entry entry;
    int64_t cost = 0;
    std::vector<uint64_t> whole;  // messages that end in it
    bool asked = false;
    bool stored = false;
  };

  /// The next `room` bytes of the stream; `held` keeps what ends in them.
  void Gather(size_t room, std::vector<std::span<const uint8_t>>* parts, std::vector<Queued>* held,
              std::vector<uint64_t>* whole);
  arrow::Status Make(MailKind kind, uint64_t acknowledged, const std::vector<std::span<const uint8_t>>& parts,
                     std::vector<uint64_t> whole);

  const Rank own_;
  Seal seal_;
  const std::string inbox_;
  const std::string expire_;  // the second command
  const MailLimits limits_;

  std::deque<Queued> queue_;
  uint64_t frames_ = 0;
  bool has_end_ = false;  // queued
  bool ended_ = false;    // made
  MailKind end_ = MailKind::kGoodbye;
  std::string reason_;
  bool owes_acknowledgement_ = false;

  std::deque<Sent> entries_;  // not acknowledged
  size_t next_ = 0;           // of them, the first that is not asked of the server
  size_t asked_ = 0;          // asked, and not stored
  uint64_t last_ = 0;         // number of the last entry
  int64_t under_way_ = 0;
};

}  // namespace cylon::internal
