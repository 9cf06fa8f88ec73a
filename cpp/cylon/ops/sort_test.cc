// Sorts against a naive one, on every kind of world: order, stability, balance; bad input.
#include "cylon/ops/sort.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::AllWorlds;
using testing::Cell;
using testing::ExpectAllOk;
using testing::Gathered;
using ::testing::HasSubstr;
using testing::MakeWorld;
using testing::RandomInput;
using testing::Row;
using testing::Rows;
using testing::RowsOf;
using testing::WorldCase;

struct SortCase {
  RandomInput input;
  SortOptions options;
  std::vector<int> columns;
};

/// The order that Sort promises: nulls where they are wanted whatever the direction, NaN between them and the numbers.
bool ComesBefore(const Row& a, const Row& b, const SortCase& sort) {
  for (size_t k = 0; k < sort.columns.size(); ++k) {
    const Cell& left = a[sort.columns[k]];
    const Cell& right = b[sort.columns[k]];
    if (left == right) {
      continue;
    }
    if (left.is_missing() || right.is_missing()) {
      return (left < right) == (sort.options.nulls == NullPlacement::kLast);
    }
    return (left < right) == (sort.options.by[k].order == SortOrder::kAscending);
  }
  return false;
}

Rows Expected(const SortCase& sort, const std::shared_ptr<Resources>& resources) {
  auto rows = sort.input.Whole(resources);
  std::stable_sort(rows.begin(), rows.end(), [&](const Row& a, const Row& b) { return ComesBefore(a, b, sort); });
  return rows;
}

void ExpectLikeNaive(const WorldCase& world, const std::vector<SortCase>& cases) {
  const auto results = testing::RunCases<SortCase>(
      world, cases,
      [](Context& context, const Table& part, const SortCase& one) { return Sort(context, part, one.options); });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < cases.size(); ++i) {
    testing::ExpectRows(results[i].InOrder(), Expected(cases[i], resources),
                        "first column " + cases[i].input.spec.columns[cases[i].columns[0]].type->ToString() +
                            ", seed " + std::to_string(cases[i].input.seed));
  }
}

class SortWorldTest : public ::testing::TestWithParam<WorldCase> {};

/// Ties are many and the payload is unique, so an unstable sort would be found out.
TEST_P(SortWorldTest, EveryKeyTypeSortsStablyAsTheNaiveSortDoes) {
  std::vector<SortCase> cases;
  uint64_t seed = static_cast<uint64_t>(GetParam().ranks) * 13 + (GetParam().spill_always ? 5 : 0);
  for (const auto& type : testing::KeyTypesFor(GetParam())) {
    ++seed;
    const auto order = seed % 2 == 0 ? SortOrder::kAscending : SortOrder::kDescending;
    cases.push_back({RandomInput({{{"key", type, 25, 0.1}, {"payload", arrow::int64(), 100000, 0}}, 30}, seed,
                                 GetParam().ranks, 150),
                     {{{"key", order}}, seed % 3 == 0 ? NullPlacement::kFirst : NullPlacement::kLast},
                     {0}});
  }
  ExpectLikeNaive(GetParam(), cases);
}

TEST_P(SortWorldTest, SeveralColumnsSortEachInItsDirection) {
  std::vector<SortCase> cases;
  for (uint64_t seed = 40; seed < 46; ++seed) {
    cases.push_back({RandomInput({{{"text", arrow::utf8(), 6, 0.2},
                                   {"list", arrow::list(arrow::utf8()), 10, 0.1},
                                   {"number", arrow::float64(), 9, 0.2},
                                   {"flag", arrow::boolean(), 2, 0.1}},
                                  40},
                                 seed, GetParam().ranks, 200),
                     {{{"flag", SortOrder::kDescending}, {"text"}, {"number", SortOrder::kDescending}},
                      seed % 2 == 0 ? NullPlacement::kFirst : NullPlacement::kLast},
                     {3, 0, 2}});
  }
  ExpectLikeNaive(GetParam(), cases);
}

/// Few or many values, one of them half of all rows or the only one: no rank gets twice its share.
TEST_P(SortWorldTest, NoRankGetsTwiceItsShare) {
  const WorldCase world = GetParam();
  constexpr int64_t kRows = 4000;
  for (const int distinct : {1, 3, 1000}) {
    std::vector<int64_t> rows(world.ranks);
    ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
      const RandomInput input({{{"key", arrow::int64(), distinct, 0.01, true}}, 500}, 4, world.ranks, kRows);
      ARROW_ASSIGN_OR_RAISE(const auto sorted, Sort(context, input.Part(context.resources(), context.rank()),
                                                    {{{"key"}}, NullPlacement::kLast}));
      rows[context.rank()] = sorted.num_rows();
      return arrow::Status::OK();
    });
    EXPECT_EQ(std::accumulate(rows.begin(), rows.end(), int64_t{0}), kRows);
    EXPECT_LE(*std::max_element(rows.begin(), rows.end()), 2 * kRows / world.ranks) << distinct << " distinct values";
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, SortWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

class SortTest : public ::testing::Test {
 protected:
  arrow::Status SortHere(const SortOptions& options) {
    ARROW_ASSIGN_OR_RAISE(auto context, Context::Local());
    return Sort(*context, table_, options).status();
  }
  std::shared_ptr<Resources> resources_ = testing::TestResources();
  Table table_ = testing::IntTable(resources_, {"k", "v"}, {{1, 2}, {3, 4}});
};

TEST_F(SortTest, UnknownColumnNamesTheColumnsThereAre) {
  const auto status = SortHere({{{"z"}}, NullPlacement::kLast});
  EXPECT_TRUE(status.IsKeyError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("sort column 'z' is not a column of the table; it has k, v"));
}

TEST_F(SortTest, NoColumnsAreRefused) { EXPECT_THAT(SortHere({}).message(), HasSubstr("a sort was given no columns")); }

TEST_F(SortTest, AColumnGivenTwiceIsRefused) {
  EXPECT_THAT(SortHere({{{"k"}, {"k"}}, NullPlacement::kLast}).message(), HasSubstr("sort column 'k' is given twice"));
}

}  // namespace
}  // namespace cylon
