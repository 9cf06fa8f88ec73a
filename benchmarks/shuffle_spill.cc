// A shuffle many times larger than the ranks' budgets: rows and checksum stay, memory stays in bounds.
//
//   CYLON_MEMORY=1G cylon run -n 2 shuffle-spill --gib 8 --growth-gib 1.1
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <string>

#include "cylon/comm/context.h"
#include "cylon/exchange/exchange.h"
#include "peak_memory.h"

namespace cylon {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
/// Rows of a generated chunk: 4 MiB of two columns.
constexpr int64_t kChunkRows = int64_t{1} << 18;
constexpr int64_t kRowBytes = 16;

/// splitmix64's finaliser: a value for each key, and a weight of both for the checksum.
uint64_t Mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

/// Below 2^32, so that the sum over all rows fits.
int64_t Weight(int64_t key, int64_t value) {
  return static_cast<int64_t>(Mix(static_cast<uint64_t>(key) + 3 * static_cast<uint64_t>(value)) >> 32);
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> Generate(Resources& resources,
                                                            const std::shared_ptr<arrow::Schema>& schema, int64_t first,
                                                            int64_t rows, int64_t* checksum) {
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  std::vector<int64_t*> values;
  for (int i = 0; i < 2; ++i) {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(8 * rows, resources.memory()));
    columns.push_back(arrow::ArrayData::Make(arrow::int64(), rows, {nullptr, std::move(buffer)}, 0));
    values.push_back(columns.back()->GetMutableValues<int64_t>(1));
  }
  for (int64_t i = 0; i < rows; ++i) {
    values[0][i] = first + i;
    values[1][i] = static_cast<int64_t>(Mix(static_cast<uint64_t>(first + i)));
    *checksum += Weight(values[0][i], values[1][i]);
  }
  return arrow::RecordBatch::Make(schema, rows, std::move(columns));
}

arrow::Status CheckEqual(const char* what, int64_t got, int64_t expected) {
  if (got != expected) {
    return arrow::Status::UnknownError(what, " is ", got, " after the shuffle, expected ", expected);
  }
  return arrow::Status::OK();
}

arrow::Status Run(double gib, double growth_gib) {
  ARROW_ASSIGN_OR_RAISE(auto options, OptionsFromEnvironment());
  ARROW_ASSIGN_OR_RAISE(auto context, Context::Connect(std::move(options)));
  auto& communicator = context->communicator();
  auto resources = context->resources();
  const bench::PeakSampler sampler(resources->memory());
  const auto begin = std::chrono::steady_clock::now();

  auto schema = arrow::schema({arrow::field("key", arrow::int64()), arrow::field("value", arrow::int64())});
  const auto rows = static_cast<int64_t>(gib * kGiB) / kRowBytes / context->world_size();
  const int64_t first = rows * context->rank();
  int64_t checksum = 0;
  TableBuilder builder(resources, schema);
  for (int64_t done = 0; done < rows; done += kChunkRows) {
    ARROW_ASSIGN_OR_RAISE(auto batch,
                          Generate(*resources, schema, first + done, std::min(kChunkRows, rows - done), &checksum));
    ARROW_RETURN_NOT_OK(builder.Append(std::move(batch)));
  }
  const Table table = builder.Finish();
  const auto generated = std::chrono::steady_clock::now();

  ARROW_ASSIGN_OR_RAISE(auto mine, ShuffleByHash(*context, "shuffle-spill", table, {0}));
  const auto shuffled = std::chrono::steady_clock::now();

  int64_t after = 0;
  ARROW_RETURN_NOT_OK(mine.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    const int64_t* keys = batch->column_data(0)->GetValues<int64_t>(1);
    const int64_t* values = batch->column_data(1)->GetValues<int64_t>(1);
    for (int64_t i = 0; i < batch->num_rows(); ++i) {
      after += Weight(keys[i], values[i]);
    }
    return arrow::Status::OK();
  }));
  ARROW_ASSIGN_OR_RAISE(auto all_before, communicator.AllReduce(checksum, ReduceOp::kSum));
  ARROW_ASSIGN_OR_RAISE(auto all_after, communicator.AllReduce(after, ReduceOp::kSum));
  ARROW_ASSIGN_OR_RAISE(auto all_rows, communicator.AllReduce(mine.num_rows(), ReduceOp::kSum));
  const double growth = static_cast<double>(sampler.peak().growth) / kGiB;
  auto seconds = [](auto from, auto to) { return std::chrono::duration<double>(to - from).count(); };
  std::printf(
      "rank %d: %.2f GiB made in %.1f s, shuffled in %.1f s; %lld rows here; %.2f GiB spilled; anonymous "
      "memory grew by %.3f GiB (budget %.3f GiB)\n",
      context->rank(), static_cast<double>(rows * kRowBytes) / kGiB, seconds(begin, generated),
      seconds(generated, shuffled), static_cast<long long>(mine.num_rows()),
      static_cast<double>(resources->memory()->spilled_bytes()) / kGiB, growth,
      static_cast<double>(resources->memory()->limit()) / kGiB);
  ARROW_RETURN_NOT_OK(CheckEqual("the number of rows", all_rows, rows * context->world_size()));
  ARROW_RETURN_NOT_OK(CheckEqual("the checksum", all_after, all_before));
  if (growth > growth_gib) {
    return arrow::Status::CapacityError("anonymous memory grew by ", growth, " GiB, expected at most ", growth_gib);
  }
  return context->Close();
}

}  // namespace
}  // namespace cylon

int main(int argc, char** argv) {
  CLI::App app("Shuffles more than fits into memory, and checks rows, checksum and the growth of memory");
  double gib = 8;
  double growth_gib = 1.1;
  app.add_option("--gib", gib, "rows of all ranks together, in GiB")->capture_default_str();
  app.add_option("--growth-gib", growth_gib, "growth of a rank's anonymous memory that is a failure")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto status = cylon::Run(gib, growth_gib);
  if (!status.ok()) {
    std::fprintf(stderr, "shuffle-spill: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
