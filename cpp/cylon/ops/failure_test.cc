// What operators do when ranks disagree, when one has an error, and when one is lost: an error at every rank, never a
// wait without end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/ops/group_by.h"
#include "cylon/ops/join.h"
#include "cylon/ops/rows.h"
#include "cylon/ops/sort.h"
#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using ::testing::HasSubstr;
using testing::IntTable;
using testing::MakeWorld;
using testing::WorldCase;

JoinOptions OnK() {
  JoinOptions options;
  options.left_keys = {"k"};
  options.right_keys = {"k"};
  return options;
}

Table Keys(const std::shared_ptr<Resources>& resources) {
  return IntTable(resources, {"k", "v"}, {{1, 2, 3}, {4, 5, 6}});
}

class FailureTest : public ::testing::TestWithParam<WorldCase> {
 protected:
  /// `body` has to fail at every rank with a message that holds `text`, and the context has to work afterwards.
  static void ExpectErrorEverywhere(const std::function<arrow::Status(Context&)>& body, const std::string& text) {
    std::vector<arrow::Status> errors(GetParam().ranks);
    testing::ExpectAllOk(MakeWorld(GetParam()), [&](Context& context) -> arrow::Status {
      errors[context.rank()] = body(context);
      const auto table = Keys(context.resources());
      ARROW_ASSIGN_OR_RAISE(const auto joined, Join(context, table, table, OnK()));
      ARROW_ASSIGN_OR_RAISE(const auto rows, TotalRows(context, joined));
      const int64_t expected = int64_t{3} * context.world_size() * context.world_size();
      return rows == expected ? arrow::Status::OK() : arrow::Status::Invalid(rows, " rows instead of ", expected);
    });
    for (const auto& error : errors) {
      EXPECT_THAT(error.ToString(), HasSubstr(text));
    }
  }
};

TEST_P(FailureTest, DifferentOperatorsAreAMismatchEverywhere) {
  ExpectErrorEverywhere(
      [](Context& context) {
        const auto table = Keys(context.resources());
        return context.rank() == 0 ? Sort(context, table, {{{"k"}}, NullPlacement::kLast}).status()
                                   : Join(context, table, table, OnK()).status();
      },
      "Sort(by k");
}

TEST_P(FailureTest, DifferentSchemasAreAMismatchEverywhere) {
  ExpectErrorEverywhere(
      [](Context& context) {
        const auto table =
            context.rank() == 1 ? IntTable(context.resources(), {"k", "w"}, {{1}, {2}}) : Keys(context.resources());
        return Unique(context, table, {"k"}, Keep::kFirst).status();
      },
      "w: int64");
}

TEST_P(FailureTest, DifferentOptionsAreAMismatchEverywhere) {
  ExpectErrorEverywhere(
      [](Context& context) { return SliceRows(context, Keys(context.resources()), context.rank(), 1).status(); },
      "offset");
}

TEST_P(FailureTest, AnUnknownColumnIsAnErrorEverywhere) {
  ExpectErrorEverywhere([](Context& context) { return Shuffle(context, Keys(context.resources()), {"z"}).status(); },
                        "column 'z' is not a column of the table; it has k, v");
}

TEST_P(FailureTest, AnErrorOfOneRankIsToldToAll) {
  ExpectErrorEverywhere(
      [](Context& context) {
        const int64_t value = context.rank() == 1 ? INT64_MAX : 1;
        const auto table = IntTable(context.resources(), {"k", "v"}, {{7, 7}, {value, value}});
        return GroupBy(context, table, {{"k"}, {{"v", AggregateOp::kSum, "", 1}}}).status();
      },
      "does not fit int64");
}

/// No rank's partial sum overflows, but that of all does, at the one rank that has the group.
TEST_P(FailureTest, AnErrorAfterTheExchangeIsToldToAll) {
  ExpectErrorEverywhere(
      [](Context& context) {
        const auto table = IntTable(context.resources(), {"k", "v"}, {{7}, {INT64_MAX / 2 + 1}});
        return GroupBy(context, table, {{"k"}, {{"v", AggregateOp::kSum, "", 1}}, true, true}).status();
      },
      "does not fit int64");
}

INSTANTIATE_TEST_SUITE_P(Worlds, FailureTest,
                         ::testing::Values(WorldCase{ThreadWorld::Kind::kSim, 3},
                                           WorldCase{ThreadWorld::Kind::kInproc, 2},
                                           WorldCase{ThreadWorld::Kind::kTcp, 3}),
                         [](const auto& param) { return testing::WorldName(param.param); });

/// At whatever moment a rank is lost, the others' joins succeed or name it.
TEST(RankLossTest, ARankLostInAJoinIsNamedByTheOthers) {
  int named = 0;
  for (int64_t moment = 0; moment < 600; moment += 7) {
    auto world = MakeWorld({ThreadWorld::Kind::kSim, 3}, static_cast<uint64_t>(moment));
    world.kill_rank = 1;
    world.kill_after = moment;
    const auto statuses = RunRanks(world, [](Context& context) -> arrow::Status {
      const testing::RandomInput input({{{"k", arrow::utf8(), 40, 0.1}, {"v", arrow::int64(), 9, 0}}, 20}, 4, 3, 200);
      const auto part = input.Part(context.resources(), context.rank());
      return Join(context, part, part, OnK()).status();
    });
    for (const int rank : {0, 2}) {
      if (!statuses[rank].ok()) {
        ++named;
        EXPECT_TRUE(IsError(statuses[rank], ErrorKind::kRankFailed))
            << "moment " << moment << ", rank " << rank << ": " << statuses[rank].ToString();
        EXPECT_THAT(statuses[rank].message(), HasSubstr("rank 1"));
      }
    }
  }
  EXPECT_GT(named, 20);
}

}  // namespace
}  // namespace cylon
