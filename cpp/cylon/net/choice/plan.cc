// From what all ranks have measured to one way for each pair.
#include "cylon/net/choice/plan.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "cylon/base/error.h"
#include "cylon/wire/bytes.h"

namespace cylon {

namespace {

/// No clock and no network here is worse or better than this.
constexpr double kMostSeconds = 1e6;
constexpr double kMostBytesPerSecond = 1e15;
/// Of a way that no rank has to the next one.
constexpr double kUnmeasuredBytesPerSecond = 1e6;

void Write(ByteWriter* out, double value) { out->Number(std::bit_cast<uint64_t>(value)); }
double Read(ByteReader* in) { return std::bit_cast<double>(in->Number<uint64_t>()); }

bool IsLatency(double value) { return std::isfinite(value) && value >= -1 && value <= kMostSeconds; }
bool IsBandwidth(double value) { return std::isfinite(value) && value >= 0 && value <= kMostBytesPerSecond; }

/// Between what the two ways are chosen for.
constexpr int kLeastLarge = 10;
constexpr int kMostLarge = 22;
static_assert(kTypicalBytes[0] == 1 << kLeastLarge && kTypicalBytes[1] == 1 << kMostLarge);

double Median(std::vector<double> values, double of_none) {
  if (values.empty()) {
    return of_none;
  }
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

size_t PairIndex(int world_size, Rank one, Rank other, Traffic traffic) {
  const auto size = static_cast<size_t>(world_size);
  return (static_cast<size_t>(traffic) * size + static_cast<size_t>(std::min(one, other))) * size +
         static_cast<size_t>(std::max(one, other));
}

/// Seconds one way between two ranks, as the one who saw more of it saw it; below 0 where either saw nothing, or the
/// pair's messages go another way in this channel.
double LatencyOf(const std::vector<Measurement>& measurements, const Way& way, Rank one, Rank other) {
  const auto channel = static_cast<size_t>(way.channel);
  const auto from = static_cast<size_t>(one);
  const auto to = static_cast<size_t>(other);
  const auto& here = measurements[from];
  const auto& there = measurements[to];
  if ((here.relayed[channel][to] || there.relayed[channel][from]) != way.relayed) {
    return -1;
  }
  const double forth = here.latency_s[channel][to];
  const double back = there.latency_s[channel][from];
  return forth < 0 || back < 0 ? -1 : std::max(forth, back);
}

/// Medians over all pairs that have it.
ChannelRates RatesOf(const std::vector<Measurement>& measurements, const Way& way) {
  const auto ranks = static_cast<int>(measurements.size());
  std::vector<double> latencies;
  std::vector<double> bandwidths;
  for (Rank one = 0; one < ranks; ++one) {
    for (Rank other = one + 1; other < ranks; ++other) {
      if (const double latency = LatencyOf(measurements, way, one, other); latency >= 0) {
        latencies.push_back(latency);
      }
    }
    const double bandwidth = measurements[static_cast<size_t>(one)].bytes_per_s[static_cast<size_t>(way.channel)];
    if (bandwidth > 0 && LatencyOf(measurements, way, one, (one + 1) % ranks) >= 0) {
      bandwidths.push_back(bandwidth);
    }
  }
  return {Median(latencies, -1), Median(bandwidths, kUnmeasuredBytesPerSecond)};
}

}  // namespace

int Plan::Of(Rank one, Rank other, Traffic traffic) const { return ways[PairIndex(world_size, one, other, traffic)]; }

int Plan::Of(Rank one, Rank other, const Message& message) const {
  const bool large = message.piece_of > 0 && message.piece_of >= LargeFrom(one, other);
  return Of(one, other, large ? Traffic::kTables : TrafficOf(message.channel));
}

int64_t Plan::LargeFrom(Rank one, Rank other) const {
  return int64_t{1} << large_from[PairIndex(world_size, one, other, Traffic::kCalls)];
}

void Plan::Set(Rank one, Rank other, Traffic traffic, int way) {
  ways[PairIndex(world_size, one, other, traffic)] = static_cast<int8_t>(way);
}

int64_t Plan::Pairs(int way, Traffic traffic) const {
  int64_t pairs = 0;
  for (Rank one = 0; one < world_size; ++one) {
    for (Rank other = one + 1; other < world_size; ++other) {
      pairs += Of(one, other, traffic) == way ? 1 : 0;
    }
  }
  return pairs;
}

int64_t Plan::LargeFrom(int way) const {
  int64_t least = INT64_MAX;
  for (Rank one = 0; one < world_size; ++one) {
    for (Rank other = one + 1; other < world_size; ++other) {
      if (Of(one, other, Traffic::kTables) == way && Of(one, other, Traffic::kCalls) != way) {
        least = std::min(least, LargeFrom(one, other));
      }
    }
  }
  return least;
}

arrow::Result<Plan> MakePlan(const PlanInputs& inputs, const std::vector<Measurement>& measurements) {
  Plan plan;
  plan.world_size = static_cast<int>(measurements.size());
  plan.ways.assign(measurements.size() * measurements.size() * kTraffics, -1);
  plan.large_from.assign(measurements.size() * measurements.size(), kMostLarge);
  for (const auto& way : inputs.ways) {
    plan.rates.push_back(RatesOf(measurements, way));
  }
  for (Rank one = 0; one < plan.world_size; ++one) {
    for (Rank other = one + 1; other < plan.world_size; ++other) {
      std::vector<int> ways;
      for (size_t way = 0; way < inputs.ways.size(); ++way) {
        if (LatencyOf(measurements, inputs.ways[way], one, other) >= 0) {
          ways.push_back(static_cast<int>(way));
        }
      }
      if (ways.empty()) {
        return arrow::Status::IOError("ranks ", one, " and ", other,
                                      " have no channel to each other: nothing that one of them sent over any of "
                                      "them came back; name another in CYLON_TRANSPORT, such as redis");
      }
      const auto best = [&](const std::vector<int>& among, double bytes) {
        std::vector<Cost> costs;
        for (const int each : among) {
          const auto& way = inputs.ways[static_cast<size_t>(each)];
          costs.push_back(CostOfMessage(
              {LatencyOf(measurements, way, one, other), plan.rates[static_cast<size_t>(each)].bytes_per_s}, way.price,
              inputs.rank_per_second, plan.world_size, bytes));
        }
        // Prices without measure make no cost the least: then the one that is preferred among equals.
        return among[static_cast<size_t>(std::max(BestOf(inputs.policy, costs), 0))];
      };
      const int of_calls = best(ways, kTypicalBytes[0]);
      const int of_tables = best(ways, kTypicalBytes[1]);
      plan.Set(one, other, Traffic::kCalls, of_calls);
      plan.Set(one, other, Traffic::kTables, of_tables);
      int large = kLeastLarge;
      while (large < kMostLarge && best({of_calls, of_tables}, static_cast<double>(1 << large)) != of_tables) {
        ++large;
      }
      plan.large_from[PairIndex(plan.world_size, one, other, Traffic::kCalls)] = static_cast<uint8_t>(large);
    }
  }
  return plan;
}

std::string EncodeMeasurement(const Measurement& measurement) {
  ByteWriter out;
  for (const auto& row : measurement.latency_s) {
    for (const double latency : row) {
      Write(&out, latency);
    }
  }
  for (const auto& row : measurement.relayed) {
    for (const bool relayed : row) {
      out.Number<uint8_t>(relayed ? 1 : 0);
    }
  }
  for (const double bandwidth : measurement.bytes_per_s) {
    Write(&out, bandwidth);
  }
  return out.Take();
}

arrow::Result<Measurement> DecodeMeasurement(std::string_view bytes, int channels, int world_size) {
  Measurement out;
  ByteReader in(bytes);
  bool fits = true;
  for (int channel = 0; channel < channels; ++channel) {
    auto& row = out.latency_s.emplace_back();
    for (int rank = 0; rank < world_size && in.ok(); ++rank) {
      row.push_back(Read(&in));
      fits = fits && IsLatency(row.back());
    }
  }
  for (int channel = 0; channel < channels; ++channel) {
    auto& row = out.relayed.emplace_back();
    for (int rank = 0; rank < world_size && in.ok(); ++rank) {
      const auto relayed = in.Number<uint8_t>();
      fits = fits && relayed <= 1;
      row.push_back(relayed == 1);
    }
  }
  for (int channel = 0; channel < channels; ++channel) {
    out.bytes_per_s.push_back(Read(&in));
    fits = fits && IsBandwidth(out.bytes_per_s.back());
  }
  if (!in.done() || !fits) {
    return ProtocolError("what a rank told of its channels is no measurement of " + std::to_string(channels) +
                         " channels to " + std::to_string(world_size) + " ranks");
  }
  return out;
}

std::string EncodePlan(const Plan& plan) {
  ByteWriter out;
  for (const auto& rates : plan.rates) {
    Write(&out, rates.latency_s);
    Write(&out, rates.bytes_per_s);
  }
  for (const int8_t way : plan.ways) {
    out.Number(static_cast<uint8_t>(way));
  }
  for (const uint8_t large : plan.large_from) {
    out.Number(large);
  }
  return out.Take();
}

arrow::Result<Plan> DecodePlan(std::string_view bytes, int ways, int world_size) {
  Plan plan;
  plan.world_size = world_size;
  ByteReader in(bytes);
  bool fits = true;
  for (int way = 0; way < ways; ++way) {
    const double latency = Read(&in);
    plan.rates.push_back({latency, Read(&in)});
    fits = fits && IsLatency(latency) && IsBandwidth(plan.rates.back().bytes_per_s);
  }
  const auto entries = in.Raw(static_cast<size_t>(world_size) * static_cast<size_t>(world_size) * kTraffics);
  plan.ways.assign(entries.begin(), entries.end());
  const auto larges = in.Raw(static_cast<size_t>(world_size) * static_cast<size_t>(world_size));
  plan.large_from.assign(larges.begin(), larges.end());
  fits = fits &&
         std::ranges::all_of(plan.large_from, [](uint8_t each) { return each >= kLeastLarge && each <= kMostLarge; });
  for (Rank one = 0; one < world_size && in.ok(); ++one) {
    for (Rank other = one + 1; other < world_size; ++other) {
      for (const auto traffic : {Traffic::kCalls, Traffic::kTables}) {
        fits = fits && plan.Of(one, other, traffic) >= 0 && plan.Of(one, other, traffic) < ways;
      }
    }
  }
  if (!in.done() || !fits) {
    return ProtocolError("what rank 0 told is no plan for " + std::to_string(ways) + " ways and " +
                         std::to_string(world_size) + " ranks");
  }
  return plan;
}

}  // namespace cylon
