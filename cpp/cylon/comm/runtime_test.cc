// A rank whose links never stand.
#include "cylon/comm/runtime.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/base/error.h"
#include "cylon/net/inproc/inproc.h"

namespace cylon::internal {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

/// Rank 0 of two, the other of which never comes. `left`: of the job's time.
arrow::Status StartAlone(Duration left, Duration patience) {
  Options options;
  options.world_size = 2;
  options.memory_bytes = 64 << 20;
  options.threads = 1;
  options.deadline_s = left == Duration::max() ? 0 : std::chrono::duration<double>(left).count();
  InprocHub hub(2);
  AsioExecutor other("absent");
  const auto absent = hub.MakeTransport(1, other);  // not started; what was sent to it goes with it
  Parts parts;
  parts.resources = Resources::Make(options).ValueOrDie();
  parts.own_executor = std::make_shared<AsioExecutor>("alone");
  parts.executor = parts.own_executor.get();
  parts.world = LocalWorld();
  parts.world.cards.push_back(parts.world.cards.front());
  parts.transport = hub.MakeTransport(0, *parts.executor);
  const TimePoint now = parts.executor->Now();
  parts.end.at = left == Duration::max() ? kNever : now + left;
  Runtime runtime(std::move(parts));
  return runtime.Start(std::min(now + patience, left == Duration::max() ? kNever : now + left));
}

TEST(RuntimeTest, ARankThatHearsNothingSaysThatItHasNoConnection) {
  const auto status = StartAlone(Duration::max(), 20ms);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("rank 0 has no connection to all of the 2 ranks"));
  EXPECT_THAT(status.message(), HasSubstr("raise CYLON_CONNECT_DEADLINE"));
}

TEST(RuntimeTest, WhereTheJobsTimeIsOverThatIsSaid) {
  const auto status = StartAlone(20ms, 10s);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("the job did not end within the 0.02 s that it was given as a whole"));
}

}  // namespace
}  // namespace cylon::internal
