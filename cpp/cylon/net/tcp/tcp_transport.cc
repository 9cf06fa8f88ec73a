// The listener of a rank, and the transport that its connections make.
#include "cylon/net/tcp/tcp_transport.h"

#include <map>
#include <utility>

#include "cylon/net/tcp/tcp_mesh.h"
#include "cylon/wire/strangers.h"

namespace cylon {

namespace {

using internal::TcpMesh;

/// What the listener's callback and the transport share.
struct Door {
  explicit Door(size_t most) : most_early(most) {}

  const size_t most_early;
  std::unique_ptr<Listener> listener;
  std::shared_ptr<TcpMesh> mesh;
  std::map<uint64_t, std::unique_ptr<Stream>> early;  // wait for the world to be known, oldest first
  uint64_t next = 0;

  static void Admit(const std::shared_ptr<Door>& self, Executor& executor, std::unique_ptr<Stream> stream) {
    if (self->mesh != nullptr) {
      return self->mesh->Accept(std::move(stream));
    }
    if (self->early.size() >= self->most_early) {
      self->early.erase(self->early.begin());
    }
    const uint64_t id = self->next++;
    self->early.emplace(id, std::move(stream));
    executor.PostAt(executor.Now() + kStrangerPatience, [weak = std::weak_ptr<Door>(self), id] {
      if (auto door = weak.lock()) {
        door->early.erase(id);
      }
    });
  }
};

class JoinedTransport : public Transport {
 public:
  JoinedTransport(std::shared_ptr<TcpMesh> mesh, std::shared_ptr<Door> door)
      : mesh_(std::move(mesh)), door_(std::move(door)) {}
  ~JoinedTransport() override { Abort(); }

  const Traits& traits() const override { return traits_; }
  arrow::Future<> Start(Sink* sink) override { return mesh_->Start(sink); }
  arrow::Future<> Send(Rank to, Message message) override { return mesh_->Send(to, std::move(message)); }
  arrow::Future<> Flush() override { return mesh_->Flush(); }
  // Who dials from now on is refused, and need not try again.
  arrow::Future<> Close() override {
    door_->listener->Close();
    return mesh_->Close();
  }
  void Abort() override {
    door_->listener->Close();
    mesh_->Abort();
  }

 private:
  std::shared_ptr<TcpMesh> mesh_;
  std::shared_ptr<Door> door_;
  Traits traits_;
};

class ListeningTransport : public TcpTransport {
 public:
  ListeningTransport(AsioExecutor& executor, int world_size)
      : executor_(executor), door_(std::make_shared<Door>(internal::MostStrangers(world_size))) {}

  arrow::Status Open(const std::string& bind_host) {
    const auto admit = [weak = std::weak_ptr<Door>(door_), &executor = executor_](std::unique_ptr<Stream> stream) {
      if (auto door = weak.lock()) {
        Door::Admit(door, executor, std::move(stream));
      }
    };
    ARROW_ASSIGN_OR_RAISE(door_->listener, ListenTcp(executor_.io(), {bind_host, 0}, admit));
    return arrow::Status::OK();
  }

  std::string address() const override { return door_->listener->address().ToString(); }

  std::unique_ptr<Transport> Join(World world, std::string secret, Duration connect_deadline) override {
    auto mesh = std::make_shared<TcpMesh>(executor_, std::move(world), std::move(secret), connect_deadline);
    executor_.Post([door = door_, mesh] {
      door->mesh = mesh;
      for (auto& [id, stream] : std::exchange(door->early, {})) {
        mesh->Accept(std::move(stream));
      }
    });
    return std::make_unique<JoinedTransport>(std::move(mesh), door_);
  }

 private:
  AsioExecutor& executor_;
  std::shared_ptr<Door> door_;
};

}  // namespace

TcpTransport::~TcpTransport() = default;

arrow::Result<std::unique_ptr<TcpTransport>> TcpTransport::Listen(AsioExecutor& executor, const std::string& bind_host,
                                                                  int world_size) {
  auto transport = std::make_unique<ListeningTransport>(executor, world_size);
  ARROW_RETURN_NOT_OK(transport->Open(bind_host));
  return transport;
}

}  // namespace cylon
