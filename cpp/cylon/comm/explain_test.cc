// Tests of what is counted and told of calls and channels.
#include "cylon/comm/explain.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace cylon::internal {
namespace {

using std::chrono::milliseconds;
using Json = nlohmann::json;

TEST(CallTallyTest, CountsByKindAndForetellsByTheRates) {
  CallTally tally;
  EXPECT_TRUE(tally.Rows().empty());
  tally.AddCall(CallKind::kBarrier, 8, 0, milliseconds(5));  // nothing is foretold yet
  tally.SetRates({0.001, 1e6}, {0.01, 1e7});
  tally.AddCall(CallKind::kAllReduce, 8, 1000, milliseconds(6));
  tally.AddCall(CallKind::kAllReduce, 8, 3000, milliseconds(8));
  tally.AddExchange(8, 1000000, milliseconds(300));
  const auto rows = tally.Rows();
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].name, kExchangeName);
  EXPECT_EQ(rows[0].bytes, 1000000);
  // 10 ms and 100 ms, and two agreements of three rounds.
  EXPECT_DOUBLE_EQ(rows[0].predicted_seconds, 0.116);
  EXPECT_EQ(rows[1].name, "Barrier");
  EXPECT_EQ(rows[1].predicted_seconds, 0);
  EXPECT_EQ(rows[2].name, "AllReduce");
  EXPECT_EQ(rows[2].calls, 2);
  EXPECT_EQ(rows[2].bytes, 4000);
  EXPECT_DOUBLE_EQ(rows[2].seconds, 0.014);
  EXPECT_DOUBLE_EQ(rows[2].predicted_seconds, 2 * 0.003 + 3 * 0.004);
}

TEST(CallTallyTest, LargeCallsAreForetoldAsTables) {
  CallTally tally;
  tally.SetRates({0.001, 1e6}, {0.01, 1e8}, 65536);
  tally.AddCall(CallKind::kGather, 2, 65535, milliseconds(1));
  tally.AddCall(CallKind::kGather, 2, 1000000, milliseconds(1));
  const auto rows = tally.Rows();
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].large_calls, 1);
  EXPECT_EQ(rows[0].large_bytes, 1000000);
  EXPECT_DOUBLE_EQ(rows[0].predicted_seconds, 0.001 + 0.065535 + 0.02);
}

TEST(CallTallyTest, ShapesFollowTheAlgorithms) {
  EXPECT_EQ(ShapeOf(CallKind::kBarrier, 5, 0).rounds, 3);
  EXPECT_EQ(ShapeOf(CallKind::kBroadcast, 4, 100).bytes, 200);
  EXPECT_EQ(ShapeOf(CallKind::kAllGather, 9, 900).rounds, 4);
  EXPECT_EQ(ShapeOf(CallKind::kAllGather, 9, 900).bytes, 900);
  EXPECT_EQ(ShapeOf(CallKind::kAllToAll, 9, 900).rounds, 1);
}

TEST(ExplainTest, AddsUpWhatChannelsAndRanksCost) {
  Options options;
  options.world_size = 2;
  options.rank = 1;
  options.transport = "tcp,redis";
  options.policy = "cheapest";
  options.memory_bytes = 2LL << 30;
  std::vector<ChannelUse> uses = {{"tcp", {0, 1e-9, 0}, {0.001, 1e8}, {1, 0}, {10, 0}, {2000, 0}},
                                  {"redis", {1e-6, 0, 1e-5}, {-1, 0}, {0, 1}, {0, 4}, {0, 5000}, 65536}};
  const auto text = ExplainAsJson(options, std::chrono::seconds(10), uses,
                                  {{"AllReduce", 4, 2000, 0.5, 0.25}, {kExchangeName, 1, 5000, 1, 2}});
  ASSERT_TRUE(text.ok()) << text.status();
  const auto json = Json::parse(*text);
  EXPECT_EQ(json["policy"], "cheapest");
  EXPECT_EQ(json["rank"], 1);
  const double rank_second = json["prices"]["rank_usd_per_second"];
  EXPECT_NEAR(rank_second, 2 * 0.0000166667, 1e-9);
  EXPECT_DOUBLE_EQ(json["usd"]["rank"], 10 * rank_second);
  EXPECT_DOUBLE_EQ(json["usd"]["channels"], 2e-6 + 4e-6 + 10 * 1e-5 / 2);
  EXPECT_EQ(json["channels"][0]["calls"]["messages"], 10);
  EXPECT_TRUE(json["channels"][1]["latency_s"].is_null());
  EXPECT_TRUE(json["channels"][0]["large_from"].is_null());
  EXPECT_EQ(json["channels"][1]["large_from"], 65536);
  EXPECT_DOUBLE_EQ(json["operations"][0]["usd"], 0.5 * rank_second + 2e-6);
  EXPECT_DOUBLE_EQ(json["operations"][0]["predicted_usd"], 0.25 * rank_second + 2e-6);
  EXPECT_DOUBLE_EQ(json["operations"][1]["usd"], rank_second + 1e-6);
  // What was not measured is not foretold.
  EXPECT_TRUE(json["operations"][1]["predicted_seconds"].is_null());
  const auto alone = Json::parse(*ExplainAsJson(options, std::chrono::seconds(1), {}, {{"Barrier", 1, 0, 0.1, 0}}));
  EXPECT_TRUE(alone["operations"][0]["predicted_seconds"].is_null());
}

}  // namespace
}  // namespace cylon::internal
