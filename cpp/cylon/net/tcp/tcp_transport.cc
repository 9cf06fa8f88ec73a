// The listener of a rank, and the transport that its connections make.
#include "cylon/net/tcp/tcp_transport.h"

#include <deque>
#include <utility>

#include "cylon/net/tcp/tcp_mesh.h"

namespace cylon {

namespace {

using internal::TcpMesh;

/// Connections that wait for the world to be known, at most; a stranger cannot fill more than these.
constexpr size_t kEarlyConnections = 1024;

/// What the listener's callback and the transport share.
struct Door {
  std::shared_ptr<TcpMesh> mesh;
  std::deque<std::unique_ptr<Stream>> early;
};

class JoinedTransport : public Transport {
 public:
  explicit JoinedTransport(std::shared_ptr<TcpMesh> mesh) : mesh_(std::move(mesh)) {}
  ~JoinedTransport() override { mesh_->Abort(); }

  const Traits& traits() const override { return traits_; }
  arrow::Future<> Start(Sink* sink) override { return mesh_->Start(sink); }
  arrow::Future<> Send(Rank to, Message message) override { return mesh_->Send(to, std::move(message)); }
  arrow::Future<> Flush() override { return mesh_->Flush(); }
  arrow::Future<> Close() override { return mesh_->Close(); }
  void Abort() override { mesh_->Abort(); }

 private:
  std::shared_ptr<TcpMesh> mesh_;
  Traits traits_;
};

class ListeningTransport : public TcpTransport {
 public:
  explicit ListeningTransport(AsioExecutor& executor) : executor_(executor), door_(std::make_shared<Door>()) {}

  arrow::Status Open(const std::string& bind_host) {
    ARROW_ASSIGN_OR_RAISE(listener_, ListenTcp(executor_.io(), {bind_host, 0}, [door = door_](auto stream) {
                            if (door->mesh != nullptr) {
                              door->mesh->Accept(std::move(stream));
                            } else if (door->early.size() < kEarlyConnections) {
                              door->early.push_back(std::move(stream));
                            }
                          }));
    return arrow::Status::OK();
  }

  std::string address() const override { return listener_->address().ToString(); }

  std::unique_ptr<Transport> Join(World world, std::string secret, Duration connect_deadline) override {
    auto mesh = std::make_shared<TcpMesh>(executor_, std::move(world), std::move(secret), connect_deadline);
    executor_.Post([door = door_, mesh] {
      door->mesh = mesh;
      for (auto& stream : std::exchange(door->early, {})) {
        mesh->Accept(std::move(stream));
      }
    });
    return std::make_unique<JoinedTransport>(std::move(mesh));
  }

 private:
  AsioExecutor& executor_;
  std::shared_ptr<Door> door_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace

TcpTransport::~TcpTransport() = default;

arrow::Result<std::unique_ptr<TcpTransport>> TcpTransport::Listen(AsioExecutor& executor,
                                                                  const std::string& bind_host) {
  auto transport = std::make_unique<ListeningTransport>(executor);
  ARROW_RETURN_NOT_OK(transport->Open(bind_host));
  return transport;
}

}  // namespace cylon
