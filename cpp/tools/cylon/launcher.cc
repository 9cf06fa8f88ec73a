// `cylon run`: starts the ranks of a job on this machine, and ends them.
#include "launcher.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "cylon/base/asio_executor.h"
#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/comm/launcher_word.h"
#include "launcher_output.h"
#include "launcher_process.h"
#include "launcher_stall.h"

namespace cylon::tools {

namespace {

using Clock = std::chrono::steady_clock;
using namespace std::chrono_literals;

/// What the others get to raise their own error, once they have been told of a failed rank; then to end after SIGTERM.
constexpr auto kTimeToRaise = 5s;
constexpr auto kTimeToEnd = 2s;
/// What ranks get to say what they wait for, before SIGTERM: one that is stuck says so after 1 s.
constexpr auto kTimeToReport = 1500ms;
constexpr int kCannotStart = 2;

void Say(const std::string& text) { std::cerr << "cylon run: " << text << "\n"; }

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? name : "this host";
}

/// How a process ended.
struct End {
  int status = 0;  // as waitpid gives it
  bool by_signal() const { return WIFSIGNALED(status); }
  int code() const { return by_signal() ? 128 + WTERMSIG(status) : WEXITSTATUS(status); }
  std::string cause() const {
    return by_signal()
               ? "killed by signal " + std::to_string(WTERMSIG(status)) + " (" + SignalName(WTERMSIG(status)) + ")"
               : "exited with code " + std::to_string(WEXITSTATUS(status));
  }
};

struct RankProcess {
  pid_t pid = -1;
  std::optional<End> end;
};

/// A rank's stdout or stderr.
struct Source {
  int fd;
  LinePrefixer lines;
  OutputQueue* queue;
};

/// Closes a descriptor at the end.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) {
      ::close(fd_);
    }
  }
  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

std::string Prefix(int rank, int stream) {
  // On a terminal, what an unfinished progress line has left is erased first.
  return (::isatty(stream) != 0 ? "\x1b[K[" : "[") + std::to_string(rank) + "] ";
}

/// One run of a job.
class Job {
 public:
  Job(const LaunchRequest& request, Guard guard, int first_own_descriptor)
      : request_(request), guard_(std::move(guard)), first_own_(first_own_descriptor) {
    if (request.stall_after_s > 0) {
      stall_.emplace(std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(request.stall_after_s)));
    }
  }

  arrow::Status Start(const Command& command, std::map<std::string, std::string> environment);
  /// Until every rank has ended; returns the launcher's exit code.
  int Run();

 private:
  arrow::Status StartStore(std::map<std::string, std::string>* environment);
  arrow::Status StartOne(int rank, const Command& command, std::map<std::string, std::string> environment);
  bool Running() const {
    return std::ranges::any_of(ranks_, [](const auto& rank) { return rank.pid > 0 && !rank.end.has_value(); });
  }
  void SignalAll(int signal);
  std::vector<pid_t> RunningGroups() const;
  /// Lets every rank that can print what it waits for, and says `why`: where none can, if `always`. True where one can.
  bool AskAll(const std::string& why, bool always);
  void LookForStall();
  void HandleSignals();
  void Reap();
  void NoteEnds(const std::vector<int>& ended);
  void Escalate();
  void PollOnce();
  void Read(Source* source);
  void DrainOutput();

  const LaunchRequest& request_;
  Guard guard_;
  const int first_own_;
  Descriptor signals_{-1};
  std::unique_ptr<AsioExecutor> executor_;
  std::unique_ptr<StoreServer> store_;
  std::string job_;
  std::string epoch_;
  std::vector<RankProcess> ranks_;
  std::vector<Source> sources_;
  std::vector<std::unique_ptr<OutputQueue>> queues_;

  int failures_ = 0;
  std::optional<int> first_failed_;
  int passed_on_ = 0;  // signals from outside
  std::optional<Clock::time_point> next_step_;
  int step_ = 0;  // 0: nothing sent, 1: asked what they wait for, 2: SIGTERM sent, 3: SIGKILL sent
  std::optional<StallWatch> stall_;
};

