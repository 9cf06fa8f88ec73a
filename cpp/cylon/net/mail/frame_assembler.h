/// Messages as a stream of bytes, and back out of its pieces.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cylon/net/transport.h"
#include "cylon/wire/frame.h"

namespace cylon::internal {

/// What goes before the segments of `message` in a stream: its frame header, inline header and sizes.
std::string EncodeFramePrefix(const Message& message, uint64_t sequence);

/// Takes frames out of the pieces of one peer's stream; what is large is copied once, to where the sink wants it.
class FrameAssembler {
 public:
  explicit FrameAssembler(Rank peer) : peer_(peer) {}

  /// The next bytes of the stream. A failure is the stream's last: ProtocolError names the peer, or what `sink` said.
  /// A sink that is none any more after it was told something is told nothing more.
  arrow::Status Feed(std::string_view bytes, Sink* const& sink);
  /// Lets go of the buffers of a message that has come in part. Nothing is fed after that but to no sink.
  void Drop() { message_ = {}; }

 private:
  arrow::Status TakeHeader();
  arrow::Status TakeSizes(Sink* const& sink);
  /// Goes on to the next segment that wants bytes; hands the message over where there is none.
  void Advance(Sink* const& sink);

  const Rank peer_;
  uint64_t received_ = 0;

  std::string head_;                      // what came of the prefix
  size_t head_size_ = kFrameHeaderBytes;  // how much of it there is
  bool has_header_ = false;
  FrameHeader header_;
  bool in_segments_ = false;
  Message message_;
  size_t segment_ = 0;  // the next byte to come
  int64_t within_ = 0;
};

}  // namespace cylon::internal
