// Tables and chunks: in and out of Arrow, cut, joined, spilled and back.
#include "cylon/table/table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <thread>

#include "cylon/base/error.h"
#include "cylon/table/spill_file.h"
#include "cylon/table/testing/all_types.h"

namespace cylon {
namespace {

using cylon::testing::AllTypesSchema;
using cylon::testing::RandomBatch;
using ::testing::AllOf;
using ::testing::HasSubstr;

/// The option that gives tables `limit` bytes: a part of a rank's memory is kept for what is not counted.
constexpr int64_t BudgetOf(int64_t limit) { return limit / 5 * 6 + 1; }

std::shared_ptr<Resources> MakeResources(int64_t memory = 64 << 20, bool spill_always = false,
                                         std::string directory = "") {
  Options options;
  options.threads = 1;
  options.memory_bytes = memory;
  options.spill_always = spill_always;
  options.spill_directory = std::move(directory);
  return *Resources::Make(options);
}

std::shared_ptr<arrow::Schema> Numbers() { return arrow::schema({arrow::field("n", arrow::int64())}); }

// `rows` numbers in memory of the rank's budget.
std::shared_ptr<arrow::RecordBatch> Owned(Resources& resources, int64_t rows, int64_t first = 0) {
  std::shared_ptr<arrow::Buffer> buffer = *arrow::AllocateBuffer(8 * rows, resources.memory());
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t value = first + i;
    std::memcpy(buffer->mutable_data() + 8 * i, &value, 8);
  }
  return arrow::RecordBatch::Make(Numbers(), rows,
                                  {arrow::ArrayData::Make(arrow::int64(), rows, {nullptr, std::move(buffer)}, 0)});
}

int64_t Number(const arrow::RecordBatch& batch, int64_t row) {
  return batch.column_data(0)->GetValues<int64_t>(1)[row];
}

TEST(ChunkTest, ASpilledChunkComesBackWithEveryType) {
  auto resources = MakeResources();
  auto batch = RandomBatch(AllTypesSchema(), 300, 1);
  auto expected = batch->Slice(17, 200);
  auto chunk = *Chunk::Make(resources, batch->Slice(17, 200), true);
  EXPECT_FALSE(chunk->spilled());
  EXPECT_GT(*chunk->Spill(), 0);
  EXPECT_TRUE(chunk->spilled());
  EXPECT_EQ(*chunk->Spill(), 0) << "only once";
  auto back = *chunk->Pin();
  ASSERT_TRUE(back->ValidateFull().ok());
  EXPECT_TRUE(back->schema()->Equals(*expected->schema(), true));
  for (int i = 0; i < expected->num_columns(); ++i) {
    EXPECT_TRUE(back->column(i)->Equals(*expected->column(i))) << expected->schema()->field(i)->ToString();
  }
}

TEST(ChunkTest, WhatSomebodyHoldsIsNotSpilled) {
  auto resources = MakeResources();
  auto chunk = *Chunk::Make(resources, Owned(*resources, 1000), true);
  auto held = *chunk->Pin();
  EXPECT_EQ(*chunk->Spill(), 0);
  held.reset();
  EXPECT_EQ(*chunk->Spill(), 8000);
  EXPECT_EQ(resources->memory()->bytes_allocated(), 0);
}

TEST(ChunkTest, ABatchThatWasReadBackIsSharedWhileItIsHeld) {
  auto resources = MakeResources();
  auto chunk = *Chunk::Make(resources, Owned(*resources, 1000), true);
  ASSERT_TRUE(chunk->Spill().ok());
  auto first = *chunk->Pin();
  EXPECT_GE(resources->memory()->bytes_allocated(), 8000);
  EXPECT_EQ(first, *chunk->Pin());
  first.reset();
  EXPECT_EQ(resources->memory()->bytes_allocated(), 0);
  EXPECT_EQ(Number(**chunk->Pin(), 999), 999);
}

TEST(ChunkTest, AShortBudgetSpillsTheOldestAndKeepsItsLimit) {
  constexpr int64_t kLimit = 1 << 20;
  auto resources = MakeResources(BudgetOf(kLimit));
  TableBuilder builder(resources, Numbers());
  constexpr int64_t kRows = 1 << 14;  // 128 KiB each, 4 MiB in all
  for (int64_t i = 0; i < 32; ++i) {
    ASSERT_TRUE(builder.Append(Owned(*resources, kRows, i * kRows)).ok());
  }
  auto table = builder.Finish();
  EXPECT_TRUE(table.chunks().front()->spilled());
  EXPECT_FALSE(table.chunks().back()->spilled());
  EXPECT_LE(resources->memory()->max_memory(), kLimit);
  int64_t next = 0;
  ASSERT_TRUE(table
                  .ForEachBatch([&](const auto& batch, int64_t) {
                    for (int64_t i = 0; i < batch->num_rows(); ++i) {
                      EXPECT_EQ(Number(*batch, i), next++);
                    }
                    return arrow::Status::OK();
                  })
                  .ok());
  EXPECT_EQ(next, 32 * kRows);
  EXPECT_LE(resources->memory()->max_memory(), kLimit);
}

TEST(ChunkTest, TheCallersOwnMemoryIsNotSpilled) {
  constexpr int64_t kLimit = 1 << 20;
  auto resources = MakeResources(BudgetOf(kLimit));
  auto chunk = *Chunk::Make(resources, RandomBatch(Numbers(), 1000, 1), false);
  EXPECT_FALSE(*resources->memory()->MakeRoom(2 * kLimit));
  auto full = *arrow::AllocateBuffer(kLimit, resources->memory());
  EXPECT_FALSE(arrow::AllocateBuffer(1, resources->memory()).ok());
  EXPECT_FALSE(chunk->spilled());
}

TEST(ChunkTest, SpillAlwaysSendsEveryChunkToDiskAtOnce) {
  auto resources = MakeResources(64 << 20, true);
  auto batch = RandomBatch(AllTypesSchema(), 50, 2);
  auto chunk = *Chunk::Make(resources, batch, false);
  EXPECT_TRUE(chunk->spilled());
  auto back = *chunk->Pin();
  EXPECT_NE(back, batch);
  EXPECT_TRUE(back->Equals(*batch));
}

TEST(ChunkTest, AFullDiskSaysSoAndKeepsTheChunkInMemory) {
  // A limit on the size of files stands for a full disk: the errors differ in their number only.
  auto resources = MakeResources();
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  auto* handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit tight = before;
  tight.rlim_cur = 4096;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  auto chunk = *Chunk::Make(resources, Owned(*resources, 100000), true);
  auto status = chunk->Spill().status();
  auto room = resources->memory()->MakeRoom(resources->memory()->limit());
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);

  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(),
              AllOf(HasSubstr("/tmp"), HasSubstr("800"), HasSubstr("bytes"), HasSubstr("CYLON_SPILL_DIR")));
  EXPECT_TRUE(room.status().IsIOError()) << room.status();
  EXPECT_FALSE(chunk->spilled());
  EXPECT_EQ(Number(**chunk->Pin(), 99999), 99999);
  EXPECT_GT(*chunk->Spill(), 0) << "with room again, it goes";
}

