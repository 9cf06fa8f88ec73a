// A rank that works until it is told to stop or something breaks; tests/chaos/run.py breaks it.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <iostream>
#include <thread>

#include "cylon/cylon.h"
#include "diary.h"
#include "operations.h"

namespace {

using arrow::Status;
using cylon::chaos::Diary;

struct Arguments {
  std::vector<std::string> operations;
  std::string folder;
  int64_t rounds = 0;
  int64_t bytes = 100'000;
  int64_t pause_us = 0;
  bool go_on = false;
};

/// True where the communicator is of use after an error: another rank's local error, told to all, revokes nothing.
bool Usable(cylon::Context& context) { return context.communicator().Check().ok(); }

Status Work(const Arguments& arguments, cylon::Context& context, Diary* diary) {
  Status refused;
  // All stop after the same round: when one has seen the file.
  const std::string stop = arguments.folder + "/stop";
  for (int64_t round = 0;; ++round) {
    const int64_t wanted = arguments.rounds > 0 ? round < arguments.rounds : ::access(stop.c_str(), F_OK) != 0;
    ARROW_ASSIGN_OR_RAISE(const int64_t go, context.communicator().AllReduce(wanted, cylon::ReduceOp::kMin));
    if (go == 0) {
      return refused;
    }
    const auto& name = arguments.operations[static_cast<size_t>(round) % arguments.operations.size()];
    diary->Note("round", round);
    const auto status = cylon::chaos::RunOperation(context, name, round, arguments.bytes);
    if (!status.ok() && !(arguments.go_on && Usable(context))) {
      return status;
    }
    refused = refused.ok() ? status : refused;
    if (arguments.pause_us > 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(arguments.pause_us));  // stands for computing
    }
  }
}

Status Run(const Arguments& arguments, Diary* diary) {
  ARROW_ASSIGN_OR_RAISE(auto options, cylon::OptionsFromEnvironment());
  diary->Note("joining", ::getpid());
  ARROW_ASSIGN_OR_RAISE(auto context, cylon::Context::Connect(std::move(options)));
  diary->Note("joined", context->rank());
  const auto worked = Work(arguments, *context, diary);
  if (!worked.ok() && !(arguments.go_on && Usable(*context))) {
    return worked;
  }
  diary->Note("closing");
  const auto closed = context->Close();
  return worked.ok() ? closed : worked;
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Works in rounds with known answers; writes what happens into FOLDER/RANK.");
  app.add_option("--operations", arguments.operations, "by commas; in turn")
      ->delimiter(',')
      ->required()
      ->check(CLI::IsMember(cylon::chaos::OperationNames()));
  app.add_option("--folder", arguments.folder)->required();
  app.add_option("--rounds", arguments.rounds, "0: until FOLDER/stop is there");
  app.add_option("--bytes", arguments.bytes, "of data at each rank in a round")->capture_default_str();
  app.add_option("--pause", arguments.pause_us, "microseconds between two rounds in which nothing is called");
  app.add_flag("--go-on", arguments.go_on, "after an error that leaves the communicator of use");
  CLI11_PARSE(app, argc, argv);
  const auto options = cylon::OptionsFromEnvironment();
  if (!options.ok()) {
    std::cerr << "chaos-rank: " << options.status().message() << "\n";
    return 2;
  }
  Diary diary(arguments.folder + "/" + std::to_string(options->rank));
  const Status status = Run(arguments, &diary);
  diary.End(status);
  if (!status.ok()) {
    std::cerr << status.message() << "\n";
  }
  return status.ok() ? 0 : 1;
}
