// Every fuzz target runs over its seeds, over what is near them, and over what was found before.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>

#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

std::vector<std::string> Found(const std::string& target) {
  std::vector<std::string> inputs;
  const std::filesystem::path folder = std::filesystem::path(CYLON_FUZZ_FOUND) / target;
  if (!std::filesystem::exists(folder)) {
    return inputs;
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path(), std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

class FuzzTargetTest : public ::testing::TestWithParam<Target> {};

TEST_P(FuzzTargetTest, SeedsAndWhatWasFoundDoNoHarm) {
  const Target& target = GetParam();
  auto inputs = target.seeds();
  ASSERT_FALSE(inputs.empty());
  for (auto& found : Found(target.name)) {
    inputs.push_back(std::move(found));
  }
  inputs.emplace_back();
  for (const auto& input : inputs) {
    target.run(input);
  }
}

// A stand-in for the search where there is no libFuzzer: cut short, and one byte changed, at places that a seed draws.
TEST_P(FuzzTargetTest, WhatIsNearTheSeedsDoesNoHarm) {
  const Target& target = GetParam();
  std::mt19937_64 random(1);
  for (const auto& seed : target.seeds()) {
    for (int i = 0; i < 20 && !seed.empty(); ++i) {
      target.run(std::string_view(seed).substr(0, random() % seed.size()));
      auto changed = seed;
      changed[random() % changed.size()] = static_cast<char>(random());
      target.run(changed);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, FuzzTargetTest, ::testing::ValuesIn(Targets()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cylon::fuzz