TEST(ChunkTest, SpillingNeedsNoBudget) {
  constexpr int64_t kLimit = 1 << 20;
  auto resources = MakeResources(BudgetOf(kLimit));
  auto chunk = *Chunk::Make(resources, Owned(*resources, kLimit / 16), true);
  auto other = *Chunk::Make(resources, Owned(*resources, kLimit / 16), true);
  EXPECT_EQ(resources->memory()->available(), 0);
  auto more = arrow::AllocateBuffer(kLimit, resources->memory());
  EXPECT_TRUE(more.ok()) << more.status();
  EXPECT_LE(resources->memory()->max_memory(), kLimit);
  more->reset();
  EXPECT_EQ(Number(**chunk->Pin(), 7), 7);
}

TEST(ChunkTest, ThreadsMayPinSpillAndDropAtTheSameTime) {
  constexpr int64_t kLimit = 1 << 20;
  auto resources = MakeResources(BudgetOf(kLimit));
  std::vector<std::shared_ptr<Chunk>> shared;
  for (int64_t i = 0; i < 4; ++i) {
    shared.push_back(*Chunk::Make(resources, Owned(*resources, 1 << 12, i), true));
  }
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 200; ++round) {
        auto own = *Chunk::Make(resources, Owned(*resources, 1 << 13, round), true);
        const int64_t which = (round + t) % 4;
        auto batch = shared[which]->Pin();
        if (!batch.ok() || Number(**batch, 5) != which + 5) {
          ++wrong;
        }
        // Takes all that can be spilled to find room, while others' chunks come and go.
        auto room = resources->memory()->MakeRoom(kLimit / 2);
        if (auto mine = own->Pin(); !mine.ok() || Number(**mine, 0) != round) {
          ++wrong;
        }
      }
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  EXPECT_EQ(wrong.load(), 0);
}

