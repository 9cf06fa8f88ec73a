// Operators on several times as much data as the budget: the same answer as in memory, how much slower, and by how much
// the process grows.
//
//   out-of-core                                    join, group-by, sort and unique of 4 GiB under 1 GiB, and in memory
//   out-of-core --operator sort --text --memory 2G
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <chrono>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "cylon/comm/context.h"
#include "cylon/ops/group_by.h"
#include "cylon/ops/join.h"
#include "cylon/ops/rows.h"
#include "cylon/ops/sort.h"
#include "peak_memory.h"

namespace cylon::bench {
namespace {

constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;
/// Rows of a generated chunk: 2 MiB of a column of numbers.
constexpr int64_t kChunkRows = int64_t{1} << 18;
constexpr int kPayloads = 3;

struct Settings {
  std::vector<std::string> operators = {"join", "group-by", "sort", "unique"};
  std::string memory = "1G";
  double factor = 4;
  bool text = false;
  double most_times = 4;
  double most_growth = 1.1;
};

/// What a run reports to the process that started it: through a pipe, so nothing but numbers.
struct Outcome {
  int64_t rows = 0;
  uint64_t checksum = 0;
  double seconds = 0;
  int64_t spilled = 0;
  int64_t limit = 0;  ///< of the rank
  PeakSampler::Peak peak;
};

/// splitmix64's finaliser.
uint64_t Mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15U;
  x = (x ^ (x >> 30U)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27U)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31U);
}

/// Rows of a key below `distinct` and three numbers.
struct Input {
  uint64_t seed;
  int64_t rows;
  int64_t distinct;
  bool text;

  int64_t Key(int64_t row) const {
    return static_cast<int64_t>(Mix(seed ^ Mix(static_cast<uint64_t>(row))) % static_cast<uint64_t>(distinct));
  }
};

/// Of a row of an input: 8 bytes for each number, and 16 characters with an offset for a text.
int64_t RowBytes(bool text) { return kPayloads * 8 + (text ? 20 : 8); }

arrow::Result<std::shared_ptr<arrow::Array>> MakeKeys(arrow::MemoryPool* pool, const Input& input, int64_t first,
                                                      int64_t rows) {
  if (!input.text) {
    arrow::Int64Builder keys(pool);
    ARROW_RETURN_NOT_OK(keys.Reserve(rows));
    for (int64_t row = first; row < first + rows; ++row) {
      keys.UnsafeAppend(input.Key(row));
    }
    return keys.Finish();
  }
  constexpr int64_t kLength = 16;
  arrow::StringBuilder keys(pool);
  ARROW_RETURN_NOT_OK(keys.Reserve(rows));
  ARROW_RETURN_NOT_OK(keys.ReserveData(rows * kLength));
  std::array<char, kLength + 1> text{};
  for (int64_t row = first; row < first + rows; ++row) {
    std::snprintf(text.data(), text.size(), "key-%012llx",
                  static_cast<unsigned long long>(input.Key(row) & 0xFFFFFFFFFFFF));
    keys.UnsafeAppend(text.data(), kLength);
  }
  return keys.Finish();
}

arrow::Result<Table> MakeTable(const std::shared_ptr<Resources>& resources, const Input& input) {
  arrow::FieldVector fields = {arrow::field("key", input.text ? arrow::utf8() : arrow::int64())};
  for (int k = 0; k < kPayloads; ++k) {
    fields.push_back(arrow::field("value" + std::to_string(k), arrow::int64()));
  }
  const auto schema = arrow::schema(std::move(fields));
  TableBuilder builder(resources, schema);
  for (int64_t first = 0; first < input.rows; first += kChunkRows) {
    const int64_t rows = std::min(kChunkRows, input.rows - first);
    arrow::ArrayVector columns(1);
    ARROW_ASSIGN_OR_RAISE(columns[0], MakeKeys(resources->memory(), input, first, rows));
    for (int k = 0; k < kPayloads; ++k) {
      arrow::Int64Builder values(resources->memory());
      ARROW_RETURN_NOT_OK(values.Reserve(rows));
      for (int64_t row = first; row < first + rows; ++row) {
        values.UnsafeAppend(row * kPayloads + k);
      }
      ARROW_ASSIGN_OR_RAISE(auto array, values.Finish());
      columns.push_back(std::move(array));
    }
    ARROW_RETURN_NOT_OK(builder.Append(arrow::RecordBatch::Make(schema, rows, std::move(columns))));
  }
  return builder.Finish();
}

uint64_t HashOfValue(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) {
    return 1;
  }
  if (column.type_id() == arrow::Type::STRING) {
    return std::hash<std::string_view>()(static_cast<const arrow::StringArray&>(column).GetView(row));
  }
  return static_cast<uint64_t>(column.data()->GetValues<int64_t>(1)[row]);
}

