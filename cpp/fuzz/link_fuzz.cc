// A link between two ranks over one connection after another, on each of which the peer says anything.
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
  void Sent(Rank, uint64_t id) override { Require(id > 0 && id <= queued, "a message was sent that was never queued"); }
  void Broke(Rank, const arrow::Status&) override {}
  void Ended(Rank, const arrow::Status&) override {
    Require(!ended, "a link ended twice");
    ended = true;
  }
  size_t bytes = 0;
  uint64_t queued = 0;
  bool ended = false;
};

// The input: for each connection what is queued before it, what the peer says it has received, and what it sends.
void RunLink(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  Owner owner;
  auto link = std::make_shared<Link>(tasks, &owner, kPeer, kEpoch);
  tasks.Do([&] { link->Start(); });
  size_t said = 0;
  while (!in.empty() && !owner.ended) {
    const uint8_t messages = in.Byte() % 4;
    const uint64_t received = in.Byte();
    Input frames(in.Text());
    const std::string arriving = FramesOf(frames, kEpoch);
    said += arriving.size();
    auto owned = std::make_unique<MemoryStream>();
    MemoryStream* stream = owned.get();
    // The link may let go of its stream at any time, and close it after that.
    const auto open = std::make_shared<bool>(true);
    stream->OnClose([open] { *open = false; });
    tasks.Do([&] {
      link->Detach();
      // Small ones are copied, large ones kept until they are acknowledged.
      for (uint8_t i = 0; i < messages; ++i) {
        std::shared_ptr<arrow::Buffer> segment = *arrow::AllocateBuffer(i == 0 ? 100 : 100000);
        std::fill_n(segment->mutable_data(), segment->size(), 1);
        link->Queue(++owner.queued, Message{{kEpoch, 0, ChannelKind::kTest, 0}, {}, {std::move(segment)}});
      }
      const auto attached = link->Attach(std::move(owned), received == 255 ? UINT64_MAX : received);
      Require(attached.ok() || IsError(attached, ErrorKind::kProtocol), "a refusal that is no ProtocolError");
      *open = *open && attached.ok();
    });
    tasks.RunAll();
    tasks.Do([&] {
      if (*open) {
        stream->Feed(arriving);
      }
    });
    tasks.RunAll();
    tasks.Do([&] {
      if (*open) {
        stream->End();
      }
    });
    tasks.RunAll();
    tasks.Do([&] { link->Detach(); });
    tasks.RunAll();
  }
  Require(owner.bytes <= said, "more arrived than was sent");
  tasks.Do([&] { link->Close(); });
  tasks.RunAll();
  link.reset();
  tasks.Clear();
}

std::vector<std::string> LinkSeeds() {
  std::vector<std::string> seeds;
  std::string all;
  for (const auto& frames : FrameScripts()) {
    for (const uint8_t messages : {0, 2}) {
      const auto connection = Output().Byte(messages).Byte(0).Text(frames).bytes();
      seeds.push_back(connection);
      all += connection;
    }
  }
  seeds.push_back(all);
  seeds.push_back(Output().Byte(1).Byte(255).Text("").bytes());
  return seeds;
}

const Registration kLink({"link", RunLink, LinkSeeds});

}  // namespace
}  // namespace cylon::fuzz
