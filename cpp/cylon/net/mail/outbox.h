/// What one rank sends to one other through a third party that is not trusted.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/mail/seal.h"
#include "cylon/net/message.h"

namespace cylon::internal {

/// What a rank says to another is a stream of entries, which count from 1. Each is sealed under its number:
///
///   kind (1) | acknowledged (8) | bytes of the pair's stream, or a reason
///
/// `acknowledged` is the number of the last entry that the sender of this one has received from the other; what is
/// below need not be put there again, and no longer counts as under way.
enum class MailKind : uint8_t { kData = 1, kGoodbye, kDropped };

/// How much may be under way, of one pair.
struct MailLimits {
  int64_t window_bytes;  ///< sent and not acknowledged: at most so much of a pair lies with the third
  int64_t entry_bytes;   ///< of one entry
};

/// A rank sends at most `most_of_rank` to all its peers together, but to each of many at least 256 KiB; at most
/// `most_window` to each. Four entries make a window.
MailLimits LimitsOf(int world_size, int64_t most_of_rank, int64_t most_window);

/// What an entry of so many sealed bytes counts for: a third needs some more for each. One that only acknowledges
/// counts for nothing, at both ends.
inline int64_t CostOf(size_t sealed_bytes) { return static_cast<int64_t>(sealed_bytes) + 256; }

/// What goes around the sealed bytes of entry `number`, of which there are `sealed_bytes`.
struct MailEnvelope {
  std::function<std::string(uint64_t number, size_t sealed_bytes)> before;
  std::string after;
};

/// Belongs to the rank's tasks. Keeps each entry until it is acknowledged, so that what the third has lost can be put
/// there again; or, where the third keeps what it has taken, its number alone.
class Outbox {
 public:
  enum class Third : uint8_t { kMayForget, kKeeps };
  Outbox(Seal seal, MailEnvelope envelope, MailLimits limits, Third third);

  /// `id` is told by Stored when all of the message lies with the third.
  void Queue(uint64_t id, Message message);
  /// The last entry: after what is queued, or instead of it.
  void QueueGoodbye();
  void QueueDropped(const std::string& reason);

  struct Entry {
    uint64_t number = 0;
    std::shared_ptr<const std::string> bytes;  ///< in its envelope
    bool fresh = false;                        ///< made now, with the acknowledgement that was given
  };
  /// The next entry that may be put there now; nothing where there is none. `acknowledged` goes with it.
  arrow::Result<Entry> Next(uint64_t acknowledged);
  /// The next entry is made even though there is nothing else to say.
  void OweAcknowledgement() { owes_acknowledgement_ = true; }

  /// The third has taken `number`. Returns the messages that lie there whole now.
  std::vector<uint64_t> Stored(uint64_t number);
  /// The peer has received up to `number`. False where that was never sent. Adds to `whole` what Stored would return.
  bool Acknowledged(uint64_t number, std::vector<uint64_t>* whole);
  /// What is not acknowledged may be gone from there: it will be put there again.
  void Rewind();

  /// Nothing waits to be put there, or for the word that it was.
  bool idle() const { return queue_.empty() && !has_end_ && asked_ == 0 && next_ == entries_.size(); }
  /// The last entry lies there.
  bool ended() const { return ended_ && idle(); }
  bool used() const { return last_ > 0; }
  /// Entries from here up to last() are not acknowledged; none where it is larger.
  uint64_t first_unread() const { return last_ + 1 - entries_.size(); }
  uint64_t last() const { return last_; }
  /// All up to here have been taken by the third.
  uint64_t stored() const;

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

  Seal seal_;
  const MailEnvelope envelope_;
  const MailLimits limits_;
  const Third third_;

  std::deque<Queued> queue_;
  uint64_t frames_ = 0;
  bool has_end_ = false;  // queued
  bool ended_ = false;    // made
  MailKind end_ = MailKind::kGoodbye;
  std::string reason_;
  bool owes_acknowledgement_ = false;

  std::deque<Sent> entries_;  // not acknowledged
  size_t next_ = 0;           // of them, the first that is not asked of the third
  size_t asked_ = 0;          // asked, and not stored
  uint64_t last_ = 0;         // number of the last entry
  int64_t under_way_ = 0;
};

}  // namespace cylon::internal
