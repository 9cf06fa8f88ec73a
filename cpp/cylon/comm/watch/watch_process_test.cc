// Ranks that are processes and are killed, stopped, and cut off: who lives says so.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "cylon/base/asio_executor.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/comm/context.h"
#include "cylon/comm/testing/ranks.h"

extern char** environ;  // NOLINT(readability-redundant-declaration)

namespace cylon {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using Json = nlohmann::json;

/// Anything that is waited for here comes long before; a machine may be busy.
constexpr auto kPatience = 60s;

void Say(const Json& json) {
  std::string line = "@" + json.dump() + "\n";
  ASSERT_EQ(::write(STDOUT_FILENO, line.data(), line.size()), static_cast<ssize_t>(line.size()));
}

bool InputEnded() {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  char byte = 0;
  return ::poll(&input, 1, 0) > 0 && ::read(STDIN_FILENO, &byte, 1) == 0;
}

/// What a rank's process does: collectives, until one fails or its input ends. Run by the tests below.
TEST(WatchProcess, DISABLED_Rank) {
  auto options = OptionsFromEnvironment();
  ASSERT_TRUE(options.ok()) << options.status();
  auto context = Context::Connect(*options);
  auto status = context.status();
  if (status.ok()) {
    auto& comm = (*context)->communicator();
    bool over = false;
    bool first = true;
    while (status.ok() && !over) {
      const auto sum = comm.AllReduce(int64_t{InputEnded()}, ReduceOp::kMax);
      status = sum.status();
      over = sum.ok() && *sum > 0;
      if (std::exchange(first, false)) {
        Say({{"ready", options->rank}});
      }
      std::this_thread::sleep_for(1ms);  // others want the processor, too
    }
  }
  if (status.ok()) {
    status = (*context)->Close();
  }
  Json said{{"message", status.ToString()}, {"kind", 0}};
  if (const auto detail = GetErrorDetail(status)) {
    said["kind"] = static_cast<int>(detail->kind);
    said["rank"] = detail->rank;
    said["other"] = detail->other;
    said["cause"] = detail->cause;
    said["agreed"] = detail->agreed;
  }
  Say(said);
}

/// One such process: what it says comes line by line.
class Process {
 public:
  Process(std::vector<std::string> command, const std::map<std::string, std::string>& more) {
    int in[2];
    int out[2];
    EXPECT_EQ(::pipe2(in, O_CLOEXEC), 0);
    EXPECT_EQ(::pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    std::vector<std::string> environment;
    for (char** entry = environ; *entry != nullptr; ++entry) {
      environment.emplace_back(*entry);
    }
    for (const auto& [name, value] : more) {
      environment.push_back(name + "=" + value);
    }
    auto pointers = [](std::vector<std::string>& texts) {
      std::vector<char*> all;
      for (auto& text : texts) {
        all.push_back(text.data());
      }
      all.push_back(nullptr);
      return all;
    };
    EXPECT_EQ(::posix_spawnp(&pid_, command[0].c_str(), &actions, nullptr, pointers(command).data(),
                             pointers(environment).data()),
              0);
    posix_spawn_file_actions_destroy(&actions);
    ::close(in[0]);
    ::close(out[1]);
    in_ = in[1];
    out_ = out[0];
  }
  ~Process() {
    EndInput();
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(out_);
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const { ASSERT_EQ(::kill(pid_, signal), 0); }
  void Write(const std::string& text) const {
    ASSERT_EQ(::write(in_, text.data(), text.size()), static_cast<ssize_t>(text.size()));
  }
  void EndInput() {
    if (in_ >= 0) {
      ::close(std::exchange(in_, -1));
    }
  }

  /// The next thing that it says; null where it ends, or says nothing in time.
  Json Next(Duration patience = kPatience) {
    const auto deadline = std::chrono::steady_clock::now() + patience;
    while (true) {
      if (const auto end = buffer_.find('\n'); end != std::string::npos) {
        const std::string line = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        if (line.starts_with("@")) {
          return Json::parse(line.substr(1));
        }
        continue;
      }
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
      pollfd output{out_, POLLIN, 0};
      char bytes[4096];
      if (left <= 0ms || ::poll(&output, 1, static_cast<int>(left.count())) <= 0) {
        return {{"message", "nothing in time"}, {"kind", -1}};
      }
      const ssize_t count = ::read(out_, bytes, sizeof(bytes));
      if (count <= 0) {
        return {{"message", "ended"}, {"kind", -1}};
      }
      buffer_.append(bytes, static_cast<size_t>(count));
    }
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  int out_ = -1;
  std::string buffer_;
};

std::vector<std::string> RankCommand() {
  return {std::filesystem::read_symlink("/proc/self/exe").string(), "--gtest_also_run_disabled_tests",
          "--gtest_filter=WatchProcess.DISABLED_Rank"};
}

class WatchProcessTest : public ::testing::Test {
 protected:
  void StartStore(const std::string& host = "127.0.0.1") {
    server_.reset();
    executor_ = std::make_unique<AsioExecutor>("store");
    secret_ = *RandomBytes(32);
    Security security;
    security.secret = secret_;
    server_ = *StoreServer::Start(*executor_, HostPort{host, 0}, security);
  }

  std::map<std::string, std::string> Environment(Rank rank, int size, double timeout) const {
    return {{"CYLON_JOB", "watched"},
            {"CYLON_RANK", std::to_string(rank)},
            {"CYLON_WORLD_SIZE", std::to_string(size)},
            {"CYLON_STORE", server_->address().ToString()},
            {"CYLON_SECRET", HexEncode(secret_)},
            {"CYLON_PEER_TIMEOUT", std::to_string(timeout)},
            {"CYLON_THREADS", "1"},
            {"CYLON_MEMORY", "64MiB"}};
  }

  void Start(int size, double timeout) {
    StartStore();
    for (Rank rank = 0; rank < size; ++rank) {
      ranks_.push_back(std::make_unique<Process>(RankCommand(), Environment(rank, size, timeout)));
    }
    AwaitReady();
  }

  void AwaitReady() {
    for (Rank rank = 0; rank < static_cast<Rank>(ranks_.size()); ++rank) {
      const Json said = ranks_[static_cast<size_t>(rank)]->Next();
      ASSERT_EQ(said.value("ready", -1), rank) << said;
    }
    begin_ = std::chrono::steady_clock::now();
  }

  /// Every rank but `victim` names it, for the same cause. Returns what the first says.
  Json ExpectNamed(Rank victim) {
    Json first;
    for (size_t rank = 0; rank < ranks_.size(); ++rank) {
      if (static_cast<Rank>(rank) != victim) {
        const Json said = ranks_[rank]->Next();
        EXPECT_EQ(said["kind"], static_cast<int>(ErrorKind::kRankFailed)) << "rank " << rank << ": " << said;
        EXPECT_EQ(said["rank"], victim) << "rank " << rank << ": " << said;
        first = first.is_null() ? said : first;
        EXPECT_EQ(said["cause"], first["cause"]) << "rank " << rank << ": " << said;
      }
    }
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin_;
    RecordProperty("seconds", std::to_string(took.count()));
    std::printf("raised everywhere after %.2f s: %s\n", took.count(), first.value("cause", "").c_str());
    return first;
  }

  std::unique_ptr<AsioExecutor> executor_;
  std::string secret_;
  std::unique_ptr<StoreServer> server_;
  std::vector<std::unique_ptr<Process>> ranks_;
  std::chrono::steady_clock::time_point begin_;
};

TEST_F(WatchProcessTest, AKilledRankIsNamedByEverySurvivor) {
  for (const int size : {2, 5}) {
    ranks_.clear();
    Start(size, 10);
    ranks_[1]->Signal(SIGKILL);
    const Json said = ExpectNamed(1);
    EXPECT_THAT(said.value("cause", ""), HasSubstr("its process ended"));
    EXPECT_TRUE(said.value("agreed", false)) << said;
  }
}

TEST_F(WatchProcessTest, AStoppedRankIsNamedByEverySurvivorAndHearsThatItWasGivenUp) {
  for (const int size : {2, 4}) {
    ranks_.clear();
    Start(size, 1);
    ranks_[1]->Signal(SIGSTOP);
    const Json said = ExpectNamed(1);
    EXPECT_THAT(said.value("cause", ""), HasSubstr("silent for 1 s: no heartbeat at rank"));
    ranks_[1]->Signal(SIGCONT);
    const Json own = ranks_[1]->Next();
    EXPECT_EQ(own["kind"], static_cast<int>(ErrorKind::kRankFailed)) << own;
    EXPECT_EQ(own["rank"], 1) << own;
    EXPECT_THAT(own.value("message", ""), HasSubstr("the other ranks have given this rank up"));
  }
}

TEST_F(WatchProcessTest, AShortStopIsNoFailure) {
  Start(3, 20);
  ranks_[1]->Signal(SIGSTOP);
  std::this_thread::sleep_for(500ms);  // the stop is what is tested
  ranks_[1]->Signal(SIGCONT);
  for (const auto& rank : ranks_) {
    rank->EndInput();
  }
  for (const auto& rank : ranks_) {
    const Json said = rank->Next();
    EXPECT_EQ(said["kind"], 0) << said;
  }
}

/// Ranks in network namespaces of their own, joined by a bridge in another, where the store is.
class WatchNetworkTest : public WatchProcessTest {
 protected:
  static bool Run(const std::string& command) { return std::system((command + " 2>/dev/null").c_str()) == 0; }

  /// "" or why there can be no namespaces.
  std::string MakeNetwork() {
    if (::geteuid() != 0) {
      return "network namespaces need root";
    }
    if (::unshare(CLONE_NEWNET) != 0 ||
        !Run(
            "ip link set lo up && ip link add bridge address 02:00:00:00:00:01 type bridge && ip link set bridge up && "
            "ip addr add 10.77.0.254/24 dev bridge")) {
      return "this machine makes no network namespace with a bridge (unshare -n; ip link add type bridge)";
    }
    return "";
  }

  void StartApart(int size, double timeout) {
    StartStore("10.77.0.254");
    for (Rank rank = 0; rank < size; ++rank) {
      auto environment = Environment(rank, size, timeout);
      environment["CYLON_BIND"] = Address(rank);
      std::vector<std::string> command{"unshare", "-n", "sh", "-c", "read go; exec \"$@\"", "rank"};
      for (const auto& word : RankCommand()) {
        command.push_back(word);
      }
      ranks_.push_back(std::make_unique<Process>(command, environment));
      const std::string pid = std::to_string(ranks_.back()->pid());
      const std::string number = std::to_string(rank);
      // The namespace is there when the shell waits for its word.
      const std::string inside = "nsenter -t " + pid + " -n ";
      const auto deadline = std::chrono::steady_clock::now() + kPatience;
      while (!Run("test \"$(readlink /proc/" + pid + "/ns/net)\" != \"$(readlink /proc/self/ns/net)\"")) {
        ASSERT_LT(std::chrono::steady_clock::now(), deadline);
        std::this_thread::yield();
      }
      ASSERT_TRUE(Run("ip link add b" + number + " type veth peer name r" + number + " && ip link set b" + number +
                      " master bridge up && ip link set r" + number + " netns " + pid + " && " + inside +
                      "ip link set lo up && " + inside + "ip addr add " + Address(rank) + "/24 dev r" + number +
                      " && " + inside + "ip link set r" + number + " up"));
      ranks_.back()->Write("go\n");
    }
    AwaitReady();
  }

  /// Frames of `rank` reach nobody any more, and nothing tells either side.
  static void Blackhole(Rank rank) { ASSERT_TRUE(Run("ip link set b" + std::to_string(rank) + " nomaster")); }
  static std::string Address(Rank rank) { return "10.77.0." + std::to_string(rank + 1); }
};

TEST_F(WatchNetworkTest, ARankInABlackHoleIsNamedByTheOthersAndKnowsThatItIsAlone) {
  for (const int size : {2, 4}) {
    std::thread([&] {  // its namespace goes with it
      if (const auto why = MakeNetwork(); !why.empty()) {
        GTEST_SKIP() << why;
      }
      ranks_.clear();
      StartApart(size, 1.5);
      Blackhole(1);
      const Json said = ExpectNamed(1);
      EXPECT_THAT(said.value("cause", ""), HasSubstr("silent for 1.5 s"));
      const Json own = ranks_[1]->Next();
      EXPECT_EQ(own["kind"], static_cast<int>(ErrorKind::kIsolated)) << own;
      EXPECT_EQ(own["rank"], 1) << own;
      ranks_.clear();
      server_.reset();
      executor_.reset();
    })
        .join();
  }
}

}  // namespace
}  // namespace cylon
