// Times and rates.
#include "measure.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/random.h"

namespace cylon::tools {

namespace {

constexpr int kRoundTrips = 100;
/// A way that is slow gets fewer of them.
constexpr Duration kRoundTripsLast = std::chrono::seconds(2);
constexpr size_t kChunk = 64 << 10;
constexpr size_t kTokenBytes = 16;

double Seconds(Duration span) { return std::chrono::duration<double>(span).count(); }

/// Bytes over a time that is not none.
double PerSecond(int64_t bytes, Duration span) { return static_cast<double>(bytes) / std::max(Seconds(span), 1e-9); }

arrow::Future<> WriteBytes(Stream* stream, const void* bytes, size_t size) {
  return stream->Write({std::span(static_cast<const uint8_t*>(bytes), size)});
}
arrow::Future<> ReadBytes(Stream* stream, void* bytes, size_t size) {
  return stream->Read(std::span(static_cast<uint8_t*>(bytes), size));
}

/// Chunks for so long; the first byte of the last one is 0.
Co<void> Flood(AsioExecutor* executor, Stream* stream, Duration span) {
  const std::vector<uint8_t> chunk(kChunk, 1);
  const TimePoint end = executor->Now() + span;
  while (executor->Now() < end) {
    auto writing = WriteBytes(stream, chunk.data(), chunk.size());
    CYLON_CO_RETURN_NOT_OK(co_await writing);
  }
  const std::vector<uint8_t> last(kChunk, 0);
  auto writing = WriteBytes(stream, last.data(), last.size());
  co_return co_await writing;
}

/// What comes per second, from the first chunk on.
Co<double> Drain(AsioExecutor* executor, Stream* stream) {
  std::vector<uint8_t> chunk(kChunk, 1);
  int64_t bytes = -static_cast<int64_t>(kChunk);
  TimePoint first{};
  while (chunk[0] != 0) {
    auto reading = ReadBytes(stream, chunk.data(), chunk.size());
    CYLON_CO_RETURN_NOT_OK(co_await reading);
    if (bytes < 0) {
      first = executor->Now();
    }
    bytes += static_cast<int64_t>(kChunk);
  }
  co_return PerSecond(bytes, executor->Now() - first);
}

Co<RoundTrips> Ping(AsioExecutor* executor, Stream* stream) {
  std::vector<double> times;
  const TimePoint end = executor->Now() + kRoundTripsLast;
  for (uint8_t more = 1; more != 0;) {
    more = times.size() + 1 < kRoundTrips && executor->Now() < end ? 1 : 0;
    const TimePoint sent = executor->Now();
    uint8_t back = 0;
    auto writing = WriteBytes(stream, &more, 1);
    CYLON_CO_RETURN_NOT_OK(co_await writing);
    auto reading = ReadBytes(stream, &back, 1);
    CYLON_CO_RETURN_NOT_OK(co_await reading);
    times.push_back(1e3 * Seconds(executor->Now() - sent));
  }
  co_return Summarize(std::move(times));
}

Co<void> Echo(Stream* stream) {
  for (uint8_t more = 1; more != 0;) {
    auto reading = ReadBytes(stream, &more, 1);
    CYLON_CO_RETURN_NOT_OK(co_await reading);
    auto writing = WriteBytes(stream, &more, 1);
    CYLON_CO_RETURN_NOT_OK(co_await writing);
  }
  co_return arrow::Status::OK();
}

/// Figures that one end has and the other wants: both run the same program.
using Figures = std::array<double, 3>;

}  // namespace

Co<RoundTrips> MeasureServer(AsioExecutor* executor, Courier* courier) {
  courier->OnLetter([](const CourierLetter&) {});
  std::vector<double> times;
  const TimePoint end = executor->Now() + kRoundTripsLast;
  while (times.empty() || (times.size() < kRoundTrips && executor->Now() < end)) {
    const TimePoint asked = executor->Now();
    auto told = courier->Tell(courier->name(), "");
    CYLON_CO_RETURN_NOT_OK(co_await told);
    times.push_back(1e3 * Seconds(executor->Now() - asked));
  }
  co_return Summarize(std::move(times));
}

Co<double> MeasureRelay(AsioExecutor* executor, Courier* from, Courier* to, Duration span, TimePoint deadline) {
  CYLON_CO_ASSIGN_OR_RETURN(const std::string token, RandomBytes(kTokenBytes));
  auto near = Spawn(*executor, from->Relay(to->name(), token, deadline));
  auto far = Spawn(*executor, to->Relay(from->name(), token, deadline));
  const arrow::Status met = co_await arrow::Future<>(near);
  const arrow::Status met_too = co_await arrow::Future<>(far);
  CYLON_CO_RETURN_NOT_OK(met);
  CYLON_CO_RETURN_NOT_OK(met_too);
  const std::shared_ptr<Stream> out = near.MoveResult().MoveValueUnsafe();
  const std::shared_ptr<Stream> in = far.MoveResult().MoveValueUnsafe();
  auto timer = executor->PostAt(deadline, [out, in] {
    out->Close();
    in->Close();
  });
  auto flood = Spawn(*executor, Flood(executor, out.get(), span));
  auto drained = Spawn(*executor, Drain(executor, in.get()));
  const arrow::Status status = co_await flood;
  const auto rate = co_await drained;
  timer->Cancel();
  CYLON_CO_RETURN_NOT_OK(status);
  co_return rate;
}

Co<StreamFigures> MeasureStream(AsioExecutor* executor, Stream* stream, bool first, Duration span) {
  StreamFigures figures;
  Figures told{};  // what the first measures and the other cannot
  if (first) {
    auto pinging = Ping(executor, stream);
    CYLON_CO_ASSIGN_OR_RETURN(figures.round_trip, co_await pinging);
    told = {figures.round_trip.median_ms, figures.round_trip.p99_ms, static_cast<double>(figures.round_trip.count)};
    auto telling = WriteBytes(stream, told.data(), sizeof(told));
    CYLON_CO_RETURN_NOT_OK(co_await telling);
  } else {
    auto echoing = Echo(stream);
    CYLON_CO_RETURN_NOT_OK(co_await echoing);
    auto hearing = ReadBytes(stream, told.data(), sizeof(told));
    CYLON_CO_RETURN_NOT_OK(co_await hearing);
    figures.round_trip = {told[0], told[1], static_cast<int>(told[2])};
  }
  for (const bool sends : {first, !first}) {
    double& rate = sends ? figures.sent_bytes_per_s : figures.received_bytes_per_s;
    if (sends) {
      auto flooding = Flood(executor, stream, span);
      CYLON_CO_RETURN_NOT_OK(co_await flooding);
      auto hearing = ReadBytes(stream, &rate, sizeof(rate));
      CYLON_CO_RETURN_NOT_OK(co_await hearing);
    } else {
      auto draining = Drain(executor, stream);
      CYLON_CO_ASSIGN_OR_RETURN(rate, co_await draining);
      auto telling = WriteBytes(stream, &rate, sizeof(rate));
      CYLON_CO_RETURN_NOT_OK(co_await telling);
    }
  }
  co_return figures;
}

}  // namespace cylon::tools
