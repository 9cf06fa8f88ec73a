// Joins under many simulated schedules: CYLON_SIM_SEED replays one, CYLON_TEST_LONG=1 runs 10,000.
#include <gtest/gtest.h>

#include <cstdlib>

#include "cylon/ops/join.h"
#include "cylon/ops/testing/naive_join.h"
#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::RandomInput;

/// Ranks, sizes, types and schedule all follow from the seed. Tables are small: what is tested is the order of events.
void JoinUnderSeed(uint64_t seed) {
  const int ranks = 2 + static_cast<int>(seed % 3);
  const auto type = static_cast<JoinType>(seed / 3 % 6);
  const RandomInput left({{{"k", arrow::int32(), 12, 0.1}, {"a", arrow::utf8(), 9, 0.1}}, 8}, seed, ranks, 24);
  const RandomInput right({{{"k", arrow::int32(), 12, 0.1}, {"b", arrow::int64(), 9, 0.1}}, 8}, seed + 1, ranks, 16);
  JoinOptions options;
  options.type = type;
  options.left_keys = {"k"};
  options.right_keys = {"k"};
  testing::Gathered result(ranks);
  const auto statuses =
      RunRanks(testing::MakeWorld({ThreadWorld::Kind::kSim, ranks}, seed), [&](Context& context) -> arrow::Status {
        ARROW_ASSIGN_OR_RAISE(const auto joined, Join(context, left.Part(context.resources(), context.rank()),
                                                      right.Part(context.resources(), context.rank()), options));
        result.Set(context.rank(), testing::RowsOf(joined));
        return arrow::Status::OK();
      });
  for (int rank = 0; rank < ranks; ++rank) {
    EXPECT_TRUE(statuses[rank].ok()) << "rank " << rank << ": " << statuses[rank].ToString();
  }
  const auto resources = testing::TestResources();
  const auto expected =
      testing::NaiveJoin(left.Whole(resources), right.Whole(resources), 2, 2, {0}, {0}, {true}, type, NullKeys::kMatch);
  testing::ExpectRows(testing::Sorted(result.InOrder()), testing::Sorted(expected), "seed " + std::to_string(seed));
}

TEST(SimSeedsTest, JoinsAreRightUnderEverySchedule) {
  uint64_t first = 0;
  uint64_t count = 100;
  if (const char* one = std::getenv("CYLON_SIM_SEED")) {
    first = std::strtoull(one, nullptr, 10);
    count = 1;
  } else if (std::getenv("CYLON_TEST_LONG") != nullptr) {
    count = 10000;
  }
  for (uint64_t seed = first; seed < first + count; ++seed) {
    JoinUnderSeed(seed);
    if (HasFailure()) {
      FAIL() << "seed " << seed << " failed; replay it with: CYLON_SIM_SEED=" << seed
             << " cylon_ops_test --gtest_filter=SimSeedsTest.JoinsAreRightUnderEverySchedule";
    }
  }
}

}  // namespace
}  // namespace cylon
