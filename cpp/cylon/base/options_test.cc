// Options out of the environment: own variables, launchers, secrets.
#include "cylon/base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "cylon/base/error.h"
#include "cylon/base/random.h"

namespace cylon {
namespace {

using Environment = std::map<std::string, std::string>;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string Failure(const Environment& environment) { return OptionsFrom(environment).status().message(); }

TEST(OptionsTest, TheDefaultsAreThoseOfTheTable) {
  auto options = *OptionsFrom({});
  Options expected;
  for (const auto& row : OptionTable()) {
    SCOPED_TRACE(row.name);
    EXPECT_TRUE(row.default_text.empty() || SetOption(&expected, row.name, row.default_text).ok());
  }
  const Options fresh;
  EXPECT_EQ(expected.rank, fresh.rank);
  EXPECT_EQ(expected.world_size, fresh.world_size);
  EXPECT_EQ(expected.local_rank, fresh.local_rank);
  EXPECT_EQ(expected.local_size, fresh.local_size);
  EXPECT_EQ(expected.join_deadline_s, fresh.join_deadline_s);
  EXPECT_EQ(expected.connect_deadline_s, fresh.connect_deadline_s);
  EXPECT_EQ(expected.close_deadline_s, fresh.close_deadline_s);
  EXPECT_EQ(expected.threads, fresh.threads);
  EXPECT_EQ(expected.memory_bytes, fresh.memory_bytes);
  EXPECT_EQ(expected.spill_always, fresh.spill_always);
  EXPECT_EQ(expected.chunk_bytes, fresh.chunk_bytes);
  EXPECT_EQ(expected.morsel_rows, fresh.morsel_rows);
  EXPECT_EQ(expected.piece_bytes, fresh.piece_bytes);
  EXPECT_EQ(expected.eager_bytes, fresh.eager_bytes);
  EXPECT_EQ(expected.log_level, fresh.log_level);
  EXPECT_EQ(expected.progress, fresh.progress);
  EXPECT_EQ(options.chunk_bytes, fresh.chunk_bytes);
}

TEST(OptionsTest, NamesAndVariablesOfTheTableAreUniqueAndExplained) {
  std::set<std::string_view> names;
  for (const auto& row : OptionTable()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_TRUE(names.insert(row.environment).second) << row.environment;
    EXPECT_TRUE(row.environment.starts_with("CYLON_")) << row.environment;
    EXPECT_FALSE(row.meaning.empty()) << row.name;
  }
}

TEST(OptionsTest, OwnVariablesAreRead) {
  auto options = *OptionsFrom({{"CYLON_RANK", "2"},
                               {"CYLON_WORLD_SIZE", "4"},
                               {"CYLON_JOB", "night"},
                               {"CYLON_STORE", "127.0.0.1:4000"},
                               {"CYLON_JOIN_DEADLINE", "2.5"},
                               {"CYLON_SPILL_ALWAYS", "Yes"},
                               {"CYLON_PROGRESS", "off"},
                               {"CYLON_TRACE", "/tmp/t"},
                               {"CYLON_THREADS", ""}});
  EXPECT_EQ(options.rank, 2);
  EXPECT_EQ(options.world_size, 4);
  EXPECT_EQ(options.job, "night");
  EXPECT_EQ(options.store, "127.0.0.1:4000");
  EXPECT_EQ(options.join_deadline_s, 2.5);
  EXPECT_TRUE(options.spill_always);
  EXPECT_FALSE(options.progress);
  EXPECT_EQ(options.trace_directory, "/tmp/t");
  EXPECT_EQ(options.threads, 0);
}

TEST(OptionsTest, BytesTakeUnits) {
  const std::map<std::string, int64_t> cases = {{"123", 123},       {"4K", 4096},      {"4KiB", 4096},
                                                {"2m", 2 << 20},    {"1.5G", 3 << 29}, {"1 TiB", int64_t{1} << 40},
                                                {"3MB", 3'000'000}, {"7B", 7},         {"0", 0}};
  for (const auto& [text, expected] : cases) {
    EXPECT_EQ(OptionsFrom({{"CYLON_MEMORY", text}})->memory_bytes, expected) << text;
  }
  for (const char* text : {"G", "4X", "-1", "4KiBs", "nan", "1e30", "4 4", "0x10", "inf"}) {
    EXPECT_THAT(Failure({{"CYLON_MEMORY", text}}), AllOf(HasSubstr("CYLON_MEMORY"), HasSubstr(text))) << text;
  }
}

TEST(OptionsTest, AValueThatCannotBeReadNamesVariableAndValue) {
  EXPECT_THAT(Failure({{"CYLON_THREADS", "many"}}),
              AllOf(HasSubstr("CYLON_THREADS"), HasSubstr("'many'"), HasSubstr("whole number")));
  EXPECT_THAT(Failure({{"CYLON_THREADS", "99999999999"}}), HasSubstr("CYLON_THREADS"));
  EXPECT_THAT(Failure({{"CYLON_LOCAL_SIZE", "0"}}), HasSubstr("from 1 up"));
  EXPECT_THAT(Failure({{"CYLON_JOIN_DEADLINE", "0"}}), AllOf(HasSubstr("CYLON_JOIN_DEADLINE"), HasSubstr("above 0")));
  EXPECT_THAT(Failure({{"CYLON_JOIN_DEADLINE", "nan"}}), HasSubstr("above 0"));
  EXPECT_THAT(Failure({{"CYLON_PROGRESS", "maybe"}}), AllOf(HasSubstr("CYLON_PROGRESS"), HasSubstr("'maybe'")));
  Options options;
  EXPECT_THAT(SetOption(&options, "thread", "1").message(), AllOf(HasSubstr("'thread'"), HasSubstr("threads")));
}

TEST(OptionsTest, ARankWithoutAWorldSizeIsAnErrorAndTheOtherWayRoundIsNot) {
  EXPECT_THAT(Failure({{"CYLON_RANK", "1"}}), HasSubstr("CYLON_WORLD_SIZE is missing"));
  EXPECT_THAT(Failure({{"CYLON_RANK", "4"}, {"CYLON_WORLD_SIZE", "4"}}), HasSubstr("less than the number of ranks"));
  EXPECT_EQ(OptionsFrom({{"CYLON_WORLD_SIZE", "4"}})->rank, -1);
}

TEST(LauncherTest, KnownLaunchersFillThePlace) {
  const std::vector<Environment> launchers = {
      {{"RANK", "3"}, {"WORLD_SIZE", "8"}, {"LOCAL_RANK", "1"}, {"LOCAL_WORLD_SIZE", "2"}, {"MASTER_PORT", "29500"}},
      {{"OMPI_COMM_WORLD_RANK", "3"},
       {"OMPI_COMM_WORLD_SIZE", "8"},
       {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
       {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
       {"PMIX_RANK", "3"}},
      {{"PMI_RANK", "3"}, {"PMI_SIZE", "8"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "2"}},
      {{"SLURM_STEP_ID", "0"},
       {"SLURM_PROCID", "3"},
       {"SLURM_NTASKS", "16"},
       {"SLURM_STEP_NUM_TASKS", "8"},
       {"SLURM_LOCALID", "1"},
       {"SLURM_NODEID", "2"},
       {"SLURM_STEP_TASKS_PER_NODE", "3(x2),2"},
       {"PMIX_RANK", "3"}},
  };
  for (const auto& environment : launchers) {
    SCOPED_TRACE(environment.begin()->first);
    auto options = *OptionsFrom(environment);
    EXPECT_EQ(options.rank, 3);
    EXPECT_EQ(options.world_size, 8);
    EXPECT_EQ(options.local_rank, 1);
    EXPECT_EQ(options.local_size, 2);
  }
}

TEST(LauncherTest, ThePlaceOfALauncherIsSharedWithItsJobId) {
  EXPECT_EQ(OptionsFrom({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"TORCHELASTIC_RUN_ID", "r7"}})->job, "torch-r7");
  EXPECT_EQ(
      OptionsFrom({{"SLURM_STEP_ID", "4"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}, {"SLURM_JOB_ID", "90"}})->job,
      "slurm-90.4");
  EXPECT_EQ(
      OptionsFrom({{"RANK", "0"}, {"WORLD_SIZE", "1"}, {"TORCHELASTIC_RUN_ID", "r7"}, {"CYLON_JOB", "mine"}})->job,
      "mine");
}

TEST(LauncherTest, OwnVariablesComeFirst) {
  auto options =
      *OptionsFrom({{"CYLON_RANK", "1"}, {"CYLON_WORLD_SIZE", "2"}, {"RANK", "5"}, {"OMPI_COMM_WORLD_RANK", "7"}});
  EXPECT_EQ(options.rank, 1);
  EXPECT_EQ(options.world_size, 2);
  options = *OptionsFrom({{"CYLON_LOCAL_SIZE", "3"}, {"RANK", "5"}, {"WORLD_SIZE", "6"}, {"LOCAL_WORLD_SIZE", "6"}});
  EXPECT_EQ(options.local_size, 3);
}

TEST(LauncherTest, APartialSetNamesWhatIsMissing) {
  EXPECT_THAT(Failure({{"RANK", "1"}}), AllOf(HasSubstr("RANK is set"), HasSubstr("WORLD_SIZE is missing")));
  EXPECT_THAT(Failure({{"WORLD_SIZE", "2"}}), HasSubstr("RANK is missing"));
  EXPECT_THAT(Failure({{"OMPI_COMM_WORLD_RANK", "1"}}), HasSubstr("OMPI_COMM_WORLD_SIZE is missing"));
  EXPECT_THAT(Failure({{"PMI_SIZE", "1"}}), HasSubstr("PMI_RANK is missing"));
  EXPECT_THAT(Failure({{"PMIX_RANK", "1"}}), AllOf(HasSubstr("PMIX_RANK"), HasSubstr("CYLON_WORLD_SIZE")));
  EXPECT_THAT(Failure({{"SLURM_STEP_ID", "0"}, {"SLURM_PROCID", "1"}}), HasSubstr("SLURM_NTASKS is missing"));
  EXPECT_THAT(Failure({{"SLURM_STEP_ID", "0"}}), HasSubstr("SLURM_PROCID"));
  EXPECT_THAT(Failure({{"RANK", "one"}, {"WORLD_SIZE", "2"}}), AllOf(HasSubstr("RANK is 'one'")));
  EXPECT_THAT(Failure({{"RANK", "2"}, {"WORLD_SIZE", "2"}}), HasSubstr("less than the number of ranks"));
}

TEST(LauncherTest, OutsideARealSlurmStepThereIsOneProcess) {
  const Environment allocation = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "1"}};
  EXPECT_EQ(OptionsFrom(allocation)->world_size, 0);
  Environment batch = allocation;
  batch["SLURM_STEP_ID"] = "4294967291";
  EXPECT_EQ(OptionsFrom(batch)->world_size, 0);
}

class SecretTest : public testing::Test {
 protected:
  void SetUp() override {
    path_ = testing::TempDir() + "cylon-secret-" + HexEncode(*RandomBytes(8));
    std::ofstream(path_) << std::string(64, 'a') << "\n";
    ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
    options_.secret_file = path_;
  }
  void TearDown() override { std::filesystem::remove(path_); }

