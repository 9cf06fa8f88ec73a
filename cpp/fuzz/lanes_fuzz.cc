// Lanes against a peer that sends any frames in any order: nobody takes more memory than was granted, all of it comes
// back, and every send ends.
#include "cylon/net/lanes.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "cylon/net/lane_frame.h"
#include "fuzz/fuzz_target.h"
#include "fuzz/task_queue.h"

namespace cylon::fuzz {
namespace {

using internal::LaneFrame;
using internal::LaneType;

constexpr int kRanks = 3;
constexpr Rank kVictim = 0;
/// What the victim admits at once; a message may have twice its bytes in padding, no more segments being sent here.
constexpr int64_t kAllowance = 256 << 10;

/// Takes what lanes send and lets it go at once, or when told to.
class Wire : public Transport {
 public:
  const Traits& traits() const override { return traits_; }
  arrow::Future<> Start(Sink* sink) override {
    sink_ = sink;
    return arrow::Future<>::MakeFinished();
  }
  arrow::Future<> Send(Rank, Message message) override {
    auto done = arrow::Future<>::Make();
    leaving_.emplace_back(done, std::move(message));
    return done;
  }
  arrow::Future<> Flush() override { return arrow::Future<>::MakeFinished(); }
  arrow::Future<> Close() override { return arrow::Future<>::MakeFinished(); }
  void Abort() override {}

  /// What was sent so far is gone.
  void Leave() {
    auto leaving = std::exchange(leaving_, {});
    for (auto& [done, message] : leaving) {
      done.MarkFinished();
    }
  }
  Sink* sink() { return sink_; }

