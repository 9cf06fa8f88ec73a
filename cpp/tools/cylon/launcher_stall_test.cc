// When a job counts as stalled.
#include "launcher_stall.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace cylon::tools {
namespace {

using namespace std::chrono_literals;
using Times = std::map<pid_t, double>;

class StallWatchTest : public ::testing::Test {
 protected:
  bool At(std::chrono::milliseconds time, const Times& times) {
    return watch_.Judge(times, StallWatch::Clock::time_point(time));
  }
  StallWatch watch_{10s};
};

TEST_F(StallWatchTest, AJobThatDoesNothingIsToldOnceAndAgainWhenThatHasDoubled) {
  const Times none{{7, 1.5}, {8, 0.1}};
  std::vector<int> told;
  for (int second = 0; second <= 45; ++second) {
    if (At(std::chrono::seconds(second), none)) {
      told.push_back(second);
      watch_.OnOutput(StallWatch::Clock::time_point(std::chrono::seconds(second + 1)));  // the answers
    }
  }
  EXPECT_EQ(told, (std::vector<int>{10, 20, 40}));
}

TEST_F(StallWatchTest, OneRankThatWorksOrWritesIsNoStall) {
  for (int second = 0; second <= 40; ++second) {
    EXPECT_FALSE(At(std::chrono::seconds(second), {{7, 1.5}, {8, 0.1 * second}}));
  }
  for (int second = 41; second <= 80; ++second) {
    watch_.OnOutput(StallWatch::Clock::time_point(std::chrono::seconds(second)));
    EXPECT_FALSE(At(std::chrono::seconds(second), {{7, 1.5}, {8, 4.0}}));
  }
  for (int second = 81; second < 90; ++second) {
    EXPECT_FALSE(At(std::chrono::seconds(second), {{7, 1.5}, {8, 4.0}}));
  }
  EXPECT_TRUE(At(91s, {{7, 1.5}, {8, 4.0}}));
}

TEST_F(StallWatchTest, HeartbeatsAreNoWork) {
  for (int second = 0; second < 10; ++second) {
    EXPECT_FALSE(At(std::chrono::seconds(second), {{7, 1.5 + 0.005 * second}, {8, 0.1 + 0.005 * second}}));
  }
  EXPECT_TRUE(At(10s, {{7, 1.55}, {8, 0.15}}));
}

TEST_F(StallWatchTest, ARankThatEndsIsNoWorkAndOneThatBeginsIs) {
  EXPECT_FALSE(At(0s, {{7, 1.5}, {8, 0.1}}));
  EXPECT_TRUE(At(10s, {{7, 1.5}}));
  EXPECT_FALSE(At(20s, {{7, 1.5}, {9, 0.0}}));
  EXPECT_FALSE(At(29s, {{7, 1.5}, {9, 0.0}}));
  EXPECT_TRUE(At(30s, {{7, 1.5}, {9, 0.0}}));
}

TEST(AskForReportsTest, WhoCatchesTheSignalGetsItAndNobodyIsKilled) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  // A program of its own: under tsan, the child of a process with several threads gets no signals.
  const auto start = [&](const char* script) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::setpgid(0, 0);
      ::dup2(ready[1], STDOUT_FILENO);
      ::execl("/bin/sh", "sh", "-c", script, nullptr);
      ::_exit(127);
    }
    return pid;
  };
  const pid_t catching = start("trap 'exit 42' USR1; printf x; while :; do sleep 0.01; done");
  const pid_t plain = start("printf x; exec sleep 600");
  char word[2];
  ASSERT_EQ(::read(ready[0], word, 1), 1);
  ASSERT_EQ(::read(ready[0], word, 1), 1);
  EXPECT_EQ(AskForReports({catching, plain}), std::vector<pid_t>{plain});
  int status = 0;
  ASSERT_EQ(::waitpid(catching, &status, 0), catching);
  EXPECT_EQ(WEXITSTATUS(status), 42);
  EXPECT_EQ(::waitpid(plain, &status, WNOHANG), 0);
  ::kill(plain, SIGKILL);
  ::waitpid(plain, &status, 0);
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace cylon::tools
