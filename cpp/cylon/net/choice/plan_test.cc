// Tests of the model and of what is decided by it.
#include "cylon/net/choice/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

#include "cylon/base/error.h"

namespace cylon {
namespace {

using ::testing::HasSubstr;

TEST(PolicyTest, IsFastestCheapestOrAWeight) {
  EXPECT_EQ(Policy::Parse("")->money, 0);
  EXPECT_EQ(Policy::Parse("fastest")->money, 0);
  EXPECT_EQ(Policy::Parse("cheapest")->money, 1);
  EXPECT_EQ(Policy::Parse("0.25")->money, 0.25);
  for (const char* wrong : {"quick", "-0.1", "1.5", "nan", "0.5x", " 1"}) {
    const auto status = Policy::Parse(wrong).status();
    EXPECT_TRUE(status.IsInvalid()) << wrong;
    EXPECT_THAT(status.message(), HasSubstr("CYLON_POLICY")) << wrong;
  }
}

TEST(PolicyTest, CostsAreInSecondsAndDollars) {
  // A megabyte at 10 MB/s after 1 ms, two ranks at a cent a second, a server at 4 cents a second shared by two pairs.
  const auto cost = CostOfMessage({0.001, 1e7}, {0.5, 1e-6, 0.04}, 0.01, 4, 1e6);
  EXPECT_DOUBLE_EQ(cost.seconds, 0.101);
  EXPECT_DOUBLE_EQ(cost.usd, 0.5 + 1 + 0.101 * (0.02 + 0.02));
}

TEST(PolicyTest, TheWeightTurnsTheChoice) {
  const std::vector<Cost> costs = {{1, 4}, {2, 3}, {8, 1}};
  EXPECT_EQ(BestOf(Policy{0}, costs), 0);
  EXPECT_EQ(BestOf(Policy{0.6}, costs), 1);  // 0.4 + 2.4, 0.8 + 1.8, 3.2 + 0.6
  EXPECT_EQ(BestOf(Policy{1}, costs), 2);
  EXPECT_EQ(BestOf(Policy{0.5}, {}), -1);
  const std::vector<Cost> free = {{1, 0}, {1, 0}};
  EXPECT_EQ(BestOf(Policy{1}, free), 0);  // the first of equals
}

TEST(PricesTest, ThoseBuiltInAreDatedAndComplete) {
  const auto prices = ReadPrices("");
  ASSERT_TRUE(prices.ok()) << prices.status();
  EXPECT_FALSE(prices->as_of.empty());
  EXPECT_GT(prices->rank_per_gib_second, 0);
  EXPECT_GT(prices->Of("object").per_message, prices->Of("redis").per_message);
  EXPECT_GT(prices->Of("redis").per_second, 0);
  // Whatever connects ranks with each other is direct.
  EXPECT_DOUBLE_EQ(prices->Of("punch").per_byte, 0.02 / 1e9);
  EXPECT_DOUBLE_EQ(prices->Of("tcp").per_byte, prices->Of("punch").per_byte);
  EXPECT_GT(prices->Of("relay").per_byte, prices->Of("punch").per_byte);
}

TEST(PricesTest, AFileIsReadOrRefusedByItsPath) {
  const auto path = std::filesystem::temp_directory_path() / ("prices-" + std::to_string(::getpid()) + ".json");
  const auto read = [&](const std::string& text) {
    std::ofstream(path) << text;
    return ReadPrices(path.string());
  };
  const std::string own = R"({"as_of": "2030-01", "region": "here", "rank": {"usd_per_gib_second": 1},
                             "channels": {"redis": {"usd_per_million_messages": 2e6, "usd_per_gb": 3e9,
                                                    "usd_per_hour": 7200}}})";
  const auto prices = read(own);
  ASSERT_TRUE(prices.ok()) << prices.status();
  EXPECT_EQ(prices->as_of, "2030-01");
  EXPECT_DOUBLE_EQ(prices->Of("redis").per_message, 2);
  EXPECT_DOUBLE_EQ(prices->Of("redis").per_byte, 3);
  EXPECT_DOUBLE_EQ(prices->Of("redis").per_second, 2);
  EXPECT_EQ(prices->Of("tcp").per_byte, 0);
  for (const auto& [wrong, what] : std::vector<std::pair<std::string, std::string>>{
           {"", "no JSON object"},
           {"[1]", "no JSON object"},
           {R"({"region": "x"})", "as_of"},
           {R"({"as_of": "x", "region": "x", "rank": {}, "channels": {}})", "usd_per_gib_second"},
           {R"({"as_of": "x", "region": "x", "rank": {"usd_per_gib_second": -1}, "channels": {}})", "from 0 on"},
           {R"({"as_of": "x", "region": "x", "rank": {"usd_per_gib_second": 1}, "channels": {"redis": 1}})", "redis"},
           {R"({"as_of": "x", "region": "x", "rank": {"usd_per_gib_second": 1},
                "channels": {"redis": {"usd_per_gb": 1}}})",
            "usd_per_million_messages"}}) {
    const auto status = read(wrong).status();
    EXPECT_TRUE(status.IsInvalid()) << wrong;
    EXPECT_THAT(status.message(), HasSubstr(what));
    EXPECT_THAT(status.message(), HasSubstr(path.string()));
  }
  std::filesystem::remove(path);
  EXPECT_THAT(ReadPrices(path.string()).status().message(), HasSubstr("cannot be read"));
}

