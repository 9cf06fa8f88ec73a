// A world of ranks that are threads of this process.
#include <thread>

#include "cylon/base/random.h"
#include "cylon/comm/context.h"
#include "cylon/comm/runtime.h"
#include "cylon/net/sim/sim_world.h"

namespace cylon {

namespace {

using Body = std::function<arrow::Status(Context&)>;

Options RankOptions(const ThreadWorld& world, Rank rank) {
  Options options = world.options;
  options.rank = rank;
  options.world_size = world.ranks;
  options.local_rank = rank;
  options.memory_bytes = options.memory_bytes != 0 ? options.memory_bytes : int64_t{1} << 30;
  options.threads = world.kind == ThreadWorld::Kind::kSim ? 1 : std::max(1, options.threads);
  return options;
}

World ThreadsAsWorld(int ranks, Rank rank) {
  World world;
  world.job = "threads";
  world.epoch = "1";
  world.rank = rank;
  world.cards.assign(static_cast<size_t>(ranks), internal::LocalWorld().cards[0]);
  return world;
}

/// Runs `body`; a context that is let go without Close aborts.
arrow::Status RunBody(arrow::Result<std::shared_ptr<Context>> context, const Body& body) {
  ARROW_RETURN_NOT_OK(context.status());
  ARROW_RETURN_NOT_OK(body(**context));
  return (*context)->Close();
}

arrow::Result<std::shared_ptr<Context>> MakeSimRank(const ThreadWorld& world, SimWorld* sim,
                                                    const std::shared_ptr<internal::InprocWorlds>& worlds,
                                                    const std::shared_ptr<MemoryStoreData>& data, Rank rank) {
  internal::Parts parts;
  ARROW_ASSIGN_OR_RAISE(parts.resources, Resources::Make(RankOptions(world, rank)));
  parts.executor = &sim->executor(rank);
  parts.interrupt = world.interrupt;
  parts.end = internal::EndOf(world.options, parts.executor->Now());
  // What the seed shuffles is the first world's messages; worlds after a failure are the threads' own.
  parts.network = internal::InprocNetwork(worlds, *parts.executor);
  parts.store = OpenMemoryStore(data, *parts.executor);
  parts.transport = sim->MakeTransport(rank);
  parts.world = ThreadsAsWorld(world.ranks, rank);
  return internal::MakeContext(std::move(parts), kNever);
}

arrow::Result<std::shared_ptr<Context>> MakeInprocRank(const ThreadWorld& world,
                                                       const std::shared_ptr<internal::InprocWorlds>& worlds,
                                                       const std::shared_ptr<MemoryStoreData>& data, Rank rank) {
  internal::Parts parts;
  ARROW_ASSIGN_OR_RAISE(parts.resources, Resources::Make(RankOptions(world, rank)));
  parts.own_executor = std::make_shared<AsioExecutor>("cylon-" + std::to_string(rank));
  parts.executor = parts.own_executor.get();
  parts.interrupt = world.interrupt;
  parts.end = internal::EndOf(world.options, parts.executor->Now());
  parts.store = OpenMemoryStore(data, *parts.executor);
  parts.network = internal::InprocNetwork(worlds, *parts.executor);
  parts.world = ThreadsAsWorld(world.ranks, rank);
  parts.transport = worlds->Join(parts.world, *parts.executor);
  return internal::MakeContext(std::move(parts), kNever);
}

arrow::Result<std::shared_ptr<Context>> MakeMeshRank(const ThreadWorld& world,
                                                     const std::shared_ptr<MemoryStoreData>& data,
                                                     const std::string& secret, Rank rank) {
  internal::Parts parts;
  parts.own_executor = std::make_shared<AsioExecutor>("cylon-" + std::to_string(rank));
  parts.executor = parts.own_executor.get();
  parts.interrupt = world.interrupt;
  parts.store = OpenMemoryStore(data, *parts.own_executor);
  Options options = RankOptions(world, rank);
  options.epoch = "1";
  options.transport = world.kind == ThreadWorld::Kind::kShm ? "shm" : "tcp";
  options.local_size = world.ranks;
  parts.network = internal::MeshNetwork(*parts.own_executor, options, secret);
  parts.end = internal::EndOf(options, parts.executor->Now());
  return internal::JoinWorld(std::move(parts), options);
}

}  // namespace

std::vector<arrow::Status> RunRanks(const ThreadWorld& world, const Body& body) {
  std::vector<arrow::Status> results(static_cast<size_t>(std::max(world.ranks, 0)));
  auto data = MakeMemoryStoreData();
  auto worlds = std::make_shared<internal::InprocWorlds>();
  if (world.kind == ThreadWorld::Kind::kSim) {
    SimWorld sim(world.ranks, world.seed);
    if (world.kill_rank >= 0) {
      sim.KillAfter(world.kill_rank, world.kill_after);
    }
    // Each rank's own status is kept; the world's is the first of them.
    (void)sim.Run([&](Rank rank) {
      auto status = RunBody(MakeSimRank(world, &sim, worlds, data, rank), body);
      results[static_cast<size_t>(rank)] = status;
      return status;
    });
    return results;
  }
  auto secret = RandomBytes(32);
  if (!secret.ok()) {
    results.assign(results.size(), secret.status());
    return results;
  }
  std::vector<std::thread> threads;
  for (Rank rank = 0; rank < world.ranks; ++rank) {
    threads.emplace_back([&, rank] {
      auto context = world.kind == ThreadWorld::Kind::kInproc ? MakeInprocRank(world, worlds, data, rank)
                                                              : MakeMeshRank(world, data, *secret, rank);
      results[static_cast<size_t>(rank)] = RunBody(std::move(context), body);
    });
  }
  for (auto& thread : threads) {
    thread.join();
  }
  return results;
}

}  // namespace cylon
