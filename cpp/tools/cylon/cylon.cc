// The program `cylon`: starts jobs, and looks at the machine they are to run on.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "cylon/base/options.h"
#include "cylon/base/trace.h"
#include "doctor.h"
#include "doctor_network.h"
#include "launcher.h"
#include "launcher_process.h"

namespace {

constexpr int kUsageError = 2;

/// The options of `cylon run`, as they are written.
struct RunArguments {
  int ranks = 1;
  int threads = 0;
  std::string memory;
  std::string transport;
  std::string trace;
  bool keep_going = false;
  double stall_after = 0;
};

int UsageError(const std::string& message) {
  std::cerr << "cylon: " << message << "\nTry: cylon run -n 4 program.py, or cylon --help\n";
  return kUsageError;
}

void DescribeRun(CLI::App* run, RunArguments* arguments) {
  run->add_option("-n,--ranks", arguments->ranks, "Number of ranks")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
  run->add_option("--threads", arguments->threads, "Threads of each rank (default: the cores, divided)")
      ->check(CLI::Range(1, 65536));
  run->add_option("--memory", arguments->memory, "Memory budget of each rank, such as 2GiB (default: 80 %, divided)");
  run->add_option("--transport", arguments->transport, "How ranks talk: auto, tcp or shm");
  run->add_option("--trace", arguments->trace, "Write a trace of the run into this folder");
  run->add_flag("--keep-going", arguments->keep_going, "When a rank fails, leave the others running");
  run->add_option("--stall-after", arguments->stall_after,
                  "When all ranks have been idle for so many seconds, let each print what it waits for")
      ->check(CLI::PositiveNumber);
  run->footer("program [arguments]: a *.py file, or any program");
  run->prefix_command();
}

void DescribeDoctor(CLI::App* doctor, cylon::tools::NetworkRequest* request) {
  auto* rendezvous = doctor->add_option(
      "--rendezvous", request->rendezvous,
      "host:port of a cylon-rendezvous: show instead what the gateway before this process does, which ways to others "
      "work, and how fast; twice for its IPv4 and its IPv6 address");
  doctor
      ->add_option("--peer", request->peer,
                   "A name: the way to another process, that is started with it elsewhere at the same time")
      ->needs(rendezvous);
  doctor->add_option("--seconds", request->seconds, "How long each bandwidth is looked at, with all that can be sent")
      ->capture_default_str()
      ->check(CLI::Range(0.01, 2.0))
      ->needs(rendezvous);
  doctor->add_flag("--json", request->json, "Print that as JSON")->needs(rendezvous);
}

/// What an earlier run left in the folder would be merged with this one's.
void RemoveTraces(const std::filesystem::path& folder) {
  std::error_code error;  // a folder that is not there yet holds nothing
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if ((name.starts_with("rank-") && name.ends_with(".json")) || name == "trace.json") {
      std::filesystem::remove(entry.path(), error);
    }
  }
}

/// One trace of the ranks that wrote theirs; a rank that was killed wrote none.
void MergeTraces(const std::filesystem::path& folder) {
  const auto merged = cylon::Tracer::Merge(folder);
  if (!merged.ok()) {
    std::cerr << "cylon: the traces in " << folder.string() << " were not merged: " << merged.status().message()
              << "\n";
  }
}

int Run(const CLI::App& run, const RunArguments& arguments) {
  cylon::tools::LaunchRequest request;
  request.ranks = arguments.ranks;
  request.keep_going = arguments.keep_going;
  request.stall_after_s = arguments.stall_after;
  request.command = run.remaining();
  if (!request.command.empty() && request.command.front() == "--") {
    request.command.erase(request.command.begin());
  } else if (!request.command.empty() && request.command.front().starts_with('-')) {
    return UsageError("run has no option '" + request.command.front() + "'; see cylon run --help");
  }
  if (request.command.empty()) {
    return UsageError("run: the program is missing; expected its name behind the options");
  }
  if (arguments.threads > 0) {
    request.settings["CYLON_THREADS"] = std::to_string(arguments.threads);
  }
  if (!arguments.memory.empty()) {
    cylon::Options options;
    const auto status = cylon::SetOption(&options, "memory_bytes", arguments.memory);
    if (!status.ok()) {
      return UsageError("--memory: " + status.message());
    }
    request.settings["CYLON_MEMORY"] = arguments.memory;
  }
  if (!arguments.transport.empty()) {
    request.settings["CYLON_TRANSPORT"] = arguments.transport;
  }
  const auto own = cylon::tools::OwnEnvironment();
  std::filesystem::path trace = arguments.trace;
  if (trace.empty() && own.contains("CYLON_TRACE")) {
    trace = own.at("CYLON_TRACE");
  }
  if (!trace.empty()) {
    trace = std::filesystem::absolute(trace);
    request.settings["CYLON_TRACE"] = trace;
    RemoveTraces(trace);
  }
  const int code = cylon::tools::Launch(request);
  if (!trace.empty()) {
    MergeTraces(trace);
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Cylon: one dataframe program on many ranks", "cylon");
  app.set_version_flag("--version", std::string("cylon ") + CYLON_VERSION);
  app.require_subcommand(1);
  RunArguments arguments;
  CLI::App* run = app.add_subcommand("run", "Start the ranks of a program on this machine");
  DescribeRun(run, &arguments);
  CLI::App* doctor = app.add_subcommand("doctor", "Show versions, limits and settings, and what is wrong with them");
  cylon::tools::NetworkRequest network;
  DescribeDoctor(doctor, &network);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wish) {
    return app.exit(wish);
  } catch (const CLI::ParseError& error) {
    return UsageError(error.what());
  }
  if (run->parsed()) {
    return Run(*run, arguments);
  }
  const auto environment = cylon::tools::OwnEnvironment();
  return network.rendezvous.empty() ? cylon::tools::Doctor(environment)
                                    : cylon::tools::DoctorNetwork(environment, network);
}
