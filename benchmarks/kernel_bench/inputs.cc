// Draws the tables: splitmix64 over the row number, so that a table is the same whenever and in whatever order it is
// made.
#include "inputs.h"

#include <string_view>

#include "cylon/base/options.h"

namespace cylon::bench {

namespace {

constexpr int64_t kChunkRows = int64_t{1} << 20;
constexpr int64_t kSecondKeyValues = 16;

uint64_t Mixed(uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> Build(int64_t rows, const Value& value) {
  Builder builder(Rank()->memory());
  Must(builder.Reserve(rows));
  for (int64_t i = 0; i < rows; ++i) {
    Must(builder.Append(value(i)));
  }
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> Keys(KeyKind kind, uint64_t seed, int64_t first, int64_t rows, int64_t distinct) {
  const auto drawn = [&](int64_t i) {
    return static_cast<int64_t>(Mixed(seed + static_cast<uint64_t>(first + i)) % static_cast<uint64_t>(distinct));
  };
  switch (kind) {
    case KeyKind::kString:
      return Build<arrow::StringBuilder>(rows,
                                         [&](int64_t i) { return "id" + std::to_string(10'000'000'000 + drawn(i)); });
    case KeyKind::kDouble:
      return Build<arrow::DoubleBuilder>(rows, [&](int64_t i) { return static_cast<double>(drawn(i)) / 4; });
    case KeyKind::kInt64:
      break;
  }
  return Build<arrow::Int64Builder>(rows, drawn);
}

std::shared_ptr<arrow::RecordBatch> Draw(const InputSpec& spec, int64_t first, int64_t rows) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (int i = 0; i < spec.keys; ++i) {
    const int64_t distinct = i == 0 ? spec.distinct : kSecondKeyValues;
    columns.push_back(Keys(spec.kind, Mixed(spec.seed + static_cast<uint64_t>(i)), first, rows, distinct));
    fields.push_back(arrow::field("k" + std::to_string(i), columns.back()->type(), false));
  }
  for (int i = 0; i < spec.payloads; ++i) {
    columns.push_back(Build<arrow::Int64Builder>(rows, [&](int64_t row) { return (first + row) * 31 + i; }));
    fields.push_back(arrow::field("p" + std::to_string(i), columns.back()->type(), false));
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), rows, columns);
}

}  // namespace

const std::shared_ptr<Resources>& Rank() {
  static const std::shared_ptr<Resources> rank = Resources::Make(OptionsFromEnvironment().ValueOrDie()).ValueOrDie();
  return rank;
}

Table MakeTable(const InputSpec& spec) {
  TableBuilder builder(Rank(), Draw(spec, 0, 0)->schema());
  for (int64_t first = 0; first < spec.rows; first += kChunkRows) {
    Must(builder.Append(Draw(spec, first, std::min(kChunkRows, spec.rows - first))));
  }
  return builder.Finish();
}

std::shared_ptr<arrow::RecordBatch> MakeBatch(const InputSpec& spec) { return Draw(spec, 0, spec.rows); }

int64_t ValueBytes(const arrow::RecordBatch& batch) {
  int64_t bytes = 0;
  for (const auto& column : batch.columns()) {
    for (const auto& buffer : column->data()->buffers) {
      bytes += buffer == nullptr ? 0 : buffer->size();
    }
  }
  return bytes;
}

void Measure(benchmark::State& state, int64_t rows, int64_t bytes, const std::function<arrow::Status()>& body) {
  for ([[maybe_unused]] auto _ : state) {
    const arrow::Status status = body();
    if (!status.ok()) {
      state.SkipWithError(status.ToString().c_str());
      return;
    }
  }
  state.SetItemsProcessed(state.iterations() * rows);
  state.SetBytesProcessed(state.iterations() * bytes);
}

}  // namespace cylon::bench
