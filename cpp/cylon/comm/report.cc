// SIGUSR1, and the thread that answers it.
#include "cylon/comm/report.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <optional>
#include <thread>
#include <tuple>

#include "cylon/comm/rank_report.h"

namespace cylon {

namespace {

/// How long a rank's executor gets to describe itself.
constexpr auto kPatience = std::chrono::seconds(1);
/// How long stderr may take no more, before what is left of a report is dropped.
constexpr int kWritePatience_ms = 1000;
/// A pipe that poll calls writable takes so much at once (PIPE_BUF).
constexpr size_t kWriteBytes = 4096;

/// What the handler reads: the descriptor that it writes to, in the process that installed it.
std::atomic<int> wake_up{-1};
std::atomic<pid_t> owner{-1};

void OnSignal(int) {
  const int error = errno;
  const uint64_t one = 1;
  // A child of fork has the handler and the descriptor, but not the thread: it must not make its parent speak.
  if (owner.load() == ::getpid()) {
    (void)!::write(wake_up.load(), &one, sizeof(one));
  }
  errno = error;
}

void WriteToStderr(std::string_view text) {
  while (!text.empty()) {
    pollfd ready{STDERR_FILENO, POLLOUT, 0};
    if (::poll(&ready, 1, kWritePatience_ms) <= 0) {
      return;
    }
    const auto put = ::write(STDERR_FILENO, text.data(), std::min(text.size(), kWriteBytes));
    if (put < 0 && errno != EINTR && errno != EAGAIN) {
      return;
    }
    text.remove_prefix(static_cast<size_t>(std::max<ssize_t>(put, 0)));
  }
}

/// The thread that writes a report whenever the handler says so.
class Answerer {
 public:
  Answerer() : stop_(::eventfd(0, EFD_CLOEXEC)) {
    uint64_t count = 0;
    (void)!::read(wake_up.load(), &count, sizeof(count));  // of signals that came while nobody was there
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    // The program's signals are for its own threads.
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { Run(); });
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  ~Answerer() {
    const uint64_t one = 1;
    (void)!::write(stop_, &one, sizeof(one));
    thread_.join();
    ::close(stop_);
  }
  Answerer(const Answerer&) = delete;
  Answerer& operator=(const Answerer&) = delete;

 private:
  void Run() {
    ::pthread_setname_np(::pthread_self(), "cylon-report");
    while (true) {
      pollfd ready[2] = {{stop_, POLLIN, 0}, {wake_up.load(), POLLIN, 0}};
      if (::poll(ready, 2, -1) < 0 && errno != EINTR) {
        return;
      }
      if (ready[0].revents != 0) {
        return;
      }
      uint64_t count = 0;
      if (ready[1].revents != 0 && ::read(ready[1].fd, &count, sizeof(count)) == sizeof(count)) {
        WriteToStderr(StallReport());
      }
    }
  }

  int stop_;
  std::thread thread_;
};

/// The ranks of this process, and the thread, which is there while somebody holds it. Never destroyed: a signal may
/// come at any time.
class Desk {
 public:
  static Desk& Get() {
    static Desk* const desk = std::make_unique<Desk>().release();
    return *desk;
  }

  /// False where the program has a handler of its own.
  arrow::Result<bool> Hold() {
    const std::lock_guard<std::mutex> lock(mutex_);
    StartAnewAfterFork();
    struct sigaction present{};
    ::sigaction(SIGUSR1, nullptr, &present);
    const bool plain = (present.sa_flags & SA_SIGINFO) == 0;
    if (!plain || (present.sa_handler != SIG_DFL && present.sa_handler != OnSignal)) {
      return false;
    }
    if (wake_up.load() < 0 || owner.load() != process_) {
      const int descriptor = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
      if (descriptor < 0) {
        return arrow::Status::IOError("no event descriptor for reports of what ranks wait for: ", std::strerror(errno),
                                      "; raise the open-file limit (ulimit -n), or set CYLON_STALL_REPORTS=0");
      }
      wake_up.store(descriptor);
      owner.store(process_);
    }
    struct sigaction action{};
    action.sa_handler = OnSignal;
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGUSR1, &action, nullptr);
    if (holders_++ == 0) {
      answerer_ = std::make_unique<Answerer>();
    }
    return true;
  }

