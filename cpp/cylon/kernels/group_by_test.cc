// Grouping against naive aggregates, over key and value types, budgets and threads.
#include "cylon/kernels/group_by.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "cylon/kernels/scalar_aggregate.h"
#include "cylon/kernels/testing/compare_values.h"
#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::MakeResources;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;
using testing::TestSetting;

/// All but products, which overflow for most of the generated columns.
constexpr AggregateOp kAllOps[] = {
    AggregateOp::kSum,   AggregateOp::kCount, AggregateOp::kSize,    AggregateOp::kMean,   AggregateOp::kMin,
    AggregateOp::kMax,   AggregateOp::kVar,   AggregateOp::kStd,     AggregateOp::kAny,    AggregateOp::kAll,
    AggregateOp::kFirst, AggregateOp::kLast,  AggregateOp::kNunique, AggregateOp::kMedian, AggregateOp::kQuantile};

constexpr double kTestQuantile = 0.375;

bool NeedsRows(AggregateOp op) {
  return op == AggregateOp::kNunique || op == AggregateOp::kMedian || op == AggregateOp::kQuantile;
}

bool IsMissing(const std::string& text) { return text == "null" || text == "nan"; }

std::string Canonical(const std::string& text) { return text == "-0" ? "0" : text; }

/// The key of a row as text; -0.0 is 0.0.
std::string KeyText(const arrow::RecordBatch& batch, int keys, int64_t row) {
  std::string key;
  for (int k = 0; k < keys; ++k) {
    key += Canonical(testing::ValueText(*batch.column(k), row)) + "|";
  }
  return key;
}

/// The rows of each group, groups in the order of first appearance.
std::vector<std::vector<int64_t>> NaiveGroups(const arrow::RecordBatch& batch, int keys, bool drop_null_keys) {
  std::map<std::string, size_t> numbers;
  std::vector<std::vector<int64_t>> groups;
  for (int64_t i = 0; i < batch.num_rows(); ++i) {
    bool null = false;
    for (int k = 0; k < keys; ++k) {
      null = null || IsMissing(testing::ValueText(*batch.column(k), i));  // NaN keys are dropped with the null ones
    }
    if (null && drop_null_keys) {
      continue;
    }
    const auto [place, is_new] = numbers.emplace(KeyText(batch, keys, i), groups.size());
    if (is_new) {
      groups.emplace_back();
    }
    groups[place->second].push_back(i);
  }
  return groups;
}

