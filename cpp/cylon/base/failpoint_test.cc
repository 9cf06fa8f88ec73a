// Failpoints do what they are told, as often as they are told, and refuse what they do not understand.
#include "cylon/base/failpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/base/options.h"
#include "cylon/base/resources.h"

namespace cylon {
namespace {

using ::testing::HasSubstr;

#ifdef CYLON_FAILPOINTS

class FailpointTest : public ::testing::Test {
 protected:
  ~FailpointTest() override { EXPECT_TRUE(SetFailpoints("").ok()); }
  static arrow::Status Passed() {
    CYLON_FAILPOINT("spill.write");
    return arrow::Status::OK();
  }
  /// "x" for each of `times` that failed, "." for the others.
  static std::string Pattern(const std::string& text, int times) {
    EXPECT_TRUE(SetFailpoints(text).ok());
    std::string pattern;
    for (int i = 0; i < times; ++i) {
      pattern += Passed().ok() ? '.' : 'x';
    }
    return pattern;
  }
};

TEST_F(FailpointTest, NothingFailsUnlessAsked) {
  EXPECT_TRUE(Passed().ok());
  ASSERT_TRUE(SetFailpoints("spill.read=return").ok());
  EXPECT_TRUE(Passed().ok());
}

TEST_F(FailpointTest, ReturnEndsTheFunctionWithItsMessage) {
  ASSERT_TRUE(SetFailpoints("spill.write=return(No space left)").ok());
  const auto status = Passed();
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_EQ(status.message(), "No space left (failpoint spill.write)");
  ASSERT_TRUE(SetFailpoints("").ok());
  EXPECT_TRUE(Passed().ok());
}

TEST_F(FailpointTest, TimesAreCountedAndDrawn) {
  EXPECT_EQ(Pattern("spill.write=return", 4), "xxxx");
  EXPECT_EQ(Pattern("spill.write=return@3", 5), "..x..");
  EXPECT_EQ(Pattern("spill.write=return@3+", 5), "..xxx");
  EXPECT_EQ(Pattern("spill.write=return%0", 4), "....");
  const auto drawn = Pattern("spill.write=return%50|seed=7", 200);
  EXPECT_EQ(drawn, Pattern("spill.write=return%50|seed=7", 200));
  EXPECT_NE(drawn, Pattern("spill.write=return%50|seed=8", 200));
  EXPECT_THAT(std::count(drawn.begin(), drawn.end(), 'x'), ::testing::AllOf(::testing::Gt(50), ::testing::Lt(150)));
}

TEST_F(FailpointTest, ShortWritesAreSoAndNothingElse) {
  ASSERT_TRUE(SetFailpoints("net.write=short(10)@2").ok());
  EXPECT_TRUE(CYLON_FAILPOINT_STATUS("net.write").ok());
  EXPECT_EQ(CYLON_FAILPOINT_SIZE("net.write", size_t{100}), 100U);
  EXPECT_EQ(CYLON_FAILPOINT_SIZE("net.write", size_t{100}), 10U);
  EXPECT_EQ(CYLON_FAILPOINT_SIZE("net.write", size_t{100}), 100U);
  ASSERT_TRUE(SetFailpoints("net.write=short").ok());
  EXPECT_EQ(CYLON_FAILPOINT_SIZE("net.write", size_t{100}), 1U);
}

TEST_F(FailpointTest, SleepTakesItsTimeAndIsNoError) {
  ASSERT_TRUE(SetFailpoints("spill.write=sleep(20)").ok());
  const auto began = std::chrono::steady_clock::now();
  EXPECT_TRUE(Passed().ok());
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(20));
}

TEST_F(FailpointTest, PanicEndsTheProcess) {
  EXPECT_DEATH(
      {
        static_cast<void>(SetFailpoints("spill.write=panic"));
        static_cast<void>(Passed());
      },
      "");
}

TEST_F(FailpointTest, WhatIsNotUnderstoodIsRefusedAndChangesNothing) {
  ASSERT_TRUE(SetFailpoints("spill.write=return").ok());
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"spill.write", "has no ="},
      {"spill.wirte=return", "a name that no place has"},
      {"spill.write=explode", "unknown action"},
      {"spill.write=return(x", "no ) after its ("},
      {"spill.write=sleep", "no number from 1 up in its ()"},
      {"spill.write=sleep(soon)", "no number from 1 up in its ()"},
      {"spill.write=return@0", "no number from 1 up after its @"},
      {"spill.write=return%101", "no number from 0 to 100"},
      {"seed=x", "no whole number as its seed"}};
  for (const auto& [text, why] : cases) {
    const auto status = SetFailpoints(text);
    EXPECT_TRUE(status.IsInvalid()) << text;
    EXPECT_THAT(status.message(), HasSubstr(why)) << text;
    EXPECT_THAT(status.message(), HasSubstr("expected name=action")) << text;
  }
  EXPECT_FALSE(Passed().ok());
}

TEST_F(FailpointTest, AnOptionArmsThem) {
  Options options;
  options.failpoints = "memory.reserve=return(not a byte)";
  auto resources = Resources::Make(options);
  ASSERT_TRUE(resources.ok()) << resources.status();
  const auto refused = arrow::AllocateBuffer(100, (*resources)->memory()).status();
  EXPECT_TRUE(refused.IsOutOfMemory()) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("not a byte (failpoint memory.reserve)"));
  options.failpoints = "what is this";
  EXPECT_TRUE(Resources::Make(options).status().IsInvalid());
}

#else

TEST(FailpointTest, AReleaseBuildHasNoneAndSaysSo) {
  EXPECT_TRUE(FailpointTable().empty());
  EXPECT_TRUE(SetFailpoints("").ok());
  const auto refused = SetFailpoints("spill.write=return");
  EXPECT_TRUE(refused.IsInvalid()) << refused;
  EXPECT_THAT(refused.message(), HasSubstr("-DCYLON_FAILPOINTS=ON"));
}

#endif

}  // namespace
}  // namespace cylon
