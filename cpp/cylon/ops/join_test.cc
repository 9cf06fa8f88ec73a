// Joins against a naive one, on every kind of world; columns and names; bad input.
#include "cylon/ops/join.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/ops/testing/naive_join.h"
#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using testing::AllWorlds;
using ::testing::ElementsAre;
using testing::ExpectAllOk;
using testing::Gathered;
using ::testing::HasSubstr;
using testing::IntTable;
using testing::MakeWorld;
using testing::RandomColumn;
using testing::RandomInput;
using testing::Rows;
using testing::RowsOf;
using testing::Sorted;
using testing::WorldCase;

constexpr JoinType kJoinTypes[] = {JoinType::kInner, JoinType::kLeft, JoinType::kRight,
                                   JoinType::kFull,  JoinType::kSemi, JoinType::kAnti};

/// One join to try: tables, keys and options.
struct JoinCase {
  RandomInput left;
  RandomInput right;
  JoinOptions options;
  std::vector<int> left_keys;
  std::vector<int> right_keys;
  std::vector<bool> shared;

  Rows Expected(const std::shared_ptr<Resources>& resources) const {
    return Sorted(testing::NaiveJoin(left.Whole(resources), right.Whole(resources), left.spec.columns.size(),
                                     right.spec.columns.size(), left_keys, right_keys, shared, options.type,
                                     options.null_keys));
  }
  std::string Name() const {
    return "join type " + std::to_string(static_cast<int>(options.type)) + ", key " +
           left.spec.columns[0].type->ToString() + ", seed " + std::to_string(left.seed);
  }
};

/// One key of `type` with the same name on both sides.
JoinCase OneKey(const std::shared_ptr<arrow::DataType>& type, JoinType join_type, uint64_t seed, int ranks) {
  const int64_t left_rows = 120;
  const int64_t right_rows = seed % 5 == 0 ? 6 : 70;  // at times so few that they are sent to all
  JoinCase out{
      RandomInput({{{"key", type, 30, 0.1}, {"a", arrow::int64(), 1000, 0.1}, {"text", arrow::utf8(), 50, 0.2}}, 40},
                  seed, ranks, left_rows),
      RandomInput({{{"b", arrow::float64(), 40, 0.2}, {"key", type, 30, 0.1}}, 25}, seed + 1, ranks, right_rows),
      {},
      {0},
      {1},
      {true}};
  out.options.type = join_type;
  out.options.left_keys = {"key"};
  out.options.right_keys = {"key"};
  out.options.null_keys = seed % 2 == 0 ? NullKeys::kMatch : NullKeys::kNeverMatch;
  return out;
}

/// Two keys, one with the same name on both sides, and payload of nested types.
JoinCase TwoKeys(JoinType join_type, uint64_t seed, int ranks) {
  JoinCase out{RandomInput({{{"k", arrow::int32(), 8, 0.1, true},
                             {"l", arrow::utf8(), 5, 0.1},
                             {"v", arrow::list(arrow::int32()), 9, 0.2}},
                            40},
                           seed, ranks, 150),
               RandomInput({{{"r", arrow::utf8(), 5, 0.1},
                             {"k", arrow::int32(), 8, 0.1},
                             {"v", arrow::struct_({arrow::field("x", arrow::utf8())}), 9, 0.2}},
                            30},
                           seed + 1, ranks, 60),
               {},
               {0, 1},
               {1, 0},
               {true, false}};
  out.options.type = join_type;
  out.options.left_keys = {"k", "l"};
  out.options.right_keys = {"k", "r"};
  out.options.null_keys = seed % 2 == 0 ? NullKeys::kMatch : NullKeys::kNeverMatch;
  return out;
}

