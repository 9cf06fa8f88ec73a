/// For tests: an executor whose clock jumps from one thing to the next.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <utility>

#include "cylon/base/executor.h"

namespace cylon::testing {

/// Tasks run on the test's own thread, in Do, RunFor and Wait.
class VirtualTime : public Executor {
 public:
  TimePoint Now() const override { return now_; }
  void Post(Task task) override { tasks_.push_back(std::move(task)); }
  std::shared_ptr<Timer> PostAt(TimePoint when, Task task) override {
    auto timer = std::make_shared<Waiting>();
    timer->task = std::move(task);
    timers_.emplace(when, timer);
    return timer;
  }
  bool InTask() const override { return in_task_; }
  arrow::Status Wait(const arrow::Future<>& future, TimePoint deadline) override {
    while (!future.is_finished()) {
      if (now_ > deadline || !RunOne(deadline)) {
        return arrow::Status::Invalid("nothing is left that could end this wait");
      }
    }
    return arrow::Status::OK();
  }
  void SetInterruptHook(std::function<arrow::Status()>) override {}

  /// Runs `function` as a task, and then what is due now.
  template <typename F>
  void Do(F function) {
    InTaskDo(std::move(function));
    RunFor(Duration::zero());
  }
  /// What there is to do within `time`, which then has passed.
  void RunFor(Duration time) {
    const TimePoint until = now_ + time;
    while (RunOne(until)) {
    }
    now_ = std::max(now_, until);
  }

 private:
  struct Waiting : Timer {
    void Cancel() override { task = {}; }
    Task task;
  };

  template <typename F>
  void InTaskDo(F function) {
    const bool before = std::exchange(in_task_, true);
    std::move(function)();
    in_task_ = before;
  }
  bool RunOne(TimePoint until) {
    Task task;
    if (!tasks_.empty()) {
      task = std::move(tasks_.front());
      tasks_.pop_front();
    } else if (!timers_.empty() && timers_.begin()->first <= until) {
      auto first = timers_.extract(timers_.begin());
      now_ = std::max(now_, first.key());
      task = std::move(first.mapped()->task);
    } else {
      return false;
    }
    if (task) {
      InTaskDo(std::move(task));
    }
    return true;
  }

  TimePoint now_{};
  bool in_task_ = false;
  std::deque<Task> tasks_;
  std::multimap<TimePoint, std::shared_ptr<Waiting>> timers_;
};

}  // namespace cylon::testing