  void Release() {
    std::unique_ptr<Answerer> last;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (process_ == ::getpid() && --holders_ == 0) {
        last = std::move(answerer_);
      }
    }
    // Its thread may be at a report, which takes the lock.
    last.reset();
  }

  void Enter(const std::shared_ptr<internal::RankReport>& rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    StartAnewAfterFork();
    ranks_.push_back(rank);
  }

  void Leave(const internal::RankReport* rank) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::erase_if(ranks_, [&](const auto& each) { return each.get() == rank; });
  }

  std::string Report() {
    struct Answers {
      std::mutex mutex;
      std::condition_variable changed;
      std::vector<std::optional<std::string>> texts;
      size_t missing = 0;
    };
    const auto answers = std::make_shared<Answers>();
    std::vector<std::shared_ptr<internal::RankReport>> asked;
    {
      // Under the lock, so that no rank leaves, and takes its executor along, while it is asked.
      const std::lock_guard<std::mutex> lock(mutex_);
      asked = ranks_;
      answers->texts.resize(asked.size());
      answers->missing = asked.size();
      for (size_t i = 0; i < asked.size(); ++i) {
        asked[i]->Ask([answers, i](std::string text) {
          const std::lock_guard<std::mutex> answering(answers->mutex);
          answers->texts[i] = std::move(text);
          if (--answers->missing == 0) {
            answers->changed.notify_all();
          }
        });
      }
    }
    std::unique_lock<std::mutex> lock(answers->mutex);
    answers->changed.wait_for(lock, kPatience, [&] { return answers->missing == 0; });
    std::string text;
    if (asked.empty()) {
      text = "no rank of process " + std::to_string(::getpid()) +
             " is connected: it waits for the others to join, or has left\n";
    }
    for (size_t i = 0; i < asked.size(); ++i) {
      if (answers->texts[i]) {
        text += *answers->texts[i];
        continue;
      }
      const std::lock_guard<std::mutex> present(mutex_);
      if (std::ranges::find(ranks_, asked[i]) != ranks_.end()) {
        text += asked[i]->LastKnown();
      }
    }
    return text;
  }

 private:
  void StartAnewAfterFork() {
    if (process_ != ::getpid()) {
      // The parent's ranks and its thread are not in this process: what stands for them here is let go unused.
      std::ignore = answerer_.release();
      ranks_.clear();
      holders_ = 0;
      process_ = ::getpid();
    }
  }

  std::mutex mutex_;
  pid_t process_ = ::getpid();
  int holders_ = 0;
  std::unique_ptr<Answerer> answerer_;
  std::vector<std::shared_ptr<internal::RankReport>> ranks_;
};

}  // namespace

arrow::Result<bool> InstallStallReports() { return Desk::Get().Hold(); }

std::string StallReport() { return Desk::Get().Report(); }

namespace internal {

arrow::Result<std::shared_ptr<void>> HoldStallReports() {
  ARROW_ASSIGN_OR_RAISE(const bool held, Desk::Get().Hold());
  return held ? std::shared_ptr<void>(&Desk::Get(), [](void*) { Desk::Get().Release(); }) : std::shared_ptr<void>();
}

std::shared_ptr<RankReport> RankReport::Enter(std::weak_ptr<Endpoint> endpoint, Executor& executor, Rank rank,
                                              int size) {
  std::shared_ptr<RankReport> report(
      std::unique_ptr<RankReport>(new RankReport(std::move(endpoint), executor, rank, size)));
  Desk::Get().Enter(report);
  return report;
}

void RankReport::Leave() { Desk::Get().Leave(this); }

}  // namespace internal
}  // namespace cylon
