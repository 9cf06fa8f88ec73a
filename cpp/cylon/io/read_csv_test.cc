// CSV split among ranks.
#include "cylon/io/read_csv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "cylon/base/error.h"
#include "cylon/io/csv_layout.h"
#include "cylon/io/testing/files.h"

namespace cylon {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::OnRanks;
using testing::Outcome;
using testing::ScratchFolder;
using testing::Worlds;

/// Rows as text, one a line, values separated by '|', nulls as '-'.
std::string Show(const arrow::Table& table) {
  std::string text;
  for (int64_t row = 0; row < table.num_rows(); ++row) {
    for (int column = 0; column < table.num_columns(); ++column) {
      const auto value = table.column(column)->GetScalar(row).ValueOrDie();
      text += (column == 0 ? "" : "|") + (value->is_valid ? value->ToString() : "-");
    }
    text += "\n";
  }
  return text;
}

/// The file read by 1, 2, 3 and 7 ranks in small and large blocks, which has to be the same each time.
std::shared_ptr<arrow::Table> ReadEverywhere(const std::vector<std::string>& paths,
                                             const CsvReadOptions& options = {}) {
  std::shared_ptr<arrow::Table> first;
  for (const auto& world : Worlds()) {
    for (const int64_t block_bytes : {7, 1 << 20}) {
      const auto table = OnRanks(world, [&](Context& context) {
                           return csv::ReadCsvInBlocks(context, paths, options, block_bytes);
                         }).Whole();
      if (first == nullptr) {
        first = table;
      }
      EXPECT_TRUE(table->Equals(*first)) << world.ranks << " ranks, blocks of " << block_bytes << ":\n"
                                         << Show(*table) << "instead of\n"
                                         << Show(*first);
    }
  }
  return first;
}

/// The message that all ranks have.
std::string FailEverywhere(const std::vector<std::string>& paths, const CsvReadOptions& options = {}) {
  std::string message;
  for (const int ranks : {1, 3}) {
    const Outcome outcome = OnRanks(ranks, [&](Context& context) { return ReadCsv(context, paths, options); });
    for (const auto& status : outcome.statuses) {
      EXPECT_FALSE(status.ok());
      message = status.message();
    }
  }
  return message;
}

TEST(PlanSegmentsTest, RangesCoverEveryByteOnce) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 200; ++round) {
    std::vector<int64_t> sizes(random() % 6);
    for (auto& size : sizes) {
      size = static_cast<int64_t>(random() % 3 == 0 ? 0 : random() % 50);
    }
    const int world_size = 1 + static_cast<int>(random() % 9);
    std::vector<std::vector<int>> seen(sizes.size());
    for (size_t i = 0; i < sizes.size(); ++i) {
      seen[i].resize(static_cast<size_t>(sizes[i]));
    }
    for (int rank = 0; rank < world_size; ++rank) {
      for (const auto& segment : csv::PlanSegments(sizes, rank, world_size)) {
        for (int64_t byte = segment.begin; byte < segment.end; ++byte) {
          ++seen[segment.file][byte];
        }
      }
    }
    for (const auto& file : seen) {
      EXPECT_EQ(std::ranges::count(file, 1), std::ssize(file));
    }
  }
}

TEST(ReadCsvTest, RowsAreNeitherLostNorDoubledAtTheSeams) {
  const ScratchFolder folder;
  std::string text = "id,name\n";
  std::string expected;
  std::mt19937_64 random(1);
  for (int i = 0; i < 300; ++i) {
    const std::string name(1 + random() % 30, static_cast<char>('a' + random() % 26));
    text += std::to_string(i) + "," + name + "\n";
    expected += std::to_string(i) + "|" + name + "\n";
  }
  EXPECT_EQ(Show(*ReadEverywhere({folder.Write("a.csv", text)})), expected);
}

