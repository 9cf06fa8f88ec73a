// The main job in C++: a year of flights out of New York, joined, grouped and sorted over all ranks. What exactly is
// computed stands in examples/flights/README.md; examples/flights/flights.py does the same in Python.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>

#include "cylon/cylon.h"

namespace {

using arrow::Result;
using arrow::Status;
using cylon::Aggregate;
using cylon::AggregateOp;
using cylon::Context;
using cylon::JoinOptions;
using cylon::JoinType;
using cylon::Table;

constexpr int64_t kWorst = 20;
constexpr int64_t kShownManufacturers = 12;

std::string WithCommas(int64_t number) {
  auto digits = std::to_string(number);
  for (auto place = static_cast<int64_t>(digits.size()) - 3; place > 0; place -= 3) {
    digits.insert(static_cast<size_t>(place), ",");
  }
  return digits;
}

/// Runs the stages one by one; rank 0 prints rows, time and bytes of each.
class Stages {
 public:
  explicit Stages(Context& context)
      : context_(context), terminal_(context.rank() == 0 && ::isatty(STDERR_FILENO) == 1) {
    if (context_.rank() == 0) {
      std::printf("flights on %d rank%s\n  %-15s%10s%10s%10s\n", context_.world_size(),
                  context_.world_size() == 1 ? "" : "s", "stage", "rows", "seconds", "MB sent");
    }
  }

  Result<Table> Run(const char* name, const std::function<Result<Table>()>& work) {
    if (terminal_) {
      std::fprintf(stderr, "\r  %s …\x1b[K", name);
    }
    ARROW_ASSIGN_OR_RAISE(const int64_t sent_before, BytesSent());
    const auto begin = std::chrono::steady_clock::now();
    ARROW_ASSIGN_OR_RAISE(auto table, work());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    ARROW_ASSIGN_OR_RAISE(const int64_t sent_after, BytesSent());
    auto& communicator = context_.communicator();
    ARROW_ASSIGN_OR_RAISE(const int64_t rows, communicator.AllReduce(table.num_rows(), cylon::ReduceOp::kSum));
    ARROW_ASSIGN_OR_RAISE(const int64_t sent, communicator.AllReduce(sent_after - sent_before, cylon::ReduceOp::kSum));
    ARROW_ASSIGN_OR_RAISE(const double slowest, communicator.AllReduce(seconds.count(), cylon::ReduceOp::kMax));
    if (terminal_) {
      std::fprintf(stderr, "\r\x1b[K");
    }
    if (context_.rank() == 0) {
      std::printf("  %-15s%10s%10.3f%10.2f\n", name, WithCommas(rows).c_str(), slowest,
                  static_cast<double>(sent) / 1e6);
      std::fflush(stdout);
    }
    return table;
  }

 private:
  Result<int64_t> BytesSent() {
    int64_t bytes = 0;
    ARROW_RETURN_NOT_OK(context_.executor().RunTask([&] {
      bytes = context_.communicator().lanes().bytes_sent();
      return Status::OK();
    }));
    return bytes;
  }

