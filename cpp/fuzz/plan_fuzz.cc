// What ranks tell each other when channels are chosen, and the prices that a user names.
#include "cylon/net/choice/plan.h"

#include "cylon/base/error.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

void CheckPlan(const Plan& plan, int ways) {
  for (Rank one = 0; one < plan.world_size; ++one) {
    for (Rank other = one + 1; other < plan.world_size; ++other) {
      for (const auto traffic : {Traffic::kCalls, Traffic::kTables}) {
        const int way = plan.Of(other, one, traffic);
        Require(way >= 0 && way < ways, "a pair has a way that there is not");
      }
    }
  }
}

void RunPlan(std::string_view bytes) {
  Input in(bytes);
  const int channels = 1 + in.Byte() % 3;
  const int size = 2 + in.Byte() % 4;
  const double money = in.Byte() / 255.0;
  const int ways = channels + 1;  // the first of them may pass a relay
  const auto plan = DecodePlan(in.Text(), ways, size);
  Require(plan.ok() || IsError(plan.status(), ErrorKind::kProtocol), "a refusal that is no ProtocolError");
  if (plan.ok()) {
    CheckPlan(*plan, ways);
    const auto again = DecodePlan(EncodePlan(*plan), ways, size);
    Require(again.ok() && again->ways == plan->ways, "a plan that was read cannot be written and read");
  }
  PlanInputs inputs{Policy{money}, 1e-5, {}};
  const auto prices = ParsePrices(in.Text());
  const std::vector<const char*> names = {"punch", "redis", "object"};
  for (int channel = 0; channel < channels; ++channel) {
    inputs.ways.push_back(
        {channel, false, prices.ok() ? prices->Of(names[static_cast<size_t>(channel)]) : ChannelPrice{}});
  }
  inputs.ways.push_back({0, true, prices.ok() ? prices->Of("relay") : ChannelPrice{}});
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
    CheckPlan(*made, ways);
    Require(DecodePlan(EncodePlan(*made), ways, size).ok(), "a plan that was made is refused");
  }
}

std::vector<std::string> PlanSeeds() {
  Measurement measurement;
  measurement.latency_s = {{0.001, 0.002}, {0.03, -1}};
  measurement.relayed = {{false, false}, {false, false}};
  measurement.bytes_per_s = {1e8, 1e6};
  auto whole = measurement;
  whole.latency_s[1] = {0.04, 0.05};
  whole.relayed[0] = {true, true};
  const auto prices = ReadPrices("");
  const PlanInputs inputs{
      Policy{0.5},
      1e-5,
      {{0, false, prices->Of("punch")}, {1, false, prices->Of("redis")}, {0, true, prices->Of("relay")}}};
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
