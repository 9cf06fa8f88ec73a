// Which ways a rank offers, and what it says where they do not do.
#include "cylon/comm/paths.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace cylon::internal {
namespace {

using ::testing::HasSubstr;

/// Names of the ways that `transport` gives, or the error.
arrow::Result<std::string> Ways(const std::string& transport) {
  AsioExecutor executor("ways");
  Options options;
  options.transport = transport;
  std::string names;
  ARROW_RETURN_NOT_OK(executor.RunTask([&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(auto paths, MakePaths(executor, options));
    for (const auto& path : paths) {
      names += (names.empty() ? "" : " ") + path->name();
    }
    return arrow::Status::OK();
  }));
  return names;
}

TEST(PathsTest, PutMemoryBeforeTcp) {
  EXPECT_EQ(*Ways(""), "shm tcp");
  EXPECT_EQ(*Ways("auto"), "shm tcp");
  EXPECT_EQ(*Ways("tcp"), "tcp");
  EXPECT_EQ(*Ways("shm"), "shm");
}

TEST(PathsTest, MemoryIsOfOneHost) {
  World world;
  world.rank = 1;
  world.cards = {{"alpha", 1, "shm://a/cylon-0"}, {"alpha", 2, "shm://a/cylon-1"}, {"beta", 3, "shm://b/cylon-2"}};
  Options options;
  options.transport = "shm";
  const auto status = CheckPaths(options, world);
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_THAT(status.message(), HasSubstr("rank 1 is on host alpha and rank 2 on host beta"));
  EXPECT_THAT(status.message(), HasSubstr("set CYLON_TRANSPORT=auto"));
  world.cards.pop_back();
  EXPECT_TRUE(CheckPaths(options, world).ok());
  options.transport = "auto";
  world.cards.push_back({"beta", 3, "shm://b/cylon-2 tcp://10.0.0.1:1"});
  EXPECT_TRUE(CheckPaths(options, world).ok());
}

}  // namespace
}  // namespace cylon::internal