  Context& context_;
  bool terminal_;
};

JoinOptions LeftOn(const std::vector<std::string>& keys) {
  JoinOptions options;
  options.type = JoinType::kLeft;
  options.left_keys = keys;
  options.right_keys = keys;
  return options;
}

/// Flights, and the five statistics of both delays.
std::vector<Aggregate> DelayStatistics() {
  std::vector<Aggregate> aggregates = {{"", AggregateOp::kSize, "flights", 1}};
  for (const std::string column : {"dep_delay", "arr_delay"}) {
    for (const auto op :
         {AggregateOp::kCount, AggregateOp::kMean, AggregateOp::kStd, AggregateOp::kMin, AggregateOp::kMax}) {
      aggregates.push_back({column, op, "", 1});
    }
  }
  return aggregates;
}

Result<Table> WorstRoutes(Context& context, const Table& full) {
  const std::vector<Aggregate> means = {{"", AggregateOp::kSize, "flights", 1},
                                        {"arr_delay", AggregateOp::kMean, "mean_arr_delay", 1},
                                        {"dep_delay", AggregateOp::kMean, "mean_dep_delay", 1},
                                        {"wind_speed", AggregateOp::kMean, "mean_wind_speed", 1},
                                        {"precip", AggregateOp::kMean, "mean_precip", 1},
                                        {"visib", AggregateOp::kMean, "mean_visib", 1}};
  ARROW_ASSIGN_OR_RAISE(const auto routes, cylon::GroupBy(context, full, {{"origin", "dest"}, means}));
  const cylon::SortOptions worst_first{{{"mean_arr_delay", cylon::SortOrder::kDescending}, {"origin"}, {"dest"}},
                                       cylon::NullPlacement::kLast};
  ARROW_ASSIGN_OR_RAISE(const auto sorted, cylon::Sort(context, routes, worst_first));
  return cylon::Head(context, sorted, kWorst);
}

using Results = std::map<std::string, Table>;

Result<Results> RunJob(Context& context, const std::filesystem::path& data, const std::filesystem::path& result) {
  Stages stages(context);
  std::map<std::string, Table> tables;
  ARROW_ASSIGN_OR_RAISE(const auto flights, stages.Run("read", [&]() -> Result<Table> {
    for (const std::string name : {"flights", "planes", "airlines", "weather"}) {
      ARROW_ASSIGN_OR_RAISE(tables[name], cylon::ReadCsv(context, {data / (name + ".csv")}));
    }
    return tables["flights"];
  }));
  ARROW_ASSIGN_OR_RAISE(const auto with_planes, stages.Run("join planes", [&] {
    auto options = LeftOn({"tailnum"});
    options.left_suffix = "";
    options.right_suffix = "_plane";
    return cylon::Join(context, flights, tables["planes"], options);
  }));
  ARROW_ASSIGN_OR_RAISE(const auto with_names, stages.Run("join airlines", [&] {
    return cylon::Join(context, with_planes, tables["airlines"], LeftOn({"carrier"}));
  }));
  ARROW_ASSIGN_OR_RAISE(const auto full, stages.Run("join weather", [&]() -> Result<Table> {
    ARROW_ASSIGN_OR_RAISE(const auto weather, cylon::Select(tables["weather"], {"origin", "time_hour", "temp",
                                                                                "wind_speed", "precip", "visib"}));
    return cylon::Join(context, with_names, weather, LeftOn({"origin", "time_hour"}));
  }));
  Results results;
  ARROW_ASSIGN_OR_RAISE(results["carriers"], stages.Run("carriers", [&] {
    return cylon::GroupBy(context, full, {{"carrier", "name"}, DelayStatistics(), true, /*sort=*/true});
  }));
  ARROW_ASSIGN_OR_RAISE(results["manufacturers"], stages.Run("manufacturers", [&] {
    return cylon::GroupBy(context, full, {{"manufacturer"}, DelayStatistics(), true, /*sort=*/true});
  }));
  ARROW_ASSIGN_OR_RAISE(results["routes"], stages.Run("routes", [&] { return WorstRoutes(context, full); }));
  ARROW_RETURN_NOT_OK(stages
                          .Run("write",
                               [&]() -> Result<Table> {
                                 for (const auto& [name, table] : results) {
                                   ARROW_RETURN_NOT_OK(cylon::WriteParquet(context, table, result / name));
                                 }
                                 return results["routes"];
                               })
                          .status());
  return results;
}

/// A value as a person reads it.
Result<std::string> CellText(const arrow::Array& column, int64_t row) {
  if (column.IsNull(row)) {
    return "-";
  }
  if (column.type_id() == arrow::Type::DOUBLE) {
    char text[32];
    std::snprintf(text, sizeof(text), "%.2f", static_cast<const arrow::DoubleArray&>(column).Value(row));
    return text;
  }
  ARROW_ASSIGN_OR_RAISE(const auto value, column.GetScalar(row));
  return value->ToString();
}

Status Show(const char* title, const Table& table) {
  ARROW_ASSIGN_OR_RAISE(const auto batch, table.ToBatch());
  std::vector<std::vector<std::string>> lines = {batch->schema()->field_names()};
  for (int64_t row = 0; row < batch->num_rows(); ++row) {
    lines.emplace_back();
    for (const auto& column : batch->columns()) {
      ARROW_ASSIGN_OR_RAISE(auto cell, CellText(*column, row));
      lines.back().push_back(std::move(cell));
    }
  }
  std::vector<size_t> widths(batch->num_columns(), 0);
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      widths[i] = std::max(widths[i], line[i].size());
    }
  }
  std::printf("\n%s\n", title);
  for (const auto& line : lines) {
    for (size_t i = 0; i < line.size(); ++i) {
      std::printf("  %*s", static_cast<int>(widths[i]), line[i].c_str());
    }
    std::printf("\n");
  }
  return Status::OK();
}

