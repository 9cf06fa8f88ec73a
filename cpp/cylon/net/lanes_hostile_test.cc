// A peer that breaks the rules is dropped by name, and never makes lanes take more memory than they granted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <tuple>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/net/conformance.h"
#include "cylon/net/lane_frame.h"

namespace cylon::testing {
namespace {

using internal::LaneFrame;
using internal::LaneType;
using ::testing::HasSubstr;

/// The rank that keeps to the rules. Channel 0 is open, all others are not.
struct Victim : LanesObserver, Receiver {
  void OnPeerMet(Rank peer) override { met = peer; }
  void OnPeerLost(Rank, const arrow::Status& cause) override {
    loss = cause;
    lost.MarkFinished();
  }
  void OnControl(Rank, Message) override {}
  void OnMessage(Rank, Message message) override {
    for (const auto& segment : message.segments) {
      bytes += segment->size() > 0 ? segment->data()[segment->size() - 1] : 0;  // touches it
    }
  }
  void OnReceiveError(Rank, const arrow::Status&) override {}

  arrow::ProxyMemoryPool pool{arrow::default_memory_pool()};
  uint64_t bytes = 0;
  Rank met = -1;
  arrow::Status loss;
  arrow::Future<> lost = arrow::Future<>::Make();
};

/// The rank that does not: takes whatever comes and answers nothing.
struct Sponge : Sink {
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    return internal::AllocateSegments(sizes, arrow::default_memory_pool());
  }
  void OnMessage(Rank, Message) override {}
  void OnPeerLost(Rank, const arrow::Status&) override {}
};

Message Frame(uint64_t channel, LaneFrame frame, Buffers segments = {}) {
  return {TestChannel(channel), internal::EncodeLaneFrame(frame, {}), std::move(segments)};
}

Message Announce(uint64_t channel, uint64_t id, int64_t bytes, uint32_t segments = 1) {
  return Frame(channel, {.type = LaneType::kAnnounce,
                         .segments = segments,
                         .message = id,
                         .bytes = bytes,
                         .span = internal::AlignSegment(bytes)});
}

Message SizesFrame(uint64_t channel, uint64_t id, Sizes sizes) {
  return Frame(channel, {.type = LaneType::kSizes, .message = id}, {arrow::Buffer::FromVector(std::move(sizes))});
}

Message Piece(uint64_t channel, uint64_t id, int64_t offset, int64_t bytes) {
  return Frame(channel, {.type = LaneType::kPiece, .message = id, .bytes = offset}, {Pattern(bytes, 0)});
}

Message Eager(uint64_t channel, int64_t bytes) {
  return Frame(channel, {.type = LaneType::kEager, .segments = 1}, {Pattern(bytes, 0)});
}

/// What becomes of a victim to which `frames` are sent, in this order where they share a channel.
arrow::Status Attack(const std::vector<Message>& frames, uint64_t seed, int64_t* most_memory, bool must_notice = true) {
  SimWorld world(2, seed);
  Victim victim;
  auto sent_all = arrow::Future<>::Make();
  auto status = world.Run([&](Rank rank) {
    auto& executor = world.executor(rank);
    if (rank == 1) {
      Sponge sponge;
      auto transport = world.MakeTransport(1);
      auto status = executor.RunTask([&] {
        std::ignore = transport->Start(&sponge);
        for (const auto& frame : frames) {
          std::ignore = transport->Send(0, frame);
        }
        transport->Flush().AddCallback([&](const arrow::Status&) { sent_all.MarkFinished(); });
        return arrow::Status::OK();
      });
      std::ignore = executor.Await(must_notice ? victim.lost : sent_all);
      // The seed may still deliver the refusal; the sponge stays for it.
      return executor.RunTask([&] {
        transport.reset();
        return status;
      });
    }
    Lanes lanes(0, 2, world.MakeTransport(0), executor, &victim.pool, {});
    ARROW_RETURN_NOT_OK(executor.RunTask([&] {
      std::ignore = lanes.Start(&victim);
      lanes.Open(TestChannel(0), &victim);
      return arrow::Status::OK();
    }));
    auto ended = executor.Await(must_notice ? victim.lost : sent_all);
    *most_memory = victim.pool.max_memory();
    return ended;
  });
  EXPECT_TRUE(status.ok()) << status;
  return victim.loss;
}

/// A transport whose messages come as a test says.
class HandTransport : public Transport {
 public:
  explicit HandTransport(Sink** sink) : sink_(sink) {}
  const Traits& traits() const override { return traits_; }
  arrow::Future<> Start(Sink* sink) override {
    *sink_ = sink;
    return Done();
  }
  arrow::Future<> Send(Rank, Message) override { return Done(); }
  arrow::Future<> Flush() override { return Done(); }
  arrow::Future<> Close() override { return Done(); }
  void Abort() override {}

