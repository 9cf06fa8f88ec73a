// Which frames open a connection.
#include "frame.h"

#include <gtest/gtest.h>

#include <vector>

namespace cylon {
namespace {

constexpr uint8_t kTcp = 6;
constexpr uint8_t kUdp = 17;
constexpr uint8_t kSyn = 0x02;
constexpr uint8_t kSynAck = 0x12;
constexpr uint8_t kAck = 0x10;

/// Over IPv4 with a header that has options, so that its length counts; or over IPv6.
std::vector<uint8_t> Frame(bool is_4, uint8_t protocol, uint8_t flags) {
  std::vector<uint8_t> frame(14 + (is_4 ? 24 : 40) + 20);
  frame[12] = is_4 ? 0x08 : 0x86;
  frame[13] = is_4 ? 0x00 : 0xDD;
  frame[14] = is_4 ? 0x46 : 0x60;
  frame[is_4 ? 23 : 20] = protocol;
  frame[frame.size() - 20 + 13] = flags;
  return frame;
}

TEST(FrameTest, AConnectionOpensWithSynAlone) {
  for (const bool is_4 : {true, false}) {
    EXPECT_TRUE(OpensConnection(Frame(is_4, kTcp, kSyn)));
    EXPECT_FALSE(OpensConnection(Frame(is_4, kTcp, kSynAck)));
    EXPECT_FALSE(OpensConnection(Frame(is_4, kTcp, kAck)));
    EXPECT_FALSE(OpensConnection(Frame(is_4, kUdp, kSyn)));
  }
}

TEST(FrameTest, WhatIsCutShortOrOfAnotherKindOpensNothing) {
  for (const bool is_4 : {true, false}) {
    auto frame = Frame(is_4, kTcp, kSyn);
    for (size_t size = 0; size < frame.size() - 6; ++size) {
      EXPECT_FALSE(OpensConnection(std::span(frame).first(size))) << size;
    }
    frame[13] = 0x06;  // ARP
    EXPECT_FALSE(OpensConnection(frame));
  }
}

}  // namespace
}  // namespace cylon
