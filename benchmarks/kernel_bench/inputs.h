/// Tables that the kernels' benchmarks work on, and what every one of them reports.
#pragma once

#include <arrow/api.h>
#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/resources.h"
#include "cylon/table/table.h"

namespace cylon::bench {

/// How keys look.
enum class KeyKind : uint8_t { kInt64, kString, kDouble };

struct InputSpec {
  int64_t rows = 0;
  int64_t distinct = 0;  ///< keys are uniform below this
  KeyKind kind = KeyKind::kInt64;
  int keys = 1;      ///< key columns, all of this kind; a second one has 16 values
  int payloads = 1;  ///< int64 columns beside them
  uint64_t seed = 1;
};

/// Ends the program where its input cannot be made.
inline void Must(const arrow::Status& status) {
  if (!status.ok()) {
    status.Abort();
  }
}

/// The rank that everything runs on, with the options of the environment.
const std::shared_ptr<Resources>& Rank();

/// Key columns k0, k1, then payloads p0, p1 and so on, in chunks of 2^20 rows, without nulls.
Table MakeTable(const InputSpec& spec);

/// The same in one batch.
std::shared_ptr<arrow::RecordBatch> MakeBatch(const InputSpec& spec);

/// Bytes of all the values of a batch.
int64_t ValueBytes(const arrow::RecordBatch& batch);

/// Runs `body` until the measurement is good, and reports rows and bytes of the input a second. A body that fails ends
/// the benchmark with its message.
void Measure(benchmark::State& state, int64_t rows, int64_t bytes, const std::function<arrow::Status()>& body);

/// Sizes: a table within the cache, and one that is not.
inline constexpr int64_t kSmall = int64_t{1} << 14;
inline constexpr int64_t kLarge = int64_t{1} << 22;

}  // namespace cylon::bench
