// The frames between two ranks: reading them, and taking no harm from what they say.
#include <algorithm>
#include <cstring>

#include "cylon/net/mesh/link.h"
#include "cylon/net/mesh/link_limits.h"
#include "cylon/wire/end_of_stream.h"

namespace cylon::internal {

arrow::Status Link::BadFrame(const std::string& what) const {
  return ProtocolError("rank " + std::to_string(peer_) + " " + what, peer_);
}

Co<void> Link::ReadLoop(std::shared_ptr<Link> self, std::shared_ptr<Connection> connection) {
  auto frames = self->ReadFrames(connection.get());
  const auto status = co_await frames;
  if (self->connection_ != connection) {
    co_return arrow::Status::OK();
  }
  if (!connection->failure.ok()) {
    self->Break(connection->failure);
  } else {
    self->End(status);  // the rules were broken: no other connection mends that
  }
  co_return arrow::Status::OK();
}

/// Returns why no more frames can be read.
Co<void> Link::ReadFrames(Connection* connection) {
  while (true) {
    std::array<uint8_t, kFrameHeaderBytes> bytes;
    auto read = Read(connection, bytes);
    CYLON_CO_RETURN_NOT_OK(co_await read);
    CYLON_CO_ASSIGN_OR_RETURN(const FrameHeader header, DecodeFrameHeader(bytes, INT64_MAX, peer_));
    CYLON_CO_RETURN_NOT_OK(CheckFrame(header));
    CYLON_CO_RETURN_NOT_OK(TakeAcknowledgement(header.acknowledged));
    if (header.type == kMessage) {
      auto message = ReadMessage(connection, header);
      CYLON_CO_RETURN_NOT_OK(co_await message);
    } else if (header.type == kGoodbye) {
      heard_goodbye_ = true;
      tell_ = true;
      Received(header);
    } else if (header.type == kPing) {
      pong_due_ = true;
      Kick();
    }
    if (tell_ && connection_.get() == connection) {
      // The acknowledgement leaves before more is read: its sender goes on meanwhile. What there is to read may keep
      // this task busy for megabytes.
      auto turn = connection->turn = arrow::Future<>::Make();
      executor_.Post([turn]() mutable { EndTurn(turn); });
      CYLON_CO_RETURN_NOT_OK(co_await turn);
    }
    if (connection_.get() != connection) {
      co_return arrow::Status::Cancelled("this connection was given up");
    }
    EndIfDone();
    if (ended_) {
      co_return arrow::Status::OK();
    }
  }
}

arrow::Status Link::CheckFrame(const FrameHeader& header) const {
  if (header.epoch != epoch_) {
    return BadFrame("sent a frame of another run (epoch " + std::to_string(header.epoch) + ", not " +
                    std::to_string(epoch_) + ")");
  }
  switch (header.type) {
    case kMessage:
    case kGoodbye:
      if (header.sequence != received_ + 1) {
        return BadFrame("sent frame " + std::to_string(header.sequence) + " after frame " + std::to_string(received_));
      }
      if (heard_goodbye_) {
        return BadFrame("sent frame " + std::to_string(header.sequence) + " after its goodbye");
      }
      break;
    case kAcknowledge:
    case kPing:
    case kPong:
      if (header.sequence != 0) {
        return BadFrame("numbered a frame of the type " + std::to_string(header.type) + ", which has no number");
      }
      break;
    default:
      return BadFrame("sent a frame of the unknown type " + std::to_string(header.type));
  }
  if (header.type != kMessage && (header.payload_bytes | header.segments | header.inline_bytes) != 0) {
    return BadFrame("sent a frame of the type " + std::to_string(header.type) + " with " +
                    std::to_string(header.payload_bytes) + " bytes, which has none");
  }
  return arrow::Status::OK();
}

Co<void> Link::ReadMessage(Connection* connection, FrameHeader header) {
  std::array<uint8_t, kMaxInlineBytes> inline_bytes;
  const std::span<uint8_t> inline_part(inline_bytes.data(), header.inline_bytes);
  auto read_inline = Read(connection, inline_part);
  CYLON_CO_RETURN_NOT_OK(co_await read_inline);
  std::vector<uint8_t> encoded(size_t{header.segments} * 8);
  auto read_sizes = Read(connection, encoded);
  CYLON_CO_RETURN_NOT_OK(co_await read_sizes);
  CYLON_CO_ASSIGN_OR_RETURN(Sizes sizes, DecodeSizes(header, encoded));
  CYLON_CO_RETURN_NOT_OK(Land(header, InlineBytes(inline_part), std::move(sizes)));
  for (size_t i = 0; i < landing_->message.segments.size(); ++i) {
    const auto& segment = landing_->message.segments[i];
    auto read = Read(connection, {segment->mutable_data(), static_cast<size_t>(segment->size())});
    CYLON_CO_RETURN_NOT_OK(co_await read);
  }
  auto message = std::move(landing_->message);
  landing_.reset();
  Received(header);
  if (owner_ != nullptr) {
    owner_->Arrived(peer_, std::move(message));
  }
  co_return arrow::Status::OK();
}

arrow::Result<Sizes> Link::DecodeSizes(const FrameHeader& header, std::span<const uint8_t> bytes) const {
  Sizes sizes(header.segments);
  uint64_t total = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    uint64_t size = 0;
    for (int byte = 7; byte >= 0; --byte) {
      size = size << 8 | bytes[i * 8 + static_cast<size_t>(byte)];
    }
    if (size > header.payload_bytes - total) {
      return BadFrame("sent segments larger than their frame");
    }
    total += size;
    sizes[i] = static_cast<int64_t>(size);
  }
  if (total != header.payload_bytes) {
    return BadFrame("sent segments of " + std::to_string(total) + " bytes in a frame of " +
                    std::to_string(header.payload_bytes));
  }
  return sizes;
}

