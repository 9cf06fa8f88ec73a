// Where a rank is dialled, and the transport that its connections make.
#include "cylon/net/mesh/mesh_transport.h"

#include <map>
#include <utility>

#include "cylon/net/mesh/mesh.h"
#include "cylon/wire/strangers.h"

namespace cylon {

namespace {

using internal::Mesh;
using Paths = std::vector<std::unique_ptr<Path>>;

/// What the listener's callback and the transport share.
struct Door {
  Door(std::vector<std::unique_ptr<Path>> ways, size_t most) : paths(std::move(ways)), most_early(most) {}

  const Paths paths;
  const size_t most_early;
  std::shared_ptr<Mesh> mesh;
  struct Early {
    Path* path;
    std::unique_ptr<Stream> stream;
  };
  std::map<uint64_t, Early> early;  // wait for the world to be known, oldest first
  uint64_t next = 0;

  void Close() {
    for (const auto& path : paths) {
      path->Close();
    }
  }

  static void Admit(const std::shared_ptr<Door>& self, Executor& executor, Path* path, std::unique_ptr<Stream> stream) {
    if (self->mesh != nullptr) {
      return self->mesh->Accept(path, std::move(stream));
    }
    if (self->early.size() >= self->most_early) {
      self->early.erase(self->early.begin());
    }
    const uint64_t id = self->next++;
    self->early.emplace(id, Early{path, std::move(stream)});
    executor.PostAt(executor.Now() + kStrangerPatience, [weak = std::weak_ptr<Door>(self), id] {
      if (auto door = weak.lock()) {
        door->early.erase(id);
      }
    });
  }
};

class JoinedTransport : public Transport {
 public:
  JoinedTransport(std::shared_ptr<Mesh> mesh, std::shared_ptr<Door> door)
      : mesh_(std::move(mesh)), door_(std::move(door)) {}
  ~JoinedTransport() override { Abort(); }

  const Traits& traits() const override { return traits_; }
  arrow::Future<> Start(Sink* sink) override { return mesh_->Start(sink); }
  arrow::Future<> Send(Rank to, Message message) override { return mesh_->Send(to, std::move(message)); }
  std::string way(Rank peer) const override { return mesh_->WayTo(peer); }
  arrow::Future<> Flush() override { return mesh_->Flush(); }
  // The door stays open until everybody has heard the goodbye: a connection that ends before that is made again.
  arrow::Future<> Close() override {
    auto closed = mesh_->Close();
    closed.AddCallback([door = door_](const arrow::Status&) { door->Close(); });
    return closed;
  }
  void Abort() override {
    door_->Close();
    mesh_->Abort();
  }

 private:
  std::shared_ptr<Mesh> mesh_;
  std::shared_ptr<Door> door_;
  Traits traits_;
};

class ListeningTransport : public MeshTransport {
 public:
  ListeningTransport(Executor& executor, Paths paths, int world_size)
      : executor_(executor), door_(std::make_shared<Door>(std::move(paths), internal::MostStrangers(world_size))) {
    for (const auto& path : door_->paths) {
      const auto admit = [weak = std::weak_ptr<Door>(door_), &executor = executor_,
                          way = path.get()](std::unique_ptr<Stream> stream) {
        if (auto door = weak.lock()) {
          Door::Admit(door, executor, way, std::move(stream));
        }
      };
      path->Accept(admit);
    }
  }

  std::string address() const override {
    std::string all;
    for (const auto& path : door_->paths) {
      all += (all.empty() ? "" : " ") + path->address();
    }
    return all;
  }

  std::unique_ptr<Transport> Join(World world, MeshSettings settings) override {
    auto mesh = std::make_shared<Mesh>(executor_, door_->paths, std::move(world), std::move(settings));
    executor_.Post([door = door_, mesh] {
      door->mesh = mesh;
      for (auto& [id, early] : std::exchange(door->early, {})) {
        mesh->Accept(early.path, std::move(early.stream));
      }
    });
    return std::make_unique<JoinedTransport>(std::move(mesh), door_);
  }

 private:
  Executor& executor_;
  std::shared_ptr<Door> door_;
};

}  // namespace

MeshTransport::~MeshTransport() = default;

std::unique_ptr<MeshTransport> MeshTransport::Listen(Executor& executor, std::vector<std::unique_ptr<Path>> paths,
                                                     int world_size) {
  return std::make_unique<ListeningTransport>(executor, std::move(paths), world_size);
}

}  // namespace cylon
