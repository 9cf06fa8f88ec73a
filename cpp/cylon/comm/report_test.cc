// What ranks say that they wait for.
#include "cylon/comm/report.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <future>

#include "cylon/comm/testing/ranks.h"

namespace cylon {
namespace {

using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kPatience = std::chrono::seconds(30);

/// Reports until one holds `pattern`; the last one where that does not come.
std::string ReportWith(const std::string& pattern) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  std::string report;
  do {
    report = StallReport();
  } while (!::testing::Matches(ContainsRegex(pattern))(report) && std::chrono::steady_clock::now() < deadline);
  return report;
}

ThreadWorld InprocWorld(int ranks) {
  ThreadWorld world;
  world.kind = ThreadWorld::Kind::kInproc;
  world.ranks = ranks;
  return world;
}

TEST(StallReportTest, ACollectiveIsNamedWithItsNumberAndWithWhomItWaitsFor) {
  std::string report;
  testing::ExpectAllOk(RunRanks(InprocWorld(3), [&](Context& context) {
    auto& communicator = context.communicator();
    ARROW_RETURN_NOT_OK(communicator.Barrier());
    if (context.rank() == 2) {
      report = ReportWith("rank 0 of 3 waits [^\n]*AllReduce[^\n]*for rank[s 1and]* 2;");
    }
    communicator.SetOperation("Count");
    ARROW_RETURN_NOT_OK(communicator.AllReduce(int64_t{1}, ReduceOp::kSum).status());
    communicator.SetOperation("");
    return arrow::Status::OK();
  }));
  EXPECT_THAT(report,
              ContainsRegex("rank 0 of 3 waits [0-9.]+ s in Count: AllReduce\\(1 x int64, sum\\) "
                            "at report_test.cc:[0-9]+ \\(operation 2\\) for rank[s 1and]* 2; sent [^\n]*, received "));
  EXPECT_THAT(report, ContainsRegex("rank 2 of 3 computes since [0-9.]+ s; last in Barrier\\(\\) at "
                                    "report_test.cc:[0-9]+ \\(operation 1\\); sent "));
}

TEST(StallReportTest, AReceiveNamesTheSender) {
  std::string report;
  testing::ExpectAllOk(RunRanks(InprocWorld(2), [&](Context& context) {
    if (context.rank() == 0) {
      return context.communicator().Receive(1, 7).status();
    }
    report = ReportWith("rank 0 of 2 waits [^\n]*for rank 1");
    return context.communicator().Send(0, arrow::Buffer::FromString("x"), 7);
  }));
  EXPECT_THAT(report, ContainsRegex("rank 0 of 2 waits [0-9.]+ s for rank 1;"));
}

TEST(StallReportTest, WhatIsUnderWayInOtherCommunicatorsIsToldToo) {
  std::string report;
  testing::ExpectAllOk(RunRanks(InprocWorld(3), [&](Context& context) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto part, context.Split(context.rank() == 1 ? 1 : 0, 0));
    arrow::Future<> barrier = arrow::Future<>::MakeFinished();
    if (context.rank() == 2) {
      report = ReportWith("also under way in communicator [0-9]+ .ranks 0 and 2.: Barrier.. .operation 1. for rank 2");
    }
    if (context.rank() != 1) {
      barrier = part->communicator().BarrierAsync();
    }
    ARROW_RETURN_NOT_OK(context.communicator().Barrier());
    return part->communicator().Await(barrier);
  }));
  EXPECT_THAT(report,
              ContainsRegex("rank 0 of 3 waits [^\n]*in Barrier[^\n]*\n[^\n]*in flight|rank 0 of 3 waits [^\n]*in "
                            "Barrier[^\n]*\n  also under way in communicator [0-9]+ \\(ranks 0 and 2\\): "
                            "Barrier\\(\\) \\(operation 1\\) for rank 2"));
}