/// Over all values; where rows have an order, it counts.
arrow::Result<uint64_t> Checksum(const Table& table, bool ordered) {
  uint64_t sum = 0;
  uint64_t position = 0;
  ARROW_RETURN_NOT_OK(table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
    for (const auto& column : batch->columns()) {
      if (column->type_id() != arrow::Type::STRING && column->type_id() != arrow::Type::INT64) {
        return arrow::Status::TypeError("a result has a column of type ", column->type()->ToString(),
                                        ", expected int64 or string");
      }
    }
    for (int64_t row = 0; row < batch->num_rows(); ++row, ++position) {
      uint64_t hash = ordered ? position : 0;
      for (const auto& column : batch->columns()) {
        hash = Mix(hash ^ HashOfValue(*column, row));
      }
      sum += hash;
    }
    return arrow::Status::OK();
  }));
  return sum;
}

/// The inputs of an operator, what it does with them, and whether its rows come in an order.
struct Case {
  std::vector<Input> inputs;
  std::function<arrow::Result<Table>(Context&, const std::vector<Table>&)> run;
  bool ordered;
};

/// `bytes` over all inputs.
arrow::Result<Case> CaseOf(const std::string& name, int64_t bytes, bool text) {
  const int64_t rows = bytes / RowBytes(text);
  if (name == "join") {  // about as many rows come out as a side has
    return Case{{{1, rows / 2, rows / 2, text}, {2, rows / 2, rows / 2, text}},
                [](Context& context, const std::vector<Table>& tables) {
                  JoinOptions options;
                  options.left_keys = options.right_keys = {"key"};
                  return Join(context, tables[0], tables[1], options);
                },
                false};
  }
  if (name == "group-by") {
    return Case{{{3, rows, rows / 4, text}},
                [](Context& context, const std::vector<Table>& tables) {
                  GroupByOptions options;
                  options.keys = {"key"};
                  options.aggregates.resize(4);
                  const std::array<AggregateOp, 4> ops = {AggregateOp::kSum, AggregateOp::kMin, AggregateOp::kMax,
                                                          AggregateOp::kCount};
                  for (size_t i = 0; i < ops.size(); ++i) {
                    options.aggregates[i].column = "value" + std::to_string(i % kPayloads);
                    options.aggregates[i].op = ops[i];
                  }
                  return GroupBy(context, tables[0], options);
                },
                false};
  }
  if (name == "sort") {
    return Case{{{4, rows, int64_t{1} << 60, text}},
                [](Context& context, const std::vector<Table>& tables) {
                  SortOptions options;
                  options.by.resize(1);
                  options.by[0].name = "key";
                  return Sort(context, tables[0], options);
                },
                true};
  }
  if (name == "unique") {  // 43 % of the rows are kept
    return Case{{{5, rows, rows / 2, text}},
                [](Context& context, const std::vector<Table>& tables) {
                  return Unique(context, tables[0], {"key"}, Keep::kFirst);
                },
                true};
  }
  return arrow::Status::Invalid("there is no operator '", name, "'; expected join, group-by, sort or unique");
}

/// Makes the inputs and runs the operator, under a limit of `memory` (empty: what the host has).
arrow::Result<Outcome> RunHere(const std::string& name, const Settings& settings, int64_t bytes,
                               const std::string& memory) {
  ARROW_ASSIGN_OR_RAISE(auto options, OptionsFromEnvironment());
  ARROW_RETURN_NOT_OK(SetOption(&options, "memory_bytes", memory.empty() ? "0" : memory));
  ARROW_ASSIGN_OR_RAISE(auto context, Context::Local(std::move(options)));
  ARROW_ASSIGN_OR_RAISE(const auto chosen, CaseOf(name, bytes, settings.text));
  auto* budget = context->resources()->memory();
  Outcome outcome;
  outcome.limit = context->resources()->options().memory_bytes;
  const PeakSampler sampler(budget);
  std::vector<Table> tables;
  for (const auto& input : chosen.inputs) {
    ARROW_ASSIGN_OR_RAISE(auto table, MakeTable(context->resources(), input));
    tables.push_back(std::move(table));
  }
  const auto begin = std::chrono::steady_clock::now();
  ARROW_ASSIGN_OR_RAISE(const auto result, chosen.run(*context, tables));
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  tables.clear();
  outcome.rows = result.num_rows();
  ARROW_ASSIGN_OR_RAISE(outcome.checksum, Checksum(result, chosen.ordered));
  outcome.spilled = budget->spilled_bytes();
  outcome.peak = sampler.peak();
  return outcome;
}

