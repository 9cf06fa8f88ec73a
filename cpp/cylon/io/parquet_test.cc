// Parquet files in and out of many ranks.
#include <arrow/io/file.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include <mutex>

#include "cylon/base/error.h"
#include "cylon/io/read.h"
#include "cylon/io/testing/files.h"
#include "cylon/io/write.h"

namespace cylon {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::OnRanks;
using testing::Outcome;
using testing::ScratchFolder;
using ::testing::UnorderedElementsAre;
using testing::Worlds;

std::shared_ptr<arrow::Table> Numbers(int64_t first, int64_t count) {
  arrow::Int64Builder ids;
  arrow::StringBuilder names;
  arrow::TimestampBuilder times(arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), arrow::default_memory_pool());
  for (int64_t i = first; i < first + count; ++i) {
    EXPECT_TRUE(ids.Append(i).ok());
    EXPECT_TRUE((i % 5 == 0 ? names.AppendNull() : names.Append("n" + std::to_string(i))).ok());
    EXPECT_TRUE(times.Append(i * 3600).ok());
  }
  const auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("name", arrow::utf8()),
                                     arrow::field("time", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))});
  return arrow::Table::Make(schema, {*ids.Finish(), *names.Finish(), *times.Finish()});
}

void WriteFile(const std::string& path, const arrow::Table& table, int64_t group_rows) {
  auto sink = arrow::io::FileOutputStream::Open(path).ValueOrDie();
  const auto arrow_properties = ::parquet::ArrowWriterProperties::Builder().store_schema()->build();
  ASSERT_TRUE(::parquet::arrow::WriteTable(table, arrow::default_memory_pool(), sink, group_rows,
                                           ::parquet::default_writer_properties(), arrow_properties)
                  .ok());
  ASSERT_TRUE(sink->Close().ok());
}

TEST(ReadParquetTest, RowsKeepTheOrderOfTheFilesOnAnyNumberOfRanks) {
  const ScratchFolder folder;
  WriteFile(folder / "a.parquet", *Numbers(0, 100), 7);
  WriteFile(folder / "b.parquet", *Numbers(100, 0), 7);
  WriteFile(folder / "c.parquet", *Numbers(100, 41), 1000);
  for (const auto& world : Worlds()) {
    const auto table = OnRanks(world, [&](Context& context) { return ReadParquet(context, {folder.path()}); }).Whole();
    EXPECT_TRUE(table->Equals(*Numbers(0, 141))) << world.ranks << table->ToString();
  }
}

TEST(ReadParquetTest, ColumnsAreReadInTheOrderAskedForWhateverTheFilesOrder) {
  const ScratchFolder folder;
  const auto numbers = Numbers(0, 10);
  WriteFile(folder / "a.parquet", *numbers, 4);
  WriteFile(folder / "b.parquet", *numbers->SelectColumns({2, 0, 1}).ValueOrDie(), 4);
  ParquetReadOptions options;
  options.columns = {"time", "id"};
  const auto table =
      OnRanks(2, [&](Context& context) { return ReadParquet(context, {folder.path()}, options); }).Whole();
  const auto expected = arrow::ConcatenateTables({numbers, numbers}).ValueOrDie()->SelectColumns({2, 0}).ValueOrDie();
  EXPECT_TRUE(table->Equals(*expected->CombineChunks().ValueOrDie())) << table->ToString();
}

TEST(ReadParquetTest, NestedColumnsAreReadWhole) {
  const ScratchFolder folder;
  arrow::Int64Builder numbers;
  ASSERT_TRUE(numbers.AppendValues({1, 2, 3}).ok());
  const auto values = numbers.Finish().ValueOrDie();
  const auto pair = arrow::StructArray::Make({values, values}, std::vector<std::string>{"x", "y"}).ValueOrDie();
  const auto table = arrow::Table::Make(
      arrow::schema({arrow::field("p", pair->type()), arrow::field("v", arrow::int64())}), {pair, values});
  WriteFile(folder / "a.parquet", *table, 2);
  ParquetReadOptions options;
  options.columns = {"p"};
  const auto read =
      OnRanks(2, [&](Context& context) { return ReadParquet(context, {folder.path()}, options); }).Whole();
  EXPECT_TRUE(read->Equals(*table->SelectColumns({0}).ValueOrDie())) << read->ToString();
}

