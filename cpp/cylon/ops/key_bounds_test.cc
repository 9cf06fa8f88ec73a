// Bounds of keys, and that a join does not send what lies beyond them.
#include "cylon/ops/key_bounds.h"

#include <arrow/json/from_string.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/ops/join.h"
#include "cylon/ops/testing/worlds.h"

namespace cylon {
namespace {

using internal::BoundsOf;
using internal::CanBound;
using internal::KeyBounds;
using ::testing::ElementsAre;
using testing::IntTable;
using testing::MakeWorld;
using testing::WorldCase;

constexpr uint32_t kNever = 9;

class KeyBoundsTest : public ::testing::Test {
 protected:
  std::shared_ptr<arrow::RecordBatch> Batch(const std::shared_ptr<arrow::DataType>& type, const std::string& json) {
    auto column = arrow::json::ArrayFromJSONString(type, json).ValueOrDie();
    const int64_t rows = column->length();
    return arrow::RecordBatch::Make(arrow::schema({arrow::field("k", type)}), rows, {std::move(column)});
  }
  KeyBounds Bounds(const std::shared_ptr<arrow::RecordBatch>& batch) {
    return BoundsOf(Table::FromBatches(resources_, batch->schema(), {batch}).ValueOrDie(), 0).ValueOrDie();
  }
  /// Where the rows of `batch` go, all to rank 1 unless they are left out.
  std::vector<uint32_t> Destinations(const KeyBounds& bounds, const std::shared_ptr<arrow::RecordBatch>& batch,
                                     bool nulls_match) {
    std::vector<uint32_t> destinations(batch->num_rows(), 1);
    const auto status = LeaveOutBeyond(bounds, *batch, 0, nulls_match, kNever, destinations);
    EXPECT_TRUE(status.ok()) << status.ToString();
    return destinations;
  }

  std::shared_ptr<Resources> resources_ = testing::TestResources();
};

TEST_F(KeyBoundsTest, NumbersBelowZeroAndBeyondInt64AreInOrder) {
  const auto below = Batch(arrow::int16(), "[-5, null, 7]");
  EXPECT_THAT(Destinations(Bounds(below), Batch(arrow::int16(), "[-6, -5, 0, 7, 8, null]"), false),
              ElementsAre(kNever, 1, 1, 1, kNever, kNever));
  const auto large = Batch(arrow::uint64(), "[9223372036854775807, 9223372036854775809]");
  EXPECT_THAT(
      Destinations(Bounds(large), Batch(arrow::uint64(), "[0, 9223372036854775808, 18446744073709551615, null]"), true),
      ElementsAre(kNever, 1, kNever, 1));
}

TEST_F(KeyBoundsTest, NothingIsWithinTheBoundsOfNoKeys) {
  const auto none = Bounds(Batch(arrow::date32(), "[null, null]"));
  EXPECT_TRUE(none.empty());
  EXPECT_THAT(Destinations(none, Batch(arrow::date32(), "[0, null]"), false), ElementsAre(kNever, kNever));
  EXPECT_THAT(Destinations(none, Batch(arrow::date32(), "[0, null]"), true), ElementsAre(kNever, 1));
  const auto some = Bounds(Batch(arrow::date32(), "[3]"));
  EXPECT_TRUE(some.ReachBeyond(none));
  EXPECT_FALSE(none.ReachBeyond(some));
}

TEST_F(KeyBoundsTest, ALittleBeyondIsNotWorthALook) {
  const KeyBounds wide{0, 1000};
  EXPECT_FALSE(wide.ReachBeyond({0, 960}));
  EXPECT_TRUE(wide.ReachBeyond({40, 960}));
  EXPECT_FALSE(wide.ReachBeyond({-100, 2000}));
  const KeyBounds all{std::numeric_limits<int64_t>::min(), std::numeric_limits<int64_t>::max()};
  EXPECT_TRUE(all.ReachBeyond(wide));
  EXPECT_FALSE(wide.ReachBeyond(all));
}

TEST_F(KeyBoundsTest, WholeNumbersAndTimesHaveBounds) {
  for (const auto& type : {arrow::int8(), arrow::uint64(), arrow::date64(), arrow::timestamp(arrow::TimeUnit::NANO)}) {
    EXPECT_TRUE(CanBound(*type)) << type->ToString();
  }
  for (const auto& type : {arrow::float64(), arrow::utf8(), arrow::boolean(), arrow::list(arrow::int8())}) {
    EXPECT_FALSE(CanBound(*type)) << type->ToString();
  }
}

/// Of 3000 rows at each rank a third has a partner's key; the others are not sent unless they are shown.
TEST(KeyBoundsJoinTest, RowsBeyondTheOtherSidesKeysAreNotSent) {
  constexpr int64_t kRows = 3000;
  const auto sent_by = [&](JoinType type) {
    int64_t sent = 0;
    testing::ExpectAllOk(MakeWorld({ThreadWorld::Kind::kSim, 2}), [&](Context& context) -> arrow::Status {
      std::vector<int64_t> low(kRows);
      std::vector<int64_t> high(kRows);
      for (int64_t i = 0; i < kRows; ++i) {
        low[i] = 2 * i + context.rank();
        high[i] = low[i] + 4 * kRows / 3;
      }
      const auto left = IntTable(context.resources(), {"k"}, {low});
      const auto right = IntTable(context.resources(), {"k"}, {high});
      JoinOptions options;
      options.type = type;
      options.left_keys = {"k"};
      options.right_keys = {"k"};
      options.limits.look_rows = 1;
      ARROW_ASSIGN_OR_RAISE(const auto joined, Join(context, left, right, options));
      ARROW_ASSIGN_OR_RAISE(const int64_t rows, context.communicator().AllReduce(joined.num_rows(), ReduceOp::kSum));
      const int64_t matched = 2 * kRows / 3;
      const int64_t expected = type == JoinType::kInner  ? matched
                               : type == JoinType::kFull ? 4 * kRows - matched
                                                         : 2 * kRows;
      if (rows != expected) {
        return arrow::Status::Invalid(rows, " rows instead of ", expected);
      }
      if (context.rank() == 0) {
        ARROW_RETURN_NOT_OK(context.executor().RunTask([&] {
          sent = context.communicator().lanes().bytes_sent();
          return arrow::Status::OK();
        }));
      }
      return arrow::Status::OK();
    });
    return sent;
  };
  const int64_t full = sent_by(JoinType::kFull);
  // A side sends half of its rows to the other rank, 8 bytes each: all of them, or a third.
  constexpr int64_t kSideBytes = kRows / 2 * 8;
  EXPECT_LT(sent_by(JoinType::kInner), full - kSideBytes);
  EXPECT_LT(sent_by(JoinType::kLeft), full - kSideBytes / 2);
  EXPECT_LT(sent_by(JoinType::kRight), full - kSideBytes / 2);
}

}  // namespace
}  // namespace cylon
