// Frames as bytes and back, for streams that come in pieces.
#include "cylon/net/mail/frame_assembler.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

/// The only type of frame in these streams.
constexpr uint8_t kMessageFrame = 1;

std::span<const uint8_t> AsBytes(std::string_view text) {
  const void* bytes = text.data();
  return {static_cast<const uint8_t*>(bytes), text.size()};
}

}  // namespace

std::string EncodeFramePrefix(const Message& message, uint64_t sequence) {
  FrameHeader header;
  header.type = kMessageFrame;
  header.sequence = sequence;
  header.payload_bytes = static_cast<uint64_t>(message.payload_bytes());
  header.epoch = message.channel.epoch;
  header.communicator = message.channel.communicator;
  header.segments = static_cast<uint32_t>(message.segments.size());
  header.inline_bytes = static_cast<uint16_t>(message.header.size());
  header.kind = static_cast<uint16_t>(message.channel.kind);
  header.channel_sequence = message.channel.sequence;
  const auto encoded = EncodeFrameHeader(header);
  ByteWriter out;
  const void* bytes = encoded.data();
  out.Raw({static_cast<const char*>(bytes), encoded.size()});
  const void* inline_bytes = message.header.data();
  out.Raw({static_cast<const char*>(inline_bytes), message.header.size()});
  for (const auto& segment : message.segments) {
    out.Number(segment->size());
  }
  return out.Take();
}

arrow::Status FrameAssembler::Feed(std::string_view bytes, Sink* const& sink) {
  while (!bytes.empty() && sink != nullptr) {
    if (in_segments_) {
      const auto& segment = message_.segments[segment_];
      const auto take = std::min(static_cast<int64_t>(bytes.size()), segment->size() - within_);
      std::memcpy(segment->mutable_data() + within_, bytes.data(), static_cast<size_t>(take));
      bytes.remove_prefix(static_cast<size_t>(take));
      within_ += take;
      Advance(sink);
      continue;
    }
    const size_t take = std::min(bytes.size(), head_size_ - head_.size());
    head_.append(bytes.substr(0, take));
    bytes.remove_prefix(take);
    if (head_.size() == head_size_ && !has_header_) {
      ARROW_RETURN_NOT_OK(TakeHeader());
    }
    if (head_.size() == head_size_) {
      ARROW_RETURN_NOT_OK(TakeSizes(sink));
    }
  }
  return arrow::Status::OK();
}

arrow::Status FrameAssembler::TakeHeader() {
  ARROW_ASSIGN_OR_RAISE(header_,
                        DecodeFrameHeader(AsBytes(head_).first<kFrameHeaderBytes>(), uint64_t{INT64_MAX}, peer_));
  const std::string who = "rank " + std::to_string(peer_) + " sent ";
  if (header_.sequence != received_ + 1) {
    return ProtocolError(
        who + "frame " + std::to_string(header_.sequence) + " after frame " + std::to_string(received_), peer_);
  }
  if (header_.type != kMessageFrame) {
    return ProtocolError(who + "a frame of the unknown type " + std::to_string(header_.type), peer_);
  }
  received_ = header_.sequence;
  has_header_ = true;
  head_size_ += header_.inline_bytes + size_t{header_.segments} * sizeof(uint64_t);
  return arrow::Status::OK();
}

arrow::Status FrameAssembler::TakeSizes(Sink* const& sink) {
  const std::string_view rest = std::string_view(head_).substr(kFrameHeaderBytes);
  ByteReader in(rest.substr(header_.inline_bytes));
  Sizes sizes(header_.segments);
  uint64_t total = 0;
  for (auto& size : sizes) {
    const auto number = in.Number<uint64_t>();
    if (number > header_.payload_bytes - total) {
      return ProtocolError("rank " + std::to_string(peer_) + " sent segments larger than their frame", peer_);
    }
    total += number;
    size = static_cast<int64_t>(number);
  }
  if (total != header_.payload_bytes) {
    return ProtocolError("rank " + std::to_string(peer_) + " sent segments of " + std::to_string(total) +
                             " bytes in a frame of " + std::to_string(header_.payload_bytes),
                         peer_);
  }
  message_ = {};
  message_.channel = {header_.epoch, header_.communicator, static_cast<ChannelKind>(header_.kind),
                      header_.channel_sequence};
  message_.header = InlineBytes(AsBytes(rest.substr(0, header_.inline_bytes)));
  ARROW_ASSIGN_OR_RAISE(message_.segments, sink->Allocate(peer_, message_.channel, message_.header, sizes));
  in_segments_ = true;
  segment_ = 0;
  within_ = 0;
  Advance(sink);
  return arrow::Status::OK();
}

void FrameAssembler::Advance(Sink* const& sink) {
  while (segment_ < message_.segments.size() && within_ == message_.segments[segment_]->size()) {
    ++segment_;
    within_ = 0;
  }
  if (segment_ < message_.segments.size()) {
    return;
  }
  in_segments_ = false;
  has_header_ = false;
  head_.clear();
  head_size_ = kFrameHeaderBytes;
  sink->OnMessage(peer_, std::exchange(message_, {}));
}

}  // namespace cylon::internal
