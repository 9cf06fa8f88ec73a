// What ranks tell each other when channels are chosen, and the prices that a user names.
#include "cylon/net/choice/plan.h"

#include "cylon/base/error.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

void CheckPlan(const Plan& plan, int channels) {
  for (Rank one = 0; one < plan.world_size; ++one) {
    for (Rank other = one + 1; other < plan.world_size; ++other) {
      for (const auto traffic : {Traffic::kCalls, Traffic::kTables}) {
        const int channel = plan.Of(other, one, traffic);
        Require(channel >= 0 && channel < channels, "a pair has a channel that there is not");
      }
    }
  }
}

void RunPlan(std::string_view bytes) {
  Input in(bytes);
  const int channels = 1 + in.Byte() % 3;
  const int size = 2 + in.Byte() % 4;
  const double money = in.Byte() / 255.0;
  const auto plan = DecodePlan(in.Text(), channels, size);
  Require(plan.ok() || IsError(plan.status(), ErrorKind::kProtocol), "a refusal that is no ProtocolError");
  if (plan.ok()) {
    CheckPlan(*plan, channels);
    const auto again = DecodePlan(EncodePlan(*plan), channels, size);
    Require(again.ok() && again->channels == plan->channels, "a plan that was read cannot be written and read");
  }
  PlanInputs inputs{Policy{money}, 1e-5, {}};
  const auto prices = ParsePrices(in.Text());
  for (const char* name : {"tcp", "redis", "object"}) {
    inputs.prices.push_back(prices.ok() ? prices->Of(name) : ChannelPrice{});
  }
  inputs.prices.resize(static_cast<size_t>(channels));
  std::vector<Measurement> measurements;
  for (int rank = 0; rank < size; ++rank) {
    auto measured = DecodeMeasurement(in.Text(), channels, size);
    if (!measured.ok()) {
      Require(IsError(measured.status(), ErrorKind::kProtocol), "a refusal that is no ProtocolError");
      return;
    }
    measurements.push_back(*std::move(measured));
  }
  if (const auto made = MakePlan(inputs, measurements); made.ok()) {
    CheckPlan(*made, channels);
    Require(DecodePlan(EncodePlan(*made), channels, size).ok(), "a plan that was made is refused");
  }
}

std::vector<std::string> PlanSeeds() {
  Measurement measurement;
  measurement.latency_s = {{0.001, 0.002}, {0.03, -1}};
  measurement.bytes_per_s = {1e8, 1e6};
  auto whole = measurement;
  whole.latency_s[1] = {0.04, 0.05};
  const auto prices = ReadPrices("");
  const PlanInputs inputs{Policy{0.5}, 1e-5, {prices->Of("tcp"), prices->Of("redis")}};
  const auto plan = MakePlan(inputs, {whole, measurement});
  const std::string json = R"({"as_of":"x","region":"x","rank":{"usd_per_gib_second":1},"channels":{"redis":)"
                           R"({"usd_per_million_messages":1,"usd_per_gb":2,"usd_per_hour":3}}})";
  std::vector<std::string> seeds;
  for (const auto& first : {measurement, whole}) {
    Output out;
    out.Byte(1).Byte(0).Byte(128).Text(EncodePlan(*plan)).Text(json);
    seeds.push_back(out.Text(EncodeMeasurement(first)).Text(EncodeMeasurement(whole)).bytes());
  }
  return seeds;
}

const Registration kPlan({"plan", RunPlan, PlanSeeds});

}  // namespace
}  // namespace cylon::fuzz
