// A rank that waits for long says for whom, and what those do.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/base_sink.h>

#include <atomic>
#include <functional>
#include <future>
#include <mutex>
#include <thread>

#include "cylon/comm/context.h"
#include "cylon/comm/testing/ranks.h"

namespace cylon {
namespace {

using namespace std::chrono_literals;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

/// Hands each line on.
class LineSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  explicit LineSink(std::function<void(const std::string&)> then) : then_(std::move(then)) {}

 protected:
  void sink_it_(const spdlog::details::log_msg& message) override {
    then_(std::string(message.payload.data(), message.payload.size()));
  }
  void flush_() override {}

 private:
  std::function<void(const std::string&)> then_;
};

TEST(SlowRankTest, AWaitIsLoggedOnceAndAgainWhenItHasDoubledWithWhatTheAwaitedRankDoes) {
  ThreadWorld world;
  world.kind = ThreadWorld::Kind::kTcp;
  world.ranks = 2;
  world.options.slow_warning_s = 0.3;
  std::mutex mutex;
  std::vector<std::string> lines;
  std::promise<void> twice;
  const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    auto& comm = context.communicator();
    if (context.rank() == 0) {
      context.resources()->log().sinks().push_back(std::make_shared<LineSink>([&](const std::string& line) {
        std::lock_guard<std::mutex> lock(mutex);
        lines.push_back(line);
        if (lines.size() == 2) {
          twice.set_value();
        }
      }));
    }
    ARROW_RETURN_NOT_OK(comm.Barrier());
    if (context.rank() == 1 && twice.get_future().wait_for(60s) != std::future_status::ready) {
      return arrow::Status::UnknownError("nobody warned of this rank");
    }
    ARROW_RETURN_NOT_OK(comm.AllReduce(int64_t{1}, ReduceOp::kSum).status());
    return arrow::Status::OK();
  });
  testing::ExpectAllOk(statuses);
  std::lock_guard<std::mutex> lock(mutex);
  ASSERT_GE(lines.size(), 2U);
  for (const auto& line : lines) {
    EXPECT_THAT(line, AllOf(ContainsRegex("this rank waits for [0-9.]+ s in AllReduce.*operation 2"),
                            ContainsRegex("; rank 1 on [^ ]+ lives, computes since [0-9.]+ s, was last in Barrier"),
                            HasSubstr("(operation 1)"), HasSubstr("has sent ")));
  }
}

TEST(SlowRankTest, NobodyWarnsWhereTheOptionSaysNever) {
  ThreadWorld world;
  world.kind = ThreadWorld::Kind::kTcp;
  world.ranks = 2;
  world.options.slow_warning_s = 0;
  std::atomic<int> lines{0};
  const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    context.resources()->log().sinks().push_back(std::make_shared<LineSink>([&](const std::string&) { ++lines; }));
    ARROW_RETURN_NOT_OK(context.communicator().Barrier());
    if (context.rank() == 1) {
      std::this_thread::sleep_for(
          1200ms);  // two beats: a wait that would be warned of with any other setting of this test
    }
    return context.communicator().Barrier();
  });
  testing::ExpectAllOk(statuses);
  EXPECT_EQ(lines.load(), 0);
}

}  // namespace
}  // namespace cylon