/// Runs all cases in one world and compares what the ranks have together.
void ExpectLikeNaive(const WorldCase& world, const std::vector<JoinCase>& cases) {
  std::vector<Gathered> results(cases.size(), Gathered(world.ranks));
  ExpectAllOk(MakeWorld(world), [&](Context& context) -> arrow::Status {
    for (size_t i = 0; i < cases.size(); ++i) {
      const auto left = cases[i].left.Part(context.resources(), context.rank());
      const auto right = cases[i].right.Part(context.resources(), context.rank());
      ARROW_ASSIGN_OR_RAISE(const auto joined, Join(context, left, right, cases[i].options));
      ARROW_RETURN_NOT_OK(joined.ToArrow().Map([](const auto& table) { return table->ValidateFull(); }));
      results[i].Set(context.rank(), RowsOf(joined));
    }
    return arrow::Status::OK();
  });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < cases.size(); ++i) {
    testing::ExpectRows(Sorted(results[i].InOrder()), cases[i].Expected(resources), cases[i].Name());
  }
}

/// Conditions with and without keys, and cross joins: sums of what each pair of rows gives, over all ranks.
struct ConditionCase {
  JoinType type;
  bool keyed;
};

/// Rows {k, v} with v compared, and what a join of them gives, by definition.
Rows ConditionalRows(const Rows& left, const Rows& right, const ConditionCase& join) {
  Rows out;
  std::vector<bool> matched(right.size(), false);
  const bool once = join.type == JoinType::kSemi || join.type == JoinType::kAnti;
  for (const auto& a : left) {
    bool found = false;
    for (size_t j = 0; j < right.size(); ++j) {
      const auto& b = right[j];
      const bool holds = join.type == JoinType::kCross || (!a[1].is_null() && !b[1].is_null() && a[1] < b[1]);
      if (holds && (!join.keyed || a[0] == b[0])) {
        found = true;
        matched[j] = true;
        if (!once) {
          out.push_back({a[0], a[1], b[0], b[1]});
        }
      }
    }
    if (once && found == (join.type == JoinType::kSemi)) {
      out.push_back(a);
    } else if (!found && (join.type == JoinType::kLeft || join.type == JoinType::kFull)) {
      out.push_back({a[0], a[1], {}, {}});
    }
  }
  for (size_t j = 0; j < right.size(); ++j) {
    if (!matched[j] && (join.type == JoinType::kRight || join.type == JoinType::kFull)) {
      out.push_back({{}, {}, right[j][0], right[j][1]});
    }
  }
  return Sorted(out);
}

/// One side is many times the other, most of whose keys it lacks, and a third of its rows have one key.
JoinCase Skewed(JoinType join_type, bool left_large, uint64_t seed, int ranks) {
  const testing::RandomSpec large = {{{"key", arrow::int64(), 400, 0.05, true}, {"a", arrow::int32(), 1000, 0.1}}, 40};
  const testing::RandomSpec small = {{{"key", arrow::int64(), 40, 0.05, false}, {"b", arrow::utf8(), 40, 0.2}}, 25};
  JoinCase out{RandomInput(left_large ? large : small, seed, ranks, left_large ? 900 : 70),
               RandomInput(left_large ? small : large, seed + 1, ranks, left_large ? 70 : 900),
               {},
               {0},
               {0},
               {true}};
  out.options.type = join_type;
  out.options.left_keys = {"key"};
  out.options.right_keys = {"key"};
  out.options.null_keys = seed % 2 == 0 ? NullKeys::kMatch : NullKeys::kNeverMatch;
  out.options.limits.look_rows = 1;
  return out;
}

class JoinWorldTest : public ::testing::TestWithParam<WorldCase> {};

TEST_P(JoinWorldTest, EveryKeyTypeJoinsAsTheNaiveJoinDoes) {
  std::vector<JoinCase> cases;
  uint64_t seed = static_cast<uint64_t>(GetParam().ranks) * 31 + (GetParam().spill_always ? 3 : 0);
  for (const auto& type : testing::KeyTypesFor(GetParam())) {
    ++seed;
    cases.push_back(OneKey(type, kJoinTypes[seed % 6], seed, GetParam().ranks));
  }
  ExpectLikeNaive(GetParam(), cases);
}

