// Files that a user's paths mean.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "cylon/io/read.h"
#include "cylon/io/testing/files.h"

namespace cylon {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::ScratchFolder;

TEST(ExpandPathsTest, FoldersGiveTheirFilesSortedAndNoHiddenOnes) {
  const ScratchFolder folder;
  folder.Write("b.csv", "");
  folder.Write("a.csv", "");
  folder.Write(".hidden.csv", "");
  folder.Write("_SUCCESS.csv", "");
  folder.Write("notes.txt", "");
  EXPECT_THAT(ExpandPaths({folder.path()}, ".csv").ValueOrDie(), ElementsAre(folder / "a.csv", folder / "b.csv"));
}

TEST(ExpandPathsTest, GlobsAreSortedAndFilesKeepTheirPlace) {
  const ScratchFolder folder;
  folder.Write("x10.csv", "");
  folder.Write("x2.csv", "");
  folder.Write("first.txt", "");
  EXPECT_THAT(ExpandPaths({folder / "first.txt", folder / "x*.csv"}, ".csv").ValueOrDie(),
              ElementsAre(folder / "first.txt", folder / "x10.csv", folder / "x2.csv"));
}

TEST(ExpandPathsTest, AFileWhoseNameLooksLikeAGlobIsThatFile) {
  const ScratchFolder folder;
  folder.Write("x[1].csv", "");
  EXPECT_THAT(ExpandPaths({folder / "x[1].csv"}, ".csv").ValueOrDie(), ElementsAre(folder / "x[1].csv"));
  EXPECT_THAT(ExpandPaths({"file://" + (folder / "x[1].csv")}, ".csv").ValueOrDie(), ElementsAre(folder / "x[1].csv"));
}

TEST(ExpandPathsTest, WhatIsNotThereIsNamed) {
  const ScratchFolder folder;
  const auto missing = ExpandPaths({folder / "no.csv"}, ".csv").status();
  EXPECT_TRUE(missing.IsIOError());
  EXPECT_THAT(missing.message(), HasSubstr(folder / "no.csv"));
  EXPECT_THAT(missing.message(), HasSubstr("does not exist"));
  const auto empty = ExpandPaths({folder.path()}, ".csv").status();
  EXPECT_TRUE(empty.IsInvalid());
  EXPECT_THAT(empty.message(), HasSubstr("has no *.csv files"));
  const auto glob = ExpandPaths({folder / "*.csv"}, ".csv").status();
  EXPECT_TRUE(glob.IsInvalid());
  EXPECT_THAT(glob.message(), HasSubstr("no file matches"));
  EXPECT_TRUE(ExpandPaths({}, ".csv").status().IsInvalid());
  EXPECT_TRUE(ExpandPaths({""}, ".csv").status().IsInvalid());
}

TEST(ExpandPathsTest, ARemotePathIsRefusedWithWhatToDo) {
  const auto status = ExpandPaths({"s3://bucket/flights/"}, ".parquet").status();
  EXPECT_TRUE(status.IsNotImplemented());
  EXPECT_THAT(status.message(), HasSubstr("only local files"));
  EXPECT_THAT(status.message(), HasSubstr("copy"));
}

}  // namespace
}  // namespace cylon
