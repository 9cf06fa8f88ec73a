// Cutting, taking and compacting batches of every type.
#include "cylon/kernels/partition.h"

#include <gtest/gtest.h>

#include "cylon/kernels/gather.h"
#include "cylon/kernels/hash.h"
#include "cylon/kernels/testing/random_table.h"

namespace cylon {
namespace {

using testing::RandomColumn;
using testing::RandomSpec;
using testing::RowsAsStrings;

std::shared_ptr<Resources> TestResources() {
  Options options;
  options.threads = 1;
  options.memory_bytes = int64_t{1} << 30;
  return Resources::Make(options).ValueOrDie();
}

std::vector<std::shared_ptr<arrow::DataType>> AllTypes() {
  auto types = testing::KeyTypes();
  for (auto& type : testing::PayloadTypes()) {
    types.push_back(type);
  }
  return types;
}

RandomSpec SpecOfAllTypes(double null_share) {
  RandomSpec spec;
  for (const auto& type : AllTypes()) {
    spec.columns.push_back(RandomColumn{"c" + std::to_string(spec.columns.size()), type, 20, null_share});
  }
  return spec;
}

/// Bytes of all buffers that the array holds on to, dictionaries left out.
int64_t HeldBytes(const arrow::ArrayData& data) {
  int64_t bytes = 0;
  for (const auto& buffer : data.buffers) {
    bytes += buffer == nullptr ? 0 : buffer->size();
  }
  for (const auto& child : data.child_data) {
    bytes += HeldBytes(*child);
  }
  return bytes;
}

TEST(TakeRowsTest, EveryTypeGivesTheRowsAskedFor) {
  auto resources = TestResources();
  for (double null_share : {0.0, 0.3}) {
    std::mt19937_64 rng(11);
    auto batch = testing::RandomBatch(rng, SpecOfAllTypes(null_share), 150);
    ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull().ToString();
    std::vector<int64_t> rows;
    for (int i = 0; i < 200; ++i) {
      rows.push_back(static_cast<int64_t>(rng() % 150));
    }
    auto taken = TakeRows(*resources, *batch, rows).ValueOrDie();
    ASSERT_TRUE(taken->ValidateFull().ok()) << taken->ValidateFull().ToString();
    for (int c = 0; c < batch->num_columns(); ++c) {
      EXPECT_TRUE(taken->column(c)->type()->Equals(batch->column(c)->type()));
      for (size_t i = 0; i < rows.size(); ++i) {
        ASSERT_EQ(testing::ValueText(*taken->column(c), i), testing::ValueText(*batch->column(c), rows[i]))
            << batch->column(c)->type()->ToString() << " row " << i;
      }
    }
  }
}

TEST(TakeRowsTest, MinusOneGivesNullsInEveryType) {
  auto resources = TestResources();
  std::mt19937_64 rng(12);
  auto batch = testing::RandomBatch(rng, SpecOfAllTypes(0.2), 50);
  const std::vector<int64_t> rows = {-1, 3, -1, -1, 49, 0};
  auto taken = TakeRows(*resources, *batch, rows).ValueOrDie();
  ASSERT_TRUE(taken->ValidateFull().ok()) << taken->ValidateFull().ToString();
  for (int c = 0; c < batch->num_columns(); ++c) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string expected = rows[i] < 0 ? "null" : testing::ValueText(*batch->column(c), rows[i]);
      EXPECT_EQ(testing::ValueText(*taken->column(c), i), expected) << batch->column(c)->type()->ToString();
    }
  }
}

TEST(TakeRowsTest, NothingAndNoColumnsAreOrdinary) {
  auto resources = TestResources();
  std::mt19937_64 rng(13);
  auto batch = testing::RandomBatch(rng, SpecOfAllTypes(0.2), 5);
  auto none = TakeRows(*resources, *batch, {}).ValueOrDie();
  EXPECT_EQ(none->num_rows(), 0);
  EXPECT_TRUE(none->ValidateFull().ok()) << none->ValidateFull().ToString();
  auto empty = testing::RandomBatch(rng, SpecOfAllTypes(0.2), 0);
  auto nulls = TakeRows(*resources, *empty, std::vector<int64_t>{-1, -1}).ValueOrDie();
  EXPECT_TRUE(nulls->ValidateFull().ok()) << nulls->ValidateFull().ToString();
  auto columnless = arrow::RecordBatch::Make(arrow::schema({}), 4, arrow::ArrayVector{});
  EXPECT_EQ(TakeRows(*resources, *columnless, std::vector<int64_t>{1, 1, 3}).ValueOrDie()->num_rows(), 3);
}

TEST(TakeRowsTest, RowOutOfRangeIsAnErrorThatNamesIt) {
  auto resources = TestResources();
  auto batch = arrow::RecordBatch::Make(arrow::schema({}), 4, arrow::ArrayVector{});
  const auto status = TakeRows(*resources, *batch, std::vector<int64_t>{4}).status();
  EXPECT_TRUE(status.IsIndexError());
  EXPECT_NE(status.message().find("row 4 was asked for of a batch of 4 rows"), std::string::npos);
}

TEST(HashDestinationsTest, EveryKeyTypeGoesWhereItsHashSaysWithAndWithoutNulls) {
  for (double null_share : {0.0, 0.3}) {
    std::mt19937_64 rng(21);
    const auto batch = testing::RandomBatch(rng, SpecOfAllTypes(null_share), 3000);
    for (int key = 0; key < static_cast<int>(testing::KeyTypes().size()); ++key) {
      std::vector<uint64_t> hashes;
      std::vector<uint32_t> destinations;
      ASSERT_TRUE(HashRows(*batch, {key}, &hashes).ok());
      ASSERT_TRUE(HashDestinations(*batch, {key}, 5, &destinations).ok());
      ASSERT_EQ(destinations.size(), hashes.size());
      for (size_t i = 0; i < hashes.size(); ++i) {
        ASSERT_EQ(destinations[i], PartitionOf(hashes[i], 5)) << batch->column(key)->type()->ToString();
      }
    }
  }
}

