// How lanes write themselves into a transport's messages.
#include "cylon/net/lane_frame.h"

#include <cstring>
#include <string>

namespace cylon {

int64_t EagerBytesFor(int world_size) {
  return std::clamp<int64_t>((int64_t{32} << 20) / world_size, int64_t{64} << 10, int64_t{16} << 20);
}

namespace internal {

Sizes SizesOf(const Message& message) {
  Sizes sizes;
  sizes.reserve(message.segments.size());
  for (const auto& segment : message.segments) {
    sizes.push_back(segment->size());
  }
  return sizes;
}

int64_t EagerCost(const Sizes& sizes) {
  // A parked message is a deque entry with its inline header; a segment is a buffer object with its control block.
  constexpr int64_t kMessageCost = 64;
  constexpr int64_t kSegmentCost = 32;
  int64_t cost = kMessageCost;
  for (const int64_t size : sizes) {
    if (size < 0 || size > kMaxLaneBytes || cost > kMaxLaneBytes) {
      return INT64_MAX;
    }
    cost += AlignSegment(size) + kSegmentCost;
  }
  return cost;
}

InlineBytes EncodeLaneFrame(LaneFrame frame, const InlineBytes& user_header) {
  std::array<uint8_t, InlineBytes::kCapacity> bytes;
  frame.user_bytes = static_cast<uint16_t>(user_header.size());
  std::memcpy(bytes.data(), &frame, sizeof(frame));
  std::memcpy(bytes.data() + sizeof(frame), user_header.data(), user_header.size());
  return InlineBytes(std::span<const uint8_t>(bytes.data(), sizeof(frame) + user_header.size()));
}

arrow::Result<LaneFrame> DecodeLaneFrame(Rank from, const ChannelId& channel, const InlineBytes& bytes,
                                         InlineBytes* user_header) {
  const auto wrong = [from](const std::string& what) {
    return ProtocolError("rank " + std::to_string(from) + " sent a lane frame " + what +
                             "; all ranks must run the same version of Cylon",
                         from);
  };
  LaneFrame frame;
  if (bytes.size() < sizeof(frame)) {
    return wrong("of " + std::to_string(bytes.size()) + " bytes; it has at least 40");
  }
  std::memcpy(&frame, bytes.data(), sizeof(frame));
  if (frame.type < LaneType::kControl || frame.type > LaneType::kCredit || frame.zero != 0) {
    return wrong("of the unknown type " + std::to_string(static_cast<int>(frame.type)));
  }
  if (frame.user_bytes > kMaxUserHeader || bytes.size() != sizeof(frame) + frame.user_bytes) {
    return wrong("of " + std::to_string(bytes.size()) + " bytes that claims a user header of " +
                 std::to_string(frame.user_bytes));
  }
  if (frame.segments > kMaxLaneSegments || frame.bytes < 0 || frame.bytes > kMaxLaneBytes || frame.span < 0 ||
      frame.credit < 0) {
    return wrong("with " + std::to_string(frame.segments) + " segments, " + std::to_string(frame.bytes) +
                 " bytes, a span of " + std::to_string(frame.span) + " and a credit of " +
                 std::to_string(frame.credit) + ", which is out of bounds");
  }
  const bool control = frame.type == LaneType::kControl || frame.type == LaneType::kCredit;
  if (control != (channel.kind == ChannelKind::kControl)) {
    return wrong("of type " + std::to_string(static_cast<int>(frame.type)) + " on a channel of kind " +
                 std::to_string(static_cast<int>(channel.kind)));
  }
  *user_header = InlineBytes(bytes.bytes().subspan(sizeof(frame)));
  return frame;
}

Buffers SliceBody(const std::shared_ptr<arrow::Buffer>& body, const Sizes& sizes) {
  Buffers segments;
  segments.reserve(sizes.size());
  int64_t offset = 0;
  for (const int64_t size : sizes) {
    const int64_t next = offset + AlignSegment(size);
    segments.push_back(arrow::SliceMutableBuffer(body, offset, size));
    std::memset(body->mutable_data() + offset + size, 0, static_cast<size_t>(next - offset - size));
    offset = next;
  }
  return segments;
}

arrow::Result<Buffers> AllocateSegments(const Sizes& sizes, arrow::MemoryPool* pool) {
  if (sizes.empty()) {
    return Buffers{};
  }
  int64_t span = 0;
  for (const int64_t size : sizes) {
    span += AlignSegment(size);
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> body, arrow::AllocateBuffer(span, pool));
  return SliceBody(body, sizes);
}

}  // namespace internal

}  // namespace cylon
