// Deadlines: on progress and on the whole, in every kind of world.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>

#include "cylon/comm/context.h"
#include "cylon/comm/runtime.h"
#include "cylon/comm/testing/ranks.h"

namespace cylon {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using testing::BufferOf;
using testing::EachWorld;
using ::testing::HasSubstr;
using Kind = ThreadWorld::Kind;

/// A rank that is busy with something else until it hears that the others have given up.
arrow::Status BusyUntilRevoked(Context& context) {
  return context.executor().Wait(context.communicator().Revoked(), context.executor().Now() + 60s);
}

arrow::Status Tick(Executor& executor, Duration time) {
  auto done = arrow::Future<>::Make();
  executor.PostAt(executor.Now() + time, [done]() mutable { done.MarkFinished(); });
  return executor.Wait(done);
}

class DeadlineTest : public ::testing::TestWithParam<testing::WorldParameter> {
 protected:
  std::vector<arrow::Status> Run(const std::function<void(Options*)>& set,
                                 const std::function<arrow::Status(Context&)>& body) {
    auto world = testing::MakeThreadWorld(GetParam());
    set(&world.options);
    return RunRanks(world, body);
  }
};

INSTANTIATE_TEST_SUITE_P(Worlds, DeadlineTest, ::testing::ValuesIn(EachWorld({2, 3})), testing::WorldName);

TEST_P(DeadlineTest, AWaitInWhichNothingMovesEndsWithTheSameErrorEverywhere) {
  const auto statuses = Run([](Options* options) { options->progress_deadline_s = 0.5; },
                            [](Context& context) {
                              if (context.rank() == 1) {
                                ARROW_RETURN_NOT_OK(BusyUntilRevoked(context));
                              }
                              return context.communicator().Barrier();
                            });
  for (const auto& status : statuses) {
    EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
    EXPECT_EQ(status.message(), statuses[0].message());
  }
  EXPECT_THAT(statuses[0].message(), AllOf(HasSubstr("has waited "), HasSubstr("in Barrier() at deadline_test.cc:"),
                                           HasSubstr("(operation 1) for rank 1, and nothing has moved there"),
                                           HasSubstr("expected progress within 0.5 s (progress_deadline_s)"),
                                           HasSubstr("look at what that rank"), HasSubstr("CYLON_PROGRESS_DEADLINE")));
}

TEST_P(DeadlineTest, AWaitForAMessageNamesItsSender) {
  const auto statuses = Run([](Options* options) { options->progress_deadline_s = 0.1; },
                            [](Context& context) {
                              if (context.rank() != 0) {
                                ARROW_RETURN_NOT_OK(BusyUntilRevoked(context));
                                return context.communicator().Check();
                              }
                              return context.communicator().Receive(context.world_size() - 1, 4).status();
                            });
  for (const auto& status : statuses) {
    EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
    EXPECT_THAT(status.message(), HasSubstr("for rank " + std::to_string(GetParam().ranks - 1) + ", and nothing"));
  }
}

TEST_P(DeadlineTest, WhoComputesMayTakeAsLongAsItWants) {
  // Longer than the limit, but not in one wait of the communicator.
  const auto statuses = Run([](Options* options) { options->progress_deadline_s = 0.5; },
                            [](Context& context) -> arrow::Status {
                              ARROW_RETURN_NOT_OK(context.communicator().Barrier());
                              ARROW_RETURN_NOT_OK(Tick(context.executor(), 800ms));
                              return context.communicator().Check();
                            });
  testing::ExpectAllOk(statuses);
}

TEST_P(DeadlineTest, TheWholeStandsWhateverHappens) {
  const auto begin = std::chrono::steady_clock::now();
  const auto statuses = Run([](Options* options) { options->deadline_s = 0.5; },
                            [](Context& context) -> arrow::Status {
                              auto& comm = context.communicator();
                              ARROW_ASSIGN_OR_RAISE(auto part, comm.Split(0, 0));
                              const auto joined = context.executor().Now();
                              if (comm.rank() == 1) {
                                ARROW_RETURN_NOT_OK(BusyUntilRevoked(context));
                                // That may be another's word; all communicators end when this rank's own time is over.
                                ARROW_RETURN_NOT_OK(Tick(context.executor(), 500ms));
                                if (!IsError(part->Barrier(), ErrorKind::kDeadline)) {
                                  return arrow::Status::UnknownError("a part went on");
                                }
                                return comm.Barrier();  // the next call of one that was in no wait
                              }
                              arrow::Status status;
                              while (status.ok()) {  // something always moves
                                status = comm.Send(comm.rank(), BufferOf<int64_t>({1}), 1);
                                status &= comm.Receive(comm.rank(), 1).status();
                                status &= Tick(context.executor(), 1ms);  // a simulated clock stands while it can
                              }
                              const auto took = context.executor().Now() - joined;
                              return took < 30s ? status : arrow::Status::UnknownError("took too long");
                            });
  for (const auto& status : statuses) {
    EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("the job did not end within the 0.5 s that it was given as a whole"),
                                        HasSubstr("(deadline_s)"), HasSubstr("raise CYLON_DEADLINE")));
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
}

