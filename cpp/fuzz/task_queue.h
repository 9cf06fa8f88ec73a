/// An executor on one thread and a clock that jumps: what a fuzz target runs protocol code on.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "cylon/base/executor.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {

/// Tasks run in RunAll and in Wait, on the calling thread. A timer runs when nothing else is left to do.
class TaskQueue : public Executor {
 public:
  TimePoint Now() const override { return now_; }
  void Post(Task task) override { tasks_.push_back(std::move(task)); }
  std::shared_ptr<Timer> PostAt(TimePoint when, Task task) override {
    auto timer = std::make_shared<QueuedTimer>();
    timer->task = std::move(task);
    timers_.emplace(when, timer);
    return timer;
  }
  bool InTask() const override { return in_task_; }
  arrow::Status Wait(const arrow::Future<>& future, TimePoint) override {
    while (!future.is_finished()) {
      Require(RunOne(), "a wait that nothing can end");
    }
    return arrow::Status::OK();
  }
  void SetInterruptHook(std::function<arrow::Status()>) override {}

  /// Until nothing is left to do; a million tasks are as good as no end.
  void RunAll() {
    for (int i = 0; RunOne(); ++i) {
      Require(i < 1'000'000, "tasks without an end");
    }
  }
  /// What is left to do within `time`, which then has passed.
  void RunFor(Duration time) {
    const TimePoint until = now_ + time;
    for (int i = 0; !tasks_.empty() || (!timers_.empty() && timers_.begin()->first <= until); ++i) {
      RunOne();
      Require(i < 1'000'000, "tasks without an end");
    }
    now_ = std::max(now_, until);
  }
  /// Drops what is left, so that it lets go of what it holds.
  void Clear() {
    tasks_.clear();
    timers_.clear();
  }
  /// Runs `function` as a task would.
  template <typename F>
  void Do(F function) {
    const bool before = std::exchange(in_task_, true);
    function();
    in_task_ = before;
  }

 private:
  struct QueuedTimer : Timer {
    void Cancel() override { task = {}; }
    Task task;
  };

  bool RunOne() {
    Task task;
    if (!tasks_.empty()) {
      task = std::move(tasks_.front());
      tasks_.pop_front();
    } else if (!timers_.empty()) {
      auto first = timers_.extract(timers_.begin());
      now_ = std::max(now_, first.key());
      task = std::move(first.mapped()->task);
      if (!task) {
        return true;  // cancelled
      }
    } else {
      return false;
    }
    Do([&] { std::move(task)(); });
    return true;
  }

  TimePoint now_{};
  bool in_task_ = false;
  std::deque<Task> tasks_;
  std::multimap<TimePoint, std::shared_ptr<QueuedTimer>> timers_;
};

}  // namespace cylon::fuzz
