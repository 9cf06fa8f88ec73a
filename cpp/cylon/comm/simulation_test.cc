// Random programs of collectives on simulated worlds.
#include <gtest/gtest.h>

#include <random>

#include "cylon/comm/context.h"
#include "cylon/comm/testing/ranks.h"

namespace cylon {
namespace {

using testing::BufferOf;
using testing::ValuesOf;
using BufferPtr = std::shared_ptr<arrow::Buffer>;

/// What a rank brings to step `step`: `count` numbers that tell both.
std::vector<int64_t> Values(Rank rank, int step, size_t count) {
  std::vector<int64_t> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = rank * 1000003 + step * 1009 + static_cast<int64_t>(i);
  }
  return values;
}

arrow::Status Expect(bool right, int step, const char* what) {
  return right ? arrow::Status::OK() : arrow::Status::UnknownError("step ", step, ": ", what, " is wrong");
}

/// One rank's part of a random program: all ranks draw the same steps from `seed`; each step is begun at once and its
/// answer checked at a moment that the rank draws for itself.
class Program {
 public:
  Program(Communicator* comm, uint64_t seed)
      : comm_(comm), shared_(seed), own_(seed * 31 + static_cast<uint64_t>(comm->rank())) {}

  arrow::Status Run(int steps) {
    for (int step = 0; step < steps; ++step) {
      Begin(step);
      while (!pending_.empty() && own_() % 3 == 0) {
        ARROW_RETURN_NOT_OK(CheckOne());
      }
    }
    while (!pending_.empty()) {
      ARROW_RETURN_NOT_OK(CheckOne());
    }
    return arrow::Status::OK();
  }

 private:
  arrow::Status CheckOne() {
    const size_t at = own_() % pending_.size();
    auto check = std::move(pending_[at]);
    pending_.erase(pending_.begin() + static_cast<int64_t>(at));
    return check();
  }

  void Begin(int step) {
    const auto root = static_cast<Rank>(shared_() % static_cast<uint64_t>(comm_->size()));
    const size_t count = shared_() % 8 == 0 ? 3000 : shared_() % 5;
    const int size = comm_->size();
    const Rank rank = comm_->rank();
    const auto own = BufferOf(Values(rank, step, count));
    auto* comm = comm_;
    switch (shared_() % 8) {
      case 0:
        pending_.emplace_back([comm, f = comm->BarrierAsync()] { return comm->Await(f); });
        break;
      case 1: {
        auto f = comm->AllReduceAsync(own, arrow::Type::INT64, ReduceOp::kSum);
        pending_.emplace_back([=]() -> arrow::Status {
          ARROW_ASSIGN_OR_RAISE(auto sum, comm->Await(f));
          auto expected = Values(0, step, count);
          for (Rank other = 1; other < size; ++other) {
            const auto theirs = Values(other, step, count);
            for (size_t i = 0; i < count; ++i) {
              expected[i] += theirs[i];
            }
          }
          return Expect(ValuesOf<int64_t>(*sum) == expected, step, "the sum");
        });
        break;
      }
      case 2: {
        auto f = comm->ReduceAsync(own, arrow::Type::INT64, ReduceOp::kMax, root);
        pending_.emplace_back([=]() -> arrow::Status {
          ARROW_ASSIGN_OR_RAISE(auto most, comm->Await(f));
          return Expect(rank == root ? ValuesOf<int64_t>(*most) == Values(size - 1, step, count) : most == nullptr,
                        step, "the maximum");
        });
        break;
      }
      case 3: {
        auto f = comm->BroadcastAsync(rank == root ? own : nullptr, root);
        pending_.emplace_back([=]() -> arrow::Status {
          ARROW_ASSIGN_OR_RAISE(auto value, comm->Await(f));
          return Expect(ValuesOf<int64_t>(*value) == Values(root, step, count), step, "the broadcast");
        });
        break;
      }
      case 4: {
        auto f = comm->AllGatherAsync(own);
        pending_.emplace_back([=]() -> arrow::Status {
          ARROW_ASSIGN_OR_RAISE(auto all, comm->Await(f));
          return CheckAll(all, step, count);
        });
        break;
      }
      case 5: {
        auto f = comm->GatherAsync(own, root);
        pending_.emplace_back([=]() -> arrow::Status {
          ARROW_ASSIGN_OR_RAISE(auto all, comm->Await(f));
          return rank == root ? CheckAll(all, step, count) : Expect(all.empty(), step, "the gather elsewhere");
        });
        break;
      }
      case 6: {
        Buffers values;
        for (Rank to = 0; rank == root && to < size; ++to) {
          values.push_back(BufferOf(Values(to, step, count)));
        }
        auto f = comm->ScatterAsync(values, root);
        pending_.emplace_back([=]() -> arrow::Status {
          ARROW_ASSIGN_OR_RAISE(auto value, comm->Await(f));
          return Expect(ValuesOf<int64_t>(*value) == Values(rank, step, count), step, "the scatter");
        });
        break;
      }
      default: {
        auto f = comm->AllToAllAsync(Buffers(static_cast<size_t>(size), own));
        pending_.emplace_back([=]() -> arrow::Status {
          ARROW_ASSIGN_OR_RAISE(auto all, comm->Await(f));
          return CheckAll(all, step, count);
        });
        break;
      }
    }
  }

  static arrow::Status CheckAll(const Buffers& all, int step, size_t count) {
    for (size_t from = 0; from < all.size(); ++from) {
      ARROW_RETURN_NOT_OK(Expect(ValuesOf<int64_t>(*all[from]) == Values(static_cast<Rank>(from), step, count), step,
                                 "a buffer of all"));
    }
    return arrow::Status::OK();
  }

  Communicator* comm_;
  std::mt19937_64 shared_;
  std::mt19937_64 own_;
  std::vector<std::function<arrow::Status()>> pending_;
};

std::string FirstError(const std::vector<arrow::Status>& statuses) {
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    if (!statuses[rank].ok()) {
      return "rank " + std::to_string(rank) + ": " + statuses[rank].ToString();
    }
  }
  return "";
}

TEST(SimulationTest, RandomProgramsOfCollectivesGiveTheRightAnswers) {
  testing::ForEachSeed(200, 10000, [](uint64_t seed) {
    ThreadWorld world;
    world.kind = ThreadWorld::Kind::kSim;
    world.ranks = 1 + static_cast<int>(seed % 8);
    world.seed = seed;
    return FirstError(RunRanks(world, [&](Context& context) -> arrow::Status {
      ARROW_RETURN_NOT_OK(Program(&context.communicator(), seed).Run(12));
      ARROW_ASSIGN_OR_RAISE(auto part, context.Split(context.rank() % 3, 0));
      ARROW_RETURN_NOT_OK(Program(&part->communicator(), seed + 1).Run(6));
      return context.communicator().Barrier();
    }));
  });
}

}  // namespace
}  // namespace cylon
