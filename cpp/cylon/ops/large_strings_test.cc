// More than 2 GiB of strings in one column: sorted, made unique and joined. Only where CYLON_TEST_LONG is set, since it
// takes 5 GiB of memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "cylon/comm/testing/ranks.h"
#include "cylon/ops/join.h"
#include "cylon/ops/rows.h"
#include "cylon/ops/sort.h"

namespace cylon {
namespace {

constexpr int64_t kTextBytes = 1 << 20;
constexpr int64_t kRows = 2300;
/// Batches share their strings, so that the input takes 100 MiB.
constexpr int64_t kBatchRows = 100;
/// As many rows at the end have the keys of the first ones.
constexpr int64_t kRepeated = 100;

constexpr int64_t kDistinct = kRows - kRepeated;

/// A different key for each of kDistinct rows, in no order.
int64_t KeyOf(int64_t row) { return row % kDistinct * 1009 % kDistinct; }

/// Row `row` of every batch has the text that begins and ends with this.
std::string MarkOf(int64_t row) { return "text number " + std::to_string(row % kBatchRows) + "."; }

template <typename Builder>
std::shared_ptr<arrow::Array> Texts() {
  Builder builder;
  for (int64_t row = 0; row < kBatchRows; ++row) {
    const std::string mark = MarkOf(row);
    std::string text(kTextBytes, static_cast<char>('a' + row % 26));
    text.replace(0, mark.size(), mark);
    text.replace(text.size() - mark.size(), mark.size(), mark);
    EXPECT_TRUE(builder.Append(text).ok());
  }
  return builder.Finish().ValueOrDie();
}

Table MakeInput(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::DataType>& type) {
  const auto texts =
      type->id() == arrow::Type::STRING ? Texts<arrow::StringBuilder>() : Texts<arrow::LargeStringBuilder>();
  const auto schema = arrow::schema({arrow::field("key", arrow::int64()), arrow::field("text", type)});
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int64_t first = 0; first < kRows; first += kBatchRows) {
    arrow::Int64Builder keys;
    for (int64_t row = first; row < first + kBatchRows; ++row) {
      EXPECT_TRUE(keys.Append(KeyOf(row)).ok());
    }
    batches.push_back(arrow::RecordBatch::Make(schema, kBatchRows, {keys.Finish().ValueOrDie(), texts}));
  }
  return Table::FromBatches(resources, schema, std::move(batches), /*owned=*/false).ValueOrDie();
}

/// Keys and texts of a result: the text is that of the row (below kDistinct) which has the key; both kinds of rows with
/// a key have one text, kDistinct being a multiple of kBatchRows.
struct Seen {
  std::vector<int64_t> keys;
  int64_t text_bytes = 0;
  int64_t largest_chunk = 0;  ///< bytes of text
};

template <typename Array>
void Look(const arrow::RecordBatch& batch, Seen* seen) {
  const auto& keys = static_cast<const arrow::Int64Array&>(*batch.GetColumnByName("key"));
  const auto& texts = static_cast<const Array&>(*batch.GetColumnByName("text"));
  std::vector<int64_t> row_of(kDistinct);
  for (int64_t row = 0; row < kDistinct; ++row) {
    row_of[KeyOf(row)] = row;
  }
  for (int64_t i = 0; i < batch.num_rows(); ++i) {
    seen->keys.push_back(keys.Value(i));
    const auto text = texts.GetView(i);
    const int64_t row = row_of[keys.Value(i)];
    const std::string mark = MarkOf(row);
    ASSERT_EQ(static_cast<int64_t>(text.size()), kTextBytes);
    ASSERT_TRUE(text.starts_with(mark) && text.ends_with(mark)) << "row " << i << " of " << keys.Value(i);
    ASSERT_EQ(text[text.size() / 2], static_cast<char>('a' + row % kBatchRows % 26));
  }
  seen->text_bytes += texts.total_values_length();
  seen->largest_chunk = std::max<int64_t>(seen->largest_chunk, texts.total_values_length());
}

Seen LookAt(const Table& table) {
  Seen seen;
  EXPECT_TRUE(table
                  .ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
                    EXPECT_TRUE(batch->Validate().ok());
                    if (batch->GetColumnByName("text")->type_id() == arrow::Type::STRING) {
                      Look<arrow::StringArray>(*batch, &seen);
                    } else {
                      Look<arrow::LargeStringArray>(*batch, &seen);
                    }
                    return arrow::Status::OK();
                  })
                  .ok());
  return seen;
}

