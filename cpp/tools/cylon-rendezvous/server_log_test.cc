// Lines of the server's log.
#include "server_log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

namespace cylon::tools {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

const ServerEvent kRefused{true, "refused", {{"reason", "secret"}, {"peer", "203.0.113.7:4711"}, {"ticket", ""}}};

TEST(ServerLogTest, ALineOfJsonHasTimeLevelEventAndWhatIsKnown) {
  const auto line = nlohmann::json::parse(LogLine(kRefused, true, 1'800'000'000.25, 0));
  EXPECT_EQ(line["time"], "2027-01-15T08:00:00.250Z");
  EXPECT_EQ(line["level"], "warning");
  EXPECT_EQ(line["event"], "refused");
  EXPECT_EQ(line["peer"], "203.0.113.7:4711");
  EXPECT_FALSE(line.contains("ticket"));
  EXPECT_EQ(nlohmann::json::parse(LogLine(kRefused, true, 0, 7))["left_out"], 7);
}

TEST(ServerLogTest, WhatOthersHaveSentStaysOnItsLine) {
  for (const bool json : {true, false}) {
    const ServerEvent event{false, "admitted", {{"job", "a\nb\"\xff\x1b[2J"}}};
    const auto line = LogLine(event, json, 0, 0);
    EXPECT_EQ(line.find('\n'), std::string::npos);
    EXPECT_EQ(line.find('\x1b'), std::string::npos);
  }
  EXPECT_THAT(LogLine(kRefused, false, 0, 0),
              HasSubstr(" warning refused reason=\"secret\" peer=\"203.0.113.7:4711\""));
}

class WrittenLogTest : public ::testing::Test {
 protected:
  size_t Lines() {
    std::rewind(file_.get());
    size_t lines = 0;
    for (int c = std::fgetc(file_.get()); c != EOF; c = std::fgetc(file_.get())) {
      lines += c == '\n' ? 1 : 0;
    }
    return lines;
  }
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_{std::tmpfile(), std::fclose};
};

TEST_F(WrittenLogTest, AFloodOfStrangersIsNoFloodOfLines) {
  ServerLog log(file_.get(), true, false);
  for (int i = 0; i < 10000; ++i) {
    log.Write(kRefused, TimePoint{}, 0);
  }
  EXPECT_EQ(Lines(), 200U);
  std::fseek(file_.get(), 0, SEEK_END);
  log.Write(kRefused, TimePoint{} + 1s, 0);
  EXPECT_EQ(Lines(), 201U);
}

TEST_F(WrittenLogTest, WarningsAloneWhereNothingElseIsAskedFor) {
  ServerLog log(file_.get(), false, true);
  log.Write({false, "admitted", {}}, TimePoint{}, 0);
  EXPECT_EQ(Lines(), 0U);
  log.Write(kRefused, TimePoint{}, 0);
  EXPECT_EQ(Lines(), 1U);
}

}  // namespace
}  // namespace cylon::tools