/// Rank 0 has all rows of each result and prints them. Collective.
Status ShowResults(Context& context, const Results& results, const std::filesystem::path& result) {
  const cylon::SortOptions largest_first{{{"flights", cylon::SortOrder::kDescending}, {"manufacturer"}},
                                         cylon::NullPlacement::kLast};
  ARROW_ASSIGN_OR_RAISE(const auto by_size, cylon::Sort(context, results.at("manufacturers"), largest_first));
  ARROW_ASSIGN_OR_RAISE(const auto largest, cylon::Head(context, by_size, kShownManufacturers));
  ARROW_ASSIGN_OR_RAISE(const auto carriers, cylon::GatherTable(context, results.at("carriers"), 0));
  ARROW_ASSIGN_OR_RAISE(const auto manufacturers, cylon::GatherTable(context, largest, 0));
  ARROW_ASSIGN_OR_RAISE(const auto routes, cylon::GatherTable(context, results.at("routes"), 0));
  if (context.rank() != 0) {
    return Status::OK();
  }
  ARROW_RETURN_NOT_OK(Show("Delays by carrier (minutes)", carriers));
  ARROW_RETURN_NOT_OK(Show("Delays by manufacturer, the 12 with the most flights", manufacturers));
  ARROW_RETURN_NOT_OK(Show("The worst 20 routes", routes));
  std::printf("\nresults in %s\n", std::filesystem::absolute(result).c_str());
  const auto& trace = context.resources()->options().trace_directory;
  if (!trace.empty()) {
    std::printf("trace in %s (open trace.json there in https://ui.perfetto.dev)\n",
                std::filesystem::absolute(trace).c_str());
  }
  return Status::OK();
}

Status Run(const std::filesystem::path& data, const std::filesystem::path& result) {
  ARROW_ASSIGN_OR_RAISE(auto options, cylon::OptionsFromEnvironment());
  ARROW_ASSIGN_OR_RAISE(auto context, Context::Connect(std::move(options)));
  ARROW_ASSIGN_OR_RAISE(const auto results, RunJob(*context, data, result));
  ARROW_RETURN_NOT_OK(ShowResults(*context, results, result));
  return context->Close();
}

}  // namespace

int main(int argc, char** argv) {
  std::string data = "build/data/nycflights13";
  std::string result = "build/flights-cpp";
  CLI::App app("A year of flights out of New York, joined, grouped and sorted over all ranks.");
  app.add_option("--data", data, "folder of the CSV files")->capture_default_str();
  app.add_option("--result", result, "folder for the results")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const Status status = Run(data, result);
  if (!status.ok()) {
    std::cerr << "flights: " << status.ToString() << "\n";
    return 1;
  }
  return 0;
}
