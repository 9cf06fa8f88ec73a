// From what all ranks have measured to one channel for each pair.
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
/// Of a channel that no rank has to the next one.
constexpr double kUnmeasuredBytesPerSecond = 1e6;

void Write(ByteWriter* out, double value) { out->Number(std::bit_cast<uint64_t>(value)); }
double Read(ByteReader* in) { return std::bit_cast<double>(in->Number<uint64_t>()); }

bool IsLatency(double value) { return std::isfinite(value) && value >= -1 && value <= kMostSeconds; }
bool IsBandwidth(double value) { return std::isfinite(value) && value >= 0 && value <= kMostBytesPerSecond; }

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

/// Seconds one way between two ranks, as the one who saw more of it saw it; below 0 where either saw nothing.
double LatencyOf(const std::vector<Measurement>& measurements, size_t channel, Rank one, Rank other) {
  const double there = measurements[static_cast<size_t>(one)].latency_s[channel][static_cast<size_t>(other)];
  const double back = measurements[static_cast<size_t>(other)].latency_s[channel][static_cast<size_t>(one)];
  return there < 0 || back < 0 ? -1 : std::max(there, back);
}

}  // namespace

int Plan::Of(Rank one, Rank other, Traffic traffic) const {
  return channels[PairIndex(world_size, one, other, traffic)];
}

void Plan::Set(Rank one, Rank other, Traffic traffic, int channel) {
  channels[PairIndex(world_size, one, other, traffic)] = static_cast<int8_t>(channel);
}

bool Plan::Uses(int channel) const {
  return Pairs(channel, Traffic::kCalls) > 0 || Pairs(channel, Traffic::kTables) > 0;
}

int64_t Plan::Pairs(int channel, Traffic traffic) const {
  int64_t pairs = 0;
  for (Rank one = 0; one < world_size; ++one) {
    for (Rank other = one + 1; other < world_size; ++other) {
      pairs += Of(one, other, traffic) == channel ? 1 : 0;
    }
  }
  return pairs;
}

arrow::Result<Plan> MakePlan(const PlanInputs& inputs, const std::vector<Measurement>& measurements) {
  Plan plan;
  plan.world_size = static_cast<int>(measurements.size());
  plan.channels.assign(measurements.size() * measurements.size() * kTraffics, -1);
  for (size_t channel = 0; channel < inputs.prices.size(); ++channel) {
    std::vector<double> latencies;
    std::vector<double> bandwidths;
    for (Rank one = 0; one < plan.world_size; ++one) {
      for (Rank other = one + 1; other < plan.world_size; ++other) {
        if (const double latency = LatencyOf(measurements, channel, one, other); latency >= 0) {
          latencies.push_back(latency);
        }
      }
      if (const double bandwidth = measurements[static_cast<size_t>(one)].bytes_per_s[channel]; bandwidth > 0) {
        bandwidths.push_back(bandwidth);
      }
    }
    plan.rates.push_back({Median(latencies, -1), Median(bandwidths, kUnmeasuredBytesPerSecond)});
  }
  for (Rank one = 0; one < plan.world_size; ++one) {
    for (Rank other = one + 1; other < plan.world_size; ++other) {
      for (int traffic = 0; traffic < kTraffics; ++traffic) {
        std::vector<Cost> costs;
        std::vector<int> channels;
        for (size_t channel = 0; channel < inputs.prices.size(); ++channel) {
          if (const double latency = LatencyOf(measurements, channel, one, other); latency >= 0) {
            costs.push_back(CostOfMessage({latency, plan.rates[channel].bytes_per_s}, inputs.prices[channel],
                                          inputs.rank_per_second, plan.world_size,
                                          kTypicalBytes[static_cast<size_t>(traffic)]));
            channels.push_back(static_cast<int>(channel));
          }
        }
        const int best = BestOf(inputs.policy, costs);
        if (best < 0) {
          return arrow::Status::IOError("ranks ", one, " and ", other,
                                        " have no channel to each other: nothing that one of them sent over any of "
                                        "them came back; name another in CYLON_TRANSPORT, such as redis");
        }
        plan.Set(one, other, static_cast<Traffic>(traffic), channels[static_cast<size_t>(best)]);
      }
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
  for (const int8_t channel : plan.channels) {
    out.Number(static_cast<uint8_t>(channel));
  }
  return out.Take();
}

arrow::Result<Plan> DecodePlan(std::string_view bytes, int channels, int world_size) {
  Plan plan;
  plan.world_size = world_size;
  ByteReader in(bytes);
  bool fits = true;
  for (int channel = 0; channel < channels; ++channel) {
    const double latency = Read(&in);
    plan.rates.push_back({latency, Read(&in)});
    fits = fits && IsLatency(latency) && IsBandwidth(plan.rates.back().bytes_per_s);
  }
  const auto entries = in.Raw(static_cast<size_t>(world_size) * static_cast<size_t>(world_size) * kTraffics);
  plan.channels.assign(entries.begin(), entries.end());
  for (Rank one = 0; one < world_size && in.ok(); ++one) {
    for (Rank other = one + 1; other < world_size; ++other) {
      for (const auto traffic : {Traffic::kCalls, Traffic::kTables}) {
        fits = fits && plan.Of(one, other, traffic) >= 0 && plan.Of(one, other, traffic) < channels;
      }
    }
  }
  if (!in.done() || !fits) {
    return ProtocolError("what rank 0 told is no plan for " + std::to_string(channels) + " channels and " +
                         std::to_string(world_size) + " ranks");
  }
  return plan;
}

}  // namespace cylon
