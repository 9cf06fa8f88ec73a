// Where a rank's transports come from.
#include "cylon/comm/network.h"

#include <utility>

#include "cylon/net/tcp/tcp_transport.h"

namespace cylon::internal {

Seat::~Seat() = default;

namespace {

class TcpSeat final : public Seat {
 public:
  TcpSeat(std::unique_ptr<TcpTransport> listener, std::string secret, Duration connect_deadline)
      : listener_(std::move(listener)), secret_(std::move(secret)), connect_deadline_(connect_deadline) {}

  std::string address() const override { return listener_->address(); }
  std::unique_ptr<Transport> Join(const World& world) override {
    return listener_->Join(world, std::move(secret_), connect_deadline_);
  }

 private:
  std::unique_ptr<TcpTransport> listener_;
  std::string secret_;
  Duration connect_deadline_;
};

class InprocSeat final : public Seat {
 public:
  InprocSeat(std::shared_ptr<InprocWorlds> worlds, Executor& executor)
      : worlds_(std::move(worlds)), executor_(executor), address_(worlds_->Enter()) {}
  ~InprocSeat() override { worlds_->Leave(address_, executor_); }
  InprocSeat(const InprocSeat&) = delete;
  InprocSeat& operator=(const InprocSeat&) = delete;

  std::string address() const override { return address_; }
  std::unique_ptr<Transport> Join(const World& world) override { return worlds_->Join(world, executor_); }

 private:
  std::shared_ptr<InprocWorlds> worlds_;
  Executor& executor_;
  std::string address_;
};

}  // namespace

Network TcpNetwork(AsioExecutor& executor, const Options& options, std::string secret) {
  const std::string bind = options.bind_host.empty() ? "127.0.0.1" : options.bind_host;
  const auto deadline = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.connect_deadline_s));
  return [&executor, bind, deadline, secret = std::move(secret)](int ranks) -> arrow::Result<std::unique_ptr<Seat>> {
    ARROW_ASSIGN_OR_RAISE(auto listener, TcpTransport::Listen(executor, bind, ranks));
    return std::make_unique<TcpSeat>(std::move(listener), secret, deadline);
  };
}

std::string InprocWorlds::Enter() {
  std::lock_guard<std::mutex> lock(mutex_);
  return "thread:" + std::to_string(++entered_);
}

std::unique_ptr<Transport> InprocWorlds::Join(const World& world, Executor& executor) {
  std::lock_guard<std::mutex> lock(mutex_);
  auto [at, first] = epochs_.try_emplace(world.epoch);
  Epoch& epoch = at->second;
  if (first) {
    epoch.world = world;
    epoch.hub = std::make_unique<InprocHub>(world.size());
  }
  epoch.joined.insert(world.rank);
  auto transport = epoch.hub->MakeTransport(world.rank, executor);
  Lose(&epoch, executor);
  return transport;
}

void InprocWorlds::Leave(const std::string& address, Executor& executor) {
  std::lock_guard<std::mutex> lock(mutex_);
  gone_.insert(address);
  for (auto& [name, epoch] : epochs_) {
    Lose(&epoch, executor);
  }
}

/// Who was named in a world and went before it joined is lost there, as a connection to it would be refused: a
/// transport in its name that ends at once tells the others.
void InprocWorlds::Lose(Epoch* epoch, Executor& executor) {
  for (Rank rank = 0; rank < epoch->world.size(); ++rank) {
    if (gone_.contains(epoch->world.cards[static_cast<size_t>(rank)].address) && epoch->joined.insert(rank).second) {
      epoch->hub->MakeTransport(rank, executor).reset();
    }
  }
}

Network InprocNetwork(std::shared_ptr<InprocWorlds> worlds, Executor& executor) {
  return [worlds = std::move(worlds), &executor](int) -> arrow::Result<std::unique_ptr<Seat>> {
    return std::make_unique<InprocSeat>(worlds, executor);
  };
}

}  // namespace cylon::internal
