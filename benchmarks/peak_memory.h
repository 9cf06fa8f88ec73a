/// How far the memory of this process grows while something runs.
#pragma once

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "cylon/base/memory.h"

namespace cylon::bench {

/// Anonymous resident bytes of this process.
inline int64_t AnonymousBytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line)) {
    constexpr std::string_view kName = "RssAnon:";
    if (line.starts_with(kName)) {
      return std::stoll(line.substr(kName.size())) * 1024;
    }
  }
  return 0;
}

/// Looks at the process's memory all the time, on a thread of its own.
class PeakSampler {
 public:
  /// At the moment when most was resident.
  struct Peak {
    int64_t growth = 0;   ///< anonymous bytes more than at the start
    int64_t counted = 0;  ///< bytes that the rank's budget had given out
    int64_t heap = 0;     ///< bytes of the C++ heap in use, which no budget counts
  };

  /// `budget` outlives this.
  explicit PeakSampler(const MemoryBudget* budget)
      : budget_(budget), begin_(AnonymousBytes()), thread_([this] {
          while (!stop_.load()) {
            Look();
            std::this_thread::sleep_for(kSamplePeriod);
          }
        }) {}
  ~PeakSampler() {
    stop_.store(true);
    thread_.join();
  }

  Peak peak() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return peak_;
  }

 private:
  static constexpr auto kSamplePeriod = std::chrono::milliseconds(5);

  void Look() {
    const int64_t growth = AnonymousBytes() - begin_;
    std::lock_guard<std::mutex> lock(mutex_);
    if (growth > peak_.growth) {
      const auto heap = ::mallinfo2();
      peak_ = {growth, budget_->bytes_allocated(), static_cast<int64_t>(heap.uordblks + heap.hblkhd)};
    }
  }

  const MemoryBudget* budget_;
  const int64_t begin_;
  mutable std::mutex mutex_;
  Peak peak_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace cylon::bench
