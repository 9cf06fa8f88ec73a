// What every operator is made of: hashing rows, cutting them into partitions, gathering them.
#include <numeric>
#include <random>

#include "cylon/kernels/hash.h"
#include "cylon/kernels/partition.h"
#include "inputs.h"

namespace cylon::bench {
namespace {

std::vector<int> FirstColumns(int count) {
  std::vector<int> columns(count);
  std::iota(columns.begin(), columns.end(), 0);
  return columns;
}

void Hash(benchmark::State& state, KeyKind kind, int keys) {
  const auto batch =
      MakeBatch({.rows = state.range(0), .distinct = state.range(0), .kind = kind, .keys = keys, .payloads = 0});
  std::vector<uint64_t> hashes;
  Measure(state, batch->num_rows(), ValueBytes(*batch), [&] { return HashRows(*batch, FirstColumns(keys), &hashes); });
}
BENCHMARK_CAPTURE(Hash, int64, KeyKind::kInt64, 1)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK_CAPTURE(Hash, two_int64, KeyKind::kInt64, 2)->Arg(kLarge)->UseRealTime();
BENCHMARK_CAPTURE(Hash, double, KeyKind::kDouble, 1)->Arg(kLarge)->UseRealTime();
BENCHMARK_CAPTURE(Hash, string, KeyKind::kString, 1)->Arg(kSmall)->Arg(kLarge)->UseRealTime();

/// Rows to as many destinations as a shuffle has ranks; where they go is known.
void Partition(benchmark::State& state, KeyKind kind) {
  const auto batch = MakeBatch({.rows = state.range(0), .distinct = state.range(0), .kind = kind});
  const auto count = static_cast<uint32_t>(state.range(1));
  std::vector<uint32_t> destinations;
  Must(HashDestinations(*batch, {0}, count, &destinations));
  Measure(state, batch->num_rows(), ValueBytes(*batch),
          [&] { return PartitionBatch(*Rank(), *batch, destinations, count).status(); });
}
BENCHMARK_CAPTURE(Partition, int64, KeyKind::kInt64)->ArgsProduct({{kSmall, kLarge}, {2, 16, 256}})->UseRealTime();
BENCHMARK_CAPTURE(Partition, string, KeyKind::kString)->ArgsProduct({{kLarge}, {16}})->UseRealTime();

/// All rows in random order: one miss a row and column where the table is not in cache.
void Gather(benchmark::State& state, KeyKind kind) {
  const auto batch = MakeBatch({.rows = state.range(0), .distinct = state.range(0), .kind = kind});
  std::vector<int64_t> rows(state.range(0));
  std::iota(rows.begin(), rows.end(), 0);
  std::shuffle(rows.begin(), rows.end(), std::mt19937_64(1));
  Measure(state, batch->num_rows(), ValueBytes(*batch), [&] { return TakeRows(*Rank(), *batch, rows).status(); });
}
BENCHMARK_CAPTURE(Gather, int64, KeyKind::kInt64)->Arg(kSmall)->Arg(kLarge)->UseRealTime();
BENCHMARK_CAPTURE(Gather, string, KeyKind::kString)->Arg(kSmall)->Arg(kLarge)->UseRealTime();

}  // namespace
}  // namespace cylon::bench
