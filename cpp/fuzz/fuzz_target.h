/// A fuzz target: a function that is given hostile bytes, and the bytes that a search begins with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cylon::fuzz {

struct Target {
  std::string name;
  /// Returns where the bytes did no harm, whether or not they were refused. Ends the program where they did.
  void (*run)(std::string_view bytes);
  /// Well-formed inputs, made by the encoders themselves, so that they follow the format.
  std::vector<std::string> (*seeds)();
};

/// Those of this program, in the order of their sources.
std::vector<Target>& Targets();

struct Registration {
  explicit Registration(Target target) { Targets().push_back(std::move(target)); }
};

/// Writes each seed of `target` to a file of `directory`, which is there.
void WriteSeeds(const Target& target, const std::string& directory);

/// Ends the program, as libFuzzer and a test both notice, where `holds` is false.
void Require(bool holds, const std::string& what);

/// Takes numbers and runs of bytes off the front of an input; zeros once it is used up.
class Input {
 public:
  explicit Input(std::string_view bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }
  uint64_t Number(int bytes);
  uint8_t Byte() { return static_cast<uint8_t>(Number(1)); }
  /// At most `most` bytes, as many as are there.
  std::string_view Bytes(size_t most);
  /// Bytes with their length (2 bytes) ahead of them.
  std::string_view Text() { return Bytes(Number(2)); }
  std::string_view Rest() { return Bytes(rest_.size()); }

 private:
  std::string_view rest_;
};

/// Writes what Input reads.
class Output {
 public:
  Output& Number(uint64_t value, int bytes);
  Output& Byte(uint8_t value) { return Number(value, 1); }
  Output& Raw(std::string_view bytes);
  Output& Text(std::string_view bytes) { return Number(bytes.size(), 2).Raw(bytes); }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace cylon::fuzz
