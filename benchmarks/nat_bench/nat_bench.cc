// A rank that tells how long it took until it was connected to all others, and which way; then, what is asked for,
// beside plain sockets. tests/support/nat_job.py starts one at each function of a network behind gateways.
#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <nlohmann/json.hpp>

#include "../comm_bench/measure.h"
#include "cylon/comm/report.h"

namespace {

using arrow::Status;
using cylon::bench::Case;
using cylon::bench::Way;
using nlohmann::json;

struct Arguments {
  std::vector<std::string> operations;
  std::vector<int64_t> sizes = {8};
  int turns = 10;
  cylon::bench::RawPlace sockets;
};

/// On a clock that all processes of the machine read alike.
double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

Status MeasureAll(const Arguments& arguments, const std::shared_ptr<cylon::Context>& context, json* measured) {
  const int64_t largest = *std::max_element(arguments.sizes.begin(), arguments.sizes.end());
  std::vector<std::unique_ptr<Way>> ways;
  ways.push_back(cylon::bench::MakeOwnWay(context, "own", largest));
  if (arguments.sockets.port != 0) {
    ARROW_ASSIGN_OR_RAISE(auto sockets, cylon::bench::MakeSocketWay(*context, largest, arguments.sockets));
    ways.push_back(std::move(sockets));
  }
  std::vector<Way*> in_turn;
  for (const auto& way : ways) {
    in_turn.push_back(way.get());
  }
  for (const auto& operation : arguments.operations) {
    const auto sizes = operation == "alltoall" ? arguments.sizes : std::vector<int64_t>{operation == "barrier" ? 0 : 8};
    for (const int64_t bytes : sizes) {
      ARROW_ASSIGN_OR_RAISE(const auto times, cylon::bench::Measure(context->communicator(), in_turn,
                                                                    Case{operation, bytes}, arguments.turns));
      json seconds = json::object();
      for (const auto& one : times) {
        seconds[one.way] = one.seconds;
      }
      measured->push_back({{"what", operation}, {"bytes", bytes}, {"seconds", std::move(seconds)}});
    }
  }
  return Status::OK();
}

Status Run(const Arguments& arguments) {
  ARROW_ASSIGN_OR_RAISE(auto options, cylon::OptionsFromEnvironment());
  const double began = Now();
  ARROW_ASSIGN_OR_RAISE(const auto context, cylon::Context::Connect(std::move(options)));
  const double joined = Now();
  auto& communicator = context->communicator();
  // A word to everybody connects all pairs.
  ARROW_RETURN_NOT_OK(
      communicator.AllToAll(cylon::Buffers(communicator.size(), arrow::Buffer::FromString("eight by"))).status());
  const double meshed = Now();
  // What came over a connection says that it stands; where two are made at once, the one that counts is settled soon.
  ARROW_RETURN_NOT_OK(communicator.Barrier());
  json report{{"rank", context->rank()},        {"began", began},           {"joined", joined}, {"meshed", meshed},
              {"report", cylon::StallReport()}, {"measured", json::array()}};
  ARROW_RETURN_NOT_OK(MeasureAll(arguments, context, &report["measured"]));
  ARROW_RETURN_NOT_OK(communicator.Barrier());
  ARROW_RETURN_NOT_OK(context->Close());
  std::cout << report.dump() << "\n";
  return Status::OK();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app(
      "Connects to all other ranks, and writes a line of JSON: when it began to join, when it had joined and when it "
      "had "
      "heard of all others (seconds on the machine's clock), what it is connected by, and what was measured.");
  app.add_option("--operations", arguments.operations, "barrier, allreduce, alltoall; by commas")
      ->delimiter(',')
      ->check(CLI::IsMember({"barrier", "allreduce", "alltoall"}));
  app.add_option("--sizes", arguments.sizes, "bytes of a message of alltoall, by commas")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--turns", arguments.turns, "of each way")->check(CLI::PositiveNumber)->capture_default_str();
  app.add_option("--sockets-port", arguments.sockets.port,
                 "listen here for plain sockets, which are measured in turn; 0: do without")
      ->capture_default_str();
  app.add_option("--sockets-host", arguments.sockets.host, "IPv4 address at which others reach that port")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const Status status = Run(arguments);
  if (!status.ok()) {
    std::cerr << "nat-bench: " << status.ToString() << "\n";
    return 1;
  }
  return 0;
}
