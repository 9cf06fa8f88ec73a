// Threads for calls that block.
#include "cylon/net/object/blocking_threads.h"

#include <utility>

namespace cylon::internal {

BlockingThreads::~BlockingThreads() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  for (auto& thread : threads_) {
    thread.join();
  }
}

void BlockingThreads::Queue(std::function<void()> call) {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(std::move(call));
    if (calls_.size() > idle_ && threads_.size() < most_) {
      threads_.emplace_back([this] { Work(); });
    }
  }
  changed_.notify_one();
}

void BlockingThreads::Clear() {
  std::deque<std::function<void()>> forgotten;
  const std::lock_guard<std::mutex> lock(mutex_);
  forgotten.swap(calls_);
}

void BlockingThreads::Work() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    ++idle_;
    changed_.wait(lock, [this] { return ending_ || !calls_.empty(); });
    --idle_;
    if (calls_.empty()) {
      return;
    }
    auto call = std::move(calls_.front());
    calls_.pop_front();
    lock.unlock();
    call();
    call = nullptr;  // what it holds may take a while to go
    lock.lock();
  }
}

}  // namespace cylon::internal
