// Trace files: one per rank, merged into one.
#include "cylon/base/trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "cylon/base/random.h"

namespace cylon {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::json;

class TraceTest : public testing::Test {
 protected:
  void SetUp() override { directory_ = testing::TempDir() + "cylon-trace-" + HexEncode(*RandomBytes(8)); }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  Json Read(const std::string& path) {
    std::ifstream in(path);
    return Json::parse(in);
  }

  std::string directory_;
};

TEST_F(TraceTest, SpansOfARankAreWrittenWithTheirNumbers) {
  Tracer tracer(directory_, 3);
  {
    TraceSpan span(tracer, "join");
    span.Set("rows", 1);
    span.Set("rows", 42);
    std::thread([&] { TraceSpan inner(tracer, "probe"); }).join();
  }
  ASSERT_TRUE(tracer.Write().ok());
  auto events = Read(directory_ + "/rank-3.json")["traceEvents"];
  ASSERT_EQ(events.size(), 2U);
  EXPECT_EQ(events[0]["name"], "probe");
  EXPECT_EQ(events[1]["name"], "join");
  EXPECT_EQ(events[1]["ph"], "X");
  EXPECT_EQ(events[1]["pid"], 3);
  EXPECT_EQ(events[1]["args"]["rows"], 42);
  EXPECT_NE(events[0]["tid"], events[1]["tid"]);
  EXPECT_LE(events[0]["dur"], events[1]["dur"]);
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 1);  // no temporary file
}

TEST_F(TraceTest, RanksAreMergedOnOneClock) {
  for (int rank : {0, 1, 10}) {
    Tracer tracer(directory_, rank);
    {
      TraceSpan span(tracer, "work");
    }
    ASSERT_TRUE(tracer.Write().ok());
  }
  auto path = Tracer::Merge(directory_);
  ASSERT_TRUE(path.ok()) << path.status();
  auto events = Read(*path)["traceEvents"];
  std::vector<int> ranks;
  double first = 1e9;
  for (const auto& event : events) {
    if (event["ph"] == "X") {
      ranks.push_back(event["pid"]);
      first = std::min(first, event["ts"].get<double>());
    } else if (event["name"] == "process_name") {
      EXPECT_EQ(event["args"]["name"], "rank " + std::to_string(event["pid"].get<int>()));
    }
  }
  EXPECT_THAT(ranks, testing::ElementsAre(0, 1, 10));
  EXPECT_EQ(first, 0);
  EXPECT_TRUE(Tracer::Merge(directory_).ok());  // trace.json is not taken for a rank's file
}

TEST_F(TraceTest, OffWritesNothing) {
  Tracer tracer("", 0);
  EXPECT_FALSE(tracer.enabled());
  {
    TraceSpan span(tracer, "work");
  }
  EXPECT_TRUE(tracer.Write().ok());
  EXPECT_FALSE(std::filesystem::exists(directory_));
}

TEST_F(TraceTest, AFileThatIsNoTraceIsNamed) {
  EXPECT_THAT(Tracer::Merge(directory_).status().message(), HasSubstr(directory_));
  std::filesystem::create_directories(directory_);
  EXPECT_THAT(Tracer::Merge(directory_).status().message(), HasSubstr("CYLON_TRACE"));
  for (const char* text :
       {"", "[]", "{\"traceEvents\": 1}", "{\"traceEvents\":[1],\"cylon\":{\"wall_offset_us\":1}}"}) {
    std::ofstream(directory_ + "/rank-0.json", std::ios::trunc) << text;
    EXPECT_THAT(Tracer::Merge(directory_).status().message(), HasSubstr("rank-0.json")) << text;
  }
}

TEST_F(TraceTest, ADirectoryThatCannotBeMadeIsNamed) {
  std::ofstream(directory_) << "a file";
  Tracer tracer(directory_ + "/below", 0);
  EXPECT_THAT(tracer.Write().message(), AllOf(HasSubstr(directory_), HasSubstr("CYLON_TRACE")));
}

}  // namespace
}  // namespace cylon
