// A disk that fails while a chunk goes to it or comes back: an error, and the rows that are in memory stay.
#ifdef CYLON_FAILPOINTS

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/base/testing/armed.h"
#include "cylon/table/table.h"
#include "cylon/table/testing/all_types.h"

namespace cylon {
namespace {

using cylon::testing::Armed;
using ::testing::HasSubstr;

TEST(SpillFailpointTest, AFailedWriteLeavesTheChunkInMemory) {
  auto resources = Resources::Make({}).ValueOrDie();
  auto batch = testing::RandomBatch(testing::AllTypesSchema(), 100, 1);
  auto chunk = Chunk::Make(resources, batch, /*owned=*/true).ValueOrDie();
  const auto expected = batch->ToString();
  batch.reset();
  {
    Armed armed("spill.write=return(No space left)");
    EXPECT_THAT(chunk->Spill().status().message(), HasSubstr("No space left"));
    EXPECT_FALSE(chunk->spilled());
    EXPECT_EQ(chunk->Pin().ValueOrDie()->ToString(), expected);
  }
  EXPECT_GT(*chunk->Spill(), 0);
  {
    Armed armed("spill.read=return(Input/output error)");
    EXPECT_THAT(chunk->Pin().status().message(), HasSubstr("Input/output error"));
  }
  EXPECT_EQ(chunk->Pin().ValueOrDie()->ToString(), expected);
}

}  // namespace
}  // namespace cylon

#endif
