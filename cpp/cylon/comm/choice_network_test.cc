// Tests of which transports may be named, and together.
#include "cylon/comm/choice_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cylon::internal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

arrow::Result<std::vector<std::string>> Named(const std::string& transport) {
  Options options;
  options.transport = transport;
  return TransportsOf(options);
}

TEST(TransportsTest, AreOneOrSeveral) {
  EXPECT_THAT(*Named(""), ElementsAre("auto"));
  EXPECT_THAT(*Named("shm"), ElementsAre("shm"));
  EXPECT_THAT(*Named("punch,redis,object"), ElementsAre("punch", "redis", "object"));
}

TEST(TransportsTest, ThatThereAreNotAreRefused) {
  for (const char* wrong : {"pigeon", "tcp,pigeon", "tcp,", ",", " tcp", "TCP"}) {
    const auto status = Named(wrong).status();
    EXPECT_TRUE(status.IsInvalid()) << wrong;
    EXPECT_THAT(status.message(), HasSubstr("transport is '" + std::string(wrong) + "'"));
    EXPECT_THAT(status.message(), HasSubstr("'auto', 'tcp', 'shm', 'punch', 'redis' or 'object'"));
  }
}

TEST(TransportsTest, ThatDoTheSameAreNotNamedTogether) {
  for (const char* wrong : {"tcp,shm", "redis,redis", "punch,redis,auto"}) {
    const auto status = Named(wrong).status();
    EXPECT_TRUE(status.IsInvalid()) << wrong;
    EXPECT_THAT(status.message(), HasSubstr("at most one of auto, tcp, shm and punch"));
  }
}

TEST(TransportsTest, EachHasToHaveWhatItNeeds) {
  Options options;
  options.transport = "tcp,redis";
  options.store = "file:///tmp";
  EXPECT_THAT(CheckTransports(options).message(), HasSubstr("CYLON_REDIS"));
  options.transport = "tcp,object";
  EXPECT_THAT(CheckTransports(options).message(), HasSubstr("CYLON_OBJECT_STORE"));
  options.transport = "punch";
  EXPECT_THAT(CheckTransports(options).message(), HasSubstr("CYLON_RENDEZVOUS"));
  options.transport = "tcp";
  EXPECT_TRUE(CheckTransports(options).ok());
  options.policy = "quick";
  EXPECT_THAT(CheckTransports(options).message(), HasSubstr("CYLON_POLICY"));
}

TEST(TransportsTest, ARankPaysForItsMemory) {
  Options options;
  options.memory_bytes = 3LL << 30;
  Prices prices;
  prices.rank_per_gib_second = 2;
  EXPECT_DOUBLE_EQ(RankPerSecond(options, prices), 6);
}

}  // namespace
}  // namespace cylon::internal
