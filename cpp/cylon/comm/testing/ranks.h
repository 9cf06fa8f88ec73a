/// For tests: bodies that run on every rank of a world, on every kind of world.
#pragma once

#include <gtest/gtest.h>

#include <charconv>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/comm/context.h"

namespace cylon::testing {

/// A kind of world and its number of ranks: the parameter of a TEST_P that runs on all of them.
struct WorldParameter {
  ThreadWorld::Kind kind;
  int ranks;
};

inline std::string ToString(ThreadWorld::Kind kind) {
  switch (kind) {
    case ThreadWorld::Kind::kSim:
      return "sim";
    case ThreadWorld::Kind::kInproc:
      return "inproc";
    case ThreadWorld::Kind::kTcp:
      return "tcp";
    case ThreadWorld::Kind::kShm:
      return "shm";
  }
  return "unknown";
}

inline void PrintTo(const WorldParameter& parameter, std::ostream* out) {
  *out << parameter.ranks << " ranks on " << ToString(parameter.kind);
}

/// Every kind with every number of ranks.
inline std::vector<WorldParameter> EachWorld(const std::vector<int>& ranks = {1, 2, 3, 7},
                                             const std::vector<ThreadWorld::Kind>& kinds = {
                                                 ThreadWorld::Kind::kSim, ThreadWorld::Kind::kInproc,
                                                 ThreadWorld::Kind::kTcp, ThreadWorld::Kind::kShm}) {
  std::vector<WorldParameter> all;
  for (const auto kind : kinds) {
    for (const int count : ranks) {
      all.push_back({kind, count});
    }
  }
  return all;
}

/// Test names "sim3", "tcp7": INSTANTIATE_TEST_SUITE_P(Worlds, MyTest, ::testing::ValuesIn(EachWorld()), WorldName);
inline std::string WorldName(const ::testing::TestParamInfo<WorldParameter>& info) {
  return ToString(info.param.kind) + std::to_string(info.param.ranks);
}

/// A test's setting from the environment, as a number. (The library itself reads none.)
inline uint64_t TestSetting(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  uint64_t value = otherwise;
  if (text != nullptr) {
    const std::string_view view(text);
    std::from_chars(view.data(), view.data() + view.size(), value);
  }
  return value;
}

/// True for `make test-long`.
inline bool LongTests() { return TestSetting("CYLON_TEST_LONG", 0) != 0; }

inline ThreadWorld MakeThreadWorld(const WorldParameter& parameter, uint64_t seed = 1) {
  ThreadWorld world;
  world.kind = parameter.kind;
  world.ranks = parameter.ranks;
  world.seed = seed;
  return world;
}

/// Fails the test with the message of each rank that did not return OK.
inline void ExpectAllOk(const std::vector<arrow::Status>& statuses) {
  for (size_t rank = 0; rank < statuses.size(); ++rank) {
    EXPECT_TRUE(statuses[rank].ok()) << "rank " << rank << ": " << statuses[rank].ToString();
  }
}

/// Runs `check(seed)`, which returns "" or what went wrong, over `count` seeds (`long_count` with CYLON_TEST_LONG=1),
/// or over the one in CYLON_SIM_SEED. The first failing seed ends the test with the line that replays it.
inline void ForEachSeed(uint64_t count, uint64_t long_count, const std::function<std::string(uint64_t)>& check) {
  const bool single = std::getenv("CYLON_SIM_SEED") != nullptr;
  const uint64_t first = TestSetting("CYLON_SIM_SEED", 1);
  const uint64_t last = single ? first : (LongTests() ? long_count : count);
  const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
  for (uint64_t seed = first; seed <= last; ++seed) {
    const std::string wrong = check(seed);
    if (!wrong.empty() || ::testing::Test::HasFailure()) {
      std::string program = ::testing::internal::GetArgvs().empty() ? "" : ::testing::internal::GetArgvs()[0];
      ADD_FAILURE() << wrong << "\nreplay with: CYLON_SIM_SEED=" << seed << " " << program
                    << " --gtest_filter=" << test->test_suite_name() << "." << test->name();
      return;
    }
  }
}

/// A buffer of numbers, and back.
template <typename T>
std::shared_ptr<arrow::Buffer> BufferOf(const std::vector<T>& values) {
  return arrow::Buffer::FromString(
      std::string(static_cast<const char*>(static_cast<const void*>(values.data())), values.size() * sizeof(T)));
}
template <typename T>
std::vector<T> ValuesOf(const arrow::Buffer& buffer) {
  std::vector<T> values(static_cast<size_t>(buffer.size()) / sizeof(T));
  if (!values.empty()) {
    std::memcpy(values.data(), buffer.data(), values.size() * sizeof(T));
  }
  return values;
}

}  // namespace cylon::testing