/// Every rank fails; the message of the last.
std::string FailToReadParquet(const std::vector<std::string>& paths, const ParquetReadOptions& options = {}) {
  std::string message;
  const Outcome outcome = OnRanks(3, [&](Context& context) { return ReadParquet(context, paths, options); });
  for (const auto& status : outcome.statuses) {
    EXPECT_FALSE(status.ok());
    message = status.message();
  }
  return message;
}

TEST(ReadParquetTest, ABadFileIsNamedAtEveryRank) {
  const ScratchFolder folder;
  WriteFile(folder / "a.parquet", *Numbers(0, 100), 10);
  EXPECT_THAT(FailToReadParquet({folder / "no.parquet"}), HasSubstr("no.parquet' does not exist"));
  EXPECT_THAT(FailToReadParquet({folder / "a.parquet", folder.Write("text.parquet", "this is no Parquet")}),
              AllOf(HasSubstr("cannot read " + folder / "text.parquet"), HasSubstr("whole Parquet file")));
  WriteFile(folder / "x.parquet", *Numbers(0, 3)->RenameColumns({"id", "name", "when"}).ValueOrDie(), 10);
  EXPECT_THAT(FailToReadParquet({folder / "a.parquet", folder / "x.parquet"}),
              HasSubstr("x.parquet has no column 'time'"));
  ParquetReadOptions options;
  options.columns = {"speed"};
  EXPECT_THAT(FailToReadParquet({folder / "a.parquet"}, options), HasSubstr("no column 'speed'"));
}

TEST(ReadParquetTest, DamageInTheRowsOfOneRankIsAnErrorAtEveryRankAndTheEnvironmentStaysUsable) {
  const ScratchFolder folder;
  const auto numbers = Numbers(0, 30000);
  const Outcome written = OnRanks(3, [&](Context& context) -> arrow::Result<Table> {
    const auto slice = numbers->Slice(int64_t{10000} * context.rank(), 10000);
    ARROW_ASSIGN_OR_RAISE(auto table, Table::FromArrow(context.resources(), slice));
    ARROW_RETURN_NOT_OK(WriteParquet(context, table, folder / "t"));
    return table;
  });
  written.Whole();
  const std::string damaged = folder / "t/part-00001.parquet";
  {
    // The footer stays whole; a page in front of it does not, which its checksum shows.
    std::fstream file(damaged, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(std::filesystem::file_size(damaged) / 3));
    file << "damage";
  }
  const Outcome outcome = OnRanks(3, [&](Context& context) -> arrow::Result<Table> {
    const auto status = ReadParquet(context, {folder / "t"}).status();
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), HasSubstr("part-00001.parquet"));
    return ReadParquet(context, {folder / "t/part-00002.parquet"});
  });
  EXPECT_EQ(outcome.Whole()->num_rows(), 10000);
}

/// What three ranks with a budget of `memory` bytes each make of a file of Numbers.
struct ReadWithin {
  ReadWithin(int64_t memory, int threads, const std::string& path, const ParquetReadOptions& options = {}) {
    ThreadWorld world;
    world.ranks = 3;
    world.options.memory_bytes = memory;
    world.options.threads = threads;
    std::mutex mutex;
    const auto ends = RunRanks(world, [&](Context& context) -> arrow::Status {
      const auto table = ReadParquet(context, {path}, options);
      const std::lock_guard lock(mutex);
      statuses.push_back(table.status());
      if (!table.ok()) {
        return arrow::Status::OK();
      }
      return table->ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
        rows += batch->num_rows();
        return arrow::Status::OK();
      });
    });
    for (const auto& end : ends) {
      EXPECT_TRUE(end.ok()) << end.ToString();
    }
  }

  std::vector<arrow::Status> statuses;
  int64_t rows = 0;
};