TEST_P(JoinWorldTest, HeavyKeysAndRowsThatAreKeptBackDoNotChangeTheResult) {
  std::vector<JoinCase> cases;
  uint64_t seed = 300;
  for (const auto type : kJoinTypes) {
    for (const bool left_large : {false, true}) {
      cases.push_back(Skewed(type, left_large, seed += 4, GetParam().ranks));  // seeds that spread rows over all ranks
    }
  }
  ExpectLikeNaive(GetParam(), cases);
}

TEST_P(JoinWorldTest, EveryJoinTypeJoinsOnSeveralKeysWithNestedPayload) {
  std::vector<JoinCase> cases;
  uint64_t seed = 100;
  for (const auto type : kJoinTypes) {
    for (int i = 0; i < 2; ++i) {
      cases.push_back(TwoKeys(type, ++seed, GetParam().ranks));
    }
  }
  ExpectLikeNaive(GetParam(), cases);
}

TEST_P(JoinWorldTest, ConditionsJoinAsTheNaiveJoinDoesWithAndWithoutKeys) {
  const int ranks = GetParam().ranks;
  std::vector<ConditionCase> cases = {{JoinType::kCross, false}};
  for (const auto type : kJoinTypes) {
    cases.push_back({type, true});
    cases.push_back({type, false});
  }
  const RandomInput left({{{"k", arrow::int32(), 5, 0.2}, {"v", arrow::int64(), 30, 0.2}}, 20}, 4, ranks, 50);
  const RandomInput right({{{"l", arrow::int32(), 5, 0.2}, {"w", arrow::int64(), 30, 0.2}}, 20}, 5, ranks, 40);
  std::vector<Gathered> results(cases.size(), Gathered(ranks));
  ExpectAllOk(MakeWorld(GetParam()), [&](Context& context) -> arrow::Status {
    for (size_t i = 0; i < cases.size(); ++i) {
      JoinOptions options;
      options.type = cases[i].type;
      if (cases[i].keyed) {
        options.left_keys = {"k"};
        options.right_keys = {"l"};
      }
      if (cases[i].type != JoinType::kCross) {
        options.condition = {{"v", Comparison::kLess, "w"}};
      }
      ARROW_ASSIGN_OR_RAISE(const auto joined, Join(context, left.Part(context.resources(), context.rank()),
                                                    right.Part(context.resources(), context.rank()), options));
      results[i].Set(context.rank(), RowsOf(joined));
    }
    return arrow::Status::OK();
  });
  const auto resources = testing::TestResources();
  for (size_t i = 0; i < cases.size(); ++i) {
    testing::ExpectRows(Sorted(results[i].InOrder()),
                        ConditionalRows(left.Whole(resources), right.Whole(resources), cases[i]),
                        "join type " + std::to_string(static_cast<int>(cases[i].type)) +
                            (cases[i].keyed ? " with keys" : " without keys"));
  }
}

INSTANTIATE_TEST_SUITE_P(Worlds, JoinWorldTest, ::testing::ValuesIn(AllWorlds()),
                         [](const auto& param) { return testing::WorldName(param.param); });

/// Runs a join on one rank.
arrow::Result<Table> JoinHere(const Table& left, const Table& right, const JoinOptions& options) {
  ARROW_ASSIGN_OR_RAISE(auto context, Context::Local());
  return Join(*context, left, right, options);
}

JoinOptions On(std::vector<std::string> left, std::vector<std::string> right, JoinType type = JoinType::kInner) {
  JoinOptions options;
  options.type = type;
  options.left_keys = std::move(left);
  options.right_keys = std::move(right);
  return options;
}

class JoinTest : public ::testing::Test {
 protected:
  std::shared_ptr<Resources> resources_ = testing::TestResources();
  Table left_ = IntTable(resources_, {"k", "v", "only"}, {{1, 2, 3}, {10, 20, 30}, {7, 8, 9}});
  Table right_ = IntTable(resources_, {"k", "v", "q"}, {{2, 3, 4}, {200, 300, 400}, {2, 3, 4}});
};