/// So many ranks, who all see the same latency and bandwidth on each channel.
std::vector<Measurement> Uniform(int ranks, const std::vector<ChannelRates>& rates) {
  Measurement one;
  for (const auto& rate : rates) {
    one.latency_s.emplace_back(static_cast<size_t>(ranks), rate.latency_s);
    one.relayed.emplace_back(static_cast<size_t>(ranks), false);
    one.bytes_per_s.push_back(rate.bytes_per_s);
  }
  return std::vector<Measurement>(static_cast<size_t>(ranks), one);
}

TEST(PlanTest, CallsGoWhereLatencyIsLowAndTablesWhereBandwidthIsHigh) {
  const PlanInputs inputs{Policy{0}, 1e-5, {{0}, {1}}};
  const auto plan = MakePlan(inputs, Uniform(4, {{0.0001, 1e6}, {0.01, 1e9}}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->Pairs(0, Traffic::kCalls), 6);
  EXPECT_EQ(plan->Pairs(1, Traffic::kTables), 6);
  EXPECT_EQ(plan->Of(2, 1, Traffic::kCalls), plan->Of(1, 2, Traffic::kCalls));
  EXPECT_DOUBLE_EQ(plan->rates[1].latency_s, 0.01);
  EXPECT_DOUBLE_EQ(plan->rates[1].bytes_per_s, 1e9);
  // 0.1 ms and a microsecond a byte, or 10 ms: 9.9 kB.
  EXPECT_EQ(plan->LargeFrom(3, 1), 16384);
  EXPECT_EQ(plan->LargeFrom(1), 16384);
  EXPECT_EQ(plan->LargeFrom(0), INT64_MAX);
  const ChannelId collective{0, 0, ChannelKind::kCollective, 1};
  EXPECT_EQ(plan->Of(0, 1, Message{collective, {}, {}}), 0);
  EXPECT_EQ(plan->Of(0, 1, Message{collective, {}, {}, 16383}), 0);
  EXPECT_EQ(plan->Of(0, 1, Message{collective, {}, {}, 16384}), 1);
  EXPECT_EQ(plan->Of(0, 1, Message{{0, 0, ChannelKind::kExchange, 1}, {}, {}}), 1);
}

TEST(PlanTest, ForMoneyLargeIsWhatCostsMoreThanARequest) {
  const std::vector<Way> ways = {{0, false, {0, 1e-6, 0}}, {1, false, {0.5, 0, 0}}};
  const auto plan = MakePlan({Policy{1}, 1e-9, ways}, Uniform(2, {{0.001, 1e8}, {0.001, 1e8}}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->LargeFrom(0, 1), 524288);
}

TEST(PlanTest, TheCheapestLeavesADearServerAlone) {
  const std::vector<Way> ways = {{0, false, {0, 0, 0.01}}, {1, false, {0, 0, 0}}};
  const auto measured = Uniform(2, {{0.001, 1e8}, {0.002, 5e7}});
  EXPECT_EQ(MakePlan({Policy{0}, 1e-5, ways}, measured)->Of(0, 1, Traffic::kTables), 0);
  EXPECT_EQ(MakePlan({Policy{1}, 1e-5, ways}, measured)->Of(0, 1, Traffic::kTables), 1);
}

TEST(PlanTest, PricesWithoutMeasureLeaveTheFirstWay) {
  const std::vector<Way> ways = {{0, false, {1e308, 1e308, 1e308}}, {1, false, {1e308, 1e308, 1e308}}};
  const auto plan = MakePlan({Policy{1}, 1e308, ways}, Uniform(2, {{0.001, 1e8}, {0.002, 5e7}}));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->Of(0, 1, Traffic::kCalls), 0);
  EXPECT_EQ(plan->Of(0, 1, Traffic::kTables), 0);
}

TEST(PlanTest, APairWithoutTheBestChannelTakesAnother) {
  auto measured = Uniform(3, {{0.0001, 1e9}, {0.01, 1e7}});
  measured[2].latency_s[0][0] = -1;  // rank 2 got no answer of rank 0
  const auto plan = MakePlan({Policy{0}, 0, {{0}, {1}}}, measured);
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->Of(0, 2, Traffic::kCalls), 1);
  EXPECT_EQ(plan->Of(0, 1, Traffic::kCalls), 0);
  EXPECT_TRUE(plan->Uses(0) && plan->Uses(1));
  measured[0].latency_s[1][2] = -1;
  const auto none = MakePlan({Policy{0}, 0, {{0}, {1}}}, measured).status();
  EXPECT_TRUE(none.IsIOError()) << none;
  EXPECT_THAT(none.message(), HasSubstr("ranks 0 and 2 have no channel"));
}

