// A disk that fails at one rank while a table is written: an error at every rank, and no file.
#ifdef CYLON_FAILPOINTS

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/base/testing/armed.h"
#include "cylon/comm/testing/ranks.h"
#include "cylon/io/testing/files.h"
#include "cylon/io/write.h"

namespace cylon::testing {
namespace {

TEST(WriteFailpointTest, AFailedWriteLeavesNothing) {
  for (const char* place : {"file.write", "file.rename"}) {
    ScratchFolder folder;
    Armed armed(std::string(place) + "=return(No space left)@1");
    ThreadWorld world;
    world.kind = ThreadWorld::Kind::kInproc;
    world.ranks = 2;
    const auto statuses = RunRanks(world, [&](Context& context) -> arrow::Status {
      arrow::Int64Builder numbers;
      ARROW_RETURN_NOT_OK(numbers.AppendValues({1, 2, 3}));
      ARROW_ASSIGN_OR_RAISE(auto column, numbers.Finish());
      auto rows = arrow::Table::Make(arrow::schema({arrow::field("n", arrow::int64())}), {column});
      ARROW_ASSIGN_OR_RAISE(auto table, Table::FromArrow(context.resources(), rows));
      return WriteParquet(context, table, folder / "out", {});
    });
    for (const auto& status : statuses) {
      EXPECT_THAT(status.message(), ::testing::HasSubstr("No space left")) << place;
    }
    if (std::string_view(place) == "file.write") {
      EXPECT_TRUE(!std::filesystem::exists(folder / "out") || std::filesystem::is_empty(folder / "out"));
    }
  }
}

}  // namespace
}  // namespace cylon::testing

#endif
