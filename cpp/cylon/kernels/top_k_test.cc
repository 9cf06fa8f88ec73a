// The first rows of an order, and cuts of it, against a full sort.
#include "cylon/kernels/top_k.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "cylon/kernels/sort_range.h"
#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

using testing::MakeResources;
using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;

RandomSpec SpecFor(const std::shared_ptr<arrow::DataType>& type, int distinct) {
  RandomSpec spec;
  spec.largest_chunk = 30000;
  spec.columns = {RandomColumn{"key", type, distinct, 0.1}, RandomColumn{"number", arrow::int64(), 1 << 30, 0}};
  return spec;
}

/// Rows whose key is that of row `row` of the sorted rows, or comes before it.
int64_t RowsUpTo(const Table& sorted, const std::vector<SortKey>& keys, int64_t row) {
  std::vector<uint8_t> bytes;
  std::vector<int64_t> offsets;
  EXPECT_TRUE(EncodeSortKeys(*sorted.ToBatch().ValueOrDie(), keys, &bytes, &offsets).ok());
  const auto key = [&](int64_t i) { return std::string(bytes.begin() + offsets[i], bytes.begin() + offsets[i + 1]); };
  int64_t count = row + 1;
  while (count < sorted.num_rows() && key(count) == key(row)) {
    ++count;
  }
  return count;
}

TEST(TopRowsTest, AreTheFirstOfASort) {
  auto resources = MakeResources();
  for (const auto& type : {arrow::int64(), arrow::float64(), arrow::utf8()}) {
    for (const int distinct : {40, 1 << 28}) {
      const auto table = testing::RandomTable(resources, 3, 200000, SpecFor(type, distinct));
      const std::vector<SortKey> keys = {
          {0, distinct == 40 ? SortOrder::kDescending : SortOrder::kAscending, NullPlacement::kLast}};
      const auto sorted = SortTable(resources, table, keys).ValueOrDie();
      const auto expected = RowsAsStrings(sorted);
      for (const int64_t count : {0, 1, 10, 5000, 150000, 300000}) {
        for (const bool with_ties : {false, true}) {
          const auto top = TopRows(resources, table, keys, count, with_ties);
          ASSERT_TRUE(top.ok()) << top.status().ToString();
          int64_t rows = std::min(count, table.num_rows());
          rows = with_ties && rows > 0 ? RowsUpTo(sorted, keys, rows - 1) : rows;
          ASSERT_TRUE(RowsAsStrings(*top) == std::vector<std::string>(expected.begin(), expected.begin() + rows))
              << type->ToString() << ", " << count << (with_ties ? " with ties" : "");
        }
      }
    }
  }
}

TEST(SortRangesTest, CutsFallWhereTheSortedRowsAreCut) {
  auto resources = MakeResources();
  const std::vector<std::vector<SortKey>> orders = {
      {{0}}, {{0, SortOrder::kDescending, NullPlacement::kFirst}}, {{0}, {1, SortOrder::kDescending}}};
  for (const auto& type : {arrow::int32(), arrow::float32(), arrow::utf8()}) {
    for (const auto& keys : orders) {
      const auto batch = testing::RandomTable(resources, 8, 3000, SpecFor(type, 25)).ToBatch().ValueOrDie();
      const auto encoded = EncodeRangeKeys(resources->memory(), *batch, keys).ValueOrDie();
      std::vector<int64_t> rows(batch->num_rows());
      std::iota(rows.begin(), rows.end(), 0);
      std::stable_sort(rows.begin(), rows.end(), [&](int64_t a, int64_t b) { return encoded.key(a) < encoded.key(b); });
      for (const size_t count : {1, 7, 100}) {
        std::vector<RangeCut> cuts;
        std::vector<uint32_t> expected(rows.size());
        for (size_t c = 0; c < count; ++c) {
          const int64_t row = rows[(c + 1) * rows.size() / (count + 1)];
          cuts.push_back({encoded.key(row), row + 1000});  // the batch's first row is number 1000
        }
        for (size_t i = 0; i < rows.size(); ++i) {
          for (size_t c = 0; c < count; ++c) {
            expected[rows[i]] += i > (c + 1) * rows.size() / (count + 1) ? 1 : 0;
          }
        }
        std::vector<uint32_t> found;
        const auto ranges = SortRanges::Make(*batch->schema(), keys, cuts).ValueOrDie();
        ASSERT_TRUE(ranges.Find(resources->memory(), *batch, 1000, &found).ok());
        EXPECT_TRUE(found == expected) << type->ToString() << ", " << count << " cuts";
      }
    }
  }
}

TEST(SortRangesTest, CutOfOtherKeysIsRefused) {
  const auto schema = arrow::schema({arrow::field("a", arrow::int64())});
  const std::vector<SortKey> keys = {{0}};
  const auto status = SortRanges::Make(*schema, keys, {{"abc", 0}}).status();
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_NE(status.message().find("a cut of an order has 3 bytes, expected 9"), std::string::npos) << status.message();
}

}  // namespace
}  // namespace cylon
