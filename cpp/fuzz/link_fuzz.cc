// The reader of a link between two ranks: frames of any kind, and bytes that are none, after a proven handshake.
#include <algorithm>

#include "cylon/net/mesh/link.h"
#include "fuzz/framing.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/memory_stream.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

using internal::Link;
using internal::LinkOwner;

constexpr uint32_t kEpoch = 7;
constexpr Rank kPeer = 3;
constexpr int64_t kMost = 1 << 20;

/// Gives memory for what is announced up to a limit, as lanes do, and refuses beyond.
struct Owner : LinkOwner {
  arrow::Result<Buffers> AllocateFor(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    int64_t total = 0;
    for (const int64_t size : sizes) {
      Require(size >= 0, "a negative size was announced");
      if (size > kMost - total) {
        return ProtocolError("too large", kPeer);
      }
      total += size;
    }
    Buffers segments;
    for (const int64_t size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto segment, arrow::AllocateBuffer(size));
      segments.push_back(std::move(segment));
    }
    return segments;
  }
  void Arrived(Rank, Message message) override {
    Require(!ended, "a message came after the end");
    Require(message.channel.epoch == kEpoch, "a message of another run was taken");
    bytes += static_cast<size_t>(message.payload_bytes());
  }
  void Left(Rank, uint64_t, const arrow::Status&) override {}
  void Ended(Rank, const arrow::Status&) override {
    Require(!ended, "a link ended twice");
    ended = true;
  }
  size_t bytes = 0;
  bool ended = false;
};

// The input: bytes as they are (kind 0), or the fields of a frame whose checksum is put right, and what follows it.
std::string BytesOf(Input& in) {
  std::string out;
  uint64_t sequence = 0;
  while (!in.empty()) {
    const uint8_t kind = in.Byte();
    if (kind == 0) {
      out.append(in.Text());
      continue;
    }
    FrameHeader header;
    header.type = in.Byte();
    header.sequence = (kind & 2) != 0 ? in.Number(8) : ++sequence;
    header.payload_bytes = (kind & 4) != 0 ? in.Number(8) : in.Number(2);
    header.epoch = (kind & 8) != 0 ? static_cast<uint32_t>(in.Number(4)) : kEpoch;
    header.segments = (kind & 16) != 0 ? static_cast<uint32_t>(in.Number(4)) : in.Byte();
    header.inline_bytes = (kind & 32) != 0 ? static_cast<uint16_t>(in.Number(2)) : in.Byte();
    header.acknowledged = (kind & 64) != 0 ? in.Number(8) : 0;
    header.kind = in.Byte();
    const auto encoded = EncodeFrameHeader(header);
    out.append(encoded.begin(), encoded.end());
    out.append(in.Text());
  }
  return out;
}

void RunLink(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  Owner owner;
  const bool sends = (in.Byte() & 1) != 0;
  const std::string arriving = BytesOf(in);
  auto owned = std::make_unique<MemoryStream>();
  MemoryStream* stream = owned.get();
  auto link = std::make_shared<Link>(std::move(owned), tasks, &owner, kPeer, kEpoch);
  tasks.Do([&] {
    link->Start();
    if (sends) {
      link->Queue(1, Message{{kEpoch, 0, ChannelKind::kTest, 0}, {}, {arrow::Buffer::FromString("hello")}});
    }
  });
  tasks.RunAll();
  tasks.Do([&] { stream->Feed(arriving); });
  tasks.RunAll();
  tasks.Do([&] { stream->End(); });
  tasks.RunAll();
  Require(owner.ended, "a link did not end with its stream");
  Require(owner.bytes <= arriving.size(), "more arrived than was sent");
  tasks.Do([&] { link.reset(); });
}

/// What a frame is followed by: inline header, sizes, segments.
std::string Body(size_t inline_bytes, const std::vector<uint64_t>& sizes) {
  Output out;
  out.Raw(std::string(inline_bytes, 'i'));
  size_t total = 0;
  for (const uint64_t size : sizes) {
    out.Number(size, 8);
    total += std::min<uint64_t>(size, 100);
  }
  return out.Raw(std::string(total, 'b')).bytes();
}

std::vector<std::string> LinkSeeds() {
  std::vector<std::string> seeds;
  Output good;
  good.Byte(1);
  good.Byte(1).Byte(1).Number(30, 2).Byte(2).Byte(40).Byte(4).Text(Body(40, {10, 20}));
  good.Byte(1).Byte(1).Number(0, 2).Byte(0).Byte(0).Byte(4).Text("");
  good.Byte(1).Byte(2).Number(0, 2).Byte(0).Byte(0).Byte(0).Text("");
  seeds.push_back(good.bytes());
  // 2^60 bytes; sizes that do not add up; another run; a sequence with a gap; no frame at all.
  seeds.push_back(Output()
                      .Byte(0)
                      .Byte(1 + 4)
                      .Byte(1)
                      .Number(1ULL << 60, 8)
                      .Byte(1)
                      .Byte(0)
                      .Byte(4)
                      .Text(Body(0, {1ULL << 60}))
                      .bytes());
  seeds.push_back(
      Output().Byte(0).Byte(1).Byte(1).Number(30, 2).Byte(2).Byte(0).Byte(4).Text(Body(0, {10, 10})).bytes());
  seeds.push_back(
      Output().Byte(0).Byte(1 + 8).Byte(1).Number(0, 2).Number(9, 4).Byte(0).Byte(0).Byte(4).Text("").bytes());
  seeds.push_back(
      Output().Byte(0).Byte(1 + 2).Byte(1).Number(5, 8).Number(0, 2).Byte(0).Byte(0).Byte(4).Text("").bytes());
  seeds.push_back(Output().Byte(0).Byte(0).Text("GET / HTTP/1.1\r\n\r\n").bytes());
  return seeds;
}

const Registration kLink({"link", RunLink, LinkSeeds});

}  // namespace
}  // namespace cylon::fuzz
