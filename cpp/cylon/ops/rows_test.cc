// Operators on whole rows against naive ones, on every kind of world; bad input.
#include "cylon/ops/rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <set>

#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::AllWorlds;
using testing::ExpectAllOk;
using testing::Gathered;
using ::testing::HasSubstr;
using testing::IntTable;
using testing::MakeWorld;
using testing::RandomInput;
using testing::Row;
using testing::Rows;
using testing::RowsOf;
using testing::WorldCase;

class RowsWorldTest : public ::testing::TestWithParam<WorldCase> {
 protected:
  /// Key and payload, few distinct keys.
  static RandomInput Input(const std::shared_ptr<arrow::DataType>& type, uint64_t seed, int64_t rows = 150) {
    return RandomInput({{{"key", type, 20, 0.1},
                         {"payload", arrow::int64(), 100000, 0.1},
                         {"list", arrow::list(arrow::utf8()), 9, 0.2}},
                        40},
                       seed, GetParam().ranks, rows);
  }
};

Rows NaiveUnique(const Rows& rows, const std::vector<int>& keys, Keep keep) {
  std::map<Row, std::vector<size_t>> places;
  for (size_t i = 0; i < rows.size(); ++i) {
    places[testing::Pick(rows[i], keys)].push_back(i);
  }
  std::set<size_t> kept;
  for (const auto& [key, where] : places) {
    if (keep != Keep::kNone || where.size() == 1) {
      kept.insert(keep == Keep::kLast ? where.back() : where.front());
    }
  }
  Rows out;
  for (const size_t i : kept) {
    out.push_back(rows[i]);
  }
  return out;
}

TEST_P(RowsWorldTest, UniqueKeepsTheFirstLastOrSingleRowsInTheirOrder) {
  const WorldCase world = GetParam();
  std::vector<RandomInput> inputs;
  uint64_t seed = static_cast<uint64_t>(world.ranks) * 11;
  for (const auto& type : testing::KeyTypesFor(GetParam())) {
    inputs.push_back(Input(type, ++seed));
  }
  const auto keep_of = [](size_t i) { return i % 3 == 0 ? Keep::kFirst : i % 3 == 1 ? Keep::kLast : Keep::kNone; };
  std::vector<Gathered> results(inputs.size(), Gathered(world.ranks));
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    for (size_t i = 0; i < inputs.size(); ++i) {
      const auto part = inputs[i].Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto unique, Unique(context, part, {"key"}, keep_of(i)));
      results[i].Set(context.rank(), RowsOf(unique));
    }
    return arrow::Status::OK();
  });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < inputs.size(); ++i) {
    testing::ExpectRows(
        results[i].InOrder(), NaiveUnique(inputs[i].Whole(resources), {0}, keep_of(i)),
        "key " + inputs[i].spec.columns[0].type->ToString() + ", seed " + std::to_string(inputs[i].seed));
  }
}

/// Keys that are nearly all different, so that all of them travel, and keys of which one has a third of the rows.
TEST_P(RowsWorldTest, UniqueIsTheSameHoweverOftenKeysRepeat) {
  const WorldCase world = GetParam();
  std::vector<RandomInput> inputs;
  std::vector<std::vector<int>> keys;
  for (const auto& type : {arrow::int64(), arrow::utf8(), arrow::uint16(), arrow::float64()}) {
    for (const bool heavy : {false, true}) {
      inputs.push_back(RandomInput({{{"key", type, 100000, 0.02, heavy}, {"other", arrow::int32(), 3, 0}}, 200},
                                   4 + inputs.size() % 4, world.ranks, 900));
      keys.push_back(inputs.size() % 3 == 0 ? std::vector<int>{1, 0} : std::vector<int>{0});
    }
  }
  constexpr Keep kKeeps[] = {Keep::kFirst, Keep::kLast, Keep::kNone};
  std::vector<Gathered> results(inputs.size() * std::size(kKeeps), Gathered(world.ranks));
  auto made = MakeWorld(world);
  made.options.threads = world.ranks == 2 ? 3 : 1;
  ExpectAllOk(made, [&](Context& context) -> arrow::Status {
    for (size_t i = 0; i < results.size(); ++i) {
      const auto& input = inputs[i / std::size(kKeeps)];
      std::vector<std::string> names;
      for (const int key : keys[i / std::size(kKeeps)]) {
        names.push_back(input.spec.columns[key].name);
      }
      const auto part = input.Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto unique, Unique(context, part, names, kKeeps[i % std::size(kKeeps)]));
      results[i].Set(context.rank(), RowsOf(unique));
    }
    return arrow::Status::OK();
  });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < results.size(); ++i) {
    const size_t input = i / std::size(kKeeps);
    testing::ExpectRows(results[i].InOrder(),
                        NaiveUnique(inputs[input].Whole(resources), keys[input], kKeeps[i % std::size(kKeeps)]),
                        "input " + std::to_string(input) + ", keep " + std::to_string(i % std::size(kKeeps)));
  }
}