TEST(PlanTest, ARelayIsAWayOfItsOwn) {
  // As fast as a hole, but its messages are paid for; the other channel is slower, and free.
  const std::vector<Way> ways = {{0}, {0, true, {0, 1e-6, 0}}, {1}};
  auto measured = Uniform(4, {{0.001, 1e8}, {0.01, 5e7}});
  measured[1].relayed[0][2] = true;  // rank 2 has not found out yet
  const auto fastest = *MakePlan({Policy{0}, 1e-5, ways}, measured);
  EXPECT_EQ(fastest.Of(0, 1, Traffic::kTables), 0);
  EXPECT_EQ(fastest.Of(1, 2, Traffic::kTables), 1);
  EXPECT_EQ(fastest.Pairs(1, Traffic::kCalls), 1);
  EXPECT_DOUBLE_EQ(fastest.rates[1].latency_s, 0.001);
  const auto cheapest = *MakePlan({Policy{1}, 1e-5, ways}, measured);
  EXPECT_EQ(cheapest.Of(0, 1, Traffic::kTables), 0);
  EXPECT_EQ(cheapest.Of(1, 2, Traffic::kTables), 2);
  EXPECT_FALSE(cheapest.Uses(1));
}

TEST(PlanTest, BytesComeBackAsTheyWereOrAreRefused) {
  auto measured = Uniform(3, {{0.0001, 1e9}, {-1, 0}});
  measured[1].relayed[0][2] = true;
  const auto measurement = EncodeMeasurement(measured[1]);
  const auto read = DecodeMeasurement(measurement, 2, 3);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->latency_s, measured[1].latency_s);
  EXPECT_EQ(read->relayed, measured[1].relayed);
  EXPECT_EQ(read->bytes_per_s, measured[1].bytes_per_s);
  const auto plan = *MakePlan({Policy{0}, 0, {{0}, {0, true}}}, measured);
  const auto bytes = EncodePlan(plan);
  const auto same = DecodePlan(bytes, 2, 3);
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_EQ(same->ways, plan.ways);
  EXPECT_EQ(same->large_from, plan.large_from);

  EXPECT_TRUE(IsError(DecodePlan(bytes, 1, 3).status(), ErrorKind::kProtocol));
  EXPECT_TRUE(IsError(DecodePlan(bytes, 2, 4).status(), ErrorKind::kProtocol));
  EXPECT_TRUE(IsError(DecodePlan(bytes + "x", 2, 3).status(), ErrorKind::kProtocol));
  EXPECT_TRUE(IsError(DecodePlan("", 2, 3).status(), ErrorKind::kProtocol));
  EXPECT_TRUE(IsError(DecodeMeasurement(measurement.substr(1), 2, 3).status(), ErrorKind::kProtocol));
  auto wild = plan;
  wild.Set(0, 2, Traffic::kTables, 2);
  EXPECT_TRUE(IsError(DecodePlan(EncodePlan(wild), 2, 3).status(), ErrorKind::kProtocol));
  wild = plan;
  wild.large_from[1] = 64;  // no shift reaches that far
  EXPECT_TRUE(IsError(DecodePlan(EncodePlan(wild), 2, 3).status(), ErrorKind::kProtocol));
  // Whatever the bytes are: refused, or numbers that can be reckoned with.
  std::mt19937 random(1);
  for (int i = 0; i < 10000; ++i) {
    std::string noise(i % 2 == 0 ? bytes.size() : measurement.size(), '\0');
    for (auto& byte : noise) {
      byte = static_cast<char>(random() % 3 == 0 ? random() : 0);
    }
    if (const auto any = DecodePlan(noise, 2, 3); any.ok()) {
      EXPECT_LT(any->Of(1, 2, Traffic::kCalls), 2);
    }
    (void)DecodeMeasurement(noise, 2, 3);
  }
}

}  // namespace
}  // namespace cylon
