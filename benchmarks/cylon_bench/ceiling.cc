// The exchange against the raw-socket ceiling.
#include "ceiling.h"

#include <chrono>

#include "raw_sockets.h"
#include "workload.h"

namespace cylon::bench {

namespace {

using Clock = std::chrono::steady_clock;

/// Chunks as a partition pass leaves them: as large as the exchange sends.
constexpr int64_t kChunkBytes = 4 << 20;

arrow::Result<std::vector<Outgoing>> MakePartitions(Context& context, int64_t bytes) {
  const auto schema =
      arrow::schema({arrow::field("0", arrow::int64(), false), arrow::field("1", arrow::int64(), false)});
  std::vector<Outgoing> partitions;
  const int64_t rows = bytes / 16;
  for (int64_t begin = 0; begin < rows;) {
    const int64_t count = std::min(kChunkBytes / 16, rows - begin);
    for (int peer = 0; peer < context.world_size(); ++peer) {
      if (peer == context.rank()) {
        continue;
      }
      arrow::ArrayVector columns;
      for (int i = 0; i < 2; ++i) {
        ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> values,
                              arrow::AllocateBuffer(count * 8, context.resources()->memory()));
        for (int64_t row = 0; row < count; ++row) {
          values->mutable_data_as<int64_t>()[row] = begin + row;
        }
        columns.push_back(std::make_shared<arrow::Int64Array>(count, std::move(values)));
      }
      partitions.push_back({peer, arrow::RecordBatch::Make(schema, count, std::move(columns))});
    }
    begin += count;
  }
  return partitions;
}

/// Seconds from barrier to barrier.
template <typename Work>
arrow::Result<Spread> Time(Context& context, const Work& work) {
  ARROW_RETURN_NOT_OK(context.communicator().Barrier());
  const auto begin = Clock::now();
  ARROW_RETURN_NOT_OK(work());
  ARROW_RETURN_NOT_OK(context.communicator().Barrier());
  const std::chrono::duration<double> seconds = Clock::now() - begin;
  return SpreadOver(context, seconds.count());
}

}  // namespace

arrow::Result<Ceiling> MeasureCeiling(Context& context, int64_t bytes, int pairs) {
  ARROW_ASSIGN_OR_RAISE(const auto sockets, RawSockets::Connect(context, bytes));
  ARROW_ASSIGN_OR_RAISE(const auto partitions, MakePartitions(context, bytes));
  const int64_t moved = bytes * context.world_size() * (context.world_size() - 1);
  Ceiling ceiling;
  ceiling.raw.operation = "raw sockets";
  ceiling.exchange.operation = "exchange";
  ceiling.raw.bytes_moved = ceiling.exchange.bytes_moved = moved;
  ceiling.raw.input_rows = ceiling.exchange.input_rows = moved / 16;
  ceiling.raw.result_rows = ceiling.exchange.result_rows = moved / 16;
  std::vector<std::shared_ptr<arrow::RecordBatch>> received;
  const auto exchange = [&]() -> arrow::Status {
    size_t next = 0;
    const auto source = [&]() -> arrow::Result<std::optional<std::vector<Outgoing>>> {
      if (next == partitions.size()) {
        return std::nullopt;
      }
      return std::vector<Outgoing>{partitions[next++]};
    };
    const auto target = [&](Incoming incoming) {
      received.push_back(std::move(incoming.batch));
      return arrow::Status::OK();
    };
    return Exchange(context, "benchmark", partitions.front().batch->schema(), source, target).status();
  };
  const auto raw = [&] { return sockets->AllToAll(bytes); };
  // One of each first, unmeasured, so that the memory of both was touched before.
  ARROW_RETURN_NOT_OK(Time(context, raw).status());
  ARROW_RETURN_NOT_OK(Time(context, exchange).status());
  received.clear();
  for (int pair = 0; pair < pairs; ++pair) {
    ARROW_ASSIGN_OR_RAISE(const auto raw_seconds, Time(context, raw));
    ARROW_ASSIGN_OR_RAISE(const auto exchange_seconds, Time(context, exchange));
    received.clear();
    ceiling.raw.seconds.push_back(raw_seconds.mean);
    ceiling.raw.slowest.push_back(raw_seconds.largest);
    ceiling.exchange.seconds.push_back(exchange_seconds.mean);
    ceiling.exchange.slowest.push_back(exchange_seconds.largest);
    ceiling.ratios.push_back(raw_seconds.mean / exchange_seconds.mean);
  }
  return ceiling;
}

}  // namespace cylon::bench
