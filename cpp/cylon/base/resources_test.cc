// What a rank is given: values that are chosen, values that are refused, its log and its arena.
#include "cylon/base/resources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <mutex>
#include <set>
#include <thread>

namespace cylon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string Failure(Options options) { return Resources::Make(std::move(options)).status().message(); }

TEST(ResourcesTest, ChoosesWhatIsLeftOpenAndDividesTheHost) {
  auto alone = *Resources::Make(Options{});
  EXPECT_GE(alone->options().threads, 1);
  EXPECT_GT(alone->options().memory_bytes, 0);
  EXPECT_LT(alone->memory()->limit(), alone->options().memory_bytes);
  EXPECT_GT(alone->memory()->limit(), alone->options().memory_bytes / 2);
  EXPECT_EQ(alone->arena().threads(), alone->options().threads);
  EXPECT_EQ(alone->options().spill_directory, "/tmp");
  Options options;
  options.local_size = 1000;
  auto one_of_many = *Resources::Make(options);
  EXPECT_EQ(one_of_many->options().threads, 1);
  EXPECT_LT(one_of_many->memory()->limit(), alone->memory()->limit() / 500);
}

TEST(ResourcesTest, RefusesValuesThatCannotBeAndNamesTheirVariable) {
  Options options;
  options.threads = -2;
  EXPECT_THAT(Failure(options), AllOf(HasSubstr("threads"), HasSubstr("-2"), HasSubstr("CYLON_THREADS")));
  options = {};
  options.chunk_bytes = 0;
  EXPECT_THAT(Failure(options), HasSubstr("CYLON_CHUNK_BYTES"));
  options = {};
  options.join_deadline_s = 0;
  EXPECT_THAT(Failure(options), HasSubstr("CYLON_JOIN_DEADLINE"));
  options = {};
  options.local_size = 0;
  EXPECT_THAT(Failure(options), HasSubstr("CYLON_LOCAL_SIZE"));
  options = {};
  options.log_level = "loud";
  EXPECT_THAT(Failure(options), AllOf(HasSubstr("'loud'"), HasSubstr("CYLON_LOG_LEVEL")));
}

TEST(ResourcesTest, TheSpillDirectoryHasToBeThere) {
  Options options;
  options.spill_directory = "/no/such/directory";
  EXPECT_THAT(Failure(options), AllOf(HasSubstr("/no/such/directory"), HasSubstr("CYLON_SPILL_DIR")));
  options.spill_directory = "/dev/null";
  EXPECT_THAT(Failure(options), HasSubstr("no directory"));
}

TEST(LogTest, LinesBeginWithLevelAndRankAndStayBelowTheLevelSilent) {
  auto logger = *MakeLogger(7, "info");
  testing::internal::CaptureStderr();
  logger->info("seen {}", 1);
  logger->debug("hidden");
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_THAT(text, testing::StartsWith("info [rank 7]"));
  EXPECT_THAT(text, AllOf(HasSubstr("seen 1"), testing::Not(HasSubstr("hidden"))));
}

TEST(ArenaTest, RunsEveryIndexOnceOnAtMostItsThreads) {
  for (int threads : {1, 4}) {
    Arena arena(threads);
    std::vector<std::atomic<int>> runs(1000);
    std::mutex mutex;
    std::set<std::thread::id> seen;
    auto status = arena.ParallelFor(1000, [&](int64_t i) {
      runs[static_cast<size_t>(i)].fetch_add(1);
      std::lock_guard<std::mutex> lock(mutex);
      seen.insert(std::this_thread::get_id());
      return arrow::Status::OK();
    });
    EXPECT_TRUE(status.ok());
    EXPECT_LE(seen.size(), static_cast<size_t>(threads));
    EXPECT_TRUE(std::ranges::all_of(runs, [](const auto& count) { return count == 1; }));
  }
}

TEST(ArenaTest, AFailureEndsTheLoopAndIsReturned) {
  for (int threads : {1, 4}) {
    Arena arena(threads);
    auto status = arena.ParallelFor(
        100, [&](int64_t i) { return i == 5 ? arrow::Status::Invalid("index ", i) : arrow::Status::OK(); });
    EXPECT_EQ(status.message(), "index 5");
  }
}

}  // namespace
}  // namespace cylon
