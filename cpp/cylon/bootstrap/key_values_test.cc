// Keys and values in memory: what the tests of the stores cannot see.
#include "cylon/bootstrap/key_values.h"

#include <gtest/gtest.h>

namespace cylon {
namespace {

using namespace std::chrono_literals;

TEST(KeyValuesTest, WhatHasExpiredTakesNoSpace) {
  KeyValues values;
  const std::string large(kMaxValueBytes, 'v');
  TimePoint now{};
  // Many times what it may hold at once.
  for (int i = 0; i < 64; ++i, now += 10ms) {
    ASSERT_TRUE(values.Set(now, "k" + std::to_string(i), large, 100ms).ok()) << i;
  }
  EXPECT_TRUE(values.TryGet(now, "k63").ok());
  EXPECT_TRUE(values.TryGet(now, "k0").status().IsKeyError());
}

TEST(KeyValuesTest, AFullStoreSaysSoUntilSomethingExpires) {
  KeyValues values;
  const std::string large(kMaxValueBytes, 'v');
  const TimePoint now{};
  int held = 0;
  while (values.Set(now, "k" + std::to_string(held), large, 1s).ok()) {
    ++held;
  }
  EXPECT_GT(held, 1);
  auto full = values.Set(now, "one more", large, 1s);
  EXPECT_TRUE(full.IsCapacityError()) << full;
  EXPECT_TRUE(values.Set(now, "k0", "small", 1s).ok());
  EXPECT_TRUE(values.Set(now, "one more", large, 1s).ok());
  values.Delete("one more");
  EXPECT_TRUE(values.Set(now, "k0", large, 1s).ok());
  EXPECT_TRUE(values.Set(now + 1s, "one more", large, 1s).ok());
}

TEST(KeyValuesTest, AKeyIsGoneExactlyAtItsTime) {
  KeyValues values;
  const TimePoint now{};
  ASSERT_TRUE(values.Set(now, "k", "v", 10ms).ok());
  EXPECT_TRUE(values.TryGet(now + 10ms - 1ns, "k").ok());
  EXPECT_TRUE(values.TryGet(now + 10ms, "k").status().IsKeyError());
  EXPECT_EQ(*values.SetIfAbsent(now + 10ms, "k", "new", 10ms), "new");
  EXPECT_EQ(*values.Add(now + 20ms, "k", 5, 10ms), 5);
}

}  // namespace
}  // namespace cylon