TEST_F(JoinTest, SharedKeyAppearsOnceAndOtherSharedNamesGetSuffixes) {
  ASSERT_OK_AND_ASSIGN(const auto joined, JoinHere(left_, right_, On({"k"}, {"k"}, JoinType::kFull)));
  EXPECT_THAT(joined.schema()->field_names(), ElementsAre("k", "v_x", "only", "v_y", "q"));
  EXPECT_EQ(joined.num_rows(), 4);
}

TEST_F(JoinTest, KeysOfDifferentNamesBothAppear) {
  ASSERT_OK_AND_ASSIGN(const auto joined, JoinHere(left_, right_, On({"k"}, {"q"})));
  EXPECT_THAT(joined.schema()->field_names(), ElementsAre("k_x", "v_x", "only", "k_y", "v_y", "q"));
}

TEST_F(JoinTest, SuffixesMayBeChosen) {
  auto options = On({"k"}, {"k"});
  options.left_suffix = "";
  options.right_suffix = "_right";
  ASSERT_OK_AND_ASSIGN(const auto joined, JoinHere(left_, right_, options));
  EXPECT_THAT(joined.schema()->field_names(), ElementsAre("k", "v", "only", "v_right", "q"));
}

TEST_F(JoinTest, SemiAndAntiGiveTheLeftColumns) {
  ASSERT_OK_AND_ASSIGN(const auto semi, JoinHere(left_, right_, On({"k"}, {"k"}, JoinType::kSemi)));
  EXPECT_THAT(semi.schema()->field_names(), ElementsAre("k", "v", "only"));
  EXPECT_EQ(semi.num_rows(), 2);
  ASSERT_OK_AND_ASSIGN(const auto anti, JoinHere(left_, right_, On({"k"}, {"k"}, JoinType::kAnti)));
  EXPECT_EQ(anti.num_rows(), 1);
}

TEST_F(JoinTest, UnknownKeyNamesTheColumnsThereAre) {
  const auto status = JoinHere(left_, right_, On({"k"}, {"z"})).status();
  EXPECT_TRUE(status.IsKeyError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("join key 'z' is not a column of the right table; it has k, v, q"));
}

TEST_F(JoinTest, KeysOfDifferentTypesSayHowToCast) {
  const auto schema = arrow::schema({arrow::field("k", arrow::utf8())});
  const auto status = JoinHere(Table::Empty(resources_, schema), right_, On({"k"}, {"k"})).status();
  EXPECT_TRUE(status.IsTypeError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("join key 'k' is string on the left and int64 on the right"));
  EXPECT_THAT(status.message(), HasSubstr("cast one side, for example left.astype({'k': 'int64'})"));
}

TEST_F(JoinTest, NestedKeysAreRefused) {
  const auto schema = arrow::schema({arrow::field("k", arrow::list(arrow::int64()))});
  const auto table = Table::Empty(resources_, schema);
  const auto status = JoinHere(table, table, On({"k"}, {"k"})).status();
  EXPECT_TRUE(status.IsTypeError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("join key 'k' is list<"));
}

TEST_F(JoinTest, NamesThatClashWithSuffixesAreRefused) {
  auto options = On({"k"}, {"k"});
  options.left_suffix = "";
  options.right_suffix = "";
  const auto status = JoinHere(left_, right_, options).status();
  EXPECT_TRUE(status.IsInvalid()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("would have two columns 'v'"));
}

TEST_F(JoinTest, KeysHaveToBePairs) {
  EXPECT_THAT(JoinHere(left_, right_, On({"k"}, {"k", "v"})).status().message(),
              HasSubstr("1 left keys (k) and 2 right keys"));
  EXPECT_THAT(JoinHere(left_, right_, On({}, {})).status().message(),
              HasSubstr("a join was given no keys; at least one column of each side has to be named; give keys or a "
                        "condition, or choose a cross join"));
}

