/// Coroutines for protocol code: a state machine is written as a function, and runs in an executor's tasks.
#pragma once

#include <arrow/result.h>
#include <arrow/util/future.h>

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "cylon/base/executor.h"

namespace cylon {

template <typename T>
class Co;

namespace internal {

/// What a coroutine yields in the end: Co<T> gives arrow::Result<T>, Co<> gives arrow::Status.
template <typename T>
struct CoOutcome {
  using type = arrow::Result<T>;
};
template <>
struct CoOutcome<void> {
  using type = arrow::Status;
};

template <typename T>
struct CoPromise {
  using Outcome = typename CoOutcome<T>::type;

  struct FinalAwaiter {
    bool await_ready() noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<CoPromise> handle) noexcept {
      return handle.promise().continuation;
    }
    void await_resume() noexcept {}
  };

  Co<T> get_return_object();
  std::suspend_always initial_suspend() noexcept { return {}; }
  FinalAwaiter final_suspend() noexcept { return {}; }
  void return_value(Outcome value) { outcome.emplace(std::move(value)); }
  // Nothing in the library throws on purpose; what does (bad_alloc) is not survivable in the middle of a protocol.
  void unhandled_exception() { std::terminate(); }

  std::optional<Outcome> outcome;
  std::coroutine_handle<> continuation = std::noop_coroutine();
};

}  // namespace internal

/// A coroutine that has not started; `co_await` starts it. Pass parameters by value: a reference must outlive it.
/// `co_return` a status or a value; every Co function ends in a co_return.
template <typename T = void>
class [[nodiscard]] Co {
 public:
  using promise_type = internal::CoPromise<T>;
  using Outcome = typename promise_type::Outcome;

  explicit Co(std::coroutine_handle<promise_type> handle) : handle_(handle) {}
  Co(Co&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Co& operator=(Co&&) = delete;
  Co(const Co&) = delete;
  Co& operator=(const Co&) = delete;
  ~Co() {
    if (handle_) {
      handle_.destroy();
    }
  }

  bool await_ready() const noexcept { return false; }
  /// Runs it here until it waits or ends; one that ends without waiting lets the caller go on in its own frame.
  /// (Handing over by symmetric transfer would be shorter, but g++ makes that a tail call only with optimization and
  /// without sanitizers: a loop over things that are ready would grow the stack without bound.)
  bool await_suspend(std::coroutine_handle<> caller) {
    handle_.resume();
    if (handle_.done()) {
      return false;
    }
    handle_.promise().continuation = caller;
    return true;
  }
  /// Its frame goes at once: the caller may go on for as long as its connection lasts.
  Outcome await_resume() {
    Outcome outcome = std::move(*handle_.promise().outcome);
    std::exchange(handle_, nullptr).destroy();
    return outcome;
  }

 private:
  std::coroutine_handle<promise_type> handle_;
};

template <typename T>
Co<T> internal::CoPromise<T>::get_return_object() {
  return Co<T>(std::coroutine_handle<CoPromise>::from_promise(*this));
}

namespace internal {

/// Resumes inline, in whatever finishes the future: right for futures that this executor's own tasks finish.
template <typename T, typename Outcome>
struct FutureAwaiter {
  arrow::Future<T> future;
  bool await_ready() const { return future.is_finished(); }
  void await_suspend(std::coroutine_handle<> handle) {
    future.AddCallback([handle](const Outcome&) { handle.resume(); });
  }
  Outcome await_resume() {
    if constexpr (std::is_same_v<Outcome, arrow::Status>) {
      return future.status();
    } else {
      return future.result();
    }
  }
};

struct Detached {
  struct promise_type {
    Detached get_return_object() { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() {}
    void unhandled_exception() { std::terminate(); }
  };
};

template <typename T>
Detached Drive(Co<T> co, arrow::Future<T> done) {
  done.MarkFinished(co_await co);
}
inline Detached DriveVoid(Co<void> co, arrow::Future<> done) { done.MarkFinished(co_await co); }

}  // namespace internal

/// A future that is finished and OK: one for all, as each one that is made takes 0.1 us.
inline const arrow::Future<>& Done() {
  static const arrow::Future<> done = arrow::Future<>::MakeFinished();
  return done;
}

/// Await a future that is finished in this executor's tasks.
template <typename T>
auto operator co_await(arrow::Future<T> future) {
  using Outcome = std::conditional_t<std::is_same_v<T, arrow::internal::Empty>, arrow::Status, arrow::Result<T>>;
  return internal::FutureAwaiter<T, Outcome>{std::move(future)};
}

/// Starts `co` in the task that runs now, so that nothing of it is left to a task that an ending executor may drop.
template <typename T>
arrow::Future<T> StartNow(Co<T> co) {
  auto done = arrow::Future<T>::Make();
  internal::Drive(std::move(co), done);
  return done;
}
inline arrow::Future<> StartNow(Co<void> co) {
  auto done = arrow::Future<>::Make();
  internal::DriveVoid(std::move(co), done);
  return done;
}

/// Starts `co` as a task of `executor`; the future finishes with what it returns. The executor must outlive it.
template <typename T>
arrow::Future<T> Spawn(Executor& executor, Co<T> co) {
  auto done = arrow::Future<T>::Make();
  executor.Post([co = std::move(co), done]() mutable { internal::Drive(std::move(co), done); });
  return done;
}
inline arrow::Future<> Spawn(Executor& executor, Co<void> co) {
  auto done = arrow::Future<>::Make();
  executor.Post([co = std::move(co), done]() mutable { internal::DriveVoid(std::move(co), done); });
  return done;
}

/// `future` as seen from `executor`: finishes in one of its tasks, whichever thread finishes the original.
template <typename T>
arrow::Future<T> Transfer(Executor& executor, const arrow::Future<T>& future) {
  auto out = arrow::Future<T>::Make();
  future.AddCallback([&executor, out](const auto& outcome) mutable {
    executor.Post([out, outcome]() mutable { out.MarkFinished(outcome); });
  });
  return out;
}

#define CYLON_CO_RETURN_NOT_OK(expr)          \
  do {                                        \
    ::arrow::Status cylon_co_status = (expr); \
    if (!cylon_co_status.ok()) {              \
      co_return cylon_co_status;              \
    }                                         \
  } while (false)

#define CYLON_CO_CONCAT_(a, b) a##b
#define CYLON_CO_CONCAT(a, b) CYLON_CO_CONCAT_(a, b)
#define CYLON_CO_ASSIGN_(result, lhs, expr) \
  auto result = (expr);                     \
  if (!result.ok()) {                       \
    co_return result.status();              \
  }                                         \
  lhs = std::move(result).ValueUnsafe()
/// `lhs` gets the value of `expr` (an arrow::Result), or the coroutine returns its status.
#define CYLON_CO_ASSIGN_OR_RETURN(lhs, expr) CYLON_CO_ASSIGN_(CYLON_CO_CONCAT(cylon_co_result_, __COUNTER__), lhs, expr)

}  // namespace cylon
