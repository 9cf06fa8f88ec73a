/// What a transport has to do, as tests that run on every one: worlds to run them in, and what the cases share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/net/inproc/inproc.h"
#include "cylon/net/lanes.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/shm/shm_path.h"
#include "cylon/net/sim/sim_world.h"
#include "cylon/net/tcp/tcp_path.h"
#include "cylon/net/transport.h"

namespace cylon::testing {

/// Ranks as threads, each with an executor and one transport.
class ConformanceWorld {
 public:
  virtual ~ConformanceWorld() = default;
  virtual Executor& executor(Rank rank) = 0;
  /// Once per rank, inside Run.
  virtual std::unique_ptr<Transport> MakeTransport(Rank rank) = 0;
  /// body(rank) on a thread per rank; the first error, by rank.
  virtual arrow::Status Run(const std::function<arrow::Status(Rank)>& body) = 0;
};

/// A transport under test, and how much of each case it is worth.
struct Subject {
  std::string name;
  std::function<std::unique_ptr<ConformanceWorld>(int ranks, uint64_t seed)> make;
  int seeds;        ///< runs of each case, with seeds from 0
  int64_t largest;  ///< bytes of the largest message
  int64_t many;     ///< how many are "many small messages"
};

inline std::ostream& operator<<(std::ostream& out, const Subject& subject) { return out << subject.name; }

inline bool LongTests() {
  const char* value = std::getenv("CYLON_TEST_LONG");
  return value != nullptr && std::string(value) == "1";
}

#ifdef CYLON_SANITIZED
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

/// So long may a wait of a test take; on a virtual clock it never passes.
inline constexpr auto kConformancePatience = std::chrono::seconds(100);

template <typename F>
arrow::Status AwaitSoon(Executor& executor, const F& future) {
  return executor.Await(arrow::Future<>(future), executor.Now() + kConformancePatience);
}

class SimConformanceWorld : public ConformanceWorld {
 public:
  SimConformanceWorld(int ranks, uint64_t seed) : world(ranks, seed) {}
  Executor& executor(Rank rank) override { return world.executor(rank); }
  std::unique_ptr<Transport> MakeTransport(Rank rank) override { return world.MakeTransport(rank); }
  arrow::Status Run(const std::function<arrow::Status(Rank)>& body) override { return world.Run(body); }
  SimWorld world;
};

/// Real time: an AsioExecutor and a thread for each rank.
class ThreadedConformanceWorld : public ConformanceWorld {
 public:
  explicit ThreadedConformanceWorld(int ranks) {
    for (Rank rank = 0; rank < ranks; ++rank) {
      executors_.push_back(std::make_unique<AsioExecutor>("rank" + std::to_string(rank)));
    }
  }
  AsioExecutor& executor(Rank rank) override { return *executors_[static_cast<size_t>(rank)]; }
  int size() const { return static_cast<int>(executors_.size()); }
  arrow::Status Run(const std::function<arrow::Status(Rank)>& body) override {
    std::vector<arrow::Status> results(executors_.size());
    std::vector<std::thread> threads;
    for (Rank rank = 0; rank < size(); ++rank) {
      threads.emplace_back([&, rank] { results[static_cast<size_t>(rank)] = body(rank); });
    }
    for (auto& thread : threads) {
      thread.join();
    }
    for (const auto& result : results) {
      ARROW_RETURN_NOT_OK(result);
    }
    return arrow::Status::OK();
  }

 private:
  std::vector<std::unique_ptr<AsioExecutor>> executors_;
};

class InprocConformanceWorld : public ThreadedConformanceWorld {
 public:
  explicit InprocConformanceWorld(int ranks) : ThreadedConformanceWorld(ranks), hub_(ranks) {}
  std::unique_ptr<Transport> MakeTransport(Rank rank) override { return hub_.MakeTransport(rank, executor(rank)); }

 private:
  InprocHub hub_;
};

/// A mesh within this host; every rank listens before the first one joins, so no store is needed.
class MeshConformanceWorld : public ThreadedConformanceWorld {
 public:
  using MakePath = std::function<arrow::Result<std::unique_ptr<Path>>(AsioExecutor&)>;
  using MakePaths = std::function<arrow::Result<std::vector<std::unique_ptr<Path>>>(AsioExecutor&)>;