TEST_P(RowsWorldTest, SlicesAreByGlobalPosition) {
  const WorldCase world = GetParam();
  const int64_t slices[][2] = {{0, 0},   {0, 1},   {5, 20},        {70, 1000},
                               {149, 1}, {150, 5}, {0, INT64_MAX}, {INT64_MAX, INT64_MAX}};
  for (const uint64_t seed : {0, 1, 3, 4}) {
    const auto input = Input(arrow::utf8(), seed, 90);
    std::vector<Gathered> results(std::size(slices), Gathered(world.ranks));
    Gathered head(world.ranks);
    ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
      const auto part = input.Part(context.resources(), context.rank());
      for (size_t i = 0; i < std::size(slices); ++i) {
        ARROW_ASSIGN_OR_RAISE(const auto slice, SliceRows(context, part, slices[i][0], slices[i][1]));
        results[i].Set(context.rank(), RowsOf(slice));
      }
      ARROW_ASSIGN_OR_RAISE(const auto first, Head(context, part, 10));
      head.Set(context.rank(), RowsOf(first));
      ARROW_ASSIGN_OR_RAISE(const auto total, TotalRows(context, part));
      const auto expected = std::accumulate(input.shares.begin(), input.shares.end(), int64_t{0});
      return total == expected ? arrow::Status::OK() : arrow::Status::Invalid(total, " rows instead of ", expected);
    });
    const auto whole = input.Whole(testing::TestResources());
    const auto total = static_cast<int64_t>(whole.size());
    for (size_t i = 0; i < std::size(slices); ++i) {
      const int64_t begin = std::min(slices[i][0], total);
      const int64_t end = begin + std::min(slices[i][1], total - begin);
      testing::ExpectRows(results[i].InOrder(), Rows(whole.begin() + begin, whole.begin() + end),
                          "slice " + std::to_string(i) + ", seed " + std::to_string(seed));
    }
    EXPECT_EQ(head.InOrder(), Rows(whole.begin(), whole.begin() + std::min<int64_t>(10, total)));
  }
}

TEST_P(RowsWorldTest, ShuffleBringsEqualKeysToOneRankAndKeepsEveryRow) {
  const WorldCase world = GetParam();
  const auto input = Input(arrow::float64(), 5, 300);
  Gathered result(world.ranks);
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(const auto shuffled,
                          Shuffle(context, input.Part(context.resources(), context.rank()), {"key"}));
    result.Set(context.rank(), RowsOf(shuffled));
    return arrow::Status::OK();
  });
  std::map<Row, int> homes;
  for (int rank = 0; rank < world.ranks; ++rank) {
    for (const auto& row : result.part(rank)) {
      EXPECT_EQ(homes.emplace(testing::Pick(row, {0}), rank).first->second, rank);
    }
  }
  EXPECT_EQ(testing::Sorted(result.InOrder()), testing::Sorted(input.Whole(testing::TestResources())));
}

TEST_P(RowsWorldTest, RepartitionKeepsTheOrderAndMakesEvenOrGivenShares) {
  const WorldCase world = GetParam();
  for (const uint64_t seed : {0, 1, 3, 4}) {
    const auto input = Input(arrow::utf8(), seed, 90);
    const auto whole = input.Whole(testing::TestResources());
    const auto total = static_cast<int64_t>(whole.size());
    std::vector<int64_t> wanted(world.ranks, 0);
    wanted[seed % world.ranks] = total;
    Gathered even(world.ranks);
    Gathered given(world.ranks);
    ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
      const auto part = input.Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto evened, Repartition(context, part));
      even.Set(context.rank(), RowsOf(evened));
      ARROW_ASSIGN_OR_RAISE(const auto moved, Repartition(context, part, wanted));
      given.Set(context.rank(), RowsOf(moved));
      return arrow::Status::OK();
    });
    testing::ExpectRows(even.InOrder(), whole, "even, seed " + std::to_string(seed));
    testing::ExpectRows(given.InOrder(), whole, "given, seed " + std::to_string(seed));
    for (int rank = 0; rank < world.ranks; ++rank) {
      EXPECT_LE(std::abs(static_cast<int64_t>(even.part(rank).size()) - total / world.ranks), 1);
      EXPECT_EQ(static_cast<int64_t>(given.part(rank).size()), wanted[rank]);
    }
  }
}

