// The executor on real time and threads.
#include "cylon/base/asio_executor.h"

#include <pthread.h>

#include <algorithm>
#include <asio/executor_work_guard.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <atomic>
#include <cassert>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "cylon/base/error.h"

namespace cylon {

namespace {

/// How long after the last waiter the background thread takes over. Shorter, and it competes with a thread that
/// makes many small calls; longer, and messages lie about while the caller computes.
constexpr auto kLinger = std::chrono::milliseconds(1);
/// How often a wait looks at the interrupt hook.
constexpr auto kInterruptPeriod = std::chrono::milliseconds(100);
/// Turns between two looks at sockets, timers and the clock while tasks or pollers have something to do: a look costs
/// 0.3 us, a turn of a small message about 1 us.
constexpr int kBusyTurnsPerLook = 16;
/// The same while nothing happens: a turn is a few loads then.
constexpr int kIdleTurnsPerLook = 200;
/// And where each turn lets others run.
constexpr int kYieldsPerLook = 8;
/// Batches of posted tasks, each of those that the one before has posted, between two looks at pollers.
constexpr int kRounds = 4;
/// Handlers of one look.
constexpr int kHandlersPerLook = 16;

/// Tells the processor that this is a loop that waits.
inline void Relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

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

/// The context, and whether its driver sleeps in it. Whoever gives the driver something to do says so first and looks
/// at `sleeping` then; the driver sets `sleeping` first and looks for something to do then. One of them sees the other
/// (Dekker), as both sides are sequentially consistent.
struct Bed {
  asio::io_context io{1};
  std::atomic<bool> sleeping{false};

  void Wake() {
    if (sleeping.load() && sleeping.exchange(false)) {
      asio::post(io, [] {});
    }
  }
};

/// How long to look on before a sleep, learnt from what came of it.
class SpinBudget {
 public:
  Duration Next(Duration most) { return budget_ > Duration(0) || --until_probe_ > 0 ? std::min(budget_, most) : most; }
  /// Something came. Where that took long the core was taken away, or given away and not given back for a time slice
  /// (8 ranks on 2 cores beside other programs: 4 ms instead of 0.3): then it is better to sleep, and to be woken.
  void Succeeded(Duration most, Duration took) {
    if (took > kLost * most) {
      Rest(kLooksAfterLoss);
    } else {
      budget_ = Duration::max();
    }
  }
  /// Nothing came but in the sleep after that. Where it came soon, whoever was waited for had no core but this one, and
  /// looking on took from him what one was waiting for (77 us a round trip on a busy machine, where sleeping at once
  /// takes 30 and two free cores take 8).
  void Failed(Duration most, Duration slept) {
    if (slept < most / 2) {
      budget_ = std::min(budget_, most) / 2;
      if (budget_ < std::chrono::microseconds(1)) {
        Rest(kLooksAfterFailure);
      }
    }
  }

 private:
  /// No looks, but one as long as may be after so many, to see whether it would do again.
  void Rest(int looks) {
    budget_ = Duration(0);
    until_probe_ = looks;
  }

  static constexpr int kLost = 8;
  static constexpr int kLooksAfterFailure = 64;
  static constexpr int kLooksAfterLoss = 1024;
  Duration budget_ = Duration::max();
  int until_probe_ = 0;
};

}  // namespace

Poller::~Poller() = default;

class AsioExecutor::Impl {
 public:
  explicit Impl(const std::string& name)
      : bed_(std::make_shared<Bed>()), work_(bed_->io.get_executor()), background_([this] { Background(); }) {
    pthread_setname_np(background_.native_handle(), name.substr(0, 15).c_str());
  }

  ~Impl() {
    {
      std::lock_guard<std::mutex> lock(park_mutex_);
      stopping_.store(true);
    }
    park_.notify_all();
    bed_->io.stop();
    background_.join();
    // What a task holds may post more when it goes.
    DropTasks();
  }

