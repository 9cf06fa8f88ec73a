// One rank that fails while it sends or receives chunks: every rank is told, and the world goes on.
#ifdef CYLON_FAILPOINTS

#include <gtest/gtest.h>

#include "cylon/base/testing/armed.h"
#include "cylon/comm/testing/ranks.h"
#include "cylon/exchange/exchange.h"
#include "cylon/exchange/testing/plan.h"

namespace cylon::testing {
namespace {

class ExchangeFailpointTest : public ExchangeWorldTest {};

INSTANTIATE_TEST_SUITE_P(Worlds, ExchangeFailpointTest, ::testing::ValuesIn(EachWorld({2, 3})), WorldName);

TEST_P(ExchangeFailpointTest, AllRanksAreToldAndTheWorldGoesOn) {
  for (const char* place : {"exchange.send", "exchange.receive"}) {
    // Failpoints know no rank: whichever is the second there is the one that fails.
    Armed armed(std::string(place) + "=return(the cable is cut)@2");
    ExpectAllOk(RunRanks(world(), [&](Context& context) -> arrow::Status {
      ARROW_ASSIGN_OR_RAISE(auto few, Few(context, 50));
      auto status = AllGatherTable(context, few).status();
      REQUIRE(status.IsIOError() && status.message().find("the cable is cut") != std::string::npos, status.ToString());
      ARROW_ASSIGN_OR_RAISE(auto all, AllGatherTable(context, few));
      REQUIRE(all.num_rows() == int64_t{50} * context.world_size());
      return arrow::Status::OK();
    }));
  }
}

}  // namespace
}  // namespace cylon::testing

#endif