/// Memory for a message: that which it has already where it comes for the second time.
arrow::Status Link::Land(const FrameHeader& header, InlineBytes inline_bytes, Sizes sizes) {
  const ChannelId channel{header.epoch, header.communicator, static_cast<ChannelKind>(header.kind),
                          header.channel_sequence};
  if (landing_.has_value()) {
    const auto& known = landing_->message;
    if (landing_->sequence != header.sequence || known.channel != channel || landing_->sizes != sizes ||
        !std::ranges::equal(known.header.bytes(), inline_bytes.bytes())) {
      return BadFrame("sent frame " + std::to_string(header.sequence) + " again with another content");
    }
    return arrow::Status::OK();
  }
  if (owner_ == nullptr) {
    return arrow::Status::Cancelled("this rank is closing");
  }
  ARROW_ASSIGN_OR_RAISE(auto segments, owner_->AllocateFor(peer_, channel, inline_bytes, sizes));
  landing_ = Landing{header.sequence, Message{channel, inline_bytes, std::move(segments)}, std::move(sizes)};
  return arrow::Status::OK();
}

/// A numbered frame is here whole.
void Link::Received(const FrameHeader& header) {
  received_ = header.sequence;
  const auto payload = static_cast<int64_t>(header.payload_bytes);
  untold_bytes_ += payload + static_cast<int64_t>(kFrameHeaderBytes);
  awaited_ = awaited_ || payload > kCopiedBytes;
  tell_ = tell_ || untold_bytes_ >= kAckBytes;
  Kick();
}

Co<void> Link::Read(Connection* connection, std::span<uint8_t> into) {
  while (!into.empty()) {
    if (connection->begin < connection->end) {
      const size_t ready = std::min(into.size(), connection->end - connection->begin);
      std::memcpy(into.data(), connection->buffer.data() + connection->begin, ready);
      connection->begin += ready;
      into = into.subspan(ready);
      continue;
    }
    // Large ones go straight to their place, in what turns the stream gives: each is a sign of life.
    const bool direct = into.size() >= connection->buffer.size();
    auto read = connection->stream->ReadSome(direct ? into : std::span<uint8_t>(connection->buffer));
    if (!read.is_finished() && awaited_ && !tell_) {
      tell_ = true;  // nothing more has come yet: who waits for an acknowledgement gets it now
      Kick();
    }
    auto got = co_await read;
    if (connection_.get() != connection) {
      co_return arrow::Status::Cancelled("this connection was given up");
    }
    if (!got.ok() || *got == 0) {
      connection->failure = got.ok() ? EndOfStream(connection->stream->peer_name()) : got.status();
      co_return connection->failure;
    }
    heard_ = executor_.Now();
    if (direct) {
      into = into.subspan(static_cast<size_t>(*got));
    } else {
      connection->begin = 0;
      connection->end = static_cast<size_t>(*got);
    }
  }
  co_return arrow::Status::OK();
}

}  // namespace cylon::internal