arrow::Status Job::StartStore(std::map<std::string, std::string>* environment) {
  ARROW_ASSIGN_OR_RAISE(const std::string secret, RandomBytes(32));
  ARROW_ASSIGN_OR_RAISE(const std::string epoch, RandomBytes(16));
  executor_ = std::make_unique<AsioExecutor>("cylon-store");
  Security security;
  security.secret = secret;
  ARROW_ASSIGN_OR_RAISE(store_, StoreServer::Start(*executor_, HostPort{"127.0.0.1", 0}, security));
  epoch_ = HexEncode(epoch);
  std::string& job = (*environment)["CYLON_JOB"];
  if (job.empty()) {
    job = "run-" + epoch_.substr(0, 8);
  }
  job_ = job;
  (*environment)["CYLON_EPOCH"] = epoch_;
  (*environment)["CYLON_STORE"] = store_->address().ToString();
  (*environment)["CYLON_SECRET"] = HexEncode(secret);
  environment->erase("CYLON_SECRET_FILE");
  return arrow::Status::OK();
}

arrow::Status Job::StartOne(int rank, const Command& command, std::map<std::string, std::string> environment) {
  environment["CYLON_RANK"] = environment["CYLON_LOCAL_RANK"] = std::to_string(rank);
  environment["CYLON_WORLD_SIZE"] = environment["CYLON_LOCAL_SIZE"] = std::to_string(request_.ranks);
  // A terminal can be read by its foreground process group only, and ranks have groups of their own.
  const Descriptor null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  Redirects redirects;
  redirects.in = rank == 0 && ::isatty(0) == 0 ? -1 : null.get();
  std::vector<Descriptor> ends;
  if (request_.ranks > 1) {
    for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
      auto channel = OpenChannel(stream);
      if (!channel.ok()) {
        return channel.status().WithMessage("rank ", rank, ": ", channel.status().message());
      }
      const auto [reader, writer] = *channel;
      auto* queue = stream == STDOUT_FILENO ? queues_.front().get() : queues_.back().get();
      sources_.push_back({reader, LinePrefixer(Prefix(rank, stream)), queue});
      ends.emplace_back(writer);
      (stream == STDOUT_FILENO ? redirects.out : redirects.error) = writer;
    }
  }
  ARROW_ASSIGN_OR_RAISE(ranks_[rank].pid, StartRank(command, environment, redirects, first_own_));
  guard_.Watch(ranks_[rank].pid);
  return arrow::Status::OK();
}

arrow::Status Job::Start(const Command& command, std::map<std::string, std::string> environment) {
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const int signal : {SIGCHLD, SIGINT, SIGTERM, SIGHUP, SIGQUIT}) {
    sigaddset(&wanted, signal);
  }
  // Before there are threads, which inherit the mask.
  ::sigprocmask(SIG_BLOCK, &wanted, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_ = Descriptor(::signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK));
  AdoptOrphans();

  ARROW_RETURN_NOT_OK(StartStore(&environment));
  queues_.push_back(std::make_unique<OutputQueue>(STDOUT_FILENO));
  if (!SameFile(STDOUT_FILENO, STDERR_FILENO)) {
    queues_.push_back(std::make_unique<OutputQueue>(STDERR_FILENO));
  }
  ranks_.resize(static_cast<size_t>(request_.ranks));
  for (int rank = 0; rank < request_.ranks; ++rank) {
    const auto status = StartOne(rank, command, environment);
    if (!status.ok()) {
      SignalAll(SIGKILL);
      KillOrphans(guard_.pid());
      return status;
    }
  }
  return arrow::Status::OK();
}

void Job::SignalAll(int signal) {
  for (const auto& rank : ranks_) {
    if (rank.pid > 0 && !rank.end.has_value()) {
      ::killpg(rank.pid, signal);
    }
  }
}

std::vector<pid_t> Job::RunningGroups() const {
  std::vector<pid_t> groups;
  for (const auto& rank : ranks_) {
    if (rank.pid > 0 && !rank.end.has_value()) {
      groups.push_back(rank.pid);
    }
  }
  return groups;
}

