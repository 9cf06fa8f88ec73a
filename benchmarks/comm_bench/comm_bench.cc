// Times barriers, reductions, streams and all-to-alls of our transports, beside plain sockets and copies in shared
// memory. Started by `cylon run`; benchmarks/bench_comm.py does that for numbers of ranks.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "measure.h"

namespace {

using arrow::Status;
using cylon::bench::Case;
using nlohmann::json;

struct Arguments {
  std::vector<std::string> transports = {"tcp"};
  std::vector<std::string> operations = {"barrier", "allreduce", "alltoall", "stream"};
  std::vector<int64_t> sizes;
  int64_t most_bytes = 512 << 20;
  int64_t most_through_third = 16 << 20;  // what a server takes and gives in less than a second
  int turns = 20;
  bool start = false;
  bool alone = false;
  std::string report;
};

/// One context for each transport, in one process: so they can take turns. Each is a job of its own.
arrow::Result<std::shared_ptr<cylon::Context>> Connect(const cylon::Options& options, const std::string& transport) {
  cylon::Options own = options;
  own.transport = transport;
  own.job += "-" + transport;
  return cylon::Context::Connect(std::move(own));
}

/// What goes through a third party, which copies every byte several times, and is sealed.
bool GoesThroughThird(const std::string& way) { return way == "redis" || way == "object"; }

/// Bytes that one call moves over all ranks.
int64_t Moved(const Case& wanted, int64_t ranks) {
  return wanted.what == "alltoall" ? wanted.bytes * ranks * (ranks - 1) : wanted.bytes;
}

std::vector<Case> CasesOf(const Arguments& arguments, int ranks) {
  std::vector<Case> cases;
  for (const auto& operation : arguments.operations) {
    if (operation == "barrier" || operation == "allreduce") {
      cases.push_back({operation, operation == "barrier" ? 0 : 8});
      continue;
    }
    for (const int64_t bytes : arguments.sizes) {
      const Case wanted{operation, bytes};
      if (Moved(wanted, ranks) <= arguments.most_bytes) {
        cases.push_back(wanted);
      }
    }
  }
  return cases;
}

Status WriteReport(const std::string& path, const json& report) {
  const std::string temporary = path + ".part";
  std::ofstream out(temporary);
  out << report.dump(1) << "\n";
  out.close();
  std::error_code error;
  std::filesystem::rename(temporary, path, error);
  if (!out || error) {
    return Status::IOError("the report cannot be written to '", path, "'; check --json and the space there");
  }
  return Status::OK();
}

Status RunStart(const Arguments& arguments, const cylon::Options& options) {
  json starts = json::object();
  for (const auto& transport : arguments.transports) {
    cylon::Options own = options;
    own.transport = transport;
    own.job += "-" + transport;
    ARROW_ASSIGN_OR_RAISE(const auto start, cylon::bench::MeasureStart(own));
    starts[transport] = {{"joined", start.joined}, {"barrier", start.barrier}};
  }
  return options.rank == 0 ? WriteReport(arguments.report, {{"ranks", options.world_size}, {"start", starts}})
                           : Status::OK();
}

Status RunCases(const Arguments& arguments, const cylon::Options& options) {
  std::vector<std::shared_ptr<cylon::Context>> contexts;
  json connections = json::object();
  for (const auto& transport : arguments.transports) {
    ARROW_ASSIGN_OR_RAISE(auto context, Connect(options, transport));
    ARROW_ASSIGN_OR_RAISE(connections[transport], cylon::bench::MeasureConnections(*context));
    contexts.push_back(std::move(context));
  }
  const int ranks = options.world_size;
  const auto cases = CasesOf(arguments, ranks);
  int64_t largest = 8;
  for (const auto& wanted : cases) {
    largest = std::max(largest, wanted.bytes);
  }
  auto& control = *contexts.front();
  std::vector<std::unique_ptr<cylon::bench::Way>> ways;
  for (size_t i = 0; i < contexts.size(); ++i) {
    ways.push_back(cylon::bench::MakeOwnWay(contexts[i], arguments.transports[i], largest));
    if (i == 0 && !arguments.alone) {
      ARROW_ASSIGN_OR_RAISE(auto sockets, cylon::bench::MakeSocketWay(control, largest));
      ways.push_back(std::move(sockets));
    }
  }
  if (!arguments.alone) {
    ARROW_ASSIGN_OR_RAISE(auto memory, cylon::bench::MakeMemoryWay(control, largest));
    ways.push_back(std::move(memory));
  }
  json measured = json::array();
  for (const auto& wanted : cases) {
    std::vector<cylon::bench::Way*> fitting;
    for (const auto& way : ways) {
      if (!GoesThroughThird(way->name()) || Moved(wanted, ranks) <= arguments.most_through_third) {
        fitting.push_back(way.get());
      }
    }
    ARROW_ASSIGN_OR_RAISE(const auto times,
                          cylon::bench::Measure(control.communicator(), fitting, wanted, arguments.turns));
    json seconds = json::object();
    for (const auto& one : times) {
      seconds[one.way] = one.seconds;
    }
    measured.push_back({{"what", wanted.what}, {"bytes", wanted.bytes}, {"seconds", std::move(seconds)}});
  }
  ways.clear();
  for (const auto& context : contexts) {
    ARROW_RETURN_NOT_OK(context->Close());
  }
  return options.rank == 0 ? WriteReport(arguments.report, {{"ranks", ranks},
                                                            {"turns", arguments.turns},
                                                            {"cases", std::move(measured)},
                                                            {"connections", std::move(connections)}})
                           : Status::OK();
}

Status Run(const Arguments& arguments) {
  ARROW_ASSIGN_OR_RAISE(const auto options, cylon::OptionsFromEnvironment());
  if (options.world_size < 2) {
    return Status::Invalid("there is 1 rank; expected 2 or more; start it by cylon run -n 2");
  }
  return arguments.start ? RunStart(arguments, options) : RunCases(arguments, options);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  for (int64_t bytes = 8; bytes <= 64 << 20; bytes *= 8) {
    arguments.sizes.push_back(bytes);
  }
  arguments.sizes.push_back(64 << 20);
  CLI::App app("Times communication beside plain sockets and copies in shared memory.");
  app.add_option("--transport", arguments.transports, "transports to time, by commas")
      ->delimiter(',')
      ->capture_default_str();
  app.add_option("--operations", arguments.operations, "barrier, allreduce, alltoall, stream")
      ->delimiter(',')
      ->check(CLI::IsMember({"barrier", "allreduce", "alltoall", "stream"}))
      ->capture_default_str();
  app.add_option("--sizes", arguments.sizes, "bytes of a message, by commas")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--most", arguments.most_bytes, "leave out what would move more bytes at once over all ranks")
      ->capture_default_str();
  app.add_option("--most-through-third", arguments.most_through_third, "the same for transports redis and object")
      ->capture_default_str();
  app.add_option("--turns", arguments.turns, "of each way")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("--start", arguments.start, "time joining and a first barrier instead");
  app.add_flag("--alone", arguments.alone, "nothing plain beside them: for profiles");
  app.add_option("--json", arguments.report, "file for the report")->required();
  CLI11_PARSE(app, argc, argv);
  const Status status = Run(arguments);
  if (!status.ok()) {
    std::cerr << "comm-bench: " << status.ToString() << "\n";
    return 1;
  }
  return 0;
}
