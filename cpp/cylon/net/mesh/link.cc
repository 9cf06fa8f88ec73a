// One authenticated connection between two ranks.
#include "cylon/net/mesh/link.h"

#include <algorithm>
#include <cstring>

namespace cylon::internal {

namespace {

/// Small frames are read ahead through a buffer of this size; what is larger lands where it will be used.
constexpr size_t kReadAhead = 64 << 10;
/// Queued frames that leave in one system call, at most: past this a call costs no more than it saves.
constexpr size_t kFramesAtOnce = 64;
constexpr int64_t kBytesAtOnce = 256 << 10;

}  // namespace

Link::Link(std::unique_ptr<Stream> stream, Executor& executor, LinkOwner* owner, Rank peer, uint32_t epoch)
    : stream_(std::move(stream)), executor_(executor), owner_(owner), peer_(peer), epoch_(epoch), buffer_(kReadAhead) {}

void Link::Start() { Detach(executor_, ReadLoop(shared_from_this())); }

void Link::Queue(uint64_t id, Message message) {
  queue_.push_back({id, false, std::move(message)});
  if (!writing_ && !ended_) {
    writing_ = true;
    Detach(executor_, WriteLoop(shared_from_this()));
  }
}

void Link::QueueGoodbye() {
  queue_.push_back({0, true, {}});
  if (!writing_ && !ended_) {
    writing_ = true;
    Detach(executor_, WriteLoop(shared_from_this()));
  }
}

void Link::Close() {
  stream_->Close();
  End(arrow::Status::Cancelled("this rank closed the connection"));
}

void Link::End(const arrow::Status& cause) {
  if (ended_) {
    return;
  }
  ended_ = true;
  stream_->Close();
  queue_.clear();  // the mesh fails what was queued for a peer that is gone
  if (owner_ != nullptr) {
    std::exchange(owner_, nullptr)->Ended(peer_, cause);
  }
}

void Link::AddParts(const Queued& queued, std::vector<std::vector<uint8_t>>* prefixes,
                    std::vector<std::span<const uint8_t>>* parts) {
  const auto& message = queued.message;
  FrameHeader header;
  header.type = queued.goodbye ? kGoodbye : kMessage;
  header.sequence = ++sent_;
  header.acknowledged = received_;
  header.payload_bytes = static_cast<uint64_t>(message.payload_bytes());
  header.epoch = epoch_;
  header.communicator = message.channel.communicator;
  header.segments = static_cast<uint32_t>(message.segments.size());
  header.inline_bytes = static_cast<uint16_t>(message.header.size());
  header.kind = static_cast<uint16_t>(message.channel.kind);
  header.channel_sequence = message.channel.sequence;
  const auto encoded = EncodeFrameHeader(header);
  std::vector<uint8_t> prefix(encoded.begin(), encoded.end());
  prefix.insert(prefix.end(), message.header.data(), message.header.data() + message.header.size());
  for (const auto& segment : message.segments) {
    const auto size = static_cast<uint64_t>(segment->size());
    for (int shift = 0; shift < 64; shift += 8) {
      prefix.push_back(static_cast<uint8_t>(size >> shift));
    }
  }
  prefixes->push_back(std::move(prefix));
  parts->emplace_back(prefixes->back());
  for (const auto& segment : message.segments) {
    if (segment->size() > 0) {
      parts->emplace_back(segment->data(), static_cast<size_t>(segment->size()));
    }
  }
}

Co<void> Link::WriteLoop(std::shared_ptr<Link> self) {
  while (!self->queue_.empty() && !self->ended_) {
    std::vector<Queued> leaving;
    std::vector<std::vector<uint8_t>> prefixes;
    std::vector<std::span<const uint8_t>> parts;
    prefixes.reserve(kFramesAtOnce);
    int64_t bytes = 0;
    while (!self->queue_.empty() && leaving.size() < kFramesAtOnce && bytes < kBytesAtOnce) {
      leaving.push_back(std::move(self->queue_.front()));
      self->queue_.pop_front();
      bytes += leaving.back().message.payload_bytes();
      self->AddParts(leaving.back(), &prefixes, &parts);
    }
    auto written = self->stream_->Write(std::move(parts));
    auto status = co_await written;
    for (const auto& queued : leaving) {
      if (!queued.goodbye && self->owner_ != nullptr) {
        self->owner_->Left(self->peer_, queued.id, status);
      }
    }
    if (!status.ok()) {
      self->End(status);
      break;
    }
  }
  self->writing_ = false;
  if (self->heard_goodbye_ && self->queue_.empty()) {
    self->End(arrow::Status::OK());
  }
  co_return arrow::Status::OK();
}

Co<void> Link::ReadLoop(std::shared_ptr<Link> self) {
  auto frames = self->ReadFrames();
  auto status = co_await frames;
  if (!status.ok()) {
    self->End(self->heard_goodbye_ ? arrow::Status::OK() : status);
  } else if (self->idle()) {
    self->End(arrow::Status::OK());
  }
  co_return arrow::Status::OK();
}

/// Returns OK after a goodbye, else why no more frames can be read.
Co<void> Link::ReadFrames() {
  while (true) {
    std::array<uint8_t, kFrameHeaderBytes> bytes;
    auto read = Read(bytes);
    CYLON_CO_RETURN_NOT_OK(co_await read);
    CYLON_CO_ASSIGN_OR_RETURN(const FrameHeader header, DecodeFrameHeader(bytes, INT64_MAX, peer_));
    if (header.sequence != received_ + 1) {
      co_return ProtocolError("rank " + std::to_string(peer_) + " sent frame " + std::to_string(header.sequence) +
                                  " after frame " + std::to_string(received_),
                              peer_);
    }
    if (header.epoch != epoch_) {
      co_return ProtocolError("rank " + std::to_string(peer_) + " sent a frame of another run (epoch " +
                                  std::to_string(header.epoch) + ", not " + std::to_string(epoch_) + ")",
                              peer_);
    }
    received_ = header.sequence;
    if (header.type == kGoodbye) {
      heard_goodbye_ = true;
      co_return arrow::Status::OK();
    }
    if (header.type != kMessage) {
      co_return ProtocolError(
          "rank " + std::to_string(peer_) + " sent a frame of the unknown type " + std::to_string(header.type), peer_);
    }
    auto message = ReadMessage(header);
    CYLON_CO_RETURN_NOT_OK(co_await message);
  }
}

Co<void> Link::ReadMessage(FrameHeader header) {
  std::array<uint8_t, kMaxInlineBytes> inline_bytes;
  const std::span<uint8_t> inline_part(inline_bytes.data(), header.inline_bytes);
  auto read_inline = Read(inline_part);
  CYLON_CO_RETURN_NOT_OK(co_await read_inline);
  std::vector<uint8_t> encoded(size_t{header.segments} * 8);
  auto read_sizes = Read(encoded);
  CYLON_CO_RETURN_NOT_OK(co_await read_sizes);
  Sizes sizes(header.segments);
  uint64_t total = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    uint64_t size = 0;
    for (int byte = 7; byte >= 0; --byte) {
      size = size << 8 | encoded[i * 8 + static_cast<size_t>(byte)];
    }
    if (size > header.payload_bytes - total) {
      co_return ProtocolError("rank " + std::to_string(peer_) + " sent segments larger than their frame", peer_);
    }
    total += size;
    sizes[i] = static_cast<int64_t>(size);
  }
  if (total != header.payload_bytes) {
    co_return ProtocolError("rank " + std::to_string(peer_) + " sent segments of " + std::to_string(total) +
                                " bytes in a frame of " + std::to_string(header.payload_bytes),
                            peer_);
  }
  Message message;
  message.channel = {header.epoch, header.communicator, static_cast<ChannelKind>(header.kind), header.channel_sequence};
  message.header = InlineBytes(inline_part);
  if (owner_ == nullptr) {
    co_return arrow::Status::Cancelled("this rank is closing");
  }
  CYLON_CO_ASSIGN_OR_RETURN(message.segments, owner_->AllocateFor(peer_, message.channel, message.header, sizes));
  for (const auto& segment : message.segments) {
    auto read = Read({segment->mutable_data(), static_cast<size_t>(segment->size())});
    CYLON_CO_RETURN_NOT_OK(co_await read);
  }
  if (owner_ != nullptr) {
    owner_->Arrived(peer_, std::move(message));
  }
  co_return arrow::Status::OK();
}

Co<void> Link::Read(std::span<uint8_t> into) {
  while (!into.empty()) {
    if (begin_ < end_) {
      const size_t ready = std::min(into.size(), end_ - begin_);
      std::memcpy(into.data(), buffer_.data() + begin_, ready);
      begin_ += ready;
      into = into.subspan(ready);
    } else if (into.size() >= kReadAhead) {
      auto read = stream_->Read(into);
      co_return co_await read;
    } else {
      auto read = stream_->ReadSome(buffer_);
      CYLON_CO_ASSIGN_OR_RETURN(const int64_t got, co_await read);
      if (got == 0) {
        co_return arrow::Status::IOError("connection closed");
      }
      begin_ = 0;
      end_ = static_cast<size_t>(got);
    }
  }
  co_return arrow::Status::OK();
}

}  // namespace cylon::internal
