/// What was measured, as a table on the screen and as JSON.
#pragma once

#include <arrow/status.h>

#include <cstdint>
#include <string>
#include <vector>

namespace cylon::bench {

/// One operation, repeated.
struct Measurement {
  std::string operation;            ///< "join", …, "exchange", "raw sockets"
  std::string scaling;              ///< "weak", "strong" or "" where it does not apply
  int64_t input_rows = 0;           ///< of one iteration, over all ranks and inputs
  int64_t result_rows = 0;          ///< of one iteration, over all ranks
  int64_t bytes_moved = 0;          ///< sent to other ranks in one iteration, over all ranks
  std::vector<double> seconds;      ///< of each iteration, mean over the ranks
  std::vector<double> slowest;      ///< of each iteration, the slowest rank's
  std::vector<double> cpu_seconds;  ///< processor time of each iteration, mean over the ranks
  std::vector<double> busiest;      ///< processor time of each iteration, of the rank that took most
  double Mean() const;
  double Deviation() const;  ///< of the sample, 0 for one iteration
  double Median() const;
  double Imbalance() const;  ///< processor time of the busiest rank over the mean, median of the iterations
};

/// How it was run.
struct Setting {
  int ranks = 1;
  int threads = 1;
  int64_t rows = 0;
  double unique_share = 0.9;
  double heavy_share = 0;
};

double MedianOf(std::vector<double> values);

void PrintHeader(const Setting& setting);
void PrintRow(const Measurement& measurement);

/// Writes everything to `path`, through a temporary file. `ratios`: exchange against raw sockets by pair; empty where
/// it was not measured.
arrow::Status WriteJson(const std::string& path, const Setting& setting, const std::vector<Measurement>& measurements,
                        const std::vector<double>& ratios);

}  // namespace cylon::bench
