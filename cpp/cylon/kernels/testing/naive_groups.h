/// Groups and their aggregates by definition, and whether a group-by has them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "cylon/kernels/group_by.h"
#include "cylon/kernels/testing/compare_values.h"
#include "cylon/kernels/testing/random_table.h"

namespace cylon::testing {

/// All but products, which overflow for most of the generated columns.
inline constexpr AggregateOp kAllOps[] = {
    AggregateOp::kSum,   AggregateOp::kCount, AggregateOp::kSize,    AggregateOp::kMean,   AggregateOp::kMin,
    AggregateOp::kMax,   AggregateOp::kVar,   AggregateOp::kStd,     AggregateOp::kAny,    AggregateOp::kAll,
    AggregateOp::kFirst, AggregateOp::kLast,  AggregateOp::kNunique, AggregateOp::kMedian, AggregateOp::kQuantile};

inline constexpr double kTestQuantile = 0.375;

inline bool IsMissing(const std::string& text) { return text == "null" || text == "nan"; }

inline std::string Canonical(const std::string& text) { return text == "-0" ? "0" : text; }

/// The key of a row as text; -0.0 is 0.0.
inline std::string KeyText(const arrow::RecordBatch& batch, int keys, int64_t row) {
  std::string key;
  for (int k = 0; k < keys; ++k) {
    key += Canonical(ValueText(*batch.column(k), row)) + "|";
  }
  return key;
}

/// The rows of each group, groups in the order of first appearance.
inline std::vector<std::vector<int64_t>> NaiveGroups(const arrow::RecordBatch& batch, int keys, bool drop_null_keys) {
  std::map<std::string, size_t> numbers;
  std::vector<std::vector<int64_t>> groups;
  for (int64_t i = 0; i < batch.num_rows(); ++i) {
    bool null = false;
    for (int k = 0; k < keys; ++k) {
      null = null || IsMissing(ValueText(*batch.column(k), i));  // NaN keys are dropped with the null ones
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
inline std::string NaiveAggregate(const arrow::Array& values, const std::vector<int64_t>& rows, AggregateOp op,
                                  int ddof) {
  std::vector<int64_t> there;
  for (int64_t row : rows) {
    if (!IsMissing(ValueText(values, row))) {
      there.push_back(row);
    }
  }
  const auto number = [&](int64_t row) -> long double {
    const std::string text = ValueText(values, row);
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
      const int compared = CompareValues(values, row, best);
      best = (op == AggregateOp::kMin ? compared < 0 : compared > 0) ? row : best;
    }
    return Canonical(ValueText(values, best));
  }
  if (op == AggregateOp::kFirst || op == AggregateOp::kLast) {
    return there.empty() ? "null" : Canonical(ValueText(values, op == AggregateOp::kFirst ? there[0] : there.back()));
  }
  if (op == AggregateOp::kNunique) {
    std::set<std::string> texts;
    for (int64_t row : there) {
      texts.insert(Canonical(ValueText(values, row)));
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
    const long double part = place - static_cast<long double>(below);
    const long double low = sorted[below];
    const long double high = sorted[std::min(below + 1, sorted.size() - 1)];
    return "~" + std::to_string(low == high || part == 0 ? low : low * (1 - part) + high * part);
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

inline void ExpectResult(const std::string& actual, const std::string& expected, const std::string& what) {
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

inline bool HasNumbers(const arrow::DataType& type) {
  const arrow::DataType* plain = &type;
  if (type.id() == arrow::Type::DICTIONARY) {
    plain = static_cast<const arrow::DictionaryType&>(type).value_type().get();
  } else if (type.id() == arrow::Type::RUN_END_ENCODED) {
    plain = static_cast<const arrow::RunEndEncodedType&>(type).value_type().get();
  }
  return arrow::is_integer(plain->id()) || arrow::is_floating(plain->id()) || arrow::is_decimal(plain->id()) ||
         plain->id() == arrow::Type::BOOL || plain->id() == arrow::Type::NA;
}

inline bool HasWideDecimals(const arrow::DataType& type) {
  return type.ToString().find("decimal128") != std::string::npos ||
         type.ToString().find("decimal256") != std::string::npos;
}

/// Without what has no partial states, and with approximate quantiles, which are exact for groups of up to some 400
/// values.
inline GroupByKernelOptions WithStates(GroupByKernelOptions options) {
  std::erase_if(options.aggregates, [](const AggregateSpec& spec) { return spec.op == AggregateOp::kNunique; });
  for (auto& spec : options.aggregates) {
    spec.approximate = true;
  }
  return options;
}

/// Column 0 .. keys-1 are keys; every aggregate that fits on every further column.
inline GroupByKernelOptions OptionsFor(const arrow::Schema& schema, int keys) {
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
inline void CheckGroups(const Table& result, const std::shared_ptr<arrow::Schema>& schema, const Table& reference,
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
      ASSERT_EQ(ValueText(*actual->column(k), g), ValueText(*batch->column(k), rows[0]));
    }
    for (size_t a = 0; a < options.aggregates.size(); ++a) {
      const auto& spec = options.aggregates[a];
      const auto& values = *batch->column(std::max(spec.column, 0));
      ExpectResult(ValueText(*actual->column(keys + static_cast<int>(a)), g),
                   NaiveAggregate(values, rows, spec.op, spec.ddof),
                   values.type()->ToString() + " operation " + std::to_string(static_cast<int>(spec.op)));
      if (::testing::Test::HasFatalFailure()) {
        return;
      }
    }
  }
}

/// Arrow's text of a half float is its bits, which the naive answers cannot read.
inline bool HasTextOfHalf(const arrow::DataType& type) { return type.id() == arrow::Type::HALF_FLOAT; }

/// A table of one column x.
inline Table OneColumn(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::Array>& array) {
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

/// Aggregate `op` of column 1 by column 0.
inline GroupByKernelOptions OneGroup(AggregateOp op, double quantile = 0.5) {
  GroupByKernelOptions options;
  options.keys = {0};
  options.aggregates = {{1, op, "result", 1, quantile}};
  return options;
}

}  // namespace cylon::testing