TEST(ReadCsvTest, LineEndsMarksAndMissingLastLineEndAreOrdinary) {
  const ScratchFolder folder;
  EXPECT_EQ(Show(*ReadEverywhere({folder.Write("crlf.csv", "a,b\r\n1,2\r\n\r\n3,4\r\n")})), "1|2\n3|4\n");
  EXPECT_EQ(Show(*ReadEverywhere({folder.Write("cr.csv", "a,b\r1,2\r3,4")})), "1|2\n3|4\n");
  const auto marked = ReadEverywhere({folder.Write("bom.csv",
                                                   "\xEF\xBB\xBF"
                                                   "a,b\n1,2\n3,4")});
  EXPECT_EQ(Show(*marked), "1|2\n3|4\n");
  EXPECT_EQ(marked->schema()->field(0)->name(), "a");
}

TEST(ReadCsvTest, ManyFilesOfWhichSomeHaveNoRows) {
  const ScratchFolder folder;
  folder.Write("1.csv", "");
  folder.Write("2.csv", "a,b\n");
  folder.Write("3.csv", "a,b\n1,x\n2,y\n");
  folder.Write("4.csv", "b,a\nz,3");
  folder.Write("5.csv", "\n\n");
  folder.Write("6.csv", "a,b");
  EXPECT_EQ(Show(*ReadEverywhere({folder.path()})), "1|x\n2|y\n3|z\n");
}

TEST(ReadCsvTest, AFileWithOnlyAHeaderHasColumnsOfNull) {
  const ScratchFolder folder;
  const auto table = ReadEverywhere({folder.Write("a.csv", "x,y\n")});
  EXPECT_EQ(table->num_rows(), 0);
  EXPECT_EQ(table->schema()->ToString(), "x: null\ny: null");
}

TEST(ReadCsvTest, TypesAreInferredOverTheWholeRangeAndPromoted) {
  const ScratchFolder folder;
  std::string text = "i,d,s,n,b,t,z,m\n";
  for (int i = 0; i < 50; ++i) {
    text += std::to_string(i) + "," + std::to_string(i) + "," + "00" + std::to_string(i) +
            ",NA,True,2013-01-01,2013-01-01T05:00:00Z,1\n";
  }
  text += "50,0.5,x,,false,2013-01-01 10:00:00,2013-06-01T05:00:00Z,true\n";
  const auto table = ReadEverywhere({folder.Write("a.csv", text)});
  EXPECT_EQ(table->schema()->ToString(),
            "i: int64\nd: double\ns: string\nn: null\nb: bool\nt: timestamp[s]\nz: timestamp[s, tz=UTC]\nm: string");
  // Text that turned out to be string late is as it was written, not as the number it looked like.
  EXPECT_EQ(table->column(2)->GetScalar(3).ValueOrDie()->ToString(), "003");
}

TEST(ReadCsvTest, ATimeBeyondNanosecondsMakesTheColumnText) {
  const ScratchFolder folder;
  const auto table = ReadEverywhere({folder.Write("a.csv", "t\n2013-01-01 00:00:00.5\n3013-01-01 00:00:00\n")});
  EXPECT_EQ(table->schema()->ToString(), "t: string");
}

TEST(ReadCsvTest, PandasWordsAreNullInStringsToo) {
  const ScratchFolder folder;
  std::string text = "s,q\n";
  for (const auto& word : csv::PandasNullWords()) {
    text += word + ",\"" + word + "\"\n";
  }
  const auto table = ReadEverywhere({folder.Write("a.csv", text + "na,Null\n")});
  EXPECT_EQ(table->column(0)->null_count(), table->num_rows() - 1);
  EXPECT_EQ(table->column(1)->null_count(), table->num_rows() - 1);
  CsvReadOptions own;
  own.null_words = std::vector<std::string>{"na"};
  EXPECT_EQ(ReadEverywhere({folder / "a.csv"}, own)->column(0)->null_count(), 1);
}