bool Job::AskAll(const std::string& why, bool always) {
  const auto groups = RunningGroups();
  const auto silent = AskForReports(groups);
  const bool asked = silent.size() < groups.size();
  std::string text = why + (asked ? "; what each rank waits for:" : "");
  for (const pid_t group : silent) {
    const auto rank = std::ranges::find(ranks_, group, &RankProcess::pid) - ranks_.begin();
    text +=
        (group == silent.front() ? "\n  not asked, as it does not catch SIGUSR1: rank " : ", ") + std::to_string(rank);
  }
  if (asked || always) {
    Say(text);
  }
  return asked;
}

void Job::LookForStall() {
  const auto now = Clock::now();
  if (stall_ && now >= stall_->next_look() && stall_->Look(RunningGroups(), now)) {
    const auto idle = std::chrono::duration_cast<std::chrono::seconds>(stall_->idle(now));
    AskAll("no rank has done anything for " + std::to_string(idle.count()) + " s", /*always=*/true);
  }
}

void Job::HandleSignals() {
  signalfd_siginfo info{};
  while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    const auto signal = static_cast<int>(info.ssi_signo);
    if (signal == SIGCHLD) {
      Reap();
    } else if (signal == SIGQUIT) {
      AskAll("asked by SIGQUIT", /*always=*/true);
    } else {
      SignalAll(passed_on_ == 0 ? signal : SIGKILL);
      ++passed_on_;
    }
  }
}

void Job::Reap() {
  std::vector<int> ended;
  int status = 0;
  for (pid_t pid = 0; (pid = ::waitpid(-1, &status, WNOHANG)) > 0;) {
    const auto rank = std::ranges::find(ranks_, pid, &RankProcess::pid);
    if (rank != ranks_.end() && !rank->end.has_value()) {
      rank->end = End{status};
      ended.push_back(static_cast<int>(rank - ranks_.begin()));
      // What a rank has started does not outlive it.
      ::killpg(pid, SIGKILL);
      guard_.Forget(pid);
    }
  }
  NoteEnds(ended);
}

void Job::NoteEnds(const std::vector<int>& ended) {
  // Where several are found at once, one that a signal killed is the likelier cause: the others raised because of it.
  std::vector<int> failed;
  std::ranges::copy_if(ended, std::back_inserter(failed), [&](int rank) { return ranks_[rank].end->code() != 0; });
  std::ranges::stable_sort(failed, {}, [&](int rank) { return !ranks_[rank].end->by_signal(); });
  for (const int rank : failed) {
    store_->SetLocally(LauncherWordKey(job_, epoch_, failures_++),
                       EncodeLauncherWord(LauncherWord{rank, ranks_[rank].end->cause()}));
    // Those that have not met yet read no words.
    store_->SetLocally(JoinProblemKey(job_, epoch_),
                       EncodeStatus(RankFailedError(rank, HostName(), ranks_[rank].end->cause())));
    if (!first_failed_.has_value()) {
      first_failed_ = rank;
      if (!request_.keep_going && Running()) {
        next_step_ = Clock::now() + kTimeToRaise;
      }
    }
  }
}

void Job::Escalate() {
  if (!next_step_.has_value() || Clock::now() < *next_step_ || !Running()) {
    return;
  }
  if (step_ == 0 && AskAll("ranks are left that do not end by themselves", /*always=*/false)) {
    next_step_ = Clock::now() + kTimeToReport;
    step_ = 1;
    return;
  }
  const bool first = step_ < 2;
  SignalAll(first ? SIGTERM : SIGKILL);
  next_step_ = first ? std::optional(Clock::now() + kTimeToEnd) : std::nullopt;
  step_ = first ? 2 : 3;
}

void Job::Read(Source* source) {
  char bytes[64 << 10];
  const ssize_t got = ::read(source->fd, bytes, sizeof(bytes));
  if (got > 0 && stall_) {
    stall_->OnOutput(Clock::now());
  }
  if (got > 0 && !source->queue->closed()) {
    source->lines.Add(std::string_view(bytes, static_cast<size_t>(got)), source->queue->text());
  } else if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR) || source->queue->closed()) {
    // A reader of ours that has gone is passed on: the rank's next write tells it.
    if (!source->queue->closed()) {
      source->lines.Finish(source->queue->text());
    }
    ::close(std::exchange(source->fd, -1));
  }
}

