// The frame header: there and back, and what it refuses.
#include "cylon/wire/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cylon {
namespace {

using ::testing::HasSubstr;

FrameHeader Sample() {
  FrameHeader header;
  header.type = 1;
  header.flags = 0x1234;
  header.sequence = 0x1122334455667788;
  header.acknowledged = 99;
  header.payload_bytes = uint64_t{3} << 30;
  header.epoch = 0xdeadbeef;
  header.communicator = 7;
  header.segments = 3;
  header.inline_bytes = 256;
  header.kind = 2;
  header.channel_sequence = 1;
  return header;
}

TEST(FrameTest, ComesBackAsItWas) {
  const auto bytes = EncodeFrameHeader(Sample());
  EXPECT_EQ(bytes[0], 'C');
  EXPECT_EQ(bytes[8], 0x88);
  auto back = DecodeFrameHeader(bytes, UINT64_MAX, 4);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(EncodeFrameHeader(*back), bytes);
  EXPECT_EQ(back->payload_bytes, uint64_t{3} << 30);
}

TEST(FrameTest, EveryFlippedBitIsRefused) {
  const auto good = EncodeFrameHeader(Sample());
  for (size_t bit = 0; bit < 8 * good.size(); ++bit) {
    auto bytes = good;
    bytes[bit / 8] ^= static_cast<uint8_t>(1U << (bit % 8));
    auto back = DecodeFrameHeader(bytes, UINT64_MAX, 4);
    ASSERT_TRUE(IsError(back.status(), ErrorKind::kProtocol)) << bit;
    EXPECT_EQ(GetErrorDetail(back.status())->rank, 4);
  }
}

TEST(FrameTest, OversizedFieldsAreRefusedWithTheirLimits) {
  auto refused = [](const FrameHeader& header, uint64_t max_payload) {
    auto back = DecodeFrameHeader(EncodeFrameHeader(header), max_payload, 2);
    EXPECT_TRUE(IsError(back.status(), ErrorKind::kProtocol));
    EXPECT_THAT(back.status().message(), HasSubstr("rank 2 sent a bad frame"));
    return back.status().message();
  };
  auto header = Sample();
  EXPECT_THAT(refused(header, 1000), HasSubstr("at most 1000 are allowed"));
  header.inline_bytes = 257;
  EXPECT_THAT(refused(header, UINT64_MAX), HasSubstr("inline header is 257 bytes, at most 256"));
  header = Sample();
  header.segments = kMaxSegments + 1;
  EXPECT_THAT(refused(header, UINT64_MAX), HasSubstr("1048577 segments"));
  header.segments = 0;
  EXPECT_THAT(refused(header, UINT64_MAX), HasSubstr("no segment"));
}

}  // namespace
}  // namespace cylon