std::vector<int64_t> KeysOfRows(int64_t rows) {
  std::vector<int64_t> keys;
  for (int64_t row = 0; row < rows; ++row) {
    keys.push_back(KeyOf(row));
  }
  return keys;
}

/// Sorts, makes unique and joins under a limit of `memory`; whether results of large strings are single arrays of more
/// than 2 GiB.
void RunAll(const std::shared_ptr<arrow::DataType>& type, int64_t memory, bool in_one_array) {
  Options options;
  options.memory_bytes = memory;
  options.threads = 2;
  auto context = Context::Local(options).ValueOrDie();
  const Table input = MakeInput(context->resources(), type);
  std::vector<int64_t> expected = KeysOfRows(kRows);
  std::sort(expected.begin(), expected.end());

  SortOptions by_key;
  by_key.by.resize(1);
  by_key.by[0].name = "key";
  auto sorted = Sort(*context, input, by_key);
  ASSERT_TRUE(sorted.ok()) << sorted.status().ToString();
  const auto seen = LookAt(*sorted);
  EXPECT_EQ(seen.keys, expected);
  EXPECT_EQ(seen.text_bytes, kRows * kTextBytes);
  EXPECT_EQ(seen.largest_chunk > INT32_MAX, in_one_array);

  expected.erase(std::unique(expected.begin(), expected.end()), expected.end());
  {
    const auto unique = Unique(*context, *sorted, {"key"}, Keep::kLast);
    ASSERT_TRUE(unique.ok()) << unique.status().ToString();
    EXPECT_EQ(LookAt(*unique).keys, expected);
  }

  arrow::Int64Builder keys;
  ASSERT_TRUE(keys.AppendValues(expected).ok());
  const auto schema = arrow::schema({arrow::field("key", arrow::int64())});
  const auto right = Table::FromBatches(context->resources(), schema,
                                        {arrow::RecordBatch::Make(schema, kDistinct, {keys.Finish().ValueOrDie()})})
                         .ValueOrDie();
  JoinOptions on_key;
  on_key.left_keys = on_key.right_keys = {"key"};
  on_key.algorithm = JoinAlgorithm::kHash;
  const auto joined = Join(*context, *sorted, right, on_key);
  ASSERT_TRUE(joined.ok()) << joined.status().ToString();
  auto joined_keys = LookAt(*joined).keys;
  std::sort(joined_keys.begin(), joined_keys.end());
  auto all = KeysOfRows(kRows);
  std::sort(all.begin(), all.end());
  EXPECT_EQ(joined_keys, all);
}

class LargeStringsTest : public ::testing::Test {
 protected:
  void SetUp() override {
#ifdef CYLON_SANITIZED
    GTEST_SKIP() << "a sanitizer's memory and time would be several times as much";
#endif
    if (!testing::LongTests()) {
      GTEST_SKIP() << "takes 5 GiB; set CYLON_TEST_LONG=1";
    }
  }
};

/// So large a limit that nothing is cut for its sake.
constexpr int64_t kNoLimit = int64_t{1} << 40;

TEST_F(LargeStringsTest, ManyArraysWhereOneCannotHoldThem) { RunAll(arrow::utf8(), kNoLimit, false); }
TEST_F(LargeStringsTest, OneArrayOfLargeStrings) { RunAll(arrow::large_utf8(), kNoLimit, true); }
TEST_F(LargeStringsTest, OutOfCore) { RunAll(arrow::utf8(), int64_t{1} << 30, false); }

}  // namespace
}  // namespace cylon
