// Times the published workload, and the exchange against raw sockets. Started by `cylon run`; benchmarks/bench.py does
// that for a list of settings.
#include <CLI/CLI.hpp>
#include <iostream>

#include "ceiling.h"
#include "cylon/cylon.h"
#include "report.h"
#include "workload.h"

namespace {

using arrow::Status;
using cylon::bench::Measurement;

struct Arguments {
  std::vector<std::string> operations = {"join", "sort", "groupby", "unique"};
  std::string scaling = "weak";
  int64_t rows = 1'000'000;
  double unique_share = 0.9;
  double heavy_share = 0;
  int iterations = 10;
  int64_t ceiling_bytes = 0;
  int pairs = 20;
  std::string json;
};

Status Run(const Arguments& arguments) {
  ARROW_ASSIGN_OR_RAISE(auto options, cylon::OptionsFromEnvironment());
  ARROW_ASSIGN_OR_RAISE(auto context, cylon::Context::Connect(std::move(options)));
  const bool first = context->rank() == 0;
  const cylon::bench::Setting setting{context->world_size(), context->resources()->options().threads, arguments.rows,
                                      arguments.unique_share, arguments.heavy_share};
  if (first) {
    cylon::bench::PrintHeader(setting);
  }
  std::vector<Measurement> measurements;
  std::vector<double> ratios;
  const auto keep = [&](Measurement measurement) {
    if (first) {
      cylon::bench::PrintRow(measurement);
    }
    measurements.push_back(std::move(measurement));
  };
  for (const auto& operation : arguments.operations) {
    ARROW_ASSIGN_OR_RAISE(auto measurement,
                          cylon::bench::MeasureOperation(
                              *context, {operation, arguments.scaling == "weak", arguments.rows, arguments.unique_share,
                                         arguments.heavy_share, arguments.iterations}));
    keep(std::move(measurement));
  }
  if (arguments.ceiling_bytes > 0 && context->world_size() > 1) {
    ARROW_ASSIGN_OR_RAISE(auto ceiling,
                          cylon::bench::MeasureCeiling(*context, arguments.ceiling_bytes, arguments.pairs));
    keep(std::move(ceiling.raw));
    keep(std::move(ceiling.exchange));
    ratios = std::move(ceiling.ratios);
    if (first) {
      std::printf("  the exchange reaches %.0f %% of raw sockets (median of %zu alternating pairs)\n",
                  100 * cylon::bench::MedianOf(ratios), ratios.size());
    }
  }
  if (first && !arguments.json.empty()) {
    ARROW_RETURN_NOT_OK(cylon::bench::WriteJson(arguments.json, setting, measurements, ratios));
  }
  return context->Close();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Times distributed operators on the published workload.");
  app.add_option("--operations", arguments.operations, "join, sort, groupby, unique; 'none' for the ceiling alone")
      ->delimiter(',')
      ->check(CLI::IsMember({"join", "sort", "groupby", "unique", "none"}))
      ->capture_default_str();
  app.add_option("--scaling", arguments.scaling, "weak: --rows at each rank; strong: --rows in all")
      ->check(CLI::IsMember({"weak", "strong"}))
      ->capture_default_str();
  app.add_option("--rows", arguments.rows, "rows of each input")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--unique", arguments.unique_share, "keys are drawn from this share of the row count")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--heavy", arguments.heavy_share, "share of the (left) table's rows that have one and the same key")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app.add_option("--iterations", arguments.iterations)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option(
      "--ceiling", arguments.ceiling_bytes,
      "also compare exchange and raw sockets, with so many bytes from each rank to each other one; 0: do not");
  app.add_option("--pairs", arguments.pairs, "of exchange and raw sockets")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--json", arguments.json, "file for the report");
  CLI11_PARSE(app, argc, argv);
  std::erase(arguments.operations, "none");
  const Status status = Run(arguments);
  if (!status.ok()) {
    std::cerr << "cylon-bench: " << status.ToString() << "\n";
    return 1;
  }
  return 0;
}
