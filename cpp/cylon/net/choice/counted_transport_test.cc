// Tests of what is counted of a transport alone.
#include "cylon/net/choice/counted_transport.h"

#include <gtest/gtest.h>

namespace cylon {
namespace {

/// Takes everything, and is at once done with it.
class Taker final : public Transport {
 public:
  std::string relayed = "relay";  ///< the way to rank 1

  const Traits& traits() const override { return traits_; }
  arrow::Future<> Start(Sink* /*sink*/) override { return arrow::Future<>::MakeFinished(); }
  arrow::Future<> Send(Rank /*to*/, Message /*message*/) override { return arrow::Future<>::MakeFinished(); }
  std::string way(Rank peer) const override { return peer == 1 ? relayed : "punch"; }
  arrow::Future<> Flush() override { return arrow::Future<>::MakeFinished(); }
  arrow::Future<> Close() override { return arrow::Future<>::MakeFinished(); }
  void Abort() override {}

 private:
  Traits traits_{.wants_whole_messages = true};
};

Message Of(ChannelKind kind, const std::string& text) {
  Message message;
  message.channel.kind = kind;
  message.segments = {arrow::Buffer::FromString(text)};
  return message;
}

TEST(CountedTransportTest, CountsMessagesAndBytesOfEachWayAndTraffic) {
  Prices prices;
  prices.channels["direct"] = {1, 0, 0};
  const auto count = std::make_shared<SentCount>("punch", 4, prices);
  auto taker = std::make_unique<Taker>();
  auto* const ways = taker.get();
  const auto transport = CountSent(std::move(taker), count);
  EXPECT_TRUE(transport->traits().wants_whole_messages);
  EXPECT_EQ(transport->way(1), "relay");
  EXPECT_TRUE(transport->Send(1, Of(ChannelKind::kCollective, "abc")).status().ok());
  EXPECT_TRUE(transport->Send(2, Of(ChannelKind::kExchange, "table")).status().ok());
  EXPECT_TRUE(transport->Send(2, Of(ChannelKind::kExchange, "")).status().ok());
  auto uses = count->Uses();
  ASSERT_EQ(uses.size(), 2U);
  EXPECT_EQ(uses[0].name, "punch");
  EXPECT_EQ(uses[0].price.per_message, 1);
  EXPECT_LT(uses[0].rates.latency_s, 0);
  EXPECT_EQ(uses[0].pairs, (std::array<int64_t, 2>{0, 1}));
  EXPECT_EQ(uses[0].messages, (std::array<int64_t, 2>{0, 2}));
  EXPECT_EQ(uses[0].bytes, (std::array<int64_t, 2>{0, 5}));
  EXPECT_EQ(uses[1].name, "relay");
  EXPECT_EQ(uses[1].pairs, (std::array<int64_t, 2>{1, 0}));
  EXPECT_EQ(uses[1].bytes, (std::array<int64_t, 2>{3, 0}));
  // A hole was made after all.
  ways->relayed = "punch";
  EXPECT_TRUE(transport->Send(1, Of(ChannelKind::kCollective, "de")).status().ok());
  uses = count->Uses();
  EXPECT_EQ(uses[0].pairs, (std::array<int64_t, 2>{1, 1}));
  EXPECT_EQ(uses[0].bytes, (std::array<int64_t, 2>{2, 5}));
  EXPECT_EQ(uses[1].pairs, (std::array<int64_t, 2>{0, 0}));
  EXPECT_EQ(uses[1].bytes, (std::array<int64_t, 2>{3, 0}));
}

TEST(CountedTransportTest, ATransportWithoutARelayHasOneUse) {
  Prices prices;
  prices.channels["redis"] = {1e-6, 0, 0};
  const auto uses = SentCount("redis", 2, prices).Uses();
  ASSERT_EQ(uses.size(), 1U);
  EXPECT_EQ(uses[0].price.per_message, 1e-6);
}

}  // namespace
}  // namespace cylon
