/// Threads for calls that block.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace cylon::internal {

/// At most so many, each started when a call finds the others busy. From any thread.
class BlockingThreads {
 public:
  explicit BlockingThreads(size_t most) : most_(most) {}
  /// Waits for what runs and what is queued.
  ~BlockingThreads();
  BlockingThreads(const BlockingThreads&) = delete;
  BlockingThreads& operator=(const BlockingThreads&) = delete;

  void Queue(std::function<void()> call);
  /// Forgets what is queued.
  void Clear();

 private:
  void Work();

  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> calls_;
  size_t idle_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace cylon::internal
