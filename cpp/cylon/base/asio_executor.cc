// The executor on real time and threads.
#include "cylon/base/asio_executor.h"

#include <pthread.h>

#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "cylon/base/error.h"

namespace cylon {

namespace {

/// How long after the last waiter the background thread takes over. Shorter, and it competes with a thread that
/// makes many small calls; longer, and messages lie about while the caller computes.
constexpr auto kLinger = std::chrono::milliseconds(1);
/// How often a wait looks at the interrupt hook.
constexpr auto kInterruptPeriod = std::chrono::milliseconds(100);

class AsioTimer : public Timer, public std::enable_shared_from_this<AsioTimer> {
 public:
  explicit AsioTimer(asio::io_context& io) : timer_(io) {}

  void Start(TimePoint when, Task task) {
    timer_.expires_at(std::chrono::time_point_cast<asio::steady_timer::duration>(when));
    timer_.async_wait([self = shared_from_this(), task = std::move(task)](const asio::error_code& error) mutable {
      if (!error && !self->cancelled_.load()) {
        std::move(task)();
      }
    });
  }

  void Cancel() override {
    // The timer itself belongs to the executor's tasks; a flag can be set from anywhere.
    cancelled_.store(true);
    asio::post(timer_.get_executor(), [self = shared_from_this()] { self->timer_.cancel(); });
  }

 private:
  asio::steady_timer timer_;
  std::atomic<bool> cancelled_{false};
};

}  // namespace

class AsioExecutor::Impl {
 public:
  explicit Impl(const std::string& name)
      : io_(std::make_shared<asio::io_context>(1)), work_(io_->get_executor()), background_([this] { Background(); }) {
    pthread_setname_np(background_.native_handle(), name.substr(0, 15).c_str());
  }

  ~Impl() {
    {
      std::lock_guard<std::mutex> lock(park_mutex_);
      stopping_ = true;
    }
    park_.notify_all();
    io_->stop();
    background_.join();
  }

  arrow::Status Wait(const arrow::Future<>& future, TimePoint deadline) {
    assert(driver_.load() != std::this_thread::get_id());
    if (future.is_finished()) {
      return arrow::Status::OK();
    }
    const auto begin = std::chrono::steady_clock::now();
    // Over many short waits too: a caller whose work always has something to do must be heard as well.
    if (begin.time_since_epoch().count() >= next_interrupt_.load()) {
      ARROW_RETURN_NOT_OK(AskInterruptHook(begin));
    }
    wait_began_.store(begin.time_since_epoch().count());
    waiters_.fetch_add(1);
    // Returns whichever thread is inside the context to its loop, where it sees that somebody waits.
    asio::post(*io_, [] {});
    // A future may be finished by another thread (a CPU task): that has to end run_one below.
    future.AddCallback([weak = std::weak_ptr<asio::io_context>(io_)](const arrow::Status&) {
      if (auto io = weak.lock()) {
        asio::post(*io, [] {});
      }
    });
    arrow::Status status;
    while (true) {
      const std::chrono::steady_clock::time_point next_interrupt{
          std::chrono::steady_clock::duration(next_interrupt_.load())};
      {
        std::unique_lock<std::mutex> drive(drive_mutex_);
        driver_.store(std::this_thread::get_id());
        while (!future.is_finished()) {
          const auto until = std::min(deadline, TimePoint(next_interrupt));
          io_->run_one_until(std::chrono::time_point_cast<std::chrono::steady_clock::duration>(until));
          if (std::chrono::steady_clock::now() >= until) {
            break;
          }
        }
        driver_.store(std::thread::id());
      }
      if (future.is_finished()) {
        break;
      }
      const auto now = std::chrono::steady_clock::now();
      if (now >= deadline) {
        status = DeadlineError("the deadline of a wait has passed");
        break;
      }
      if (now >= next_interrupt) {
        status = AskInterruptHook(now);
        if (!status.ok()) {
          break;
        }
      }
    }
    const auto end = std::chrono::steady_clock::now();
    last_wait_.store(end.time_since_epoch().count());
    waiters_.fetch_sub(1);
    if (end - begin >= kLinger) {
      std::lock_guard<std::mutex> lock(park_mutex_);
      park_.notify_one();
    }
    return status;
  }

  std::shared_ptr<asio::io_context> io_;
  std::atomic<std::thread::id> driver_{};
  std::function<arrow::Status()> interrupt_hook_;

 private:
  arrow::Status AskInterruptHook(std::chrono::steady_clock::time_point now) {
    next_interrupt_.store((now + kInterruptPeriod).time_since_epoch().count());
    return interrupt_hook_ ? interrupt_hook_() : arrow::Status::OK();
  }

  void Background() {
    while (true) {
      {
        // Sleep while somebody waits, or has just waited. Only a long wait wakes this thread when it ends: many short
        // ones would otherwise pay for a switch each, so after those it looks for itself.
        std::unique_lock<std::mutex> lock(park_mutex_);
        while (!stopping_ && (waiters_.load() > 0 || Within(kLinger, last_wait_))) {
          if (waiters_.load() > 0 && !Within(kLinger, wait_began_)) {
            park_.wait(lock);
          } else {
            park_.wait_for(lock, kLinger);
          }
        }
        if (stopping_) {
          return;
        }
      }
      std::unique_lock<std::mutex> drive(drive_mutex_);
      driver_.store(std::this_thread::get_id());
      while (waiters_.load() == 0 && !io_->stopped()) {
        io_->run_one();
      }
      driver_.store(std::thread::id());
      if (io_->stopped()) {
        return;
      }
    }
  }

  static bool Within(Duration period, const std::atomic<int64_t>& since) {
    const auto then = std::chrono::steady_clock::time_point(std::chrono::steady_clock::duration(since.load()));
    return std::chrono::steady_clock::now() - then < period;
  }

  asio::executor_work_guard<asio::io_context::executor_type> work_;
  std::mutex drive_mutex_;  // held by whoever runs the context
  std::atomic<int> waiters_{0};
  std::atomic<int64_t> wait_began_{0};
  std::atomic<int64_t> last_wait_{0};
  std::atomic<int64_t> next_interrupt_{
      (std::chrono::steady_clock::now() + kInterruptPeriod).time_since_epoch().count()};
  std::mutex park_mutex_;
  std::condition_variable park_;
  bool stopping_ = false;
  std::thread background_;
};

AsioExecutor::AsioExecutor(const std::string& name) : impl_(std::make_unique<Impl>(name)) {}
AsioExecutor::~AsioExecutor() = default;

TimePoint AsioExecutor::Now() const { return std::chrono::steady_clock::now(); }

void AsioExecutor::Post(Task task) {
  asio::post(*impl_->io_, [task = std::move(task)]() mutable { std::move(task)(); });
}

std::shared_ptr<Timer> AsioExecutor::PostAt(TimePoint when, Task task) {
  auto timer = std::make_shared<AsioTimer>(*impl_->io_);
  Post([timer, when, task = std::move(task)]() mutable { timer->Start(when, std::move(task)); });
  return timer;
}

bool AsioExecutor::InTask() const { return impl_->driver_.load() == std::this_thread::get_id(); }

arrow::Status AsioExecutor::Wait(const arrow::Future<>& future, TimePoint deadline) {
  return impl_->Wait(future, deadline);
}

void AsioExecutor::SetInterruptHook(std::function<arrow::Status()> hook) { impl_->interrupt_hook_ = std::move(hook); }

asio::io_context& AsioExecutor::io() { return *impl_->io_; }

}  // namespace cylon