TEST(ReadParquetTest, ARowGroupThatNoBudgetHoldsIsNamedAtEveryRankBeforeItIsRead) {
  const ScratchFolder folder;
  const std::string path = folder / "a.parquet";
  WriteFile(path, *Numbers(0, 200000), 200000);  // one group of 6 MiB, so at one of three ranks
  for (const auto& status : ReadWithin(4 << 20, 1, path).statuses) {
    EXPECT_TRUE(status.IsOutOfMemory()) << status.ToString();
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("row group 0 of " + path + " takes at least"), HasSubstr("the rank's memory budget is"),
                      HasSubstr("raise CYLON_MEMORY, read fewer columns, or write the file with smaller row groups")));
  }
  ParquetReadOptions time_only;
  time_only.columns = {"time"};
  EXPECT_EQ(ReadWithin(4 << 20, 1, path, time_only).rows, 200000);
  EXPECT_EQ(ReadWithin(32 << 20, 1, path).rows, 200000);
}

TEST(ReadParquetTest, NoMoreRowGroupsAreReadTogetherThanTheBudgetHolds) {
  const ScratchFolder folder;
  const std::string path = folder / "a.parquet";
  WriteFile(path, *Numbers(0, 600000), 25000);  // a MiB each while it is read, and four threads
  const ReadWithin read(4 << 20, 4, path);
  for (const auto& status : read.statuses) {
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  EXPECT_EQ(read.rows, 600000);
}

TEST(WriteParquetTest, OneFilePerRankThatReadsBackTheSame) {
  for (const auto& world : Worlds()) {
    for (const std::string compression : {"none", "zstd"}) {
      const ScratchFolder folder;
      const int64_t rows = 1000 / world.ranks;
      const auto table = OnRanks(world, [&](Context& context) -> arrow::Result<Table> {
        // Rank 1 has no rows.
        const auto part = Numbers(context.rank() * rows, context.rank() == 1 ? 0 : rows);
        ARROW_ASSIGN_OR_RAISE(auto mine, Table::FromArrow(context.resources(), part));
        ParquetWriteOptions options;
        options.compression = compression;
        options.row_group_rows = 64;
        ARROW_RETURN_NOT_OK(WriteParquet(context, mine, folder / "deep/down", options));
        ARROW_RETURN_NOT_OK(context.communicator().Barrier());
        return mine;
      });
      const auto whole = table.Whole();
      EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder / "deep/down"), {}), world.ranks);
      const auto read = OnRanks(2, [&](Context& context) { return ReadParquet(context, {folder / "deep/down"}); });
      EXPECT_TRUE(read.Whole()->Equals(*whole));
    }
  }
}

arrow::Status WriteNumbers(Context& context, const std::string& directory, const ParquetWriteOptions& options = {}) {
  ARROW_ASSIGN_OR_RAISE(auto table, Table::FromArrow(context.resources(), Numbers(int64_t{10} * context.rank(), 10)));
  return WriteParquet(context, table, directory, options);
}

std::vector<arrow::Status> OnThreads(int ranks, const std::function<arrow::Status(Context&)>& body) {
  ThreadWorld world;
  world.ranks = ranks;
  return RunRanks(world, body);
}