  MeshConformanceWorld(int ranks, const MakePath& make_path)
      : MeshConformanceWorld(
            ranks, MakePaths([&](AsioExecutor& executor) -> arrow::Result<std::vector<std::unique_ptr<Path>>> {
              std::vector<std::unique_ptr<Path>> paths(1);
              ARROW_ASSIGN_OR_RAISE(paths[0], make_path(executor));
              return paths;
            })) {}
  MeshConformanceWorld(int ranks, const MakePaths& make_paths) : ThreadedConformanceWorld(ranks) {
    for (Rank rank = 0; rank < ranks; ++rank) {
      // Only tasks touch what belongs to an executor, which may run its own thread by now.
      auto listening = executor(rank).RunTask([&] {
        ARROW_ASSIGN_OR_RAISE(auto paths, make_paths(executor(rank)));
        auto listener = MeshTransport::Listen(executor(rank), std::move(paths), ranks);
        world_.cards.push_back({"localhost", 0, listener->address()});
        listeners_.push_back(std::move(listener));
        return arrow::Status::OK();
      });
      EXPECT_TRUE(listening.ok()) << listening;
    }
    world_.job = "conformance";
    world_.epoch = "00000001";  // the epoch of TestChannel
  }

  ~MeshConformanceWorld() override {
    for (Rank rank = 0; rank < size(); ++rank) {
      std::ignore = executor(rank).RunTask([&] {
        listeners_[static_cast<size_t>(rank)].reset();
        return arrow::Status::OK();
      });
    }
  }

  std::unique_ptr<Transport> MakeTransport(Rank rank) override {
    auto world = world_;
    world.rank = rank;
    return listeners_[static_cast<size_t>(rank)]->Join(
        std::move(world), MeshSettings{.security = {"a secret"}, .connect_deadline = kConformancePatience});
  }

 private:
  World world_;
  std::vector<std::unique_ptr<MeshTransport>> listeners_;
};

inline Subject SimSubject() {
  return {"sim", [](int ranks, uint64_t seed) { return std::make_unique<SimConformanceWorld>(ranks, seed); },
          LongTests() ? 1000 : 20, 4 << 20, kSanitized ? 300 : 2000};
}

/// What is worth while over real threads.
inline Subject RealSubject(std::string name, std::function<std::unique_ptr<ConformanceWorld>(int, uint64_t)> make) {
  const int64_t large = kSanitized ? 8 << 20 : LongTests() ? int64_t{3} << 30 : 64 << 20;
  return {std::move(name), std::move(make), 1, large, kSanitized ? 5000 : 100000};
}

inline Subject InprocSubject() {
  return RealSubject("inproc", [](int ranks, uint64_t) { return std::make_unique<InprocConformanceWorld>(ranks); });
}

inline Subject TcpSubject() {
  return RealSubject("tcp", [](int ranks, uint64_t) {
    return std::make_unique<MeshConformanceWorld>(
        ranks, [](AsioExecutor& executor) { return MakeTcpPath(executor, "127.0.0.1"); });
  });
}

/// Small rings, so that they wrap and are full often.
inline Subject ShmSubject() {
  return RealSubject("shm", [](int ranks, uint64_t) {
    return std::make_unique<MeshConformanceWorld>(
        ranks, [](AsioExecutor& executor) { return ListenShm(executor, {64 << 10, std::chrono::microseconds(20)}); });
  });
}

/// `bytes` that depend on `seed`, whole words of a sequence and its beginning at the tail.
inline std::shared_ptr<arrow::Buffer> Pattern(int64_t bytes, uint64_t seed) {
  std::shared_ptr<arrow::Buffer> buffer = arrow::AllocateBuffer(bytes).ValueOrDie();
  uint8_t* out = buffer->mutable_data();
  for (int64_t at = 0; at < bytes; at += 8) {
    const uint64_t word = (seed + static_cast<uint64_t>(at)) * 0x9e3779b97f4a7c15ULL;
    std::memcpy(out + at, &word, static_cast<size_t>(std::min<int64_t>(8, bytes - at)));
  }
  return buffer;
}

inline bool IsPattern(const arrow::Buffer& buffer, uint64_t seed) {
  for (int64_t at = 0; at < buffer.size(); at += 8) {
    const uint64_t word = (seed + static_cast<uint64_t>(at)) * 0x9e3779b97f4a7c15ULL;
    if (std::memcmp(buffer.data() + at, &word, static_cast<size_t>(std::min<int64_t>(8, buffer.size() - at))) != 0) {
      return false;
    }
  }
  return true;
}

inline ChannelId TestChannel(uint64_t sequence) { return {1, 0, ChannelKind::kTest, sequence}; }

}  // namespace cylon::testing