TEST(SpillFileTest, PlacesAreUsedAgain) {
  auto resources = MakeResources();
  auto file = *SpillFile::Of(*resources);
  EXPECT_EQ(file, *SpillFile::Of(*resources)) << "one file a rank";
  auto part = arrow::Buffer::FromString(std::string(10000, 'x'));
  const auto a = *file->Write({part});
  const auto b = *file->Write({part, part});
  const auto c = *file->Write({part});
  EXPECT_EQ((*file->Read(b, 10000, arrow::default_memory_pool()))->ToString(), std::string(10000, 'x'));
  file->Free(a);
  file->Free(b);
  EXPECT_EQ(*file->Write({part, part, part}), a) << "neighbours merge";
  file->Free(c);
  file->Free(a);
  EXPECT_EQ(file->used_bytes(), 0);
  EXPECT_EQ(*file->Write({part}), 0);
}

TEST(SpillFileTest, AMissingDirectoryIsNamed) {
  Options options;
  options.spill_directory = "/no/such/place";
  EXPECT_THAT(Resources::Make(options).status().message(), HasSubstr("/no/such/place"));
}

TEST(TableTest, AnArrowTableGoesInAndOutWithoutACopy) {
  auto resources = MakeResources();
  auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8())});
  auto one = RandomBatch(schema, 100, 1);
  auto chunked = [&](int column, const std::vector<int64_t>& cuts) {
    arrow::ArrayVector parts;
    int64_t begin = 0;
    for (const int64_t cut : cuts) {
      parts.push_back(one->column(column)->Slice(begin, cut - begin));
      begin = cut;
    }
    return std::make_shared<arrow::ChunkedArray>(parts);
  };
  auto arrow_table = arrow::Table::Make(schema, {chunked(0, {30, 100}), chunked(1, {50, 100})});
  auto table = *Table::FromArrow(resources, arrow_table);
  ASSERT_EQ(table.chunks().size(), 3U);
  EXPECT_EQ(table.num_rows(), 100);
  EXPECT_EQ(table.chunks()[1]->num_rows(), 20);
  EXPECT_TRUE((*table.ToArrow())->Equals(*arrow_table));
  auto whole = *table.chunks()[0]->Pin();
  EXPECT_EQ(whole->column_data(0)->buffers[1]->data(), one->column_data(0)->buffers[1]->data());
  EXPECT_TRUE((*table.ToBatch())->Equals(*one));
}

TEST(TableTest, NoColumnsAndNoRows) {
  auto resources = MakeResources();
  auto none = arrow::schema(arrow::FieldVector{});
  auto table =
      *Table::FromArrow(resources, arrow::Table::Make(none, std::vector<std::shared_ptr<arrow::ChunkedArray>>{}, 42));
  EXPECT_EQ(table.num_rows(), 42);
  EXPECT_EQ((*table.ToArrow())->num_rows(), 42);
  EXPECT_EQ((*table.ToBatch())->num_rows(), 42);
  EXPECT_EQ((*(*table.Slice(10, 5)).ToArrow())->num_rows(), 5);
  auto twice = *Table::Concatenate({table, table});
  EXPECT_EQ((*twice.ToBatch())->num_rows(), 84);

  auto empty = *Table::FromArrow(resources, *arrow::Table::FromRecordBatches({RandomBatch(AllTypesSchema(), 0, 1)}));
  EXPECT_EQ(empty.chunks().size(), 0U);
  EXPECT_EQ((*empty.ToArrow())->num_columns(), AllTypesSchema()->num_fields());
  auto batch = empty.ToBatch();
  ASSERT_TRUE(batch.ok()) << batch.status();
  EXPECT_EQ((*batch)->num_rows(), 0);
  EXPECT_TRUE((*batch)->ValidateFull().ok());
}

TEST(TableTest, SlicesAndColumnsAreViewsOfSpilledChunksToo) {
  for (const bool spill : {false, true}) {
    auto resources = MakeResources(64 << 20, spill);
    auto schema = arrow::schema(
        {arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8()), arrow::field("c", arrow::boolean())});
    auto batch = RandomBatch(schema, 100, 3);
    auto table = *Table::FromBatches(resources, schema, {batch->Slice(0, 40), batch->Slice(40, 60)});
    auto part = *(*(*table.SelectColumns({2, 0})).Slice(30, 25)).RenameColumns({"x", "y"});
    part = *(*part.SelectColumns({1})).Slice(5, 100);
    EXPECT_EQ(part.num_rows(), 20);
    auto got = *part.ToBatch();
    EXPECT_EQ(got->schema()->field(0)->name(), "y");
    EXPECT_TRUE(got->column(0)->Equals(*batch->column(0)->Slice(35, 20)));
    EXPECT_EQ((*table.Slice(-5, 3)).num_rows(), 3);
    EXPECT_EQ((*table.Slice(200, 3)).num_rows(), 0);
    EXPECT_EQ((*table.Slice(90, INT64_MAX)).num_rows(), 10);
    EXPECT_LT(part.num_bytes(), table.num_bytes());
  }
}