TEST(WriteParquetTest, FilesOfALargerWorldAreRemovedAndOthersStay) {
  const ScratchFolder folder;
  folder.Write("part-00007.parquet", "old");
  folder.Write("part-7.parquet", "not ours");
  folder.Write("notes.txt", "mine");
  for (const auto& status : OnThreads(2, [&](Context& context) { return WriteNumbers(context, folder.path()); })) {
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  EXPECT_THAT(folder.List(), ElementsAre("notes.txt", "part-00000.parquet", "part-00001.parquet", "part-7.parquet"));
}

TEST(WriteParquetTest, WithoutOverwriteAFolderWithParquetFilesIsRefused) {
  const ScratchFolder folder;
  folder.Write("x.parquet", "precious");
  ParquetWriteOptions options;
  options.overwrite = false;
  for (const auto& status :
       OnThreads(2, [&](Context& context) { return WriteNumbers(context, folder.path(), options); })) {
    EXPECT_TRUE(status.IsInvalid());
    EXPECT_THAT(status.message(), HasSubstr("overwrite"));
  }
  EXPECT_THAT(folder.List(), ElementsAre("x.parquet"));
}

TEST(WriteParquetTest, WrongOptionsAreNamed) {
  const ScratchFolder folder;
  ParquetWriteOptions options;
  options.compression = "rar";
  for (const auto& status :
       OnThreads(2, [&](Context& context) { return WriteNumbers(context, folder.path(), options); })) {
    EXPECT_THAT(status.message(), HasSubstr("compression is 'rar'; expected none, snappy"));
  }
  const auto file = folder.Write("file", "");
  for (const auto& status : OnThreads(2, [&](Context& context) { return WriteNumbers(context, file); })) {
    EXPECT_THAT(status.message(), HasSubstr("is no folder"));
  }
}

TEST(WriteParquetTest, ARowGroupThatNoBudgetHoldsSaysHowToWriteSmallerOnes) {
  const ScratchFolder folder;
  arrow::Int64Builder random;
  uint64_t state = 1;
  for (int i = 0; i < 600000; ++i) {
    state = state * 6364136223846793005 + 1442695040888963407;
    ASSERT_TRUE(random.Append(static_cast<int64_t>(state)).ok());
  }
  const auto numbers =
      arrow::Table::Make(arrow::schema({arrow::field("x", arrow::int64())}), {random.Finish().ValueOrDie()});
  ThreadWorld world;
  world.ranks = 2;
  world.options.memory_bytes = 4 << 20;
  const auto write = [&](int64_t group_rows) {
    return RunRanks(world, [&](Context& context) -> arrow::Status {
      const auto part = numbers->Slice(0, context.rank() == 0 ? 600000 : 10);
      ARROW_ASSIGN_OR_RAISE(auto table, Table::FromArrow(context.resources(), part));
      ParquetWriteOptions options;
      options.row_group_rows = group_rows;
      return WriteParquet(context, table, folder.path(), options);
    });
  };
  for (const auto& status : write(1 << 20)) {
    EXPECT_TRUE(status.IsOutOfMemory()) << status.ToString();
    EXPECT_THAT(status.message(), AllOf(HasSubstr("raise CYLON_MEMORY"),
                                        HasSubstr("write smaller row groups (row_group_rows is 1048576)")));
  }
  EXPECT_THAT(folder.List(), ElementsAre());
  for (const auto& status : write(5000)) {
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
}

TEST(WriteParquetTest, AFullDiskAtOneRankIsAnErrorAtAllAndLeavesNothing) {
  const ScratchFolder folder;
  folder.Write("part-00000.parquet", "of an earlier run");
  // A limit on the size of files stands for the disk: the large part does not fit, the small ones do.
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 64 << 10;
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  std::vector<arrow::Status> statuses(3);
  const auto ends = OnThreads(3, [&](Context& context) -> arrow::Status {
    const auto numbers = Numbers(0, context.rank() == 1 ? 100000 : 10);
    ARROW_ASSIGN_OR_RAISE(auto table, Table::FromArrow(context.resources(), numbers));
    ParquetWriteOptions options;
    options.compression = "none";
    statuses[static_cast<size_t>(context.rank())] = WriteParquet(context, table, folder.path(), options);
    return context.communicator().Barrier();  // which still works
  });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  for (const auto& status : ends) {
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  for (const auto& status : statuses) {
    EXPECT_TRUE(status.IsIOError()) << status.ToString();
    EXPECT_THAT(status.message(), AllOf(HasSubstr("part-00001.parquet"), HasSubstr("check the space")));
  }
  EXPECT_THAT(folder.List(), UnorderedElementsAre("part-00000.parquet"));
}

TEST(WriteParquetTest, RanksWithDifferentSchemasAllSaySo) {
  const ScratchFolder folder;
  for (const auto& status : OnThreads(2, [&](Context& context) -> arrow::Status {
         const auto numbers = Numbers(0, 3);
         const auto part = context.rank() == 0 ? numbers : numbers->SelectColumns({0}).ValueOrDie();
         ARROW_ASSIGN_OR_RAISE(auto table, Table::FromArrow(context.resources(), part));
         return WriteParquet(context, table, folder / "t");
       })) {
    EXPECT_TRUE(IsError(status, ErrorKind::kCollectiveMismatch)) << status.ToString();
  }
}

}  // namespace
}  // namespace cylon
