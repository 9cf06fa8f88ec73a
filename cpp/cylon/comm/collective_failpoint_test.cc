// One rank that fails at the beginning of a collective: every rank is told why.
#ifdef CYLON_FAILPOINTS

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/base/testing/armed.h"
#include "cylon/comm/testing/ranks.h"

namespace cylon::testing {
namespace {

class CollectiveFailpointTest : public ::testing::TestWithParam<WorldParameter> {};

INSTANTIATE_TEST_SUITE_P(Worlds, CollectiveFailpointTest, ::testing::ValuesIn(EachWorld({2, 3})), WorldName);

TEST_P(CollectiveFailpointTest, AllRanksAreTold) {
  // Failpoints know no rank: whichever begins first is the one that fails.
  Armed armed("collective.begin=return(nothing left)@1");
  const auto statuses =
      RunRanks(MakeThreadWorld(GetParam()), [](Context& context) { return context.communicator().Barrier(); });
  for (const auto& status : statuses) {
    EXPECT_THAT(status.message(), ::testing::HasSubstr("nothing left (failpoint collective.begin)"));
  }
}

}  // namespace
}  // namespace cylon::testing

#endif
