// Tests of what is sealed, and of frames that come in pieces.
#include "cylon/net/mail/seal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "cylon/net/conformance.h"
#include "cylon/net/mail/frame_assembler.h"

namespace cylon::internal {
namespace {

using ::testing::HasSubstr;

std::vector<std::span<const uint8_t>> SealParts(const std::vector<std::string>& texts) {
  std::vector<std::span<const uint8_t>> parts;
  for (const auto& text : texts) {
    const void* bytes = text.data();
    parts.emplace_back(static_cast<const uint8_t*>(bytes), text.size());
  }
  return parts;
}

TEST(SealTest, OpensWhatWasSealedAndNothingElse) {
  auto here = Seal::Make("secret", "a to b").ValueOrDie();
  auto there = Seal::Make("secret", "a to b").ValueOrDie();
  const std::vector<std::string> texts{"hello", "", " ", "world"};
  std::string sealed = "prefix";
  ASSERT_TRUE(here.Close(7, SealParts(texts), &sealed).ok());
  EXPECT_EQ(sealed.size(), 6 + 11 + kSealBytes);
  EXPECT_EQ(sealed.find("hello"), std::string::npos);
  sealed = sealed.substr(6);
  EXPECT_EQ(there.Open(7, sealed).ValueOr("none"), "hello world");
  EXPECT_FALSE(there.Open(8, sealed).ok());
  EXPECT_FALSE(there.Open(7, sealed.substr(1)).ok());
  EXPECT_FALSE(there.Open(7, "short").ok());
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string changed = sealed;
    changed[i] = static_cast<char>(changed[i] ^ 1);
    EXPECT_FALSE(there.Open(7, changed).ok()) << i;
  }
  for (const auto& [secret, direction] : {std::pair("secret", "b to a"), std::pair("other", "a to b")}) {
    EXPECT_FALSE(Seal::Make(secret, direction).ValueOrDie().Open(7, sealed).ok());
  }
  EXPECT_EQ(there.Open(7, sealed).ValueOr("none"), "hello world");  // a refusal leaves no trace
}

TEST(SealTest, TheSameTextLooksDifferentUnderEachNumber) {
  auto seal = Seal::Make("secret", "a to b").ValueOrDie();
  const std::vector<std::string> texts{std::string(32, 'x')};
  std::set<std::string> seen;
  for (uint64_t number = 1; number <= 100; ++number) {
    std::string sealed;
    ASSERT_TRUE(seal.Close(number, SealParts(texts), &sealed).ok());
    EXPECT_EQ(seal.Open(number, sealed).ValueOr("none"), texts[0]);
    EXPECT_TRUE(seen.insert(sealed).second);
  }
}

class FrameCollector : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    Buffers out;
    for (const auto size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      out.push_back(std::move(buffer));
    }
    return out;
  }
  void OnMessage(Rank from, Message message) override {
    EXPECT_EQ(from, 3);
    messages.push_back(std::move(message));
    if (leave_after == messages.size()) {
      *to = nullptr;
    }
  }
  void OnPeerLost(Rank, const arrow::Status&) override {}
  std::vector<Message> messages;
  size_t leave_after = SIZE_MAX;
  Sink** to = nullptr;
};

std::string ThreeFrames() {
  std::string stream;
  uint64_t number = 0;
  for (const std::vector<int64_t>& sizes : {std::vector<int64_t>{}, {0, 5, 0, 300, 0}, {17}}) {
    Message message{testing::TestChannel(9), InlineBytes::Of(number), {}};
    for (const auto size : sizes) {
      message.segments.push_back(testing::Pattern(size, number));
    }
    stream += EncodeFramePrefix(message, ++number);
    for (const auto& segment : message.segments) {
      stream += segment->ToString();
    }
  }
  return stream;
}

TEST(FrameAssemblerTest, PiecesOfAnySizeMakeTheSameMessages) {
  const std::string stream = ThreeFrames();
  for (size_t piece = 1; piece <= stream.size(); ++piece) {
    FrameCollector collector;
    Sink* sink = &collector;
    FrameAssembler frames(3);
    for (size_t at = 0; at < stream.size(); at += piece) {
      ASSERT_TRUE(frames.Feed(std::string_view(stream).substr(at, piece), sink).ok());
    }
    ASSERT_EQ(collector.messages.size(), 3U) << piece;
    EXPECT_EQ(collector.messages[1].segments.size(), 5U);
    for (uint64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(collector.messages[i].channel, testing::TestChannel(9));
      for (const auto& segment : collector.messages[i].segments) {
        EXPECT_TRUE(testing::IsPattern(*segment, i));
      }
    }
  }
}

TEST(FrameAssemblerTest, ASinkThatIsGoneIsToldNothing) {
  const std::string stream = ThreeFrames();
  FrameCollector collector;
  Sink* sink = &collector;
  collector.to = &sink;
  collector.leave_after = 2;
  FrameAssembler frames(3);
  EXPECT_TRUE(frames.Feed(stream, sink).ok());
  EXPECT_EQ(collector.messages.size(), 2U);
}

TEST(FrameAssemblerTest, BadFramesAreRefusedBeforeMemoryIsTaken) {
  FrameCollector collector;
  Sink* sink = &collector;
  const std::string stream = ThreeFrames();
  FrameAssembler repeated(3);
  EXPECT_TRUE(repeated.Feed(std::string_view(stream).substr(0, 72), sink).ok());
  const auto again = repeated.Feed(std::string_view(stream).substr(0, 72), sink);
  EXPECT_TRUE(IsError(again, ErrorKind::kProtocol)) << again;
  EXPECT_THAT(again.message(), HasSubstr("rank 3 sent frame 1 after frame 1"));
  FrameAssembler garbage(3);
  EXPECT_TRUE(IsError(garbage.Feed(std::string(64, 'x'), sink), ErrorKind::kProtocol));
  Message message{testing::TestChannel(9), {}, {testing::Pattern(8, 0)}};
  std::string prefix = EncodeFramePrefix(message, 1);
  prefix[prefix.size() - 1] = 0x10;  // a segment of 2^60 bytes in a frame of 8
  FrameAssembler large(3);
  const auto refused = large.Feed(prefix, sink);
  EXPECT_TRUE(IsError(refused, ErrorKind::kProtocol)) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("segments larger than their frame"));
}

}  // namespace
}  // namespace cylon::internal