/// The result of one group as text; numbers that are computed in floating point as "~value".
std::string NaiveAggregate(const arrow::Array& values, const std::vector<int64_t>& rows, AggregateOp op, int ddof) {
  std::vector<int64_t> there;
  for (int64_t row : rows) {
    if (!IsMissing(testing::ValueText(values, row))) {
      there.push_back(row);
    }
  }
  const auto number = [&](int64_t row) -> long double {
    const std::string text = testing::ValueText(values, row);
    return text == "true" ? 1.0L : (text == "false" ? 0.0L : std::stold(text));
  };
  if (op == AggregateOp::kSize) {
    return std::to_string(rows.size());
  }
  if (op == AggregateOp::kCount) {
    return std::to_string(there.size());
  }
  if (op == AggregateOp::kMin || op == AggregateOp::kMax) {
    if (there.empty()) {
      return "null";
    }
    int64_t best = there[0];
    for (int64_t row : there) {
      const int compared = testing::CompareValues(values, row, best);
      best = (op == AggregateOp::kMin ? compared < 0 : compared > 0) ? row : best;
    }
    return Canonical(testing::ValueText(values, best));
  }
  if (op == AggregateOp::kFirst || op == AggregateOp::kLast) {
    return there.empty() ? "null"
                         : Canonical(testing::ValueText(values, op == AggregateOp::kFirst ? there[0] : there.back()));
  }
  if (op == AggregateOp::kNunique) {
    std::set<std::string> texts;
    for (int64_t row : there) {
      texts.insert(Canonical(testing::ValueText(values, row)));
    }
    return std::to_string(texts.size());
  }
  if (op == AggregateOp::kAny || op == AggregateOp::kAll) {
    const auto is_true = [&](int64_t row) { return number(row) != 0; };
    return (op == AggregateOp::kAny ? std::any_of(there.begin(), there.end(), is_true)
                                    : std::all_of(there.begin(), there.end(), is_true))
               ? "true"
               : "false";
  }
  if (op == AggregateOp::kMedian || op == AggregateOp::kQuantile) {
    if (there.empty()) {
      return "null";
    }
    std::vector<long double> sorted;
    for (int64_t row : there) {
      sorted.push_back(number(row));
    }
    std::sort(sorted.begin(), sorted.end());
    const long double place =
        static_cast<long double>(sorted.size() - 1) * (op == AggregateOp::kMedian ? 0.5L : kTestQuantile);
    const auto below = static_cast<size_t>(place);
    const long double low = sorted[below];
    const long double high = sorted[std::min(below + 1, sorted.size() - 1)];
    return "~" + std::to_string(low == high ? low : low + (high - low) * (place - static_cast<long double>(below)));
  }
  long double sum = 0;
  for (int64_t row : there) {
    sum += number(row);
  }
  if (op == AggregateOp::kSum) {
    return "~" + std::to_string(sum);
  }
  const auto count = static_cast<int64_t>(there.size());
  if (count == 0 || (op != AggregateOp::kMean && count <= ddof)) {
    return "null";
  }
  const long double mean = sum / static_cast<long double>(count);
  long double squares = 0;
  for (int64_t row : there) {
    squares += (number(row) - mean) * (number(row) - mean);
  }
  const long double variance = squares / static_cast<long double>(count - ddof);
  return "~" +
         std::to_string(op == AggregateOp::kMean ? mean : (op == AggregateOp::kVar ? variance : std::sqrt(variance)));
}

void ExpectResult(const std::string& actual, const std::string& expected, const std::string& what) {
  if (expected[0] != '~') {
    ASSERT_EQ(Canonical(actual), expected) << what;
    return;
  }
  ASSERT_NE(actual, "null") << what;
  const long double a = std::stold(actual);
  const long double e = std::stold(expected.substr(1));
  if (std::isnan(e) || std::isinf(e)) {
    ASSERT_TRUE(std::isnan(e) ? std::isnan(a) : a == e) << what << ": " << actual << " " << expected;
    return;
  }
  ASSERT_NEAR(static_cast<double>(a), static_cast<double>(e), 1e-6 + 1e-9 * std::abs(static_cast<double>(e))) << what;
}

bool HasNumbers(const arrow::DataType& type) {
  const arrow::DataType* plain = &type;
  if (type.id() == arrow::Type::DICTIONARY) {
    plain = static_cast<const arrow::DictionaryType&>(type).value_type().get();
  } else if (type.id() == arrow::Type::RUN_END_ENCODED) {
    plain = static_cast<const arrow::RunEndEncodedType&>(type).value_type().get();
  }
  return arrow::is_integer(plain->id()) || arrow::is_floating(plain->id()) || arrow::is_decimal(plain->id()) ||
         plain->id() == arrow::Type::BOOL || plain->id() == arrow::Type::NA;
}

bool HasWideDecimals(const arrow::DataType& type) {
  return type.ToString().find("decimal128") != std::string::npos ||
         type.ToString().find("decimal256") != std::string::npos;
}

/// Without what has no partial states.
GroupByKernelOptions WithStates(GroupByKernelOptions options) {
  std::erase_if(options.aggregates, [](const AggregateSpec& spec) { return NeedsRows(spec.op); });
  return options;
}

