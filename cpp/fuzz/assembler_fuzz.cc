// Frames that come in pieces through a server: put together alike whatever the pieces, within what was allowed.
#include <algorithm>

#include "cylon/net/lane_frame.h"
#include "cylon/net/mail/frame_assembler.h"
#include "fuzz/framing.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

using internal::FrameAssembler;

constexpr int64_t kMost = 1 << 20;

/// Allows so much for one message, and writes down what comes.
struct Recorder : Sink {
  arrow::Result<Buffers> Allocate(Rank from, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    int64_t total = 0;
    for (const int64_t size : sizes) {
      Require(size >= 0, "a negative size was announced");
      if (size > kMost - total) {
        return ProtocolError("too large", from);
      }
      total += size;
    }
    return internal::AllocateSegments(sizes, arrow::default_memory_pool());
  }
  void OnMessage(Rank, Message message) override {
    Output line;
    line.Number(message.channel.sequence, 8)
        .Text(std::string_view(reinterpret_cast<const char*>(message.header.data()), message.header.size()));
    for (const auto& segment : message.segments) {
      line.Raw(std::string_view(*segment));
      payload += static_cast<size_t>(segment->size());
    }
    messages.push_back(line.bytes());
  }
  void OnPeerLost(Rank, const arrow::Status&) override {}

  std::vector<std::string> messages;
  size_t payload = 0;
};

struct Assembled {
  std::vector<std::string> messages;
  arrow::Status status;
};

Assembled Assemble(std::string_view bytes, size_t piece) {
  Recorder recorder;
  Sink* sink = &recorder;
  FrameAssembler assembler(3);
  arrow::Status status;
  for (size_t at = 0; at < bytes.size() && status.ok(); at += piece) {
    status = assembler.Feed(bytes.substr(at, piece), sink);
  }
  Require(recorder.payload <= bytes.size(), "more came out than went in");
  Require(status.ok() || IsError(status, ErrorKind::kProtocol), "a refusal that is no ProtocolError");
  return {std::move(recorder.messages), status};
}

void RunAssembler(std::string_view bytes) {
  Input in(bytes);
  const std::string stream = FramesOf(in, 7);
  const auto whole = Assemble(stream, std::max<size_t>(stream.size(), 1));
  for (const size_t piece : {1, 7, 64}) {
    const auto pieces = Assemble(stream, piece);
    Require(pieces.messages == whole.messages && pieces.status == whole.status, "the pieces change what is read");
  }
}

const Registration kAssembler({"assembler", RunAssembler, FrameScripts});

}  // namespace
}  // namespace cylon::fuzz
