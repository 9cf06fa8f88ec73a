// Answers to rows that were sent: bits of any number come as the bytes that they were, and others than expected are
// told.
#include "cylon/ops/unique_marks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using ::testing::HasSubstr;
using testing::MakeWorld;

/// What rank `from` answers rank `to`.
std::string Marks(int from, int to, int64_t count) {
  std::mt19937_64 random(static_cast<uint64_t>(from * 10 + to));
  std::string bytes;
  for (int64_t i = 0; i < count; ++i) {
    bytes.push_back(static_cast<char>(random() % 2));
  }
  return bytes;
}

TEST(UniqueMarksTest, EveryRankGetsTheBytesThatWereMeantForIt) {
  // Chunks are at least 16 KiB, so that the longest come in several.
  const auto count_of = [](int from, int to) { return int64_t{100'003} * from + int64_t{13} * to; };
  constexpr int kRanks = 3;
  auto world = MakeWorld({ThreadWorld::Kind::kSim, kRanks});
  world.options.chunk_bytes = 1;
  testing::ExpectAllOk(world, [&](Context& context) -> arrow::Status {
    const auto make = [&]() -> arrow::Result<Buffers> {
      Buffers marks;
      for (int to = 0; to < kRanks; ++to) {
        marks.push_back(arrow::Buffer::FromString(Marks(context.rank(), to, count_of(context.rank(), to))));
      }
      return marks;
    };
    std::vector<int64_t> expected;
    for (int from = 0; from < kRanks; ++from) {
      expected.push_back(count_of(from, context.rank()));
    }
    ARROW_ASSIGN_OR_RAISE(const auto came, internal::ExchangeMarks(context, "answers", make, expected));
    for (int from = 0; from < kRanks; ++from) {
      const std::string wanted = Marks(from, context.rank(), expected[from]) + '\0';
      if (came[from]->ToString() != wanted) {
        return arrow::Status::Invalid("other bytes from rank ", from);
      }
    }
    return arrow::Status::OK();
  });
}

TEST(UniqueMarksTest, TooManyAndTooFewAnswersAreTold) {
  for (const int64_t sent : {3, 5}) {
    std::vector<arrow::Status> statuses(2);
    testing::ExpectAllOk(MakeWorld({ThreadWorld::Kind::kSim, 2}), [&](Context& context) {
      const auto make = [&]() -> arrow::Result<Buffers> {
        const int64_t own = context.rank() == 0 ? 4 : sent;
        return Buffers{arrow::Buffer::FromString(Marks(0, 0, own)), arrow::Buffer::FromString(Marks(0, 1, 4))};
      };
      statuses[context.rank()] = internal::ExchangeMarks(context, "answers", make, {4, 4}).status();
      return arrow::Status::OK();
    });
    EXPECT_THAT(statuses[0].ToString(), HasSubstr("in 'answers' rank 1 sent answers for " + std::to_string(sent) +
                                                  " rows; expected 4; all ranks must run the same version of Cylon"));
  }
}

}  // namespace
}  // namespace cylon