 private:
  Traits traits_;
  Sink* sink_ = nullptr;
  std::vector<std::pair<arrow::Future<>, Message>> leaving_;
};

/// Admits within its allowance, and reads what comes.
struct Node : LanesObserver, Receiver {
  void OnPeerLost(Rank peer, const arrow::Status&) override {
    Require(peer > kVictim && peer < kRanks && !lost[static_cast<size_t>(peer)], "a loss was told twice, or of nobody");
    lost[static_cast<size_t>(peer)] = true;
  }
  void OnControl(Rank, Message message) override {
    Require(message.payload_bytes() <= kMaxControlBytes, "a control message beyond its limit was delivered");
    Look(message);
  }
  bool Admit(Rank, int64_t bytes) override {
    if (admitted + bytes > kAllowance) {
      return false;
    }
    admitted += bytes;
    return true;
  }
  void OnMessage(Rank, Message message) override { Look(message); }
  void OnReceiveError(Rank, const arrow::Status&) override {}
  void Look(const Message& message) {
    for (const auto& segment : message.segments) {
      Require(segment->size() == 0 || segment->data() != nullptr, "a segment without memory");
      seen = std::accumulate(segment->data(), segment->data() + segment->size(), seen);
    }
  }
  int64_t admitted = 0;
  uint64_t seen = 0;
  std::array<bool, kRanks> lost{};
};

ChannelId ReadChannel(Input& in) {
  const uint8_t byte = in.Byte();
  if (byte == 255) {
    return internal::kCreditChannel;
  }
  return {1, static_cast<uint32_t>(byte >> 6), static_cast<ChannelKind>((byte >> 3) % 5),
          static_cast<uint64_t>(byte % 4)};
}

/// A number that is small as a rule, and any one now and then.
int64_t ReadSize(Input& in) {
  const uint8_t byte = in.Byte();
  return byte == 255 ? static_cast<int64_t>(in.Number(8)) : byte >= 128 ? (byte - 128) * 997 : byte;
}

void SendFrame(Input& in, Wire& wire) {
  const uint8_t sender = in.Byte();
  const Rank from = sender == 255 ? static_cast<Rank>(in.Number(4)) : 1 + sender % 2;
  Message message{ReadChannel(in), {}, {}};
  LaneFrame frame;
  frame.type = static_cast<LaneType>(in.Byte());
  frame.zero = in.Byte() == 255 ? 1 : 0;
  frame.segments = static_cast<uint32_t>(ReadSize(in));
  frame.message = in.Byte();
  frame.bytes = ReadSize(in);
  frame.span = in.Byte() % 16 == 15 ? ReadSize(in) : 0;
  if (frame.span == 0 && frame.bytes >= 0 && frame.bytes <= internal::kMaxLaneBytes) {
    frame.span = internal::AlignSegment(frame.bytes);
  }
  frame.credit = in.Byte() % 16 == 15 ? ReadSize(in) : 0;
  const auto user = in.Bytes(std::min<size_t>(in.Byte(), kMaxUserHeader));
  message.header =
      internal::EncodeLaneFrame(frame, InlineBytes({reinterpret_cast<const uint8_t*>(user.data()), user.size()}));
  if (in.Byte() % 32 == 31) {
    message.header = InlineBytes(message.header.bytes().first(in.Byte() % (message.header.size() + 1)));
  }
  Sizes sizes(in.Byte() % 6);
  Sizes told;
  if (frame.type == LaneType::kSizes) {
    for (uint32_t i = 0; i < std::min<uint32_t>(frame.segments, 64); ++i) {
      told.push_back(ReadSize(in));
    }
    sizes.assign(told.empty() ? 0 : 1, static_cast<int64_t>(told.size() * sizeof(int64_t)));
  } else {
    for (auto& size : sizes) {
      size = ReadSize(in) & INT64_MAX;  // the frame's reader has no negative ones
    }
  }
  auto segments = wire.sink()->Allocate(from, message.channel, message.header, sizes);
  if (!segments.ok()) {
    Require(IsError(segments.status(), ErrorKind::kProtocol), "a refusal that is no ProtocolError");
    if (from >= 0 && from < kRanks && from != kVictim) {
      wire.sink()->OnPeerLost(from, segments.status());
    }
    return;
  }
  Require(segments->size() == sizes.size(), "other segments were allocated than arrive");
  for (size_t i = 0; i < sizes.size(); ++i) {
    const auto& segment = (*segments)[i];
    Require(segment->size() == sizes[i], "a segment of another size was allocated");
    std::fill_n(segment->mutable_data(), segment->size(), 7);
    if (!told.empty()) {
      std::memcpy(segment->mutable_data(), told.data(), told.size() * sizeof(int64_t));
    }
  }
  message.segments = *std::move(segments);
  wire.sink()->OnMessage(from, std::move(message));
}

void RunLanes(std::string_view bytes) {
  Input in(bytes);
  TaskQueue tasks;
  Node node;
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  std::vector<arrow::Future<>> sends;
  {
    auto owned = std::make_unique<Wire>();
    Wire& wire = *owned;
    std::optional<Lanes> lanes;
    lanes.emplace(kVictim, kRanks, std::move(owned), tasks, &pool, LanesOptions{});
    tasks.Do([&] { static_cast<void>(lanes->Start(&node)); });
    const ChannelId open{1, 0, ChannelKind::kExchange, 0};
    tasks.Do([&] { lanes->Open(open, &node); });
    while (!in.empty()) {
      const uint8_t action = in.Byte();
      tasks.Do([&] {
        switch (action % 32) {
          case 0:
            return lanes->Open(ReadChannel(in), &node);
          case 1:
            return lanes->Close(ReadChannel(in));
          case 2:
            return lanes->Retry(ReadChannel(in));
          case 3:
            return lanes->CloseCommunicator(1 + in.Byte() % 3);
          case 4:
            return wire.sink()->OnPeerLost(1 + in.Byte() % 2, arrow::Status::IOError("connection closed"));
          case 5:
          case 6: {
            const auto to = static_cast<Rank>(in.Byte() % kRanks);
            const auto channel = ReadChannel(in);
            std::shared_ptr<arrow::Buffer> segment = *arrow::AllocateBuffer(static_cast<int64_t>(in.Number(2)));
            std::fill_n(segment->mutable_data(), segment->size(), 1);
            sends.push_back(lanes->Send(to, Message{channel, {}, {segment}}));
            return;
          }
          case 7:
            return wire.Leave();
          default:
            return SendFrame(in, wire);
        }
      });
      if ((action & 128) != 0) {
        tasks.RunAll();
      }
      node.admitted = std::min(node.admitted, pool.bytes_allocated());  // what was delivered may come again
    }
    // Windows of two peers, and what was admitted with its padding.
    Require(pool.max_memory() <= 2 * (64 << 10) + 2 * kAllowance, "more memory was taken than was granted");
    tasks.RunAll();
    tasks.Do([&] {
      wire.Leave();
      lanes.reset();
    });
    tasks.RunAll();
  }
  tasks.Clear();
  Require(pool.bytes_allocated() == 0, "memory of lanes did not come back");
  Require(std::all_of(sends.begin(), sends.end(), [](const auto& send) { return send.is_finished(); }),
          "a send did not end with its lanes");
}

/// One frame as SendFrame reads it, without user header.
Output& Frame(Output& out, uint8_t channel, LaneType type, uint8_t segments, uint8_t message, uint8_t bytes) {
  out.Byte(8 + 128).Byte(0).Byte(channel).Byte(static_cast<uint8_t>(type)).Byte(0).Byte(segments);
  return out.Byte(message).Byte(bytes).Byte(0).Byte(0).Byte(0).Byte(0);
}

std::vector<std::string> LaneSeeds() {
  constexpr uint8_t kOpen = 3 << 3;  // communicator 0, exchange, sequence 0
  std::vector<std::string> seeds;
  Output eager;
  Frame(eager, kOpen, LaneType::kEager, 1, 0, 0).Byte(1).Byte(100);
  Frame(eager, kOpen + 1, LaneType::kEager, 1, 0, 0).Byte(1).Byte(100);
  eager.Byte(0).Byte(kOpen + 1).Byte(128 + 7);
  seeds.push_back(eager.bytes());
  Output large;
  Frame(large, kOpen, LaneType::kAnnounce, 1, 1, 100).Byte(0);
  Frame(large, kOpen, LaneType::kSizes, 1, 1, 0).Byte(0).Byte(100);
  Frame(large, kOpen, LaneType::kPiece, 0, 1, 0).Byte(1).Byte(60);
  Frame(large, kOpen, LaneType::kPiece, 0, 1, 60).Byte(1).Byte(40);
  seeds.push_back(large.bytes());
  Output closed;
  Frame(closed, kOpen, LaneType::kAnnounce, 1, 1, 100).Byte(0);
  closed.Byte(1).Byte(kOpen);
  Frame(closed, kOpen, LaneType::kSizes, 1, 1, 0).Byte(0).Byte(100);
  Frame(closed, kOpen, LaneType::kStop, 0, 1, 0).Byte(0);
  seeds.push_back(closed.bytes());
  Output sent;
  sent.Byte(5).Byte(1).Byte(kOpen).Number(50000, 2).Byte(128 + 7);
  Frame(sent, kOpen, LaneType::kGrant, 0, 1, 0).Byte(0);
  Frame(sent, kOpen, LaneType::kGrant, 0, 0, 0).Byte(0);
  Frame(sent, kOpen, LaneType::kDiscard, 0, 0, 0).Byte(0);
  sent.Byte(6).Byte(0).Byte(kOpen).Number(50000, 2).Byte(4).Byte(0);
  seeds.push_back(sent.bytes());
  Output control;
  Frame(control, 0, LaneType::kControl, 1, 0, 0).Byte(1).Byte(100);
  Frame(control, 255, LaneType::kCredit, 0, 0, 0).Byte(0);
  seeds.push_back(control.bytes());
  return seeds;
}

const Registration kLanes({"lanes", RunLanes, LaneSeeds});

}  // namespace
}  // namespace cylon::fuzz