TEST(StallReportTest, ARankWhoseTasksDoNotRunIsDescribedByItsLastCall) {
  std::promise<void> release;
  const std::shared_future<void> released(release.get_future());
  std::string report;
  testing::ExpectAllOk(RunRanks(InprocWorld(2), [&](Context& context) {
    ARROW_RETURN_NOT_OK(context.communicator().Barrier());
    if (context.rank() == 0) {
      std::promise<void> stuck;
      context.executor().Post([&stuck, released] {
        stuck.set_value();
        released.wait();
      });
      stuck.get_future().wait();
      report = StallReport();
      release.set_value();
    }
    return context.communicator().Barrier();
  }));
  EXPECT_THAT(
      report,
      ContainsRegex("rank 0 of 2 computes since [0-9.]+ s; its last call was Barrier\\(\\) at "
                    "report_test.cc:[0-9]+ \\(operation 1\\)\n  its tasks have not run for 1 s: more is not known\n"));
  EXPECT_THAT(report, ContainsRegex("rank 1 of 2 (waits|computes)"));
}

TEST(StallReportTest, TheWaysToOtherRanksAreTold) {
  auto world = InprocWorld(3);
  world.kind = ThreadWorld::Kind::kTcp;
  std::string report;
  testing::ExpectAllOk(RunRanks(world, [&](Context& context) {
    if (context.rank() == 0) {
      report = ReportWith("rank 0 of 3 [^\n]*\n  connected to ");
    }
    return context.communicator().Barrier();
  }));
  EXPECT_THAT(report, HasSubstr("\n  connected to ranks 1 and 2 by tcp\n"));
}

TEST(StallReportTest, RanksAreInReportsWhileTheirContextsLive) {
  testing::ExpectAllOk(RunRanks(InprocWorld(2), [&](Context& context) { return context.communicator().Barrier(); }));
  EXPECT_THAT(StallReport(), AllOf(HasSubstr("is connected"), Not(HasSubstr("rank 0"))));
}

/// What comes out of stderr while this lives.
class StderrPipe {
 public:
  StderrPipe() : before_(::dup(STDERR_FILENO)) {
    (void)!::pipe2(ends_, O_CLOEXEC);
    ::dup2(ends_[1], STDERR_FILENO);
  }
  ~StderrPipe() {
    ::dup2(before_, STDERR_FILENO);
    for (const int fd : {before_, ends_[0], ends_[1]}) {
      ::close(fd);
    }
  }
  StderrPipe(const StderrPipe&) = delete;
  StderrPipe& operator=(const StderrPipe&) = delete;

  /// Until a line ends; what came until the deadline, else.
  std::string Line() {
    std::string text;
    pollfd ready{ends_[0], POLLIN, 0};
    while (!text.ends_with('\n') && ::poll(&ready, 1, std::chrono::milliseconds(kPatience).count()) > 0) {
      char bytes[1000];
      text.append(bytes, static_cast<size_t>(std::max<ssize_t>(::read(ends_[0], bytes, sizeof(bytes)), 0)));
    }
    return text;
  }

 private:
  int before_;
  int ends_[2] = {-1, -1};
};

TEST(StallReportTest, TheSignalMakesTheProcessSpeakUnlessItsProgramHasAHandler) {
  ::signal(SIGUSR1, SIG_IGN);
  EXPECT_FALSE(InstallStallReports().ValueOrDie());
  ::signal(SIGUSR1, [](int) {});
  EXPECT_FALSE(InstallStallReports().ValueOrDie());
  ::signal(SIGUSR1, SIG_DFL);
  EXPECT_TRUE(InstallStallReports().ValueOrDie());
  EXPECT_TRUE(InstallStallReports().ValueOrDie());
  StderrPipe err;
  for (int round = 0; round < 3; ++round) {
    ::kill(::getpid(), SIGUSR1);
    EXPECT_EQ(err.Line(), "no rank of process " + std::to_string(::getpid()) +
                              " is connected: it waits for the others to join, or has left\n");
  }
}

}  // namespace
}  // namespace cylon
