// Hashes of rows: by value, whatever the encoding or chunking.
#include "cylon/kernels/hash.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "cylon/kernels/testing/random_table.h"

namespace cylon {
namespace {

using testing::KeyTypes;
using testing::RandomColumn;

std::vector<uint64_t> Hashes(const std::vector<std::shared_ptr<arrow::Array>>& columns) {
  std::vector<std::shared_ptr<arrow::Field>> fields;
  std::vector<int> keys;
  for (size_t i = 0; i < columns.size(); ++i) {
    fields.push_back(arrow::field("c" + std::to_string(i), columns[i]->type()));
    keys.push_back(static_cast<int>(i));
  }
  auto batch = arrow::RecordBatch::Make(arrow::schema(fields), columns.empty() ? 0 : columns[0]->length(), columns);
  std::vector<uint64_t> hashes;
  EXPECT_TRUE(HashRows(*batch, keys, &hashes).ok());
  return hashes;
}

TEST(HashTest, EqualValuesHashEquallyAndOthersDoNot) {
  for (const auto& type : KeyTypes()) {
    std::mt19937_64 rng(7);
    RandomColumn column{"k", type};
    std::map<std::string, uint64_t> seen;
    std::map<uint64_t, std::string> back;
    for (int round = 0; round < 3; ++round) {
      auto array = testing::RandomArray(rng, column, 200);
      const auto hashes = Hashes({array});
      for (int64_t i = 0; i < array->length(); ++i) {
        std::string text = testing::ValueText(*array, i);
        text = text == "-0" ? "0" : text;
        EXPECT_EQ(seen.emplace(text, hashes[i]).first->second, hashes[i]) << type->ToString() << " " << text;
        EXPECT_EQ(back.emplace(hashes[i], text).first->second, text) << type->ToString();
      }
    }
  }
}

TEST(HashTest, StringsOfEveryKindHashAlike) {
  std::vector<uint64_t> expected;
  for (const auto& type :
       {arrow::utf8(), arrow::large_utf8(), arrow::utf8_view(), arrow::binary_view(), arrow::large_binary()}) {
    std::mt19937_64 rng(3);
    const auto hashes = Hashes({testing::RandomArray(rng, RandomColumn{"k", type}, 100)});
    if (expected.empty()) {
      expected = hashes;
    }
    EXPECT_EQ(expected, hashes) << type->ToString();
  }
}

TEST(HashTest, OrderOfColumnsMatters) {
  std::mt19937_64 rng(3);
  auto a = testing::RandomArray(rng, RandomColumn{"k", arrow::int64(), 1000, 0}, 100);
  auto b = testing::RandomArray(rng, RandomColumn{"k", arrow::int64(), 1000, 0}, 100);
  EXPECT_NE(Hashes({a, b}), Hashes({b, a}));
}

TEST(HashTest, NestedKeyIsNotImplementedAndNamed) {
  auto array = arrow::MakeArrayOfNull(arrow::list(arrow::int32()), 2).ValueOrDie();
  auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("tags", array->type())}), 2, {array});
  std::vector<uint64_t> hashes;
  const auto status = HashRows(*batch, {0}, &hashes);
  EXPECT_TRUE(status.IsNotImplemented());
  EXPECT_NE(status.message().find("'tags' of type list<item: int32>"), std::string::npos) << status.message();
  EXPECT_TRUE(HashRows(*batch, {1}, &hashes).IsIndexError());
}

TEST(HashTest, PartitionsAreEven) {
  auto array = std::make_shared<arrow::Int64Array>(0, nullptr);
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < 100000; ++i) {
    ASSERT_TRUE(builder.Append(i * 1024).ok());
  }
  const auto hashes = Hashes({builder.Finish().ValueOrDie()});
  std::vector<int> counts(7, 0);
  for (uint64_t hash : hashes) {
    ++counts[PartitionOf(hash, 7)];
  }
  for (int count : counts) {
    EXPECT_NEAR(count, 100000 / 7.0, 600);
  }
}

}  // namespace
}  // namespace cylon
