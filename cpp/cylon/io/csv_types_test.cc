// Kinds of CSV text, and the one that holds two of them.
#include "cylon/io/csv_types.h"

#include <gtest/gtest.h>

namespace cylon::csv {
namespace {

constexpr Kind KindAt(int i) { return static_cast<Kind>(i); }

TEST(PromoteTest, IsTheLeastUpperBoundOfALattice) {
  for (int a = 0; a < kKinds; ++a) {
    EXPECT_EQ(Promote(KindAt(a), KindAt(a)), KindAt(a));
    EXPECT_EQ(Promote(KindAt(a), Kind::kNull), KindAt(a));
    EXPECT_EQ(Promote(KindAt(a), Kind::kString), Kind::kString);
    for (int b = 0; b < kKinds; ++b) {
      EXPECT_EQ(Promote(KindAt(a), KindAt(b)), Promote(KindAt(b), KindAt(a)));
      for (int c = 0; c < kKinds; ++c) {
        // So the result does not depend on how rows are split among ranks.
        EXPECT_EQ(Promote(Promote(KindAt(a), KindAt(b)), KindAt(c)), Promote(KindAt(a), Promote(KindAt(b), KindAt(c))))
            << a << " " << b << " " << c;
      }
    }
  }
}

TEST(PromoteTest, NumbersMeetInDoubleAndMixturesInString) {
  EXPECT_EQ(Promote(Kind::kInt64, Kind::kDouble), Kind::kDouble);
  EXPECT_EQ(Promote(Kind::kBool, Kind::kInt64), Kind::kString);
  EXPECT_EQ(Promote(Kind::kDate, Kind::kTimestampNano), Kind::kTimestampNano);
  EXPECT_EQ(Promote(Kind::kTimestamp, Kind::kTimestampUtc), Kind::kString);
}

TEST(AboveTest, EndsInStringAndHoldsTheKindItself) {
  for (int i = 0; i + 1 < kKinds; ++i) {
    EXPECT_EQ(Above(KindAt(i)).back(), Kind::kString);
  }
  EXPECT_TRUE(Above(Kind::kString).empty());
}

}  // namespace
}  // namespace cylon::csv
