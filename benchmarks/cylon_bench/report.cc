// What was measured, as a table on the screen and as JSON.
#include "report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

namespace cylon::bench {

double MedianOf(std::vector<double> values) {
  if (values.empty()) {
    return 0;
  }
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double Measurement::Mean() const {
  return seconds.empty() ? 0
                         : std::accumulate(seconds.begin(), seconds.end(), 0.0) / static_cast<double>(seconds.size());
}

double Measurement::Deviation() const {
  if (seconds.size() < 2) {
    return 0;
  }
  double squares = 0;
  for (const double value : seconds) {
    squares += (value - Mean()) * (value - Mean());
  }
  return std::sqrt(squares / static_cast<double>(seconds.size() - 1));
}

double Measurement::Median() const { return MedianOf(seconds); }

double Measurement::Imbalance() const {
  std::vector<double> ratios;
  for (size_t i = 0; i < busiest.size(); ++i) {
    ratios.push_back(busiest[i] / cpu_seconds[i]);
  }
  return MedianOf(std::move(ratios));
}

void PrintHeader(const Setting& setting) {
  std::printf("%d rank%s, %d thread%s each, seconds by iteration as mean over the ranks\n", setting.ranks,
              setting.ranks == 1 ? "" : "s", setting.threads, setting.threads == 1 ? "" : "s");
  std::printf("  %-12s %-7s %13s %13s %9s %9s %9s %9s %10s %10s %9s %9s\n", "operation", "scaling", "rows in",
              "rows out", "mean", "deviation", "minimum", "median", "M rows/s", "MB moved", "CPU mean", "most/mean");
}

void PrintRow(const Measurement& measurement) {
  const double mean = measurement.Mean();
  std::printf("  %-12s %-7s %13lld %13lld %9.4f %9.4f %9.4f %9.4f %10.2f %10.1f %9.4f %9.2f\n",
              measurement.operation.c_str(), measurement.scaling.c_str(),
              static_cast<long long>(measurement.input_rows), static_cast<long long>(measurement.result_rows), mean,
              measurement.Deviation(), *std::min_element(measurement.seconds.begin(), measurement.seconds.end()),
              measurement.Median(), static_cast<double>(measurement.input_rows) / mean / 1e6,
              static_cast<double>(measurement.bytes_moved) / 1e6, MedianOf(measurement.cpu_seconds),
              measurement.Imbalance());
  std::fflush(stdout);
}

arrow::Status WriteJson(const std::string& path, const Setting& setting, const std::vector<Measurement>& measurements,
                        const std::vector<double>& ratios) {
  nlohmann::json report = {{"ranks", setting.ranks},
                           {"threads", setting.threads},
                           {"rows", setting.rows},
                           {"unique_share", setting.unique_share},
                           {"heavy_share", setting.heavy_share},
                           {"measurements", nlohmann::json::array()}};
  for (const auto& measurement : measurements) {
    const double mean = measurement.Mean();
    report["measurements"].push_back(
        {{"operation", measurement.operation},
         {"scaling", measurement.scaling},
         {"input_rows", measurement.input_rows},
         {"result_rows", measurement.result_rows},
         {"bytes_moved", measurement.bytes_moved},
         {"seconds", measurement.seconds},
         {"seconds_of_slowest_rank", measurement.slowest},
         {"cpu_seconds", measurement.cpu_seconds},
         {"cpu_seconds_of_busiest_rank", measurement.busiest},
         {"mean_s", mean},
         {"deviation_s", measurement.Deviation()},
         {"median_s", measurement.Median()},
         {"rows_per_s", mean > 0 ? static_cast<double>(measurement.input_rows) / mean : 0}});
  }
  if (!ratios.empty()) {
    report["exchange_to_raw_ratios"] = ratios;
    report["exchange_to_raw_median"] = MedianOf(ratios);
  }
  const std::string temporary = path + ".tmp";
  std::ofstream out(temporary);
  out << report.dump(2) << "\n";
  out.close();
  std::error_code error;
  if (out.good()) {
    std::filesystem::rename(temporary, path, error);
  }
  if (!out.good() || error) {
    return arrow::Status::IOError("the report could not be written to ", path, "; give --json another place");
  }
  return arrow::Status::OK();
}

}  // namespace cylon::bench