/// RunHere in a process of its own, since memory that a run leaves behind would hide what the next one takes.
arrow::Result<Outcome> RunApart(const std::string& name, const Settings& settings, int64_t bytes,
                                const std::string& memory) {
  std::array<int, 2> ends{};
  if (::pipe(ends.data()) != 0) {
    return arrow::Status::IOError("cannot make a pipe to the process that is measured; raise its limit of open files");
  }
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    const auto outcome = RunHere(name, settings, bytes, memory);
    if (!outcome.ok()) {
      std::fprintf(stderr, "%s\n", outcome.status().ToString().c_str());
    }
    const bool told = outcome.ok() && ::write(ends[1], &*outcome, sizeof(Outcome)) == sizeof(Outcome);
    ::_exit(told ? 0 : 1);
  }
  ::close(ends[1]);
  Outcome outcome;
  const bool told = child > 0 && ::read(ends[0], &outcome, sizeof(outcome)) == sizeof(outcome);
  ::close(ends[0]);
  int ended = 0;
  if (child > 0) {
    ::waitpid(child, &ended, 0);
  }
  if (!told) {
    return arrow::Status::UnknownError(name, " under ", memory.empty() ? "all of the host's memory" : memory,
                                       " gave no result; its process ended with ", ended,
                                       ", expected 0; see its message above, if it had time for one");
  }
  return outcome;
}

arrow::Status Check(const std::string& name, const Settings& settings, const Outcome& inside, const Outcome& outside) {
  if (inside.spilled > 0) {
    return arrow::Status::CapacityError(name, " in memory spilled ", inside.spilled,
                                        " bytes; expected none; use less data (--memory, --factor)");
  }
  if (inside.rows != outside.rows || inside.checksum != outside.checksum) {
    return arrow::Status::UnknownError(name, " gave ", outside.rows, " rows with checksum ", outside.checksum,
                                       " out of core, expected ", inside.rows, " and ", inside.checksum);
  }
  const double growth = static_cast<double>(outside.peak.growth) / static_cast<double>(outside.limit);
  if (growth > settings.most_growth) {
    return arrow::Status::CapacityError(name, " grew by ", growth, " times its limit, expected at most ",
                                        settings.most_growth);
  }
  if (outside.seconds > settings.most_times * inside.seconds) {
    return arrow::Status::CapacityError(name, " took ", outside.seconds / inside.seconds,
                                        " times as long out of core, expected at most ", settings.most_times);
  }
  return arrow::Status::OK();
}

arrow::Status Run(const Settings& settings) {
  Options limited;
  ARROW_RETURN_NOT_OK(SetOption(&limited, "memory_bytes", settings.memory));
  const auto bytes = static_cast<int64_t>(settings.factor * static_cast<double>(limited.memory_bytes));
  const auto gib = [](int64_t n) { return static_cast<double>(n) / kGiB; };
  std::printf("%-9s %9s %12s %12s %12s %6s %9s %9s %9s %9s\n", "operator", "data GiB", "rows out", "in memory s",
              "out of core", "times", "spilled", "growth", "counted", "heap");
  arrow::Status status;
  for (const auto& name : settings.operators) {
    ARROW_ASSIGN_OR_RAISE(const auto inside, RunApart(name, settings, bytes, ""));
    ARROW_ASSIGN_OR_RAISE(const auto outside, RunApart(name, settings, bytes, settings.memory));
    std::printf("%-9s %9.2f %12lld %12.2f %12.2f %6.2f %9.2f %9.3f %9.3f %9.3f\n", name.c_str(), gib(bytes),
                static_cast<long long>(outside.rows), inside.seconds, outside.seconds, outside.seconds / inside.seconds,
                gib(outside.spilled), gib(outside.peak.growth), gib(outside.peak.counted), gib(outside.peak.heap));
    const auto checked = Check(name, settings, inside, outside);
    if (!checked.ok()) {
      std::fprintf(stderr, "out-of-core: %s\n", checked.ToString().c_str());
      status = checked;
    }
  }
  return status;
}

}  // namespace
}  // namespace cylon::bench

int main(int argc, char** argv) {
  CLI::App app(
      "Runs operators on more data than fits the budget, and the same in memory; compares the answers.\n"
      "growth: of the process's anonymous memory, in GiB; counted: what of it the budget knew; heap: the C++ heap");
  cylon::bench::Settings settings;
  app.add_option("--operator", settings.operators, "join, group-by, sort, unique")->capture_default_str();
  app.add_option("--memory", settings.memory, "the limit")->capture_default_str();
  app.add_option("--factor", settings.factor, "data of all inputs, in limits")->capture_default_str();
  app.add_flag("--text", settings.text, "keys are strings");
  app.add_option("--most-times", settings.most_times, "more time than in memory that is a failure")
      ->capture_default_str();
  app.add_option("--most-growth", settings.most_growth, "growth over the limit that is a failure")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto status = cylon::bench::Run(settings);
  if (!status.ok()) {
    std::fprintf(stderr, "out-of-core: %s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