TEST_F(JoinTest, KeysWithoutOrderAreNotSorted) {
  const auto table = Table::Empty(resources_, arrow::schema({arrow::field("k", arrow::month_interval())}));
  auto options = On({"k"}, {"k"});
  EXPECT_TRUE(JoinHere(table, table, options).ok());
  options.algorithm = JoinAlgorithm::kSort;
  const auto status = JoinHere(table, table, options).status();
  EXPECT_TRUE(status.IsTypeError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("join key 'k' is month_interval, which has no order; a join by sorting needs "
                                          "keys that can be sorted; choose the algorithm 'hash'"));
}

TEST_F(JoinTest, SortedSidesComeOutSorted) {
  const auto left = IntTable(resources_, {"k", "v"}, {{1, 2, 2, 5, 9}, {1, 2, 3, 4, 5}});
  const auto right = IntTable(resources_, {"k", "w"}, {{2, 2, 5, 7}, {6, 7, 8, 9}});
  ASSERT_OK_AND_ASSIGN(const auto joined, JoinHere(left, right, On({"k"}, {"k"})));
  const auto rows = RowsOf(joined);
  EXPECT_EQ(rows.size(), 5u);
  EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a[0] < b[0]; }));
}

TEST_F(JoinTest, CrossJoinsPairEveryRowAndHaveNoKeys) {
  ASSERT_OK_AND_ASSIGN(const auto crossed, JoinHere(left_, right_, On({}, {}, JoinType::kCross)));
  EXPECT_THAT(crossed.schema()->field_names(), ElementsAre("k_x", "v_x", "only", "k_y", "v_y", "q"));
  EXPECT_EQ(crossed.num_rows(), 9);
  const auto status = JoinHere(left_, right_, On({"k"}, {"k"}, JoinType::kCross)).status();
  EXPECT_TRUE(status.IsInvalid()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("a cross join was given the keys k; it pairs every row with every row; leave "
                                          "the keys out, or choose another type"));
}

TEST_F(JoinTest, ConditionOnAMissingColumnNamesTheColumnsThereAre) {
  auto options = On({"k"}, {"k"});
  options.condition = {{"v", Comparison::kLess, "z"}};
  const auto status = JoinHere(left_, right_, options).status();
  EXPECT_TRUE(status.IsKeyError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("condition column 'z' is not a column of the right table; it has k, v, q"));
}

TEST_F(JoinTest, ConditionOnColumnsThatCannotBeComparedSaysWhich) {
  auto options = On({}, {});
  options.condition = {{"v", Comparison::kLess, "text"}};
  const auto text = Table::Empty(resources_, arrow::schema({arrow::field("text", arrow::utf8())}));
  const auto status = JoinHere(left_, text, options).status();
  EXPECT_TRUE(status.IsTypeError()) << status.ToString();
  EXPECT_THAT(status.message(), HasSubstr("the join condition 'v' < 'text' compares int64 with string; both have to "));
}

/// A dictionary and plain strings, or strings of other widths, of the same values match.
TEST_F(JoinTest, EncodingsOfStringsMatchEachOther) {
  const auto types = {arrow::utf8(), arrow::large_utf8(), arrow::utf8_view(),
                      arrow::dictionary(arrow::int8(), arrow::utf8()),
                      arrow::dictionary(arrow::int32(), arrow::large_utf8())};
  for (const auto& left_type : types) {
    for (const auto& right_type : types) {
      const RandomInput left({{RandomColumn{"key", left_type, 20, 0.1}}, 50}, 4, 1, 60);
      const RandomInput right({{RandomColumn{"key", right_type, 20, 0.1}}, 50}, 5, 1, 40);
      const auto expected = Sorted(testing::NaiveJoin(left.Whole(resources_), right.Whole(resources_), 1, 1, {0}, {0},
                                                      {true}, JoinType::kFull, NullKeys::kMatch));
      ASSERT_OK_AND_ASSIGN(const auto joined, JoinHere(left.Part(resources_, 0), right.Part(resources_, 0),
                                                       On({"key"}, {"key"}, JoinType::kFull)));
      testing::ExpectRows(Sorted(RowsOf(joined)), expected, left_type->ToString() + " and " + right_type->ToString());
    }
  }
}

}  // namespace
}  // namespace cylon
