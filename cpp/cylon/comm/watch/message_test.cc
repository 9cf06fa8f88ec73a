// Watches' messages survive their encoding, and anything else is refused.
#include "cylon/comm/watch/message.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>

namespace cylon::internal {
namespace {

using namespace std::chrono_literals;

arrow::Result<WatchMessage> Decode(const std::string& bytes) {
  std::array<uint8_t, kWatchHeaderBytes> header{};
  std::copy_n(bytes.begin(), header.size(), header.begin());
  ARROW_ASSIGN_OR_RAISE(const auto decoded, DecodeWatchHeader(header));
  if (decoded.length != bytes.size() - header.size()) {
    return ProtocolError("length");
  }
  return DecodeWatchBody(decoded.type, std::string_view(bytes).substr(header.size()));
}

Report SomeReport() {
  Report report;
  report.waits = true;
  report.since = 41s;
  report.sequence = 7;
  report.operation = "Join: AllToAll()";
  report.bytes_sent = int64_t{1} << 40;
  report.bytes_received = 3;
  return report;
}

std::vector<WatchMessage> EachType() {
  std::vector<WatchMessage> all(5);
  all[0].type = WatchMessage::Type::kBeat;
  all[0].counter = 12;
  all[0].report = SomeReport();
  all[1].type = WatchMessage::Type::kQuestion;
  all[1].about = 3;
  all[1].stamp = TimePoint(5h);
  all[2] = all[1];
  all[2].type = WatchMessage::Type::kAnswer;
  all[2].testimony = Testimony::kSilent;
  all[2].age = 1500ms;
  all[2].has_report = true;
  all[2].report = SomeReport();
  all[3].type = WatchMessage::Type::kFlood;
  all[3].text = std::string("any\0thing", 9);
  all[4].type = WatchMessage::Type::kGoodbye;
  return all;
}

TEST(WatchMessageTest, SurvivesItsEncoding) {
  for (const auto& message : EachType()) {
    const auto again = Decode(Encode(message));
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->type, message.type);
    EXPECT_EQ(again->counter, message.counter);
    EXPECT_EQ(again->about, message.about);
    EXPECT_EQ(again->stamp, message.stamp);
    EXPECT_EQ(again->testimony, message.testimony);
    EXPECT_EQ(again->age, message.age);
    EXPECT_EQ(again->report, message.report);
    EXPECT_EQ(again->text, message.text);
  }
}

TEST(WatchMessageTest, ALongOperationIsCut) {
  WatchMessage beat;
  beat.report.operation = std::string(1000, 'x');
  EXPECT_EQ(Decode(Encode(beat))->report.operation.size(), kMaxOperationText);
}

TEST(WatchMessageTest, WhatIsCutShortOrLongerIsRefused) {
  for (const auto& message : EachType()) {
    if (message.type == WatchMessage::Type::kFlood) {
      continue;  // any bytes
    }
    const std::string body = Encode(message).substr(kWatchHeaderBytes);
    for (size_t length = 0; length < body.size(); ++length) {
      const auto status = DecodeWatchBody(message.type, std::string_view(body).substr(0, length)).status();
      EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << length;
    }
    EXPECT_TRUE(IsError(DecodeWatchBody(message.type, body + "x").status(), ErrorKind::kProtocol));
  }
}

TEST(WatchMessageTest, TimesThatFitNoClockAreRefused) {
  for (const auto time : {INT64_MIN, int64_t{-1}, INT64_MAX}) {
    for (const auto& message : {EachType()[0], EachType()[2]}) {
      std::string body = Encode(message).substr(kWatchHeaderBytes);
      // Behind the counter and `waits` in a beat; the age in an answer.
      std::memcpy(body.data() + (message.type == WatchMessage::Type::kBeat ? 9 : 13), &time, sizeof(time));
      EXPECT_TRUE(IsError(DecodeWatchBody(message.type, body).status(), ErrorKind::kProtocol)) << time;
    }
  }
}

TEST(WatchMessageTest, AHeaderThatIsNoneIsRefusedWithWhatItSays) {
  for (const auto& bytes :
       {std::array<uint8_t, 4>{'G', 'E', 'T', ' '}, {'W', 0, 0, 0}, {'W', 6, 0, 0}, {'W', 1, 255, 255}}) {
    const auto status = DecodeWatchHeader(bytes).status();
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol));
    EXPECT_NE(status.message().find("expected mark 87, type 1 to 5"), std::string::npos) << status;
  }
}

TEST(WatchMessageTest, AnyBytesAreReadOrRefused) {
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::string body(random() % 80, '\0');
    std::generate(body.begin(), body.end(), [&] { return static_cast<char>(random()); });
    const auto type = static_cast<WatchMessage::Type>(1 + random() % 5);
    const auto message = DecodeWatchBody(type, body);
    EXPECT_TRUE(message.ok() || IsError(message.status(), ErrorKind::kProtocol));
  }
}

}  // namespace
}  // namespace cylon::internal