TEST_P(RowsWorldTest, EqualLooksAtRowsAndNotAtWhereTheyLie) {
  const WorldCase world = GetParam();
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    const auto expect = [&](const Table& left, const Table& right, bool ordered, bool expected) -> arrow::Status {
      ARROW_ASSIGN_OR_RAISE(const bool equal, Equal(context, left, right, ordered));
      return equal == expected ? arrow::Status::OK() : arrow::Status::Invalid("Equal was wrong: ", equal, " ", ordered);
    };
    for (const uint64_t seed : {uint64_t{GetParam().spill_always ? 4U : 3U}}) {
      for (const auto& type : {arrow::utf8(), arrow::float64(), arrow::dictionary(arrow::int8(), arrow::utf8())}) {
        const auto table = Input(type, seed, 40).Part(context.resources(), context.rank());
        ARROW_ASSIGN_OR_RAISE(const auto moved, Repartition(context, table));
        ARROW_ASSIGN_OR_RAISE(const auto mixed, Shuffle(context, table, {"key"}));
        ARROW_ASSIGN_OR_RAISE(const auto rows, TotalRows(context, table));
        ARROW_ASSIGN_OR_RAISE(const auto shorter, SliceRows(context, table, 1, rows));
        ARROW_RETURN_NOT_OK(expect(table, moved, true, true));
        ARROW_RETURN_NOT_OK(expect(table, mixed, false, true));
        ARROW_RETURN_NOT_OK(expect(table, shorter, false, false));
        ARROW_RETURN_NOT_OK(expect(table, shorter, true, false));
        ARROW_ASSIGN_OR_RAISE(const auto doubled, Concat(context, {shorter, shorter}));
        ARROW_ASSIGN_OR_RAISE(const auto as_long, SliceRows(context, doubled, 0, rows));
        ARROW_RETURN_NOT_OK(expect(table, as_long, false, false));
      }
    }
    return arrow::Status::OK();
  });
}