TEST(ReadCsvTest, ColumnsNamesAndTypesCanBeChosen) {
  const ScratchFolder folder;
  const auto path = folder.Write("a.csv", "a;'b;c';d\n1;2;3\n4;5;6\n");
  CsvReadOptions options;
  options.delimiter = ';';
  options.quote = '\'';
  options.columns = {"d", "b;c"};
  options.types = {{"d", arrow::float32()}};
  const auto table = ReadEverywhere({path}, options);
  EXPECT_EQ(table->schema()->ToString(), "d: float\nb;c: int64");
  EXPECT_EQ(Show(*table), "3|2\n6|5\n");

  CsvReadOptions named;
  named.delimiter = ';';
  named.quote = '\'';
  named.has_header = false;
  EXPECT_EQ(ReadEverywhere({path}, named)->schema()->ToString(), "f0: string\nf1: string\nf2: string");
  named.names = {"w", "x", "y"};
  EXPECT_EQ(ReadEverywhere({path}, named)->schema()->field_names(), named.names);
  EXPECT_EQ(ReadEverywhere({path}, named)->num_rows(), 3);
}

TEST(ReadCsvTest, NamesThatAreMissingOrRepeatedAreMadeAsPandasMakesThem) {
  const ScratchFolder folder;
  const auto table = ReadEverywhere({folder.Write("a.csv", ",a,a,a.1\n1,2,3,4\n")});
  EXPECT_THAT(table->schema()->field_names(), ::testing::ElementsAre("Unnamed: 0", "a", "a.2", "a.1"));
}

TEST(ReadCsvTest, QuotedLineEndsAreFoundFromEveryByteOn) {
  const ScratchFolder folder;
  std::mt19937_64 random(5);
  std::string text = "k,v\n";
  std::string expected;
  for (int i = 0; i < 60; ++i) {
    std::string quoted;
    std::string plain;
    for (size_t size = random() % 40; size > 0; --size) {
      const char byte = "ab,\n\n\""[random() % 6];
      quoted += byte == '"' ? "\"\"" : std::string(1, byte);
      plain += byte;
    }
    text += std::to_string(i) + ",\"x" + quoted + "\"\n";
    expected += std::to_string(i) + "|x" + plain + "\n";
  }
  text += "60,5\" wide\n61,last";
  expected += "60|5\" wide\n61|last\n";
  CsvReadOptions options;
  options.newlines_in_quotes = true;
  EXPECT_EQ(Show(*ReadEverywhere({folder.Write("a.csv", text)}, options)), expected);
}

TEST(ReadCsvTest, AQuotedLineEndThatWasNotExpectedIsAnErrorWhereverTheSeamsLie) {
  const ScratchFolder folder;
  const auto path = folder.Write("a.csv", "a,b\n1,x\n2,\"y\nz\"\n3,w\n4,v\n");
  for (int ranks = 1; ranks <= 7; ++ranks) {
    const Outcome outcome = OnRanks(ranks, [&](Context& context) { return ReadCsv(context, {path}); });
    for (const auto& status : outcome.statuses) {
      EXPECT_TRUE(status.IsInvalid()) << status.ToString();
      EXPECT_THAT(status.message(), HasSubstr("newlines_in_quotes=true")) << ranks;
    }
  }
}

TEST(ReadCsvTest, ARaggedRowIsNamedByFileLineAndByteAtEveryRank) {
  const ScratchFolder folder;
  const auto path = folder.Write("a.csv", "a,b\n1,2\n\n3,4\n5\n6,7\n");
  EXPECT_THAT(FailEverywhere({path}), AllOf(HasSubstr(path), HasSubstr("line 5 (byte 13)"),
                                            HasSubstr("the row has 1 values, but there are 2 columns: 5")));
}