  void Post(Task task) {
    if (stopping_.load()) {
      return;
    }
    {
      std::lock_guard<std::mutex> lock(post_mutex_);
      posted_.push_back(std::move(task));
      has_posted_.store(true);
    }
    bed_->Wake();
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
    // Returns whichever thread sleeps in the context to its loop, where it sees that somebody waits.
    bed_->Wake();
    // A future may be finished by another thread (a CPU task): that has to end a sleep. Most end before it comes to
    // that.
    bool listening = false;
    const auto before_sleep = [&] {
      if (!std::exchange(listening, true)) {
        future.AddCallback([weak = std::weak_ptr<Bed>(bed_)](const arrow::Status&) {
          if (auto bed = weak.lock()) {
            bed->Wake();
          }
        });
      }
    };
    const auto finished = [&] { return future.is_finished(); };
    arrow::Status status;
    while (true) {
      const std::chrono::steady_clock::time_point next_interrupt{
          std::chrono::steady_clock::duration(next_interrupt_.load())};
      {
        std::unique_lock<std::mutex> drive(drive_mutex_);
        driver_.store(std::this_thread::get_id());
        Drive(finished, std::min(deadline, TimePoint(next_interrupt)), spin_.load(), before_sleep);
        if (future.is_finished()) {
          // What is queued may be what others wait for: the caller may compute for long now.
          for (int round = 0; round < kRounds && RunPosted([] { return false; }); ++round) {
          }
          // A wait for what the first task does ends before anything else has its turn, and so does each of many.
          if (++waits_since_look_ >= kBusyTurnsPerLook) {
            PollAll();
            Look();
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

  void AddPoller(Poller* poller) { pollers_.push_back(poller); }

  void RemovePoller(Poller* poller) {
    if (!polling_) {
      std::erase(pollers_, poller);
      return;
    }
    // Its place stays while they are gone through.
    std::replace(pollers_.begin(), pollers_.end(), poller, static_cast<Poller*>(nullptr));
    removed_ = true;
  }

  std::shared_ptr<Bed> bed_;
  std::atomic<std::thread::id> driver_{};
  std::function<arrow::Status()> interrupt_hook_;
  std::atomic<Duration> spin_{Duration(0)};
  std::atomic<bool> yields_{false};

 private:
  arrow::Status AskInterruptHook(std::chrono::steady_clock::time_point now) {
    next_interrupt_.store((now + kInterruptPeriod).time_since_epoch().count());
    return interrupt_hook_ ? interrupt_hook_() : arrow::Status::OK();
  }

  /// Runs tasks, pollers and handlers until `stop()` or `until`; with nothing to do, looks on for `spin` and then
  /// sleeps, having called `before_sleep`. Called with drive_mutex_ held, as are all that follow.
  template <typename Stop, typename BeforeSleep>
  void Drive(Stop stop, TimePoint until, Duration spin, BeforeSleep before_sleep) {
    int turns = 0;  // since the last look at sockets and the clock
    TimePoint idle_since = kNever;
    std::optional<Duration> budget;  // for this look; chosen at its beginning
    const bool yields = yields_.load();
    while (!stop()) {
      // What tasks have to say before what others say: they may wait for it.
      bool busy = false;
      for (int round = 0; round < kRounds && RunPosted(stop); ++round) {
        busy = true;
        if (stop()) {
          return;
        }
      }
      busy |= PollAll();
      ++turns;
      if (busy && idle_since != kNever) {
        spin_budget_.Succeeded(spin, std::chrono::steady_clock::now() - idle_since);
        idle_since = kNever;
      }
      if (busy) {
        budget.reset();
      } else if (!budget) {
        budget = spin > Duration(0) && !pollers_.empty() ? spin_budget_.Next(spin) : Duration(0);
      }
      const bool spins = !busy && *budget > Duration(0);
      if (busy ? turns < kBusyTurnsPerLook : spins && turns < (yields ? kYieldsPerLook : kIdleTurnsPerLook)) {
        if (!busy && yields) {
          std::this_thread::yield();
        } else if (!busy) {
          Relax();
        }
        continue;
      }
      turns = 0;
      if (busy) {
        Look();
        if (stop() || std::chrono::steady_clock::now() >= until) {
          return;
        }
        continue;
      }
      if (spins) {
        if (Look()) {
          idle_since = kNever;
          continue;
        }
        const TimePoint now = std::chrono::steady_clock::now();
        if (now >= until) {
          return;
        }
        if (idle_since == kNever) {
          idle_since = now;
        }
        if (now - idle_since < *budget) {
          continue;
        }
      }
      before_sleep();
      bed_->sleeping.store(true);
      if (!stop() && !has_posted_.load() && DozeAll()) {
        if (until == kNever) {
          bed_->io.run_one();
        } else {
          bed_->io.run_one_until(std::chrono::time_point_cast<std::chrono::steady_clock::duration>(until));
        }
      }
      bed_->sleeping.store(false);
      const TimePoint now = std::chrono::steady_clock::now();
      if (idle_since != kNever) {
        spin_budget_.Failed(spin, now - idle_since - *budget);
        idle_since = kNever;
      }
      budget.reset();
      if (now >= until) {
        return;
      }
    }
  }

  /// Runs the tasks that are there now, up to the one that ends the wait. True where there were any.
  template <typename Stop>
  bool RunPosted(Stop stop) {
    if (next_ == running_.size()) {
      if (!has_posted_.load(std::memory_order_acquire)) {
        return false;
      }
      running_.clear();
      next_ = 0;
      std::lock_guard<std::mutex> lock(post_mutex_);
      running_.swap(posted_);
      has_posted_.store(false);
    }
    while (next_ < running_.size()) {
      auto task = std::move(running_[next_++]);
      std::move(task)();
      if (stop()) {
        break;
      }
    }
    return true;
  }

  bool PollAll() {
    bool busy = false;
    polling_ = true;
    for (size_t i = 0; i < pollers_.size(); ++i) {  // it may grow meanwhile
      if (pollers_[i] != nullptr) {
        busy |= pollers_[i]->Poll();
      }
    }
    polling_ = false;
    if (std::exchange(removed_, false)) {
      std::erase(pollers_, nullptr);
    }
    return busy;
  }

  /// Runs handlers of sockets and timers that are ready. A few: where one makes the next one ready, tasks have their
  /// turn too. True where there were any.
  bool Look() {
    waits_since_look_ = 0;
    int handlers = 0;
    while (handlers < kHandlersPerLook && bed_->io.poll_one() > 0) {
      ++handlers;
    }
    return handlers > 0;
  }

  /// False where one of them has something to do.
  bool DozeAll() {
    bool all = true;
    for (Poller* poller : pollers_) {
      all &= poller->Doze();
    }
    return all;
  }

  void DropTasks() {
    std::unique_lock<std::mutex> drive(drive_mutex_);
    auto running = std::exchange(running_, {});
    running.clear();
    std::vector<Task> posted;
    {
      std::lock_guard<std::mutex> lock(post_mutex_);
      posted.swap(posted_);
    }
  }

  void Background() {
    while (true) {
      {
        // Sleep while somebody waits, or has just waited. Only a long wait wakes this thread when it ends: many short
        // ones would otherwise pay for a switch each, so after those it looks for itself.
        std::unique_lock<std::mutex> lock(park_mutex_);
        while (!stopping_.load() && (waiters_.load() > 0 || Within(kLinger, last_wait_))) {
          if (waiters_.load() > 0 && !Within(kLinger, wait_began_)) {
            park_.wait(lock);
          } else {
            park_.wait_for(lock, kLinger);
          }
        }
        if (stopping_.load()) {
          return;
        }
      }
      std::unique_lock<std::mutex> drive(drive_mutex_);
      driver_.store(std::this_thread::get_id());
      // It does not look on for long: the core is the caller's, who computes.
      Drive([this] { return waiters_.load() > 0 || stopping_.load(); }, kNever, Duration(0), [] {});
      driver_.store(std::thread::id());
    }
  }

  static bool Within(Duration period, const std::atomic<int64_t>& since) {
    const auto then = std::chrono::steady_clock::time_point(std::chrono::steady_clock::duration(since.load()));
    return std::chrono::steady_clock::now() - then < period;
  }

  asio::executor_work_guard<asio::io_context::executor_type> work_;

  std::mutex post_mutex_;
  std::vector<Task> posted_;
  std::atomic<bool> has_posted_{false};  // posted_ is not empty

  std::mutex drive_mutex_;     // held by whoever drives; what follows is the driver's
  std::vector<Task> running_;  // taken from posted_
  size_t next_ = 0;            // of them to run
  int waits_since_look_ = 0;
  std::vector<Poller*> pollers_;
  bool polling_ = false;
  bool removed_ = false;  // a poller, while they were gone through
  SpinBudget spin_budget_;

  std::atomic<int> waiters_{0};
  std::atomic<int64_t> wait_began_{0};
  std::atomic<int64_t> last_wait_{0};
  std::atomic<int64_t> next_interrupt_{
      (std::chrono::steady_clock::now() + kInterruptPeriod).time_since_epoch().count()};
  std::mutex park_mutex_;
  std::condition_variable park_;
  std::atomic<bool> stopping_{false};
  std::thread background_;
};

AsioExecutor::AsioExecutor(const std::string& name) : impl_(std::make_unique<Impl>(name)) {}
AsioExecutor::~AsioExecutor() = default;

TimePoint AsioExecutor::Now() const { return std::chrono::steady_clock::now(); }

void AsioExecutor::Post(Task task) { impl_->Post(std::move(task)); }

std::shared_ptr<Timer> AsioExecutor::PostAt(TimePoint when, Task task) {
  auto timer = std::make_shared<AsioTimer>(impl_->bed_->io);
  Post([timer, when, task = std::move(task)]() mutable { timer->Start(when, std::move(task)); });
  return timer;
}

bool AsioExecutor::InTask() const { return impl_->driver_.load() == std::this_thread::get_id(); }

arrow::Status AsioExecutor::Wait(const arrow::Future<>& future, TimePoint deadline) {
  return impl_->Wait(future, deadline);
}

void AsioExecutor::SetInterruptHook(std::function<arrow::Status()> hook) { impl_->interrupt_hook_ = std::move(hook); }

asio::io_context& AsioExecutor::io() { return impl_->bed_->io; }

void AsioExecutor::AddPoller(Poller* poller) { impl_->AddPoller(poller); }
void AsioExecutor::RemovePoller(Poller* poller) { impl_->RemovePoller(poller); }
void AsioExecutor::SetSpin(Duration spin, bool yields) {
  impl_->yields_.store(yields);
  impl_->spin_.store(spin);
}

}  // namespace cylon