/// Column 0 .. keys-1 are keys; every aggregate that fits on every further column.
GroupByKernelOptions OptionsFor(const arrow::Schema& schema, int keys) {
  GroupByKernelOptions options;
  for (int k = 0; k < keys; ++k) {
    options.keys.push_back(k);
  }
  for (int c = keys; c < schema.num_fields(); ++c) {
    for (AggregateOp op : kAllOps) {
      const bool number = op == AggregateOp::kSum || op == AggregateOp::kMean || op == AggregateOp::kVar ||
                          op == AggregateOp::kStd || op == AggregateOp::kMedian || op == AggregateOp::kQuantile;
      const bool truth = op == AggregateOp::kAny || op == AggregateOp::kAll;
      // The generated uint64 columns hold the largest value, so that their sums overflow.
      const bool overflows = op == AggregateOp::kSum && schema.field(c)->type()->id() == arrow::Type::UINT64;
      const bool numbers = HasNumbers(*schema.field(c)->type());
      if (!overflows && (!number || numbers) && (!truth || (numbers && !HasWideDecimals(*schema.field(c)->type())))) {
        options.aggregates.push_back({op == AggregateOp::kSize ? -1 : c, op,
                                      "a" + std::to_string(options.aggregates.size()), c % 2, kTestQuantile});
      }
    }
  }
  return options;
}

