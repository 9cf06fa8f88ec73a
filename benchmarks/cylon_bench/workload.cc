// The published workload: rows of two int64 from default_rng(seed=rank).integers(0, int(max_value * u)), where
// max_value is the number of rows over all ranks; with skew, some rows have one key.
#include "workload.h"

#include <chrono>
#include <ctime>

#include "numpy_random.h"

namespace cylon::bench {

namespace {

constexpr int64_t kChunkRows = 1 << 20;

/// Whether a row is one of the heavy key's is drawn from so many.
constexpr int64_t kDraws = 1 << 20;

arrow::Result<Table> MakeTable(const std::shared_ptr<Resources>& resources, NumpyRandom* random, int64_t rows,
                               uint64_t bound, double heavy_share) {
  const auto schema =
      arrow::schema({arrow::field("0", arrow::int64(), false), arrow::field("1", arrow::int64(), false)});
  TableBuilder builder(resources, schema);
  for (int64_t done = 0; done < rows;) {
    const int64_t count = std::min(kChunkRows, rows - done);
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> first, arrow::AllocateBuffer(count * 8, resources->memory()));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> second, arrow::AllocateBuffer(count * 8, resources->memory()));
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t key = random->Integer(bound);
      const bool heavy = heavy_share > 0 && random->Integer(kDraws) < heavy_share * kDraws;
      first->mutable_data_as<int64_t>()[i] = static_cast<int64_t>(heavy ? bound / 2 : key);
      second->mutable_data_as<int64_t>()[i] = static_cast<int64_t>(random->Integer(bound));
    }
    ARROW_RETURN_NOT_OK(builder.Append(arrow::RecordBatch::Make(
        schema, count,
        {std::make_shared<arrow::Int64Array>(count, first), std::make_shared<arrow::Int64Array>(count, second)})));
    done += count;
  }
  return builder.Finish();
}

arrow::Result<Table> RunOperation(Context& context, const std::string& operation, const Table& left,
                                  const Table& right) {
  if (operation == "join") {
    JoinOptions options;
    options.left_keys = {"0"};
    options.right_keys = {"0"};
    return Join(context, left, right, options);
  }
  if (operation == "sort") {
    return Sort(context, left, {{{"0"}}, NullPlacement::kLast});
  }
  if (operation == "groupby") {
    return GroupBy(context, left, {{"0"}, {{"1", AggregateOp::kSum, "", 1}, {"1", AggregateOp::kMean, "", 1}}});
  }
  if (operation == "unique") {
    return Unique(context, left, {"0"}, Keep::kFirst);
  }
  return arrow::Status::Invalid("operation '", operation, "' is not known; choose among join, sort, groupby, unique");
}

}  // namespace

arrow::Result<int64_t> BytesSent(Context& context) {
  int64_t bytes = 0;
  ARROW_RETURN_NOT_OK(context.executor().RunTask([&] {
    bytes = context.communicator().lanes().bytes_sent();
    return arrow::Status::OK();
  }));
  return bytes;
}

arrow::Result<Spread> SpreadOver(Context& context, double value) {
  Spread spread;
  ARROW_ASSIGN_OR_RAISE(spread.mean, context.communicator().AllReduce(value, ReduceOp::kSum));
  spread.mean /= context.world_size();
  ARROW_ASSIGN_OR_RAISE(spread.largest, context.communicator().AllReduce(value, ReduceOp::kMax));
  return spread;
}

arrow::Result<Measurement> MeasureOperation(Context& context, const WorkloadOptions& options) {
  const int ranks = context.world_size();
  const int64_t rows = options.weak ? options.rows : options.rows / ranks;
  const int64_t total = options.weak ? options.rows * ranks : options.rows;
  const auto bound = static_cast<uint64_t>(static_cast<double>(total) * options.unique_share);
  if (bound < 2 || bound >> 32 != 0) {
    return arrow::Status::Invalid("keys up to ", bound,
                                  " were asked for; rows and share of unique values have to give 2 to 4294967295");
  }
  NumpyRandom random(static_cast<uint32_t>(context.rank()));
  ARROW_ASSIGN_OR_RAISE(const auto left, MakeTable(context.resources(), &random, rows, bound, options.heavy_share));
  Table right;
  if (options.operation == "join") {
    ARROW_ASSIGN_OR_RAISE(right, MakeTable(context.resources(), &random, rows, bound, 0));
  }
  auto& communicator = context.communicator();
  Measurement measurement;
  measurement.operation = options.operation;
  measurement.scaling = options.weak ? "weak" : "strong";
  ARROW_ASSIGN_OR_RAISE(measurement.input_rows,
                        communicator.AllReduce(left.num_rows() + right.num_rows(), ReduceOp::kSum));
  for (int i = 0; i < options.iterations; ++i) {
    ARROW_ASSIGN_OR_RAISE(const int64_t sent_before, BytesSent(context));
    ARROW_RETURN_NOT_OK(communicator.Barrier());
    const auto begin = std::chrono::steady_clock::now();
    const std::clock_t cpu_begin = std::clock();
    ARROW_ASSIGN_OR_RAISE(const auto result, RunOperation(context, options.operation, left, right));
    const auto cpu_seconds = static_cast<double>(std::clock() - cpu_begin) / CLOCKS_PER_SEC;
    ARROW_RETURN_NOT_OK(communicator.Barrier());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    ARROW_ASSIGN_OR_RAISE(const int64_t sent_after, BytesSent(context));
    ARROW_ASSIGN_OR_RAISE(const auto spread, SpreadOver(context, seconds.count()));
    measurement.seconds.push_back(spread.mean);
    measurement.slowest.push_back(spread.largest);
    ARROW_ASSIGN_OR_RAISE(const auto cpu, SpreadOver(context, cpu_seconds));
    measurement.cpu_seconds.push_back(cpu.mean);
    measurement.busiest.push_back(cpu.largest);
    ARROW_ASSIGN_OR_RAISE(measurement.bytes_moved, communicator.AllReduce(sent_after - sent_before, ReduceOp::kSum));
    ARROW_ASSIGN_OR_RAISE(measurement.result_rows, communicator.AllReduce(result.num_rows(), ReduceOp::kSum));
  }
  return measurement;
}

}  // namespace cylon::bench