TEST(ReadCsvTest, ErrorsNameWhatWasWrongAndTheEnvironmentStaysUsable) {
  const ScratchFolder folder;
  const auto path = folder.Write("a.csv", "a,b\n1,x\n2,y\n");
  EXPECT_THAT(FailEverywhere({folder / "no.csv"}), HasSubstr("does not exist"));
  CsvReadOptions unknown;
  unknown.columns = {"c"};
  EXPECT_THAT(FailEverywhere({path}, unknown), HasSubstr("no column 'c'"));
  CsvReadOptions type;
  type.types = {{"b", arrow::int64()}};
  EXPECT_THAT(FailEverywhere({path}, type),
              AllOf(HasSubstr("line 2 (byte 4): column 'b'"), HasSubstr("invalid value 'x'")));
  CsvReadOptions names;
  names.names = {"one"};
  EXPECT_THAT(FailEverywhere({path}, names), HasSubstr("give one name for each column"));
  CsvReadOptions same;
  same.quote = ',';
  EXPECT_THAT(FailEverywhere({path}, same), HasSubstr("two different bytes"));
  EXPECT_THAT(FailEverywhere({folder.Write("empty.csv", "")}), HasSubstr("has no columns"));
  EXPECT_THAT(FailEverywhere({folder.Write("zip.csv", "\x1F\x8B\x08junk")}), HasSubstr("gzip"));
  EXPECT_THAT(FailEverywhere({folder.Write("latin.csv", "a\nx\n\xE9\n")}), HasSubstr("invalid UTF8"));
  EXPECT_THAT(FailEverywhere({path, folder.Write("other.csv", "a,c\n1,2\n")}),
              AllOf(HasSubstr("other.csv has no column 'b'"), HasSubstr("same columns")));
  CsvReadOptions quotes;
  quotes.newlines_in_quotes = true;
  EXPECT_THAT(FailEverywhere({folder.Write("open.csv", "a,b\n1,\"x\n2,y\n")}, quotes), HasSubstr("not closed"));
  EXPECT_THAT(FailEverywhere({"/dev/null"}), HasSubstr("not a regular file"));

  const Outcome outcome = OnRanks(3, [&](Context& context) -> arrow::Result<Table> {
    EXPECT_FALSE(ReadCsv(context, {folder / "no.csv"}).ok());
    return ReadCsv(context, {path});
  });
  EXPECT_EQ(Show(*outcome.Whole()), "1|x\n2|y\n");
}

TEST(ReadCsvTest, RanksThatSeeDifferentFilesAllSaySo) {
  const ScratchFolder folder;
  folder.Write("0.csv", "a\n1\n");
  folder.Write("1.csv", "a\n1\n2\n");
  const Outcome outcome = OnRanks(
      2, [&](Context& context) { return ReadCsv(context, {folder / (std::to_string(context.rank()) + ".csv")}); });
  for (const auto& status : outcome.statuses) {
    EXPECT_TRUE(IsError(status, ErrorKind::kCollectiveMismatch)) << status.ToString();
  }
}

TEST(ReadCsvTest, AResultLargerThanMemorySpills) {
  const ScratchFolder folder;
  std::string text = "a,b\n";
  for (int i = 0; i < 300000; ++i) {
    text += std::to_string(i) + "," + std::to_string(i * 7) + "\n";
  }
  const auto path = folder.Write("a.csv", text);
  testing::Outcome outcome;
  ThreadWorld world;
  world.ranks = 2;
  world.options.memory_bytes = 2 << 20;
  world.options.threads = 1;
  int64_t sum = 0;
  std::mutex mutex;
  const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(const Table table, ReadCsv(context, {path}));
    EXPECT_GT(context.resources()->memory()->spilled_bytes(), 0);
    return table.ForEachBatch([&](const std::shared_ptr<arrow::RecordBatch>& batch, int64_t) {
      const std::lock_guard lock(mutex);
      const auto& values = static_cast<const arrow::Int64Array&>(*batch->column(0));
      for (int64_t i = 0; i < values.length(); ++i) {
        sum += values.Value(i);
      }
      return arrow::Status::OK();
    });
  });
  for (const auto& status : statuses) {
    EXPECT_TRUE(status.ok()) << status.ToString();
  }
  EXPECT_EQ(sum, int64_t{299999} * 300000 / 2);
}

}  // namespace
}  // namespace cylon
