// A rank's cores, over oneTBB; over plain threads where oneTBB is not instrumented (the tsan build).
#include "cylon/base/arena.h"

#include <atomic>
#include <mutex>
#include <thread>
#include <vector>

#ifndef CYLON_PLAIN_THREADS
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#endif

namespace cylon {

namespace {

/// Collects the outcome of many tasks.
class FirstFailure {
 public:
  bool failed() const { return failed_.load(std::memory_order_relaxed); }

  void Record(int64_t index, arrow::Status status) {
    if (status.ok()) {
      return;
    }
    std::lock_guard<std::mutex> lock(mutex_);
    if (!failed_.load() || index < index_) {
      index_ = index;
      status_ = std::move(status);
      failed_.store(true);
    }
  }

  arrow::Status Get() { return status_; }

 private:
  std::atomic<bool> failed_{false};
  std::mutex mutex_;
  int64_t index_ = 0;
  arrow::Status status_;
};

}  // namespace

#ifndef CYLON_PLAIN_THREADS
class Arena::Impl {
 public:
  explicit Impl(int threads) : arena_(threads) {}

  void Run(int64_t count, const std::function<void(int64_t)>& function) {
    arena_.execute(
        [&] { tbb::parallel_for(int64_t{0}, count, [&](int64_t i) { function(i); }, tbb::simple_partitioner()); });
  }

 private:
  tbb::task_arena arena_;
};
#else
class Arena::Impl {
 public:
  explicit Impl(int threads) : threads_(threads) {}

  void Run(int64_t count, const std::function<void(int64_t)>& function) {
    std::atomic<int64_t> next{0};
    auto work = [&] {
      for (int64_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
        function(i);
      }
    };
    std::vector<std::thread> helpers;
    for (int i = 1; i < threads_ && i < count; ++i) {
      helpers.emplace_back(work);
    }
    work();
    for (auto& helper : helpers) {
      helper.join();
    }
  }

 private:
  int threads_;
};
#endif

Arena::Arena(int threads) : threads_(threads) {
  if (threads_ > 1) {
    impl_ = std::make_unique<Impl>(threads_);
  }
}

Arena::~Arena() = default;

arrow::Status Arena::ParallelFor(int64_t count, const std::function<arrow::Status(int64_t)>& function) {
  if (impl_ == nullptr || count <= 1) {
    for (int64_t i = 0; i < count; ++i) {
      ARROW_RETURN_NOT_OK(function(i));
    }
    return arrow::Status::OK();
  }
  FirstFailure failure;
  impl_->Run(count, [&](int64_t i) {
    if (!failure.failed()) {
      failure.Record(i, function(i));
    }
  });
  return failure.Get();
}

}  // namespace cylon