void Job::PollOnce() {
  std::vector<pollfd> polled = {{signals_.get(), POLLIN, 0}};
  for (const auto& queue : queues_) {
    polled.push_back({queue->empty() || queue->closed() ? -1 : queue->fd(), POLLOUT, 0});
  }
  for (const auto& source : sources_) {
    polled.push_back({source.queue->full() ? -1 : source.fd, POLLIN, 0});
  }
  auto until = next_step_.value_or(Clock::time_point::max());
  if (stall_) {
    until = std::min(until, stall_->next_look());
  }
  int wait_ms = -1;
  if (until != Clock::time_point::max()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now());
    wait_ms = static_cast<int>(std::max<int64_t>(0, left.count()));
  }
  if (::poll(polled.data(), polled.size(), wait_ms) < 0) {
    return;
  }
  auto* event = polled.data() + 1;
  for (const auto& queue : queues_) {
    if (event++->revents != 0) {
      queue->WriteSome();
    }
  }
  for (auto& source : sources_) {
    if (event++->revents != 0) {
      Read(&source);
    }
  }
  if (polled.front().revents != 0) {
    HandleSignals();
  }
  Escalate();
  LookForStall();
}

void Job::DrainOutput() {
  // All who could write have ended, but for a process that left its group; its output is not waited for.
  for (auto& source : sources_) {
    for (int fd = source.fd; fd >= 0 && source.fd >= 0;) {
      pollfd ready{fd, POLLIN, 0};
      if (::poll(&ready, 1, 0) <= 0) {
        break;
      }
      Read(&source);
    }
    if (source.fd >= 0) {
      source.lines.Finish(source.queue->text());
      ::close(std::exchange(source.fd, -1));
    }
  }
  for (const auto& queue : queues_) {
    while (!queue->empty() && !queue->closed()) {
      pollfd ready{queue->fd(), POLLOUT, 0};
      pollfd both[2] = {ready, {signals_.get(), POLLIN, 0}};
      if (::poll(both, 2, -1) > 0 && both[1].revents != 0) {
        HandleSignals();
        if (passed_on_ > 1) {
          queue->Close();
        }
      }
      if (both[0].revents != 0) {
        queue->WriteSome();
      }
    }
  }
}

int Job::Run() {
  while (Running()) {
    PollOnce();
  }
  KillOrphans(guard_.pid());
  DrainOutput();
  if (!first_failed_.has_value()) {
    return 0;
  }
  const End& end = *ranks_[*first_failed_].end;
  std::string text = "rank " + std::to_string(*first_failed_);
  text += ranks_.size() > 1 ? " failed first: " : " failed: ";
  text += end.cause();
  if (end.by_signal() && WTERMSIG(end.status) == SIGKILL && step_ < 3 && passed_on_ < 2) {
    text += "; where nobody killed it, the kernel may have run out of memory: see dmesg, or set --memory";
  }
  Say(text);
  return end.code();
}

}  // namespace

int Launch(const LaunchRequest& request) {
  auto environment = OwnEnvironment();
  for (const auto& [name, value] : request.settings) {
    environment[name] = value;
  }
  const int first_own = FirstFreeDescriptor();
  const std::string& search_path = environment["PATH"];
  const auto chosen = environment.find("CYLON_PYTHON");
  const std::string python = FindPython(chosen == environment.end() ? "" : chosen->second, search_path);
  const auto command = ResolveCommand(request.command, python, search_path);
  if (!command.ok()) {
    Say(command.status().message());
    return kCannotStart;
  }
  auto guard = Guard::Start();
  if (!guard.ok()) {
    Say(guard.status().message());
    return kCannotStart;
  }
  Job job(request, *std::move(guard), first_own);
  const auto status = job.Start(*command, std::move(environment));
  if (!status.ok()) {
    Say(status.message());
    return kCannotStart;
  }
  return job.Run();
}

}  // namespace cylon::tools