TEST_P(RowsWorldTest, ConcatPutsPartsOneAfterAnother) {
  const WorldCase world = GetParam();
  const auto first = Input(arrow::int16(), 4);
  const auto second = Input(arrow::int16(), 5);
  Gathered result(world.ranks);
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    const auto a = first.Part(context.resources(), context.rank());
    ARROW_ASSIGN_OR_RAISE(const auto b,
                          Select(second.Part(context.resources(), context.rank()), {"list", "payload", "key"}));
    ARROW_ASSIGN_OR_RAISE(const auto both, Concat(context, {a, b}));
    result.Set(context.rank(), RowsOf(both));
    return arrow::Status::OK();
  });
  const auto resources = testing::TestResources();
  for (int rank = 0; rank < world.ranks; ++rank) {
    auto expected = RowsOf(first.Part(resources, rank));
    const auto more = RowsOf(second.Part(resources, rank));
    expected.insert(expected.end(), more.begin(), more.end());
    testing::ExpectRows(result.part(rank), expected, "rank " + std::to_string(rank));
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, RowsWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

class RowsTest : public ::testing::Test {
 protected:
  std::shared_ptr<Resources> resources_ = testing::TestResources();
  std::shared_ptr<Context> context_ = Context::Local().ValueOrDie();
  Table table_ = IntTable(resources_, {"k", "v"}, {{1, 2, 3}, {4, 5, 6}});
};

TEST_F(RowsTest, FilterKeepsRowsWhereTheMaskIsTrue) {
  arrow::BooleanBuilder builder;
  ASSERT_TRUE(builder.AppendValues(std::vector<bool>{true, false, true}, std::vector<bool>{true, true, false}).ok());
  const arrow::ChunkedArray mask(builder.Finish().ValueOrDie());
  ASSERT_OK_AND_ASSIGN(const auto kept, Filter(*context_, table_, mask));
  EXPECT_EQ(RowsOf(kept), RowsOf(IntTable(resources_, {"k", "v"}, {{1}, {4}})));
}

TEST_F(RowsTest, FilterRefusesMasksOfOtherLengthsAndTypes) {
  ASSERT_OK_AND_ASSIGN(const auto short_mask, arrow::MakeArrayFromScalar(arrow::BooleanScalar(true), 2));
  EXPECT_THAT(Filter(*context_, table_, arrow::ChunkedArray(short_mask)).status().message(),
              HasSubstr("mask has 2 values for 3 rows"));
  ASSERT_OK_AND_ASSIGN(const auto numbers, arrow::MakeArrayFromScalar(arrow::Int64Scalar(1), 3));
  EXPECT_THAT(Filter(*context_, table_, arrow::ChunkedArray(numbers)).status().message(), HasSubstr("mask is int64"));
}

TEST_F(RowsTest, SelectAndRenameGoByName) {
  ASSERT_OK_AND_ASSIGN(const auto selected, Select(table_, {"v"}));
  EXPECT_EQ(selected.schema()->field_names(), std::vector<std::string>{"v"});
  ASSERT_OK_AND_ASSIGN(const auto renamed, Rename(table_, {{"k", "key"}}));
  EXPECT_EQ(renamed.schema()->field_names(), (std::vector<std::string>{"key", "v"}));
  EXPECT_TRUE(Select(table_, {"z"}).status().IsKeyError());
  EXPECT_TRUE(Rename(table_, {{"z", "y"}}).status().IsKeyError());
}

TEST_F(RowsTest, NegativeSlicesAreRefused) {
  EXPECT_THAT(SliceRows(*context_, table_, -1, 2).status().message(), HasSubstr("a slice of 2 rows from row -1"));
}

TEST_F(RowsTest, SharesHaveToFitRanksAndRows) {
  EXPECT_THAT(Repartition(*context_, table_, std::vector<int64_t>{1, 2}).status().message(),
              HasSubstr("2 shares for 1 ranks"));
  EXPECT_THAT(Repartition(*context_, table_, std::vector<int64_t>{5}).status().message(),
              HasSubstr("shares of 5 rows in all, but the table has 3"));
}

TEST_F(RowsTest, ConcatRefusesOtherTypesAndColumns) {
  const auto schema = arrow::schema({arrow::field("k", arrow::int32()), arrow::field("v", arrow::int64())});
  const auto narrow = Table::Empty(resources_, schema);
  const auto status = Concat(*context_, {table_, narrow}).status();
  EXPECT_TRUE(status.IsTypeError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("df.astype({'k': 'int64'})"));
  ASSERT_OK_AND_ASSIGN(const auto fewer, Select(table_, {"k"}));
  EXPECT_THAT(Concat(*context_, {table_, fewer}).status().message(),
              HasSubstr("column 'v' is not a column of table 1"));
  EXPECT_THAT(Concat(*context_, {fewer, table_}).status().message(), HasSubstr("column 'v' of table 1"));
}

TEST_F(RowsTest, ConcatGivesNullColumnsTheTypeOfTheOthers) {
  const auto nulls = arrow::schema({arrow::field("k", arrow::null()), arrow::field("v", arrow::int64())});
  const auto batch = arrow::RecordBatch::Make(nulls, 1,
                                              {arrow::MakeArrayOfNull(arrow::null(), 1).ValueOrDie(),
                                               arrow::MakeArrayFromScalar(arrow::Int64Scalar(9), 1).ValueOrDie()});
  ASSERT_OK_AND_ASSIGN(const auto first, Table::FromBatches(resources_, nulls, {batch}));
  ASSERT_OK_AND_ASSIGN(const auto both, Concat(*context_, {first, table_}));
  EXPECT_EQ(both.num_rows(), 4);
  EXPECT_TRUE(both.schema()->field(0)->type()->Equals(arrow::int64()));
}

TEST_F(RowsTest, ATableWithoutASchemaIsRefused) {
  EXPECT_THAT(Unique(*context_, Table(), {}, Keep::kFirst).status().message(), HasSubstr("without a schema"));
}

}  // namespace
}  // namespace cylon
