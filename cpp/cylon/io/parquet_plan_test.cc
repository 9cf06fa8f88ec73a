// Which row groups belong to which rank, and which files can be read together.
#include "cylon/io/parquet_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace cylon::parquet_io {
namespace {

using ::testing::HasSubstr;

TEST(PlanRowGroupsTest, EveryGroupGoesToOneRankInOrder) {
  std::mt19937_64 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<std::vector<GroupSize>> sizes(random() % 5);
    for (auto& file : sizes) {
      file.resize(random() % 6);
      for (auto& group : file) {
        group.rows = static_cast<int64_t>(random() % 4 == 0 ? 0 : random() % 1000);
        group.bytes = static_cast<int64_t>(random() % 1000);
      }
    }
    const int world_size = 1 + static_cast<int>(random() % 7);
    std::vector<RowGroup> dealt;
    for (int rank = 0; rank < world_size; ++rank) {
      const auto mine = PlanRowGroups(sizes, rank, world_size);
      dealt.insert(dealt.end(), mine.begin(), mine.end());
    }
    std::vector<RowGroup> all;
    for (size_t i = 0; i < sizes.size(); ++i) {
      for (size_t group = 0; group < sizes[i].size(); ++group) {
        if (sizes[i][group].rows > 0) {
          all.push_back({static_cast<int64_t>(i), static_cast<int>(group), sizes[i][group]});
        }
      }
    }
    EXPECT_EQ(dealt, all);
  }
}

TEST(PlanRowGroupsTest, EqualGroupsAreDealtEvenly) {
  const GroupSize group{100, 0};
  const std::vector<std::vector<GroupSize>> sizes = {{group, group}, {group}, {group, group, group}};
  for (int rank = 0; rank < 3; ++rank) {
    EXPECT_EQ(PlanRowGroups(sizes, rank, 3).size(), 2);
  }
}

TEST(CheckGroupsFitTest, TheFirstGroupThatIsTooLargeIsNamed) {
  const std::vector<RowGroup> groups = {{0, 0, {10, 4096}}, {1, 3, {10, 4097}}, {1, 4, {10, 9999}}};
  const std::vector<io::FileSize> files = {{"a.parquet", 1}, {"b.parquet", 1}};
  EXPECT_TRUE(CheckGroupsFit(groups, files, 9999).ok());
  const auto status = CheckGroupsFit(groups, files, 4096);
  EXPECT_TRUE(status.IsOutOfMemory());
  EXPECT_THAT(status.message(), HasSubstr("row group 3 of b.parquet takes at least 4.0 KiB to read"));
}

TEST(PlanSchemaTest, AnUnknownColumnIsAKeyErrorThatListsTheColumns) {
  const auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8(), false)});
  EXPECT_EQ(PlanSchema(*schema, "f", {"b"}).ValueOrDie()->ToString(), "b: string");
  const auto status = PlanSchema(*schema, "f.parquet", {"c"}).status();
  EXPECT_TRUE(status.IsKeyError());
  EXPECT_THAT(status.message(), HasSubstr("no column 'c' in f.parquet; it has 'a', 'b'"));
}

TEST(CheckSameColumnsTest, OrderDoesNotMatterAndTypesDo) {
  const auto a = arrow::field("a", arrow::int64());
  const auto b = arrow::field("b", arrow::utf8());
  EXPECT_TRUE(CheckSameColumns(*arrow::schema({a, b}), "1", *arrow::schema({b, a}), "2").ok());
  const auto type = CheckSameColumns(*arrow::schema({a}), "1.parquet",
                                     *arrow::schema({arrow::field("a", arrow::float64())}), "2.parquet");
  EXPECT_TRUE(type.IsInvalid());
  EXPECT_THAT(type.message(), HasSubstr("2.parquet has column 'a' as double, not as the int64 of 1.parquet"));
  const auto name = CheckSameColumns(*arrow::schema({a}), "1.parquet", *arrow::schema({b}), "2.parquet");
  EXPECT_THAT(name.message(), HasSubstr("2.parquet has no column 'a'"));
  const auto number = CheckSameColumns(*arrow::schema({a}), "1.parquet", *arrow::schema({a, b}), "2.parquet");
  EXPECT_THAT(number.message(), HasSubstr("has 2 columns"));
}

}  // namespace
}  // namespace cylon::parquet_io