TEST_P(DeadlineTest, AWaitEndsWithTheWholeAndSaysWhereItWas) {
  std::atomic<bool> waits{false};  // on a machine that is busy the time may be over before
  const auto statuses = Run([](Options* options) { options->deadline_s = 0.5; },
                            [&](Context& context) -> arrow::Status {
                              if (context.rank() == 1) {
                                ARROW_RETURN_NOT_OK(BusyUntilRevoked(context));
                                return context.communicator().Check();
                              }
                              auto status = context.communicator().Barrier();
                              waits = waits || context.rank() == 0;
                              if (GetParam().kind == Kind::kSim && context.executor().Now() != TimePoint(500ms)) {
                                return arrow::Status::UnknownError("not at the deadline");
                              }
                              return status;
                            });
  EXPECT_TRUE(IsError(statuses[0], ErrorKind::kDeadline)) << statuses[0];
  EXPECT_TRUE(IsError(statuses[1], ErrorKind::kDeadline)) << statuses[1];
  if (waits || GetParam().kind == Kind::kSim) {
    EXPECT_THAT(statuses[0].message(), HasSubstr("; this rank was in Barrier() at deadline_test.cc:"));
  }
}

TEST_P(DeadlineTest, AProcessWhoseTimeIsUpLeavesBeforeAndSaysSo) {
  const auto statuses = Run([](Options* options) { options->time_left_s = 0.4; },
                            [](Context& context) -> arrow::Status {
                              if (context.rank() == 1) {
                                ARROW_RETURN_NOT_OK(BusyUntilRevoked(context));
                              }
                              return context.communicator().Barrier();
                            });
  int left = 0;
  for (const auto& status : statuses) {
    // All have as much time. Whose clock comes a little later hears of another who left.
    const auto detail = GetErrorDetail(status);
    ASSERT_NE(detail, nullptr) << status;
    if (detail->kind == ErrorKind::kDeadline) {
      ++left;
      EXPECT_THAT(status.message(), AllOf(HasSubstr("this rank left, as its process had 0.4 s left when it joined"),
                                          HasSubstr("(time_left_s)"), HasSubstr("the others were told")));
    } else {
      EXPECT_EQ(detail->kind, ErrorKind::kRankFailed) << status;
      EXPECT_EQ(detail->cause, "its time was up: its process had 0.4 s left when it joined");
    }
  }
  EXPECT_GE(left, 1);
}

TEST(JobEndTest, IsWhatComesFirst) {
  const TimePoint now(1h);
  Options options;
  EXPECT_EQ(internal::EndOf(options, now).at, kNever);
  options.time_left_s = 900;
  EXPECT_EQ(internal::EndOf(options, now).at, now + 898s);
  EXPECT_TRUE(internal::EndOf(options, now).alone);
  options.deadline_s = 899;
  EXPECT_TRUE(internal::EndOf(options, now).alone);
  options.deadline_s = 100;
  EXPECT_EQ(internal::EndOf(options, now).at, now + 100s);
  EXPECT_FALSE(internal::EndOf(options, now).alone);
  options.time_left_s = 3;  // half of little
  EXPECT_EQ(internal::EndOf(options, now).at, now + 1500ms);
}

/// Rank 0 waits for one message while others come, `between` them this much of virtual time.
std::vector<arrow::Status> Trickle(Duration between, int messages) {
  auto world = testing::MakeThreadWorld({Kind::kSim, 2});
  world.options.progress_deadline_s = 0.1;
  return RunRanks(world, [&](Context& context) -> arrow::Status {
    auto& comm = context.communicator();
    if (comm.rank() == 0) {
      return comm.Receive(1, 9).status();
    }
    for (int i = 0; i < messages; ++i) {
      ARROW_RETURN_NOT_OK(Tick(context.executor(), between));
      ARROW_RETURN_NOT_OK(comm.Check());
      (void)comm.SendAsync(0, BufferOf<int64_t>({i}), i);
    }
    ARROW_RETURN_NOT_OK(Tick(context.executor(), between));
    return comm.Send(0, BufferOf<int64_t>({0}), 9);
  });
}

TEST(ProgressTest, BytesThatComeExtendTheTimeAndNothingElseDoes) {
  testing::ExpectAllOk(Trickle(80ms, 5));
  for (const auto& status : Trickle(200ms, 5)) {
    EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  }
}

TEST(LocalDeadlineTest, ARankOfOneKeepsTheWholeToo) {
  Options options;
  options.deadline_s = 0.05;
  auto context = *Context::Local(options);
  EXPECT_TRUE(context->communicator().Barrier().ok());
  ASSERT_TRUE(BusyUntilRevoked(*context).ok());
  EXPECT_TRUE(IsError(context->communicator().Barrier(), ErrorKind::kDeadline));
  EXPECT_TRUE(IsError(context->communicator().Check(), ErrorKind::kDeadline));
}

}  // namespace
}  // namespace cylon
