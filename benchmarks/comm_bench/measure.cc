// Ways of moving bytes, in turn.
#include "measure.h"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace cylon::bench {

namespace {

using Clock = std::chrono::steady_clock;

/// What is timed as one: long enough that the ranks' leaving a barrier one after the other (up to 100 us where ranks
/// outnumber cores) counts for little.
constexpr double kBlockSeconds = 0.05;
constexpr int kMostCalls = 20000;

double SecondsSince(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

arrow::Status Call(Way& way, const Case& wanted, int count) {
  if (wanted.what == "stream") {
    return way.Stream(wanted.bytes, count);
  }
  for (int i = 0; i < count; ++i) {
    ARROW_RETURN_NOT_OK(wanted.what == "barrier"     ? way.Barrier()
                        : wanted.what == "allreduce" ? way.AllReduce()
                                                     : way.AllToAll(wanted.bytes));
  }
  return arrow::Status::OK();
}

/// Seconds of one of `count` calls at the slowest rank.
arrow::Result<double> TimeBlock(Communicator& control, Way& way, const Case& wanted, int count) {
  ARROW_RETURN_NOT_OK(control.Barrier());
  const auto begin = Clock::now();
  ARROW_RETURN_NOT_OK(Call(way, wanted, count));
  return control.AllReduce(SecondsSince(begin) / count, ReduceOp::kMax);
}

double Monotonic(Clock::time_point at) { return std::chrono::duration<double>(at.time_since_epoch()).count(); }

}  // namespace

arrow::Result<std::vector<Times>> Measure(Communicator& control, const std::vector<Way*>& ways, const Case& wanted,
                                          int turns) {
  std::vector<Times> times;
  std::vector<int> counts;
  for (Way* way : ways) {
    times.push_back({way->name(), {}});
    double seconds = 0;
    // The first makes links and touches memory; by the second, the third knows how many fill a block.
    for (int i = 0, count = 1; i < 3; ++i) {
      ARROW_ASSIGN_OR_RAISE(seconds, TimeBlock(control, *way, wanted, count));
      count = static_cast<int>(std::clamp(std::ceil(kBlockSeconds / seconds / 4), 1.0, double{kMostCalls}));
    }
    counts.push_back(static_cast<int>(std::clamp(std::ceil(kBlockSeconds / seconds), 1.0, double{kMostCalls})));
  }
  for (int turn = 0; turn < turns; ++turn) {
    for (size_t i = 0; i < ways.size(); ++i) {
      ARROW_ASSIGN_OR_RAISE(const double seconds, TimeBlock(control, *ways[i], wanted, counts[i]));
      times[i].seconds.push_back(seconds);
    }
  }
  return times;
}

arrow::Result<std::vector<double>> MeasureConnections(Context& context) {
  constexpr int64_t kTag = 3;
  auto& communicator = context.communicator();
  const auto word = arrow::Buffer::FromString("ping");
  std::vector<double> beyond;
  for (Rank peer = 2; peer + 1 < context.world_size(); ++peer) {
    double first = 0;
    for (int round = 0; round < 2; ++round) {
      const auto begin = Clock::now();
      if (context.rank() == 0) {
        ARROW_RETURN_NOT_OK(communicator.Send(peer, word, kTag));
        ARROW_RETURN_NOT_OK(communicator.Receive(peer, kTag).status());
        if (round == 0) {
          first = SecondsSince(begin);
        } else {
          beyond.push_back(first - SecondsSince(begin));
        }
      } else if (context.rank() == peer) {
        ARROW_RETURN_NOT_OK(communicator.Receive(0, kTag).status());
        ARROW_RETURN_NOT_OK(communicator.Send(0, word, kTag));
      }
    }
  }
  ARROW_RETURN_NOT_OK(communicator.Barrier());
  return beyond;
}

arrow::Result<Start> MeasureStart(const Options& options) {
  // The clock is the machine's: ranks on one host read the same.
  const double began = Monotonic(Clock::now());
  ARROW_ASSIGN_OR_RAISE(const auto context, Context::Connect(options));
  const double joined = Monotonic(Clock::now());
  auto& communicator = context->communicator();
  ARROW_RETURN_NOT_OK(communicator.Barrier());
  const double passed = Monotonic(Clock::now());
  ARROW_ASSIGN_OR_RAISE(const double last_began, communicator.AllReduce(began, ReduceOp::kMax));
  ARROW_ASSIGN_OR_RAISE(const double last_joined, communicator.AllReduce(joined, ReduceOp::kMax));
  ARROW_ASSIGN_OR_RAISE(const double last_passed, communicator.AllReduce(passed, ReduceOp::kMax));
  ARROW_RETURN_NOT_OK(context->Close());
  return Start{last_joined - last_began, last_passed - last_began};
}

}  // namespace cylon::bench
