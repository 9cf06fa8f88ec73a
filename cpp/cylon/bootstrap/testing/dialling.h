/// For tests: sockets that dial a port and are not answered, as the kernel lists them.
#pragma once

#include <chrono>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace cylon::testing {

/// The one socket of this machine that has dialled `port` and was not answered, by the number that it has in the
/// kernel; empty where there is none.
inline std::string Dialling(uint16_t port) {
  constexpr const char* kSynSent = "02";
  std::ostringstream hex;
  hex << std::hex << std::uppercase << port;
  std::ifstream table("/proc/net/tcp");
  for (std::string line; std::getline(table, line);) {
    std::istringstream words(line);
    std::vector<std::string> word{std::istream_iterator<std::string>(words), {}};
    if (word.size() > 9 && word[2].ends_with(":" + hex.str()) && word[3] == kSynSent) {
      return word[9];
    }
  }
  return {};
}

/// The next socket that dials `port` after `before`.
inline std::string NextDialling(uint16_t port, const std::string& before,
                                std::chrono::steady_clock::time_point deadline) {
  while (std::chrono::steady_clock::now() < deadline) {
    if (auto found = Dialling(port); !found.empty() && found != before) {
      return found;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return {};
}

}  // namespace cylon::testing