 private:
  Sink** sink_;
  const Traits traits_;
};

/// Notes what becomes of one channel.
struct Listener : Receiver {
  void OnMessage(Rank, Message) override { ++count; }
  void OnReceiveError(Rank, const arrow::Status& status) override { error = status; }
  int count = 0;
  arrow::Status error;
};

TEST(LanesOrderTest, RefusedMemoryIsToldOfItsOwnMessageWhereAnotherComesFirst) {
  AsioExecutor executor("lanes");
  arrow::CappedMemoryPool small(arrow::default_memory_pool(), 10000);
  Sink* sink = nullptr;
  Victim observer;
  Listener large;
  Listener little;
  const auto status = executor.RunTask([&] {
    Lanes lanes(0, 2, std::make_unique<HandTransport>(&sink), executor, &small, {.eager_bytes = 4 << 20});
    std::ignore = lanes.Start(&observer);
    const ChannelId channels[] = {{1, 0, ChannelKind::kCollective, 0}, {1, 0, ChannelKind::kCollective, 1}};
    sink->OnPeerMet(1);
    lanes.Open(channels[0], &large);
    lanes.Open(channels[1], &little);
    // As over two connections, of which the one that began first is the slower one.
    std::vector<Message> messages{Eager(0, 50000), Eager(1, 10)};
    messages[0].channel = channels[0];
    messages[1].channel = channels[1];
    for (auto& message : messages) {
      ARROW_ASSIGN_OR_RAISE(auto segments,
                            sink->Allocate(1, message.channel, message.header, {message.payload_bytes()}));
      message.segments = std::move(segments);
    }
    sink->OnMessage(1, std::move(messages[1]));
    EXPECT_EQ(little.count, 1);
    sink->OnMessage(1, std::move(messages[0]));
    return arrow::Status::OK();
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(observer.met, 1);
  EXPECT_TRUE(little.error.ok()) << little.error;
  EXPECT_EQ(large.count, 0);
  EXPECT_TRUE(large.error.IsOutOfMemory()) << large.error;
}

struct Crime {
  std::string name;
  std::vector<Message> frames;
  std::string reason;
};

std::vector<Crime> Crimes() {
  std::vector<Crime> crimes;
  const Buffers some{Pattern(10, 0)};
  crimes.push_back({"NoFrame", {Message{TestChannel(0), {}, some}}, "lane frame of 0 bytes"});
  crimes.push_back({"UnknownType", {Frame(0, {.type = static_cast<LaneType>(77)})}, "unknown type 77"});
  auto cut = internal::EncodeLaneFrame({.type = LaneType::kAnnounce}, InlineBytes::Of(uint64_t{1}));
  crimes.push_back({"CutUserHeader",
                    {Message{TestChannel(0), InlineBytes(cut.bytes().first(44)), {}}},
                    "claims a user header of 8"});
  crimes.push_back({"LargeWithoutGrant", {Eager(0, 20000)}, "without a grant a message of 1 segments"});
  crimes.push_back({"WrongSegmentCount",
                    {Frame(0, {.type = LaneType::kEager, .segments = 3}, some)},
                    "without a grant a message of 1 segments"});
  crimes.push_back({"OverTheWindow", std::vector<Message>(9, Eager(5, 8000)), "its window has 65536"});
  crimes.push_back({"NegativeSize", {Announce(0, 1, -5)}, "out of bounds"});
  crimes.push_back({"HugeSize", {Announce(0, 1, INT64_MAX - 100)}, "out of bounds"});
  auto span = Announce(0, 1, 1000);
  LaneFrame wrong_span{.type = LaneType::kAnnounce, .segments = 1, .message = 1, .bytes = 1000, .span = 64};
  crimes.push_back({"SpanTooSmall", {Frame(0, wrong_span)}, "with the span 64"});
  crimes.push_back(
      {"AnnouncedTwice", {Announce(5, 1, 1000), Announce(5, 1, 1000)}, "second announcement of message 1"});
  crimes.push_back({"TooManyAnnounced",
                    {Announce(5, 1, 9), Announce(5, 2, 9), Announce(5, 3, 9), Announce(5, 4, 9), Announce(5, 5, 9)},
                    "more than 4 announcements"});
  crimes.push_back({"PieceOfNothing", {Piece(0, 9, 0, 10)}, "message 9, which was not granted"});
  crimes.push_back({"PieceWithoutGrant", {Announce(5, 1, 10000), Piece(5, 1, 0, 10)}, "was not granted"});
  crimes.push_back({"PieceBeforeSizes", {Announce(0, 1, 10000), Piece(0, 1, 0, 10)}, "a piece at byte 0"});
  crimes.push_back({"TooManySizes", {Announce(0, 1, 10000), SizesFrame(0, 1, {5000, 5000})}, "16 bytes of sizes"});
  crimes.push_back({"NegativeSegment", {Announce(0, 1, 10000, 2), SizesFrame(0, 1, {-1, 10001})}, "a segment of -1"});
  crimes.push_back(
      {"SegmentsTooLarge", {Announce(0, 1, 10000), SizesFrame(0, 1, {INT64_MAX})}, "bytes were announced"});
  crimes.push_back({"SegmentsTooSmall", {Announce(0, 1, 10000), SizesFrame(0, 1, {9000})}, "add up to 9000"});
  crimes.push_back({"SizesTwice",
                    {Announce(0, 1, 10000), SizesFrame(0, 1, {10000}), SizesFrame(0, 1, {10000})},
                    "bytes of sizes for message 1"});
  crimes.push_back({"PieceOutOfOrder",
                    {Announce(0, 1, 10000), SizesFrame(0, 1, {10000}), Piece(0, 1, 5000, 10)},
                    "the next is due at 0"});
  crimes.push_back({"PieceBeyondTheEnd",
                    {Announce(0, 1, 10000), SizesFrame(0, 1, {10000}), Piece(0, 1, 0, 10001)},
                    "do not have them"});
  crimes.push_back({"PieceOverASegmentsEnd",
                    {Announce(0, 1, 10048, 2), SizesFrame(0, 1, {64, 9984}), Piece(0, 1, 0, 65)},
                    "do not have them"});
  crimes.push_back(
      {"EmptyPiece",
       {Announce(0, 1, 10000), SizesFrame(0, 1, {10000}), Frame(0, {.type = LaneType::kPiece, .message = 1})},
       "an empty piece"});
  crimes.push_back({"StopUnasked",
                    {Announce(0, 1, 10000), Frame(0, {.type = LaneType::kStop, .message = 1})},
                    "without being asked"});
  crimes.push_back({"GrantOfNothing", {Frame(0, {.type = LaneType::kGrant, .message = 3})}, "granted message 3"});
  crimes.push_back({"CreditOfNothing",
                    {Message{internal::kCreditChannel, internal::EncodeLaneFrame({.credit = 1000}, {}), {}}},
                    "gave back 1000 bytes"});
  crimes.push_back({"PayloadWithGrant", {Frame(0, {.type = LaneType::kGrant}, some)}, "sent payload with a frame"});
  const ChannelId control{1, 0, ChannelKind::kControl, 0};
  crimes.push_back(
      {"LargeControl",
       {Message{
           control, internal::EncodeLaneFrame({.type = LaneType::kControl, .segments = 1}, {}), {Pattern(70000, 0)}}},
       "control message of more than 65536"});
  crimes.push_back({"DataOnControl",
                    {Message{control, internal::EncodeLaneFrame({.type = LaneType::kEager, .segments = 1}, {}), some}},
                    "on a channel of kind 0"});
  return crimes;
}

TEST(LanesHostileTest, EveryCrimeIsToldByNameAndTakesNoMemory) {
  for (const auto& crime : Crimes()) {
    SCOPED_TRACE(crime.name);
    for (uint64_t seed = 0; seed < 5; ++seed) {
      int64_t most_memory = 0;
      const auto loss = Attack(crime.frames, seed, &most_memory);
      EXPECT_TRUE(IsError(loss, ErrorKind::kProtocol)) << loss;
      EXPECT_THAT(loss.message(), HasSubstr("rank 1"));
      EXPECT_THAT(loss.message(), HasSubstr(crime.reason));
      EXPECT_LE(most_memory, 128 << 10);
    }
  }
}

TEST(LanesHostileTest, APieceOnAnotherChannelIsACrime) {
  int64_t most_memory = 0;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const auto loss =
        Attack({Announce(0, 1, 10000), SizesFrame(0, 1, {10000}), Piece(3, 1, 0, 10)}, seed, &most_memory);
    EXPECT_TRUE(IsError(loss, ErrorKind::kProtocol)) << loss;
  }
}

TEST(LanesHostileTest, RandomFramesNeverTakeMoreThanWasGranted) {
  const uint64_t seeds = LongTests() ? 100000 : 3000;
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    std::mt19937_64 random(seed);
    std::vector<Message> frames;
    for (int i = 0; i < 12; ++i) {
      const int64_t bytes = static_cast<int64_t>(random() % 4) * 4000;
      LaneFrame frame{.type = static_cast<LaneType>(2 + random() % 7),
                      .segments = static_cast<uint32_t>(random() % 3),
                      .message = random() % 3,
                      .bytes = random() % 5 == 0 ? 0 : bytes,
                      .span = internal::AlignSegment(bytes),
                      .credit = random() % 20 == 0 ? 64 : 0};
      Buffers segments;
      if (random() % 2 == 0) {
        if (frame.type == LaneType::kSizes) {
          segments.push_back(arrow::Buffer::FromVector(Sizes{static_cast<int64_t>(random() % 3) * 4000}));
        } else if (frame.type == LaneType::kPiece || frame.type == LaneType::kEager) {
          segments.push_back(Pattern(static_cast<int64_t>(random() % 3) * 2000, 0));
          frame.segments = frame.type == LaneType::kEager ? 1 : frame.segments;
        }
      }
      frames.push_back(Frame(random() % 2, frame, std::move(segments)));
    }
    int64_t most_memory = 0;
    std::ignore = Attack(frames, seed, &most_memory, /*must_notice=*/false);
    ASSERT_LE(most_memory, (64 << 10) + 4 * 12100) << "seed " << seed;
  }
}

/// Lanes in a world in which a rank is killed in the middle: the others hear of it and their sends end.
TEST(LanesHostileTest, AKilledRankEndsEverySendToIt) {
  struct Node : LanesObserver, Receiver {
    void OnPeerLost(Rank peer, const arrow::Status&) override {
      if (peer == 1) {
        lost.MarkFinished();
      }
    }
    void OnControl(Rank, Message) override {}
    void OnMessage(Rank from, Message message) override {
      uint64_t number = 0;
      EXPECT_TRUE(message.header.As(&number));
      EXPECT_EQ(number, next[from]);
      ++next[from];
    }
    void OnReceiveError(Rank, const arrow::Status&) override {}
    std::map<Rank, uint64_t> next;
    arrow::Future<> lost = arrow::Future<>::Make();
  };
  const uint64_t seeds = LongTests() ? 5000 : 200;
  for (uint64_t seed = 0; seed < seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    SimWorld world(3, seed);
    world.KillAfter(1, static_cast<int64_t>(seed) * 2);
    auto status = world.Run([&](Rank rank) {
      auto& executor = world.executor(rank);
      Node node;
      arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
      std::vector<arrow::Future<>> sends;
      {
        Lanes lanes(rank, 3, world.MakeTransport(rank), executor, &pool, {.piece_bytes = 4096});
        auto begun = executor.RunTask([&] {
          std::ignore = lanes.Start(&node);
          lanes.Open(TestChannel(0), &node);
          for (uint64_t number = 0; number < 20; ++number) {
            for (Rank to = 0; to < 3; ++to) {
              if (to != rank) {
                const int64_t bytes = number % 2 == 0 ? 30000 : 100;
                sends.push_back(lanes.Send(to, Message{TestChannel(0), InlineBytes::Of(number), {Pattern(bytes, 0)}}));
              }
            }
          }
          return arrow::Status::OK();
        });
        if (rank == 1) {
          std::ignore = executor.Await(arrow::Future<>::Make(), TimePoint(std::chrono::hours(1)));
          return arrow::Status::OK();
        }
        ARROW_RETURN_NOT_OK(begun);
        // Until the kill, there may be nothing to do: a clock that ticks keeps the world going.
        std::function<void()> tick = [&] {
          executor.PostAt(executor.Now() + std::chrono::milliseconds(1), [&] { tick(); });
        };
        ARROW_RETURN_NOT_OK(executor.RunTask([&] {
          tick();
          return arrow::Status::OK();
        }));
        ARROW_RETURN_NOT_OK(executor.Await(node.lost));
        for (auto& send : sends) {
          ARROW_RETURN_NOT_OK(executor.Wait(send));
        }
        tick = [] {};
        arrow::Future<> shut;
        ARROW_RETURN_NOT_OK(executor.RunTask([&] {
          shut = lanes.Shutdown();
          return arrow::Status::OK();
        }));
        ARROW_RETURN_NOT_OK(executor.Await(shut));
        // The tick that is posted already still looks at `tick`.
        auto passed = arrow::Future<>::Make();
        executor.PostAt(executor.Now() + std::chrono::milliseconds(5), [passed]() mutable { passed.MarkFinished(); });
        ARROW_RETURN_NOT_OK(executor.Await(passed));
      }
      EXPECT_EQ(pool.bytes_allocated(), 0);
      for (auto& send : sends) {
        EXPECT_TRUE(send.is_finished());
      }
      return arrow::Status::OK();
    });
    EXPECT_TRUE(status.ok()) << status;
  }
}

}  // namespace
}  // namespace cylon::testing
