/// How lanes write themselves into a transport's messages.
#pragma once

#include <arrow/result.h>

#include <algorithm>
#include <cstdint>
#include <span>

#include "cylon/net/lanes.h"
#include "cylon/net/message.h"

namespace cylon::internal {

/// Every frame of a message travels on the message's own channel, forward or back, so each sees the ones before it; but
/// what follows a grant may take another way (Message::piece_of), and sees only what took that too.
enum class LaneType : uint8_t {
  kControl = 1,   ///< forward, a whole control message
  kEager = 2,     ///< forward, a whole small message; its cost is taken out of the window
  kAnnounce = 3,  ///< forward, no payload: `bytes`, `span`, `segments` and the user's header of a message to come
  kGrant = 4,     ///< back: the memory for `message` stands
  kSizes = 5,     ///< forward, the first after a grant: one segment of int64, the sizes of the message's segments
  kPiece = 6,     ///< forward: payload from byte `bytes` of the message on
  kDiscard = 7,   ///< back: nobody wants `message`; no more pieces, please
  kStop = 8,      ///< forward, the answer to a discard in the middle: no more pieces come
  kCredit = 9,    ///< back: nothing but `credit`, on kCreditChannel
};

/// The inline header of a transport message: this, then the user's header.
///
///   0      1      2        4          8           16          24          32          40
///   +------+------+--------+----------+-----------+-----------+-----------+-----------+- - - - - - -
///   | type | zero | user   | segments | message   | bytes     | span      | credit    | user's header
///   |      |      | bytes  |          |           |           |           |           | (at most 192)
///   +------+------+--------+----------+-----------+-----------+-----------+-----------+- - - - - - -
///
/// `message` numbers a sender's announced messages to one peer. `span` is the payload with every segment rounded up to
/// 64 bytes. `credit` gives back that much of the receiver of this frame's window.
struct LaneFrame {
  LaneType type = LaneType::kCredit;
  uint8_t zero = 0;
  uint16_t user_bytes = 0;
  uint32_t segments = 0;
  uint64_t message = 0;
  int64_t bytes = 0;
  int64_t span = 0;
  int64_t credit = 0;
};
static_assert(sizeof(LaneFrame) == 40 && sizeof(LaneFrame) + kMaxUserHeader <= InlineBytes::kCapacity);

inline constexpr ChannelId kCreditChannel{0, 0, ChannelKind::kControl, UINT64_MAX};

/// Payload of one message; far above any memory, far below where sums of sizes overflow.
inline constexpr int64_t kMaxLaneBytes = int64_t{1} << 46;

/// Segments in one piece: a transport gathers them in one call, and calls have limits (IOV_MAX is 1024).
inline constexpr size_t kMaxPieceSegments = 512;

/// Messages that one peer may have announced and not finished, over all channels: bounds what a hostile one can make us
/// remember (some 300 bytes each); a well-behaved sender waits there.
inline constexpr size_t kMaxAnnouncedByPeer = 1 << 15;

inline constexpr int64_t kSegmentAlignment = 64;

inline int64_t AlignSegment(int64_t size) {
  return (size + kSegmentAlignment - 1) / kSegmentAlignment * kSegmentAlignment;
}

Sizes SizesOf(const Message& message);

/// What a small message takes of the window: payload as it lies in memory, and what it costs to remember. INT64_MAX for
/// what is never small.
int64_t EagerCost(const Sizes& sizes);

/// What comes without a grant, and memory or not: the window bounds it, beside the budget.
inline constexpr int64_t kMostUncounted = 8 << 10;

/// What is eager at most on `channel`, of EagerCost. A round trip for the grant costs more than what a collective sends
/// up to here; what is not awaited, or finds its own place in memory, has to ask.
inline int64_t EagerLimit(const LanesOptions& options, const ChannelId& channel) {
  return channel.kind == ChannelKind::kCollective ? options.eager_bytes / 4
                                                  : std::min(options.eager_bytes / 8, kMostUncounted);
}

InlineBytes EncodeLaneFrame(LaneFrame frame, const InlineBytes& user_header);

/// The frame and the user's header; ProtocolError that names `from` where the bytes are none, or `channel` does not
/// suit the type.
arrow::Result<LaneFrame> DecodeLaneFrame(Rank from, const ChannelId& channel, const InlineBytes& bytes,
                                         InlineBytes* user_header);

/// Slices of `body`, each beginning at a multiple of 64, gaps zeroed. `sizes` fit.
Buffers SliceBody(const std::shared_ptr<arrow::Buffer>& body, const Sizes& sizes);

/// One allocation for segments of `sizes`.
arrow::Result<Buffers> AllocateSegments(const Sizes& sizes, arrow::MemoryPool* pool);

}  // namespace cylon::internal
