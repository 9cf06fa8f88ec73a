// What all fuzz targets share.
#include "fuzz/fuzz_target.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace cylon::fuzz {

std::vector<Target>& Targets() {
  static std::vector<Target> targets;
  return targets;
}

void WriteSeeds(const Target& target, const std::string& directory) {
  const auto seeds = target.seeds();
  for (size_t i = 0; i < seeds.size(); ++i) {
    const std::string path = directory + "/seed-" + std::to_string(i);
    std::ofstream file(path, std::ios::binary);
    file.write(seeds[i].data(), static_cast<std::streamsize>(seeds[i].size()));
    file.close();
    Require(file.good(), "the seed " + path + " cannot be written");
  }
}

void Require(bool holds, const std::string& what) {
  if (!holds) {
    std::fprintf(stderr, "fuzz: %s\n", what.c_str());
    std::abort();
  }
}

uint64_t Input::Number(int bytes) {
  const auto taken = Bytes(static_cast<size_t>(bytes));
  uint64_t value = 0;
  for (size_t i = taken.size(); i-- > 0;) {
    value = value << 8 | static_cast<uint8_t>(taken[i]);
  }
  return value;
}

std::string_view Input::Bytes(size_t most) {
  const auto taken = rest_.substr(0, most);
  rest_.remove_prefix(taken.size());
  return taken;
}

Output& Output::Number(uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) {
    bytes_.push_back(static_cast<char>(value >> (8 * i)));
  }
  return *this;
}

Output& Output::Raw(std::string_view bytes) {
  bytes_.append(bytes);
  return *this;
}

}  // namespace cylon::fuzz
