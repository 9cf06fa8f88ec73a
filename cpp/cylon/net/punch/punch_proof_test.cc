// What two ends of a punched connection say first.
#include "cylon/net/punch/punch_proof.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cylon::internal {
namespace {

using ::testing::HasSubstr;

const std::string kSomeAttempt = "0123456789abcdef";
const PunchHello kCallersHello{PunchRole::kCaller, PunchTag(kSomeAttempt), "aaaaaaaaaaaaaaaa"};
const PunchHello kCalledHello{PunchRole::kCalled, PunchTag(kSomeAttempt), "bbbbbbbbbbbbbbbb"};

TEST(PunchProofTest, AHelloComesOutAsItWentIn) {
  const auto bytes = EncodePunchHello(kCalledHello);
  EXPECT_EQ(bytes.size(), kPunchHelloBytes);
  EXPECT_EQ(bytes.find(kSomeAttempt), std::string::npos);
  const auto hello = DecodePunchHello(bytes);
  ASSERT_TRUE(hello.ok()) << hello.status();
  EXPECT_EQ(hello->role, PunchRole::kCalled);
  EXPECT_EQ(hello->tag, kCalledHello.tag);
  EXPECT_EQ(hello->nonce, kCalledHello.nonce);
}

TEST(PunchProofTest, WhatIsNoHelloIsRefused) {
  const auto bytes = EncodePunchHello(kCalledHello);
  for (const size_t at : {0, 3, 4, 5, 6, 7}) {
    auto changed = bytes;
    changed[at] = '\x55';
    EXPECT_THAT(DecodePunchHello(changed).status().message(), HasSubstr("does not greet")) << at;
  }
  EXPECT_FALSE(DecodePunchHello(bytes.substr(1)).ok());
  EXPECT_FALSE(DecodePunchHello(bytes + "x").ok());
  EXPECT_FALSE(DecodePunchHello("").ok());
}

TEST(PunchProofTest, OnlyTheOtherRoleOfTheSameAttemptAnswers) {
  EXPECT_TRUE(CheckPunchHello(kCallersHello, kCalledHello).ok());
  EXPECT_TRUE(CheckPunchHello(kCalledHello, kCallersHello).ok());
  EXPECT_THAT(CheckPunchHello(kCallersHello, kCallersHello).message(), HasSubstr("has met itself"));
  auto same_nonce = kCalledHello;
  same_nonce.nonce = kCallersHello.nonce;
  EXPECT_THAT(CheckPunchHello(kCallersHello, same_nonce).message(), HasSubstr("has met itself"));
  auto another = kCalledHello;
  another.tag = PunchTag("another attempt!");
  EXPECT_THAT(CheckPunchHello(kCallersHello, another).message(), HasSubstr("another attempt"));
}

TEST(PunchProofTest, AProofIsOfOneAttemptOneRoleAndTwoNonces) {
  const auto proof = PunchProof(kSomeAttempt, kCallersHello, kCalledHello);
  EXPECT_EQ(proof.size(), kPunchProofBytes);
  EXPECT_TRUE(SameProof(proof, PunchProof(kSomeAttempt, kCallersHello, kCalledHello)));
  EXPECT_FALSE(SameProof(proof, PunchProof("another attempt!", kCallersHello, kCalledHello)));
  EXPECT_FALSE(SameProof(proof, PunchProof(kSomeAttempt, kCalledHello, kCallersHello))) << "sent back";
  auto later = kCalledHello;
  later.nonce = "cccccccccccccccc";
  EXPECT_FALSE(SameProof(proof, PunchProof(kSomeAttempt, kCallersHello, later))) << "replayed";
  auto anew = kCallersHello;
  anew.nonce = "cccccccccccccccc";
  EXPECT_FALSE(SameProof(proof, PunchProof(kSomeAttempt, anew, kCalledHello)));
  EXPECT_FALSE(SameProof(proof, proof.substr(1)));
}

}  // namespace
}  // namespace cylon::internal
