// One rank's whole operators: join, group-by, sort, unique.
#include "cylon/kernels/group_by.h"
#include "cylon/kernels/join.h"
#include "cylon/kernels/sort.h"
#include "cylon/kernels/unique.h"
#include "inputs.h"

namespace cylon::bench {
namespace {

/// Inner join of two tables, keys uniform below `distinct` on both sides: rows * rows / distinct rows of three columns.
/// Rows a second are of both sides.
void Join(benchmark::State& state, KeyKind kind) {
  const InputSpec left_spec{.rows = state.range(0), .distinct = state.range(1), .kind = kind};
  InputSpec right_spec = left_spec;
  right_spec.rows = state.range(2);
  right_spec.seed = 2;
  const Table left = MakeTable(left_spec);
  const Table right = MakeTable(right_spec);
  JoinKernelOptions options;
  options.left_keys = {0};
  options.right_keys = {0};
  options.left_output = {0, 1};
  options.right_output = {1};
  options.output_schema =
      arrow::schema({left.schema()->field(0), left.schema()->field(1), right.schema()->field(1)->WithName("right_p0")});
  Measure(state, left.num_rows() + right.num_rows(), left.num_bytes() + right.num_bytes(),
          [&] { return JoinTables(Rank(), left, right, options).status(); });
}
// The published shape, a small right side, and one that every row meets.
BENCHMARK_CAPTURE(Join, int64, KeyKind::kInt64)
    ->ArgNames({"left", "keys", "right"})
    ->Args({kSmall, kSmall, kSmall})
    ->Args({kLarge, kLarge * 9 / 10, kLarge})
    ->Args({kLarge, 1000, 1000})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(Join, string, KeyKind::kString)
    ->ArgNames({"left", "keys", "right"})
    ->Args({kLarge, kLarge * 9 / 10, kLarge})
    ->Args({kLarge, 1000, 1000})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

/// Sum, mean, std, min and max of one column by groups.
void GroupBy(benchmark::State& state, KeyKind kind) {
  const Table table = MakeTable({.rows = state.range(0), .distinct = state.range(1), .kind = kind});
  GroupByKernelOptions options;
  options.keys = {0};
  for (const AggregateOp op :
       {AggregateOp::kSum, AggregateOp::kMean, AggregateOp::kStd, AggregateOp::kMin, AggregateOp::kMax}) {
    options.aggregates.push_back({.column = 1, .op = op, .name = std::string(AggregateName(op))});
  }
  Measure(state, table.num_rows(), table.num_bytes(), [&] { return GroupByLocal(Rank(), table, options).status(); });
}
BENCHMARK_CAPTURE(GroupBy, int64, KeyKind::kInt64)
    ->ArgNames({"rows", "groups"})
    ->Args({kSmall, 100})
    ->ArgsProduct({{kLarge}, {100, 100'000, kLarge}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(GroupBy, string, KeyKind::kString)
    ->ArgNames({"rows", "groups"})
    ->ArgsProduct({{kLarge}, {100, 100'000, kLarge}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

void Sort(benchmark::State& state, KeyKind kind, int keys) {
  const Table table = MakeTable({.rows = state.range(0), .distinct = state.range(1), .kind = kind, .keys = keys});
  std::vector<SortKey> by;
  for (int i = keys - 1; i >= 0; --i) {  // the key of few values first, so that the other one matters
    by.push_back({.column = i});
  }
  Measure(state, table.num_rows(), table.num_bytes(), [&] { return SortTable(Rank(), table, by).status(); });
}
BENCHMARK_CAPTURE(Sort, int64, KeyKind::kInt64, 1)
    ->ArgNames({"rows", "keys"})
    ->Args({kSmall, kSmall})
    ->ArgsProduct({{kLarge}, {100, kLarge}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(Sort, two_int64, KeyKind::kInt64, 2)
    ->ArgNames({"rows", "keys"})
    ->Args({kLarge, kLarge})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(Sort, double, KeyKind::kDouble, 1)
    ->ArgNames({"rows", "keys"})
    ->Args({kLarge, kLarge})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(Sort, string, KeyKind::kString, 1)
    ->ArgNames({"rows", "keys"})
    ->Args({kLarge, kLarge})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

/// The first row of each key.
void Unique(benchmark::State& state, KeyKind kind) {
  const Table table = MakeTable({.rows = state.range(0), .distinct = state.range(1), .kind = kind});
  Measure(state, table.num_rows(), table.num_bytes(),
          [&] { return UniqueRows(Rank(), table, {0}, Keep::kFirst).status(); });
}
BENCHMARK_CAPTURE(Unique, int64, KeyKind::kInt64)
    ->ArgNames({"rows", "keys"})
    ->Args({kSmall, kSmall})
    ->ArgsProduct({{kLarge}, {100, kLarge}})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();
BENCHMARK_CAPTURE(Unique, string, KeyKind::kString)
    ->ArgNames({"rows", "keys"})
    ->Args({kLarge, kLarge})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime();

}  // namespace
}  // namespace cylon::bench