TEST(RowGathererTest, RowsOfSeveralBatchesMix) {
  auto resources = TestResources();
  const auto spec = SpecOfAllTypes(0.2);
  std::mt19937_64 rng(14);
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int64_t rows : {40, 0, 1, 60}) {
    batches.push_back(testing::RandomBatch(rng, spec, rows));
  }
  auto gatherer = RowGatherer::Make(resources->memory(), batches[0]->schema(), batches);
  if (!gatherer.ok()) {
    FAIL() << gatherer.status().ToString();
  }
  std::vector<int64_t> rows;
  std::vector<uint32_t> sources;
  for (int i = 0; i < 150; ++i) {
    sources.push_back(i % 3 == 0 ? 2 : (i % 3 == 1 ? 0 : 3));
    rows.push_back(i % 10 == 0 ? -1 : static_cast<int64_t>(rng() % batches[sources.back()]->num_rows()));
  }
  auto taken = gatherer->Gather(RowRefs{rows, sources.data(), true}).ValueOrDie();
  ASSERT_TRUE(taken->ValidateFull().ok()) << taken->ValidateFull().ToString();
  for (int c = 0; c < taken->num_columns(); ++c) {
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string expected = rows[i] < 0 ? "null" : testing::ValueText(*batches[sources[i]]->column(c), rows[i]);
      ASSERT_EQ(testing::ValueText(*taken->column(c), i), expected) << taken->column(c)->type()->ToString();
    }
  }
}

TEST(RowGathererTest, DictionariesThatDoNotFitTheirIndexAreRefused) {
  auto resources = TestResources();
  std::vector<std::shared_ptr<arrow::ArrayData>> arrays;
  for (int part = 0; part < 2; ++part) {
    arrow::Int64Builder values;
    arrow::Int8Builder indices;
    for (int i = 0; i < 100; ++i) {
      ASSERT_TRUE(values.Append(part * 100 + i).ok());
      ASSERT_TRUE(indices.Append(static_cast<int8_t>(i)).ok());
    }
    arrays.push_back(arrow::DictionaryArray::FromArrays(indices.Finish().ValueOrDie(), values.Finish().ValueOrDie())
                         .ValueOrDie()
                         ->data());
  }
  const auto status = UnifyDictionaries(resources->memory(), arrays).status();
  EXPECT_TRUE(status.IsInvalid());
  EXPECT_NE(status.message().find("200 values together"), std::string::npos) << status.message();
}

TEST(PartitionBatchTest, RowsGoWhereTheyBelongInTheirOrder) {
  auto resources = TestResources();
  std::mt19937_64 rng(15);
  auto batch = testing::RandomBatch(rng, SpecOfAllTypes(0.2), 300);
  std::vector<uint32_t> destinations;
  for (int i = 0; i < 300; ++i) {
    destinations.push_back(static_cast<uint32_t>(rng() % 4));
  }
  const auto all = RowsAsStrings(*batch);
  auto parts = PartitionBatch(*resources, *batch, destinations, 6).ValueOrDie();
  ASSERT_EQ(parts.size(), 6u);
  for (uint32_t k = 0; k < 6; ++k) {
    std::vector<std::string> expected;
    for (size_t i = 0; i < all.size(); ++i) {
      if (destinations[i] == k) {
        expected.push_back(all[i]);
      }
    }
    if (expected.empty()) {
      EXPECT_EQ(parts[k], nullptr);
    } else {
      EXPECT_EQ(RowsAsStrings(*parts[k]), expected);
    }
  }
  destinations[5] = 6;
  EXPECT_TRUE(PartitionBatch(*resources, *batch, destinations, 6).status().IsInvalid());
  destinations.pop_back();
  EXPECT_TRUE(PartitionBatch(*resources, *batch, destinations, 6).status().IsInvalid());
}

TEST(CompactBatchTest, SliceOfALargeBatchHoldsOnlyItsOwnRows) {
  auto resources = TestResources();
  auto spec = SpecOfAllTypes(0.2);
  std::mt19937_64 rng(16);
  auto large = testing::RandomBatch(rng, spec, 20000);
  auto slice = large->Slice(7000, 40);
  auto compact = CompactBatch(*resources, slice).ValueOrDie();
  ASSERT_TRUE(compact->ValidateFull().ok());
  EXPECT_EQ(RowsAsStrings(*compact), RowsAsStrings(*slice));
  for (int c = 0; c < compact->num_columns(); ++c) {
    EXPECT_LT(HeldBytes(*compact->column_data(c)), 12000) << compact->column(c)->type()->ToString();
  }
}

TEST(CompactBatchTest, CompactBatchIsLeftAlone) {
  auto resources = TestResources();
  auto spec = SpecOfAllTypes(0.2);
  std::mt19937_64 rng(17);
  auto batch = testing::RandomBatch(rng, spec, 500);
  std::vector<int64_t> rows(500);
  for (int64_t i = 0; i < 500; ++i) {
    rows[i] = i;
  }
  auto taken = TakeRows(*resources, *batch, rows).ValueOrDie();
  EXPECT_EQ(CompactBatch(*resources, taken).ValueOrDie(), taken);
}

}  // namespace
}  // namespace cylon