/// `result` has the groups of `reference`, in any order.
void CheckGroups(const Table& result, const std::shared_ptr<arrow::Schema>& schema, const Table& reference,
                 const GroupByKernelOptions& options) {
  const auto keys = static_cast<int>(options.keys.size());
  ASSERT_TRUE(result.schema()->Equals(*GroupBySchema(schema, options).ValueOrDie()));
  const auto batch = reference.ToBatch().ValueOrDie();
  const auto groups = NaiveGroups(*batch, keys, options.drop_null_keys);
  const auto actual = result.ToBatch().ValueOrDie();
  ASSERT_TRUE(actual->ValidateFull().ok());
  ASSERT_EQ(actual->num_rows(), static_cast<int64_t>(groups.size()));
  std::map<std::string, int64_t> places;  // groups come in any order
  for (int64_t g = 0; g < actual->num_rows(); ++g) {
    ASSERT_TRUE(places.emplace(KeyText(*actual, keys, g), g).second) << "a group came twice";
  }
  for (const auto& rows : groups) {
    const auto found = places.find(KeyText(*batch, keys, rows[0]));
    ASSERT_NE(found, places.end());
    const int64_t g = found->second;
    for (int k = 0; k < keys; ++k) {
      ASSERT_EQ(testing::ValueText(*actual->column(k), g), testing::ValueText(*batch->column(k), rows[0]));
    }
    for (size_t a = 0; a < options.aggregates.size(); ++a) {
      const auto& spec = options.aggregates[a];
      const auto& values = *batch->column(std::max(spec.column, 0));
      ExpectResult(testing::ValueText(*actual->column(keys + static_cast<int>(a)), g),
                   NaiveAggregate(values, rows, spec.op, spec.ddof),
                   values.type()->ToString() + " operation " + std::to_string(static_cast<int>(spec.op)));
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
  }
}

/// `reference` has the rows of `table` outside its budget.
void CheckGroupBy(const std::shared_ptr<Resources>& resources, const Table& table, const Table& reference, int keys,
                  bool drop_null_keys) {
  auto options = OptionsFor(*table.schema(), keys);
  options.drop_null_keys = drop_null_keys;
  // In three parts, as three ranks would.
  const auto with_states = WithStates(options);
  std::vector<Table> partials;
  for (int part = 0; part < 3; ++part) {
    const int64_t begin = table.num_rows() * part / 3;
    const auto slice = table.Slice(begin, table.num_rows() * (part + 1) / 3 - begin).ValueOrDie();
    auto partial = GroupByPartial(resources, slice, with_states);
    ASSERT_TRUE(partial.ok()) << partial.status().ToString();
    partials.push_back(*partial);
  }
  const auto all = Table::Concatenate(partials).ValueOrDie();
  const auto merged = GroupByMerge(resources, all, table.schema(), with_states);
  ASSERT_TRUE(merged.ok()) << merged.status().ToString();
  CheckGroups(*merged, table.schema(), reference, with_states);
  // And at once.
  const auto at_once = GroupByLocal(resources, table, options);
  ASSERT_TRUE(at_once.ok()) << at_once.status().ToString();
  CheckGroups(*at_once, table.schema(), reference, options);
}

bool HasTextOfHalf(const arrow::DataType& type) { return type.id() == arrow::Type::HALF_FLOAT; }

TEST(GroupByTest, EveryKeyTypeFormsGroupsByValue) {
  auto resources = MakeResources();
  uint64_t seed = 1;
  for (const auto& type : testing::KeyTypes()) {
    if (HasTextOfHalf(*type)) {
      continue;
    }
    for (const bool drop_null_keys : {false, true}) {
      RandomSpec spec;
      spec.largest_chunk = 60;
      spec.columns = {RandomColumn{"key", type, 20}, RandomColumn{"value", arrow::int32(), 100}};
      const auto table = testing::RandomTable(resources, ++seed, 150, spec);
      CheckGroupBy(resources, table, table, 1, drop_null_keys);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(GroupByTest, EveryValueTypeIsAggregated) {
  auto resources = MakeResources();
  uint64_t seed = 100;
  for (const auto& type : testing::KeyTypes()) {
    if (HasTextOfHalf(*type)) {
      continue;
    }
    for (const double null_share : {0.0, 0.3}) {
      RandomSpec spec;
      spec.largest_chunk = 60;
      spec.columns = {RandomColumn{"key", arrow::utf8(), 20}, RandomColumn{"value", type, 30, null_share}};
      const auto table = testing::RandomTable(resources, ++seed, 150, spec);
      CheckGroupBy(resources, table, table, 1, true);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
}

TEST(GroupByTest, AnyBudgetAndThreadsGiveTheSameBits) {
  RandomSpec spec;
  spec.largest_chunk = 50;
  spec.columns = {RandomColumn{"a", arrow::utf8(), 60}, RandomColumn{"b", arrow::int16(), 20},
                  RandomColumn{"number", arrow::float64(), 5000}, RandomColumn{"text", arrow::utf8_view(), 500}};
  const auto reference = testing::RandomTable(MakeResources(), 3, 2000, spec);
  for (const bool spill_always : {false, true}) {
    for (const int threads : {1, 3}) {
      auto resources = MakeResources({threads, 560 << 10, spill_always});
      CheckGroupBy(resources, testing::RandomTable(resources, 3, 2000, spec), reference, 2, true);
      EXPECT_GT(resources->memory()->spilled_bytes() + static_cast<int64_t>(spill_always), 0);
      if (HasFatalFailure()) {
        return;
      }
    }
  }
  // Enough rows to be dealt to several parts.
  std::vector<std::string> expected;
  spec.largest_chunk = 9000;
  for (const int threads : {1, 3}) {
    auto resources = MakeResources({threads, int64_t{1} << 30, false, 3000});
    const auto table = testing::RandomTable(resources, 4, 40000, spec);
    const auto options = WithStates(OptionsFor(*table.schema(), 2));
    const auto partial = GroupByPartial(resources, table, options).ValueOrDie();
    const auto rows = RowsAsStrings(GroupByMerge(resources, partial, table.schema(), options).ValueOrDie());
    expected = threads == 1 ? rows : expected;
    EXPECT_TRUE(rows == expected);
  }
}

TEST(GroupByTest, ManyGroupsOfEveryKindOfKeyAreDealtIntoPartitions) {
  const std::vector<std::vector<RandomColumn>> key_columns = {
      {RandomColumn{"k", arrow::int64(), 30000, 0.01}},
      {RandomColumn{"k", arrow::float64(), 30000, 0.01}},
      {RandomColumn{"k", arrow::utf8(), 30000, 0.01}},
      {RandomColumn{"k", arrow::int32(), 30000, 0.0}, RandomColumn{"l", arrow::float32(), 3, 0.0}},
      {RandomColumn{"k", arrow::int32(), 30000, 0.01}, RandomColumn{"l", arrow::float32(), 3, 0.1}}};
  uint64_t seed = 500;
  for (const auto& keys : key_columns) {
    RandomSpec spec;
    spec.largest_chunk = 9000;
    spec.columns = keys;
    spec.columns.push_back(RandomColumn{"i", arrow::int16(), 1000});
    spec.columns.push_back(RandomColumn{"s", arrow::utf8(), 50});
    const bool drop_null_keys = ++seed % 2 == 0;
    const auto reference = testing::RandomTable(MakeResources(), seed, 36000, spec);
    GroupByKernelOptions options;
    options.drop_null_keys = drop_null_keys;
    for (size_t k = 0; k < keys.size(); ++k) {
      options.keys.push_back(static_cast<int>(k));
    }
    const int i = static_cast<int>(keys.size());
    options.aggregates = {{i, AggregateOp::kMedian, "median"},  {i + 1, AggregateOp::kNunique, "nunique"},
                          {i + 1, AggregateOp::kLast, "last"},  {i, AggregateOp::kFirst, "first"},
                          {i, AggregateOp::kMean, "mean"},      {i, AggregateOp::kStd, "std"},
                          {i, AggregateOp::kMin, "min"},        {i + 1, AggregateOp::kMax, "max"},
                          {i + 1, AggregateOp::kCount, "count"}};
    std::vector<std::string> expected;
    for (const int threads : {1, 3}) {
      // All in memory.
      auto resources = MakeResources({threads, int64_t{1} << 30, false, 3000});
      const auto table = testing::RandomTable(resources, seed, 36000, spec);
      const auto rows = RowsAsStrings(GroupByLocal(resources, table, options).ValueOrDie());
      ASSERT_TRUE(threads == 1 || rows == expected);
      expected = rows;
    }
    // Too much for half of the budget: parts on disk, one after the other.
    auto small = MakeResources({1, 6 << 20, true, 3000});
    const auto table = testing::RandomTable(small, seed, 36000, spec);
    auto cut = RowsAsStrings(GroupByLocal(small, table, options).ValueOrDie());
    std::sort(cut.begin(), cut.end());
    std::sort(expected.begin(), expected.end());
    EXPECT_TRUE(cut == expected);
    CheckGroups(GroupByLocal(small, table, options).ValueOrDie(), table.schema(), reference, options);
    if (HasFatalFailure()) {
      return;
    }
  }
}

TEST(GroupByTest, EmptyTableGivesNoGroups) {
  auto resources = MakeResources();
  const auto schema = arrow::schema({arrow::field("key", arrow::utf8()), arrow::field("value", arrow::int8())});
  const auto options = WithStates(OptionsFor(*schema, 1));
  const auto partial = GroupByPartial(resources, Table::Empty(resources, schema), options).ValueOrDie();
  const auto result = GroupByMerge(resources, partial, schema, options).ValueOrDie();
  EXPECT_EQ(result.num_rows(), 0);
  EXPECT_TRUE(result.schema()->Equals(*GroupBySchema(schema, options).ValueOrDie()));
}

Table OneColumn(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Array>& array) {
  const auto schema = arrow::schema({arrow::field("x", array->type())});
  return Table::FromBatches(resources, schema, {arrow::RecordBatch::Make(schema, array->length(), {array})})
      .ValueOrDie();
}

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ArrayOf(const std::shared_ptr<arrow::DataType>& type, const std::vector<Value>& values) {
  Builder builder(type, arrow::default_memory_pool());
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

arrow::Result<std::string> Scalar(const Table& table, AggregateOp op) {
  const std::vector<AggregateSpec> specs = {{0, op, "result"}};
  ARROW_ASSIGN_OR_RAISE(auto partial, AggregatePartial(table.resources(), table, specs));
  ARROW_ASSIGN_OR_RAISE(auto merged, AggregateMerge(table.resources(), {partial, partial}, table.schema(), specs));
  return testing::ValueText(*merged->column(0), 0);
}

TEST(ScalarAggregateTest, SumThatOverflowsIsInvalidAndNamesTheColumn) {
  auto resources = MakeResources();
  const int64_t large = std::numeric_limits<int64_t>::max();
  const auto table = OneColumn(resources, ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), {large}));
  const auto status = Scalar(table, AggregateOp::kSum).status();
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_NE(status.message().find("the sum of column 'x' is 18446744073709551614, which does not fit int64; cast the "
                                  "column to float64"),
            std::string::npos)
      << status.message();
  // The same sum fits on the way, and fits in the end.
  const auto back =
      OneColumn(resources, ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), {large, large, -large, -large, 3}));
  EXPECT_EQ(Scalar(back, AggregateOp::kSum).ValueOrDie(), "6");
  const auto unsigned_table =
      OneColumn(resources, ArrayOf<arrow::UInt64Builder, uint64_t>(arrow::uint64(), {uint64_t{1} << 63}));
  EXPECT_TRUE(Scalar(unsigned_table, AggregateOp::kSum).status().IsInvalid());
}

TEST(ScalarAggregateTest, FloatSumsLoseNothingToOrder) {
  auto resources = MakeResources();
  const auto table =
      OneColumn(resources, ArrayOf<arrow::DoubleBuilder, double>(arrow::float64(), {1e16, 1.0, -1e16, 1.0}));
  EXPECT_EQ(Scalar(table, AggregateOp::kSum).ValueOrDie(), "4");
}

TEST(ScalarAggregateTest, NothingSumsToZeroAndHasNoMean) {
  auto resources = MakeResources();
  const auto table = Table::Empty(resources, arrow::schema({arrow::field("x", arrow::float32())}));
  EXPECT_EQ(Scalar(table, AggregateOp::kSum).ValueOrDie(), "0");
  EXPECT_EQ(Scalar(table, AggregateOp::kCount).ValueOrDie(), "0");
  EXPECT_EQ(Scalar(table, AggregateOp::kSize).ValueOrDie(), "0");
  for (AggregateOp op :
       {AggregateOp::kMean, AggregateOp::kMin, AggregateOp::kMax, AggregateOp::kVar, AggregateOp::kStd}) {
    EXPECT_EQ(Scalar(table, op).ValueOrDie(), "null");
  }
}

GroupByKernelOptions OneGroup(AggregateOp op, double quantile = 0.5) {
  GroupByKernelOptions options;
  options.keys = {0};
  options.aggregates = {{1, op, "result", 1, quantile}};
  return options;
}

/// One aggregate of int64 values under one key, in two steps and at once.
arrow::Result<std::string> Product(const std::vector<int64_t>& values) {
  auto resources = MakeResources();
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", arrow::int64())});
  const auto keys = ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), std::vector<int64_t>(values.size(), 7));
  const auto array = ArrayOf<arrow::Int64Builder, int64_t>(arrow::int64(), values);
  ARROW_ASSIGN_OR_RAISE(
      const auto table,
      Table::FromBatches(resources, schema,
                         {arrow::RecordBatch::Make(schema, static_cast<int64_t>(values.size()), {keys, array})}));
  const auto options = OneGroup(AggregateOp::kProd);
  std::vector<Table> partials;
  for (int64_t i = 0; i < table.num_rows(); ++i) {
    ARROW_ASSIGN_OR_RAISE(const auto row, table.Slice(i, 1));
    ARROW_ASSIGN_OR_RAISE(auto partial, GroupByPartial(resources, row, options));
    partials.push_back(std::move(partial));
  }
  ARROW_ASSIGN_OR_RAISE(const auto all, Table::Concatenate(partials));
  ARROW_ASSIGN_OR_RAISE(const auto merged, GroupByMerge(resources, all, schema, options));
  ARROW_ASSIGN_OR_RAISE(const auto at_once, GroupByLocal(resources, table, options));
  ARROW_ASSIGN_OR_RAISE(const auto merged_batch, merged.ToBatch());
  ARROW_ASSIGN_OR_RAISE(const auto batch, at_once.ToBatch());
  EXPECT_EQ(testing::ValueText(*merged_batch->column(1), 0), testing::ValueText(*batch->column(1), 0));
  return testing::ValueText(*batch->column(1), 0);
}

TEST(GroupByTest, IntegerProductsAreExactOrAnError) {
  const int64_t smallest = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(Product({-2, 3, 5}).ValueOrDie(), "-30");
  EXPECT_EQ(Product({int64_t{1} << 62, -2}).ValueOrDie(), std::to_string(smallest));
  // A zero makes it zero, wherever it comes.
  EXPECT_EQ(Product({int64_t{1} << 62, 4, 4, 0, smallest, smallest}).ValueOrDie(), "0");
  for (const auto& values :
       {std::vector<int64_t>{int64_t{1} << 62, 2}, {smallest, -1}, {smallest, smallest, smallest}}) {
    const auto status = Product(values).status();
    EXPECT_TRUE(status.IsInvalid());
    EXPECT_NE(status.message().find("the product of column 'x' does not fit int64; cast the column to float64"),
              std::string::npos)
        << status.message();
  }
}

TEST(GroupByTest, AQuantileHasToLieBetweenZeroAndOne) {
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", arrow::int64())});
  for (const double quantile : {-0.001, 1.001, std::numeric_limits<double>::quiet_NaN()}) {
    const auto status = GroupBySchema(schema, OneGroup(AggregateOp::kQuantile, quantile)).status();
    EXPECT_TRUE(status.IsInvalid());
    EXPECT_NE(status.message().find("it has to be between 0 and 1"), std::string::npos) << status.message();
  }
  EXPECT_TRUE(GroupBySchema(schema, OneGroup(AggregateOp::kQuantile, 0)).ok());
  EXPECT_TRUE(GroupBySchema(schema, OneGroup(AggregateOp::kQuantile, 1)).ok());
}

TEST(GroupByTest, WhatATypeDoesNotSupportIsRefusedByName) {
  const auto refusal = [](const std::shared_ptr<arrow::DataType>& type, AggregateOp op) {
    const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", type)});
    const auto status = GroupBySchema(schema, OneGroup(op)).status();
    EXPECT_TRUE(status.IsTypeError()) << status.ToString();
    return status.message();
  };
  EXPECT_NE(refusal(arrow::utf8(), AggregateOp::kMedian).find("column 'x' of type string has no median"),
            std::string::npos);
  EXPECT_NE(refusal(arrow::date32(), AggregateOp::kProd).find("has no prod; that needs integers, floats or booleans"),
            std::string::npos);
  EXPECT_NE(refusal(arrow::utf8(), AggregateOp::kAny).find("has no any"), std::string::npos);
  EXPECT_NE(refusal(arrow::list(arrow::int8()), AggregateOp::kFirst).find("values that are not nested"),
            std::string::npos);
  EXPECT_NE(refusal(arrow::list(arrow::int8()), AggregateOp::kNunique).find("has no nunique"), std::string::npos);
}

TEST(GroupByTest, WhatNeedsAllRowsHasNoPartialStates) {
  auto resources = MakeResources();
  const auto schema = arrow::schema({arrow::field("k", arrow::int64()), arrow::field("x", arrow::int64())});
  const auto options = OneGroup(AggregateOp::kMedian);
  EXPECT_TRUE(GroupByNeedsRows(schema, options).ValueOrDie());
  EXPECT_FALSE(GroupByNeedsRows(schema, OneGroup(AggregateOp::kFirst)).ValueOrDie());
  const auto status = GroupByPartial(resources, Table::Empty(resources, schema), options).status();
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_NE(status.message().find("bring the rows of a group together first"), std::string::npos) << status.message();
}

TEST(ScalarAggregateTest, VariancesOfSmallNoiseOnLargeNumbersAreExact) {
  auto resources = MakeResources({1, int64_t{1} << 30, false, 1000});
  for (const double base : {0.0, 1e9, -1e12}) {
    // An outlier comes first, which is where distances are taken from.
    for (const double first : {base, base + 1e6}) {
      std::vector<double> values = {first};
      for (int i = 0; i < 5000; ++i) {
        values.push_back(base + static_cast<double>(i % 17) / 1024);
      }
      long double mean = 0;
      for (const double value : values) {
        mean += (static_cast<long double>(value) - base) / static_cast<long double>(values.size());
      }
      long double squares = 0;
      for (const double value : values) {
        const long double distance = static_cast<long double>(value) - base - mean;
        squares += distance * distance;
      }
      const auto expected = static_cast<double>(squares / static_cast<long double>(values.size() - 1));
      const auto table = OneColumn(resources, ArrayOf<arrow::DoubleBuilder, double>(arrow::float64(), values));
      const auto row = AggregateLocal(resources, table, {{0, AggregateOp::kVar, "v"}}).ValueOrDie();
      const double actual = static_cast<const arrow::DoubleArray&>(*row->column(0)).Value(0);
      EXPECT_NEAR(actual / expected, 1.0, 1e-12) << base << " " << first;
    }
  }
}

TEST(ScalarAggregateTest, DurationsAddUpAndTimestampsDoNot) {
  auto resources = MakeResources();
  const auto type = arrow::duration(arrow::TimeUnit::SECOND);
  const auto table = OneColumn(resources, ArrayOf<arrow::DurationBuilder, int64_t>(type, {5, 7}));
  EXPECT_EQ(Scalar(table, AggregateOp::kSum).ValueOrDie(), "24");
  const auto times =
      Table::Empty(resources, arrow::schema({arrow::field("when", arrow::timestamp(arrow::TimeUnit::SECOND))}));
  const auto status = Scalar(times, AggregateOp::kSum).status();
  EXPECT_TRUE(status.IsTypeError());
  EXPECT_NE(status.message().find("column 'when' of type timestamp[s] has no sum; that needs numbers"),
            std::string::npos)
      << status.message();
  const auto texts = Table::Empty(resources, arrow::schema({arrow::field("name", arrow::utf8())}));
  EXPECT_TRUE(Scalar(texts, AggregateOp::kMean).status().IsTypeError());
}

TEST(ScalarAggregateTest, AgreesWithOneGroupOfEverything) {
  auto resources = MakeResources({3});
  RandomSpec spec;
  spec.largest_chunk = 80;
  for (const auto& type : testing::KeyTypes()) {
    if (!HasTextOfHalf(*type)) {
      spec.columns.push_back(RandomColumn{"c" + std::to_string(spec.columns.size()), type, 30});
    }
  }
  const auto table = testing::RandomTable(resources, 8, 300, spec);
  const auto specs = WithStates(OptionsFor(*table.schema(), 0)).aggregates;
  const auto partial = AggregatePartial(resources, table, specs).ValueOrDie();
  const auto result = AggregateMerge(resources, {partial}, table.schema(), specs).ValueOrDie();
  const auto batch = table.ToBatch().ValueOrDie();
  std::vector<int64_t> rows(batch->num_rows());
  std::iota(rows.begin(), rows.end(), 0);
  for (size_t a = 0; a < specs.size(); ++a) {
    ExpectResult(testing::ValueText(*result->column(static_cast<int>(a)), 0),
                 NaiveAggregate(*batch->column(std::max(specs[a].column, 0)), rows, specs[a].op, specs[a].ddof),
                 "operation " + std::to_string(static_cast<int>(specs[a].op)));
  }
}

}  // namespace
}  // namespace cylon
