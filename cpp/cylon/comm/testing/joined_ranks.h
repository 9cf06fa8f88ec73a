/// For tests: ranks as threads whose messages go through holes in gateways, through a relay, through a Redis server, or
/// through a directory.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "cylon/base/random.h"
#include "cylon/bootstrap/testing/redis_server.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/comm/runtime.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/punch/testing/hub_paths.h"

namespace cylon::testing {

using RankBody = std::function<arrow::Status(Context&)>;
/// A busy machine takes its time.
inline constexpr auto kJoinedPatience = std::chrono::seconds(100);
using NetworkMaker = std::function<internal::Network(AsioExecutor& executor, const Options& options)>;

/// A place in a mesh over paths that a test has made.
class PathsSeat final : public internal::Seat {
 public:
  using MakePaths = std::function<arrow::Result<std::vector<std::unique_ptr<Path>>>(AsioExecutor&)>;
  static arrow::Result<std::unique_ptr<internal::Seat>> Make(AsioExecutor& executor, const MakePaths& make_paths,
                                                             int ranks) {
    auto seat = std::make_unique<PathsSeat>(executor);
    ARROW_RETURN_NOT_OK(executor.RunTask([&, self = seat.get()]() -> arrow::Status {
      ARROW_ASSIGN_OR_RAISE(auto paths, make_paths(executor));
      self->listener_ = MeshTransport::Listen(executor, std::move(paths), ranks);
      self->address_ = self->listener_->address();
      return arrow::Status::OK();
    }));
    return seat;
  }

  explicit PathsSeat(AsioExecutor& executor) : executor_(executor) {}
  ~PathsSeat() override {
    RunNow(executor_, [listener = std::move(listener_)]() mutable { listener.reset(); });
  }
  PathsSeat(const PathsSeat&) = delete;
  PathsSeat& operator=(const PathsSeat&) = delete;

  std::string address() const override { return address_; }
  arrow::Result<std::unique_ptr<Transport>> Join(const World& world) override {
    std::unique_ptr<Transport> transport;
    ARROW_RETURN_NOT_OK(executor_.RunTask([&] {
      transport = listener_->Join(world, {.security = {"a secret"}, .connect_deadline = kJoinedPatience});
      return arrow::Status::OK();
    }));
    return transport;
  }

 private:
  AsioExecutor& executor_;
  std::shared_ptr<MeshTransport> listener_;
  std::string address_;
};

/// As RunRanks, of ranks that meet in a store and are connected by a network.
inline std::vector<arrow::Status> RunJoined(int ranks, const NetworkMaker& network, const Options& common,
                                            const RankBody& body) {
  const auto data = MakeMemoryStoreData();
  std::vector<arrow::Status> results(static_cast<size_t>(ranks));
  const auto run = [&](Rank rank) -> arrow::Status {
    Options options = common;
    options.job = "test";
    options.epoch = "1";
    options.rank = options.local_rank = rank;
    options.world_size = options.local_size = ranks;
    options.threads = 1;
    options.memory_bytes = int64_t{1} << 30;
    internal::Parts parts;
    parts.own_executor = std::make_shared<AsioExecutor>("cylon-" + std::to_string(rank));
    parts.executor = parts.own_executor.get();
    parts.store = OpenMemoryStore(data, *parts.own_executor);
    parts.network = network(*parts.own_executor, options);
    ARROW_ASSIGN_OR_RAISE(auto context, internal::JoinWorld(std::move(parts), options));
    ARROW_RETURN_NOT_OK(body(*context));
    return context->Close();
  };
  std::vector<std::thread> threads;
  for (Rank rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] { results[static_cast<size_t>(rank)] = run(rank); });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  return results;
}

/// By holes that are made on loopback; `symmetric`: none can be, so everything goes through the relay.
inline std::vector<arrow::Status> RunPunched(int ranks, bool symmetric, const RankBody& body) {
  const auto hub = std::make_shared<CourierHub>();
  const auto network = [&](AsioExecutor& executor, const Options&) -> internal::Network {
    return [&executor, hub, symmetric](int size) { return PathsSeat::Make(executor, HubPaths(hub, symmetric), size); };
  };
  auto results = RunJoined(ranks, network, {}, body);
  // What was tested is what is said: pairs met at the relay, or none did.
  EXPECT_EQ(hub->relays() > 0, symmetric && ranks > 1);
  return results;
}

/// Through a Redis server of its own.
inline std::vector<arrow::Status> RunOverRedis(int ranks, const RankBody& body) {
  const RedisServer server;
  Options options;
  options.transport = "redis";
  options.redis = server.url();
  const auto network = [](AsioExecutor& executor, const Options& each) {
    return internal::RedisNetwork(executor, each, "a secret");
  };
  return RunJoined(ranks, network, options, body);
}

/// Through an object store of its own, which is a directory.
inline std::vector<arrow::Status> RunOverObjects(int ranks, const RankBody& body) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("cylon-objects-" + HexEncode(RandomBytes(8).ValueOrDie()));
  std::filesystem::create_directories(folder);
  Options options;
  options.transport = "object";
  options.object_store = "file://" + folder.string();
  options.peer_timeout_s = std::chrono::duration<double>(kJoinedPatience).count();  // heartbeats are late there too
  const auto network = [](AsioExecutor& executor, const Options& each) {
    return internal::ObjectNetwork(executor, each, "a secret");
  };
  auto results = RunJoined(ranks, network, options, body);
  std::error_code ignored;
  std::filesystem::remove_all(folder, ignored);
  return results;
}

}  // namespace cylon::testing
