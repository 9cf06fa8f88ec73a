// Tests of dealing rows into partitions.
#include "cylon/kernels/radix_partition.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

#include "cylon/kernels/hash.h"
#include "cylon/kernels/testing/random_table.h"
#include "cylon/kernels/testing/test_resources.h"

namespace cylon {
namespace {

/// int64 keys, some of them null, a column of `type` and the row's number, in chunks of `chunk_rows`, each a slice.
Table MakeTable(const std::shared_ptr<Resources>& resources, const std::shared_ptr<arrow::DataType>& type, int64_t rows,
                int64_t chunk_rows, bool nulls) {
  std::mt19937_64 random(7);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  const auto schema = arrow::schema(
      {arrow::field("key", arrow::int64()), arrow::field("value", type), arrow::field("row", arrow::int32())});
  for (int64_t first = 0; first < rows; first += chunk_rows) {
    const int64_t length = std::min(chunk_rows, rows - first);
    arrow::Int64Builder keys;
    arrow::Int32Builder numbers;
    std::unique_ptr<arrow::ArrayBuilder> values = arrow::MakeBuilder(type).ValueOrDie();
    for (int64_t i = -3; i < length; ++i) {
      const auto key = static_cast<int64_t>(random() % 1000);
      EXPECT_TRUE((nulls && key % 7 == 0 ? keys.AppendNull() : keys.Append(key)).ok());
      EXPECT_TRUE(numbers.Append(static_cast<int32_t>(first + i)).ok());
      std::shared_ptr<arrow::Scalar> value = arrow::MakeScalar(int64_t{key % 2 == 0 ? key % 100 : 0});
      value = type->id() == arrow::Type::DECIMAL128
                  ? std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(key), type)
                  : value->CastTo(type).ValueOrDie();
      EXPECT_TRUE((nulls && key % 5 == 0 ? values->AppendNull() : values->AppendScalar(*value)).ok());
    }
    batches.push_back(arrow::RecordBatch::Make(
                          schema, length + 3,
                          {keys.Finish().ValueOrDie(), values->Finish().ValueOrDie(), numbers.Finish().ValueOrDie()})
                          ->Slice(3));
  }
  return Table::FromBatches(resources, schema, batches).ValueOrDie();
}

KeyLayout PlainLayout(const Table& table, const std::vector<int>& keys) {
  const KeyLayout::Side side{&table, &keys};
  return KeyLayout::Plain(std::span(&side, 1)).ValueOrDie();
}

class RadixPartitionTest : public ::testing::TestWithParam<std::shared_ptr<arrow::DataType>> {};

TEST_P(RadixPartitionTest, EveryRowComesOnceWithItsValuesInTableOrder) {
  for (const bool nulls : {false, true}) {
    for (const int64_t rows : {int64_t{0}, int64_t{1}, int64_t{1000}, int64_t{150000}}) {
      for (const int threads : {1, 3}) {
        auto resources = testing::MakeResources({.threads = threads});
        const Table table = MakeTable(resources, GetParam(), rows, 40000, nulls);
        RadixPlan plan{
            .keys = {0}, .layout = PlainLayout(table, {0}), .carried = {0, 1, 2}, .row_numbers = true, .bits = 4};
        ASSERT_EQ(plan.layout.form(), KeyForm::kWord);
        const auto parts = RadixPartitions::Make(resources, table, plan).ValueOrDie();
        ASSERT_EQ(parts->num_rows(), rows);
        const auto whole = table.ToBatch().ValueOrDie();
        std::vector<bool> seen(rows, false);
        for (int64_t p = 0; p <= parts->count(); ++p) {
          uint32_t previous = 0;
          for (int64_t i = parts->begin(p); i < parts->begin(p) + parts->rows(p); ++i) {
            const uint32_t row = parts->row_numbers()[i];
            ASSERT_LT(row, rows);
            ASSERT_FALSE(seen[row]);
            seen[row] = true;
            ASSERT_TRUE(i == parts->begin(p) || previous < row);
            previous = row;
            ASSERT_EQ(whole->column(0)->IsNull(row), p == parts->count());
            int32_t number;
            std::memcpy(&number, parts->column(2).values + i * 4, 4);
            ASSERT_EQ(number, static_cast<int32_t>(row));
            const auto& values = *whole->column_data(1);
            const auto& carried = parts->column(1);
            ASSERT_EQ(whole->column(1)->IsValid(row), carried.valid == nullptr || carried.valid[i] == 1);
            if (GetParam()->id() == arrow::Type::BOOL) {
              if (whole->column(1)->IsValid(row)) {
                ASSERT_EQ(arrow::bit_util::GetBit(values.buffers[1]->data(), values.offset + row),
                          carried.values[i] == 1);
              }
            } else {
              ASSERT_EQ(std::memcmp(carried.values + i * carried.width,
                                    values.buffers[1]->data() + (values.offset + row) * carried.width, carried.width),
                        0);
            }
            if (p < parts->count()) {
              const auto key = static_cast<uint64_t>(whole->column_data(0)->GetValues<int64_t>(1)[row]);
              ASSERT_EQ(parts->words()[i], key);
              ASSERT_EQ(parts->HashAt(i) & (parts->count() - 1), static_cast<uint64_t>(p));
            } else {
              ASSERT_EQ(parts->words()[i], 0u);
            }
          }
        }
        ASSERT_EQ(std::count(seen.begin(), seen.end(), true), rows);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, RadixPartitionTest,
                         ::testing::Values(arrow::boolean(), arrow::int8(), arrow::int16(), arrow::float32(),
                                           arrow::int64(), arrow::decimal128(20, 2)),
                         [](const auto& type) { return std::string(arrow::internal::ToString(type.param->id())); });

TEST(RadixPartitionFormTest, TwoColumnsOfWordsAreTwoWordsUnlessOneHasNulls) {
  auto resources = testing::MakeResources();
  const Table without = MakeTable(resources, arrow::int16(), 1000, 300, false);
  const Table with = MakeTable(resources, arrow::int16(), 1000, 300, true);
  EXPECT_EQ(PlainLayout(without, {0, 1}).form(), KeyForm::kTwoWords);
  EXPECT_EQ(PlainLayout(with, {0, 1}).form(), KeyForm::kHash);
  EXPECT_EQ(PlainLayout(without, {0, 1, 2}).form(), KeyForm::kHash);
}

TEST(RadixPartitionFormTest, HashesAreThoseOfHashRowsInEveryForm) {
  auto resources = testing::MakeResources();
  const Table table = MakeTable(resources, arrow::int16(), 1000, 1000, false);
  const auto batch = table.ToBatch().ValueOrDie();
  for (const auto& [keys, layout] :
       {std::pair{std::vector<int>{0}, PlainLayout(table, {0})},
        std::pair{std::vector<int>{0, 1}, PlainLayout(table, {0, 1})}, std::pair{std::vector<int>{0, 1}, KeyLayout()},
        std::pair{std::vector<int>{0, 1, 2}, KeyLayout()}}) {
    std::vector<uint64_t> hashes;
    ASSERT_TRUE(HashRows(*batch, keys, &hashes).ok());
    RadixPlan plan{.keys = keys, .layout = layout, .carried = {}, .row_numbers = true, .bits = 3};
    const auto parts = RadixPartitions::Make(resources, table, plan).ValueOrDie();
    for (int64_t i = 0; i < parts->num_rows(); ++i) {
      ASSERT_EQ(parts->HashAt(i), hashes[parts->row_numbers()[i]]);
    }
  }
}

TEST(RadixPartitionFormTest, HashedRowsCompareByTheirKeys) {
  auto resources = testing::MakeResources({.morsel_rows = 64});
  const Table table = MakeTable(resources, arrow::utf8(), 1000, 300, true);
  RadixPlan plan{.keys = {1, 0}, .layout = {}, .carried = {}, .row_numbers = true, .bits = 3};
  const auto parts = RadixPartitions::Make(resources, table, plan).ValueOrDie();
  const auto batch = table.ToBatch().ValueOrDie();
  const auto text = [&](int64_t row) {
    return batch->column(0)->GetScalar(row).ValueOrDie()->ToString() + "|" +
           batch->column(1)->GetScalar(row).ValueOrDie()->ToString();
  };
  int equal = 0;
  for (uint32_t a = 0; a < 1000; ++a) {
    for (uint32_t b = a + 1; b < 1000; b += 13) {
      const bool same = text(a) == text(b);
      equal += same ? 1 : 0;
      ASSERT_EQ(parts->SameKey(a, *parts, b), same) << text(a) << " and " << text(b);
    }
  }
  EXPECT_GT(equal, 0);
}

TEST(RadixPartitionFormTest, WhatCannotBeCarriedIsRefusedByName) {
  auto resources = testing::MakeResources();
  const Table table = MakeTable(resources, arrow::utf8(), 10, 10, false);
  EXPECT_FALSE(CanCarry(*arrow::utf8()));
  EXPECT_TRUE(CanCarry(*arrow::timestamp(arrow::TimeUnit::MICRO)));
  RadixPlan plan{.keys = {0}, .layout = {}, .carried = {1}, .row_numbers = false, .bits = 3};
  const auto parts = RadixPartitions::Make(resources, table, plan);
  EXPECT_TRUE(parts.status().IsInvalid());
  EXPECT_NE(parts.status().message().find("'value' of type string cannot be carried"), std::string::npos)
      << parts.status();
}

}  // namespace
}  // namespace cylon
