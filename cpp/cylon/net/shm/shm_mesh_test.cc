// Ranks that talk through memory: many of them, strangers among them, and ways around a socket that is out of reach.
#include <algorithm>
#include <map>
#include <tuple>

#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/shm/shm_path.h"
#include "cylon/net/shm/unix_socket.h"
#include "cylon/net/tcp/tcp_path.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

/// Counts what comes.
class ShmCounter : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    Buffers out;
    for (const int64_t size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      out.push_back(std::move(buffer));
    }
    return out;
  }
  void OnMessage(Rank, Message message) override {
    bytes += message.payload_bytes();
    if (++count == expected) {
      all.MarkFinished();
    }
  }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override { lost.emplace(peer, cause); }

  int expected = 1;
  int count = 0;
  int64_t bytes = 0;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> all = arrow::Future<>::Make();
};

/// All ranks on one executor.
class ShmMeshTest : public ::testing::Test {
 protected:
  void Open(int ranks, bool with_tcp) {
    world.job = "job";
    world.epoch = "00000001";
    sinks = std::vector<ShmCounter>(static_cast<size_t>(ranks));
    Do([&] {
      for (Rank rank = 0; rank < ranks; ++rank) {
        std::vector<std::unique_ptr<Path>> paths;
        paths.push_back(ListenShm(executor, {4096, Duration(0)}).ValueOrDie());
        if (with_tcp) {
          paths.push_back(MakeTcpPath(executor, "127.0.0.1").ValueOrDie());
        }
        listeners.push_back(MeshTransport::Listen(executor, std::move(paths), ranks));
        world.cards.push_back({"localhost", 0, listeners.back()->address()});
      }
    });
  }
  void Start() {
    std::vector<arrow::Future<>> started;
    Do([&] {
      for (Rank rank = 0; rank < world.size(); ++rank) {
        auto own = world;
        own.rank = rank;
        transports.push_back(listeners[static_cast<size_t>(rank)]->Join(own, {"a secret", kPatience}));
      }
      for (size_t rank = 0; rank < transports.size(); ++rank) {
        started.push_back(transports[rank]->Start(&sinks[rank]));
      }
    });
    for (auto& future : started) {
      const auto status = Await(future);
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  /// Each rank sends `bytes` to the `others` next ones; all arrive.
  void Exchange(int others, int64_t bytes) {
    Do([&] {
      for (auto& sink : sinks) {
        sink.expected = others;
      }
      const std::shared_ptr<arrow::Buffer> buffer =
          arrow::Buffer::FromString(std::string(static_cast<size_t>(bytes), 'x'));
      for (Rank rank = 0; rank < world.size(); ++rank) {
        for (int i = 1; i <= others; ++i) {
          std::ignore = transports[static_cast<size_t>(rank)]->Send(
              (rank + i) % world.size(), Message{{1, 0, ChannelKind::kTest, 0}, {}, {buffer}});
        }
      }
    });
    for (auto& sink : sinks) {
      ASSERT_TRUE(Await(sink.all).ok());
      EXPECT_EQ(sink.bytes, bytes * others);
    }
  }
  ~ShmMeshTest() override {
    Do([&] {
      transports.clear();
      listeners.clear();
    });
  }

  template <typename F>
  void Do(F function) {
    const auto status = executor.RunTask([&] {
      function();
      return arrow::Status::OK();
    });
    EXPECT_TRUE(status.ok()) << status;
  }
  arrow::Status Await(const arrow::Future<>& future) { return executor.Await(future, executor.Now() + kPatience); }

  AsioExecutor executor{"mesh"};
  World world;
  std::vector<ShmCounter> sinks;
  std::vector<std::unique_ptr<MeshTransport>> listeners;
  std::vector<std::unique_ptr<Transport>> transports;
};

TEST_F(ShmMeshTest, SixtyFourRanksTalk) {
  Open(64, /*with_tcp=*/false);
  Start();
  Exchange(3, 10000);  // more than a ring holds
}

TEST_F(ShmMeshTest, GoesByTcpWhereTheSocketCannotBeReached) {
  Open(3, /*with_tcp=*/true);
  for (auto& card : world.cards) {
    // As from another network namespace: the host is the same, the name is not known.
    const size_t name = card.address.find("/cylon-") + 1;
    card.address.replace(name, card.address.find(' ') - name, "cylon-elsewhere");
  }
  Start();
  Exchange(2, 100000);
}

TEST_F(ShmMeshTest, StrangersGetNowhere) {
  Open(2, /*with_tcp=*/false);
  const std::string address = world.cards[1].address;
  auto connect =
      internal::ConnectUnix(executor, address.substr(address.rfind('/') + 1), executor.Now() + kPatience, {});
  auto dialled = Spawn(executor, std::move(connect));
  ASSERT_TRUE(executor.Wait(arrow::Future<>(dialled), executor.Now() + kPatience).ok());
  auto stranger = dialled.MoveResult().ValueOrDie();
  Start();
  // What it says is no handshake: it is told so, and the connection ends.
  std::string answer(65536, '\0');
  arrow::Future<> read;
  Do([&] {
    std::ignore = stranger->Write({Bytes("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")});
    read = stranger->Read(Bytes(answer));
  });
  EXPECT_TRUE(IsEndOfStream(Await(read)));
  Exchange(1, 10);
  EXPECT_TRUE(sinks[1].lost.empty());
  Do([&] { stranger.reset(); });
}

TEST_F(ShmMeshTest, OtherJobsAreRefused) {
  Open(2, /*with_tcp=*/false);
  arrow::Future<> started;
  Do([&] {
    for (Rank rank = 0; rank < 2; ++rank) {
      auto own = world;
      own.rank = rank;
      transports.push_back(listeners[static_cast<size_t>(rank)]->Join(own, {rank == 0 ? "one" : "another", kPatience}));
    }
    std::ignore = transports[1]->Start(&sinks[1]);
    started = transports[0]->Start(&sinks[0]);
  });
  const auto status = Await(started);
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
}

}  // namespace
}  // namespace cylon::testing