  std::string Error() {
    auto status = ReadSecret(options_).status();
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    return status.message();
  }

  std::string path_;
  Options options_;
};

TEST_F(SecretTest, ComesFromAFileOfItsOwnerOrFromAnOption) {
  EXPECT_EQ(*ReadSecret(options_), std::string(32, '\xaa'));
  options_.secret = std::string(64, 'b');
  EXPECT_EQ(*ReadSecret(options_), std::string(32, '\xbb'));
  EXPECT_EQ(*ReadSecret(Options{}), "");
}

TEST_F(SecretTest, AFileThatOthersMayReadIsRefused) {
  ASSERT_EQ(::chmod(path_.c_str(), 0640), 0);
  EXPECT_THAT(Error(), AllOf(HasSubstr(path_), HasSubstr("mode 0640"), HasSubstr("chmod 600")));
}

TEST_F(SecretTest, AMissingFileOrAFolderIsNamed) {
  options_.secret_file = path_ + ".gone";
  EXPECT_THAT(Error(), AllOf(HasSubstr(".gone"), HasSubstr("No such file")));
  options_.secret_file = testing::TempDir();
  EXPECT_THAT(Error(), HasSubstr("not a regular file"));
}

TEST_F(SecretTest, WhatIsNot32BytesIsRefusedWithoutBeingRepeated) {
  options_.secret = "hunter2";
  EXPECT_THAT(Error(), AllOf(HasSubstr("64 hexadecimal digits"), Not(HasSubstr("hunter2"))));
  options_.secret.clear();
  std::ofstream(path_) << std::string(68, 'a');
  EXPECT_THAT(Error(), HasSubstr("64 hexadecimal digits"));
}

TEST(RandomTest, BytesDifferAndSurviveHexadecimal) {
  const std::string bytes = *RandomBytes(32);
  EXPECT_EQ(bytes.size(), 32U);
  EXPECT_NE(bytes, *RandomBytes(32));
  EXPECT_EQ(HexEncode(bytes).size(), 64U);
  EXPECT_EQ(*HexDecode(HexEncode(bytes)), bytes);
  EXPECT_EQ(*HexDecode("00fFA0"), std::string("\x00\xff\xa0", 3));
  EXPECT_THAT(HexDecode("abc").status().message(), HasSubstr("even number"));
  EXPECT_THAT(HexDecode("zz").status().message(), AllOf(HasSubstr("position 0"), Not(HasSubstr("zz"))));
}

}  // namespace
}  // namespace cylon