TEST(TableTest, AViewPinsTheWholeChunk) {
  auto resources = MakeResources();
  auto table = *Table::FromBatches(resources, Numbers(), {Owned(*resources, 1000)});
  auto slice = *table.Slice(10, 5);
  auto held = *slice.chunks()[0]->Pin();
  EXPECT_EQ(*table.chunks()[0]->Spill(), 0);
  held.reset();
  EXPECT_GT(*slice.chunks()[0]->Spill(), 0);
  EXPECT_TRUE(table.chunks()[0]->spilled());
  EXPECT_EQ(Number(**slice.chunks()[0]->Pin(), 0), 10);
}

TEST(TableTest, ConcatenationKeepsOrderAndTheFirstMetadata) {
  auto resources = MakeResources();
  auto noted = Numbers()->WithMetadata(arrow::key_value_metadata({"k"}, {"v"}));
  auto a = *Table::FromBatches(resources, noted, {RandomBatch(noted, 10, 1)});
  auto b = *Table::FromBatches(resources, Numbers(), {RandomBatch(Numbers(), 20, 2)});
  auto both = *Table::Concatenate({a, b});
  EXPECT_EQ(both.num_rows(), 30);
  for (const auto& chunk : both.chunks()) {
    EXPECT_TRUE((*chunk->Pin())->schema()->Equals(*noted, true));
  }
  auto other = Table::Empty(resources, arrow::schema({arrow::field("n", arrow::utf8())}));
  EXPECT_THAT(Table::Concatenate({a, other}).status().ToString(), AllOf(HasSubstr("string"), HasSubstr("int64")));
  EXPECT_TRUE(Table::Concatenate({}).status().IsInvalid());
}

TEST(TableTest, AReaderGivesChunkAfterChunk) {
  auto resources = MakeResources(64 << 20, true);
  auto batch = RandomBatch(AllTypesSchema(), 100, 5);
  auto table = *Table::FromBatches(resources, AllTypesSchema(), {batch->Slice(0, 10), batch->Slice(10, 90)});
  auto reader = *table.ToReader();
  EXPECT_EQ(reader->schema(), table.schema());
  auto back = *reader->ToRecordBatches();
  ASSERT_EQ(back.size(), 2U);
  EXPECT_TRUE(back[1]->Equals(*batch->Slice(10, 90)));
  reader.reset();
}

TEST(TableTest, ColumnsAreFoundByName) {
  auto resources = MakeResources();
  auto table =
      Table::Empty(resources, arrow::schema({arrow::field("a", arrow::int8()), arrow::field("b", arrow::int8()),
                                             arrow::field("b", arrow::int8())}));
  EXPECT_EQ(*table.ColumnIndex("a"), 0);
  auto missing = table.ColumnIndex("z").status();
  EXPECT_TRUE(missing.IsKeyError());
  EXPECT_THAT(missing.message(), AllOf(HasSubstr("'z'"), HasSubstr("'a', 'b'")));
  EXPECT_TRUE(table.ColumnIndex("b").status().IsInvalid());
  EXPECT_TRUE(table.SelectColumns({3}).status().IsKeyError());
  EXPECT_TRUE(table.SelectColumns({-1}).status().IsKeyError());
  EXPECT_TRUE(table.RenameColumns({"x"}).status().IsInvalid());
}

TEST(TableBuilderTest, RefusesOtherSchemasAndDropsEmptyBatches) {
  auto resources = MakeResources();
  TableBuilder builder(resources, Numbers());
  ASSERT_TRUE(builder.Append(RandomBatch(Numbers(), 0, 1)).ok());
  auto wrong = builder.Append(RandomBatch(arrow::schema({arrow::field("n", arrow::utf8())}), 3, 1));
  EXPECT_TRUE(wrong.IsTypeError()) << wrong;
  ASSERT_TRUE(builder.Append(RandomBatch(Numbers(), 3, 1)).ok());
  EXPECT_EQ(builder.num_rows(), 3);
  EXPECT_EQ(builder.Finish().chunks().size(), 1U);
}

}  // namespace
}  // namespace cylon
