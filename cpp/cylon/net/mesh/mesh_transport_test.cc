// Connections between ranks: who dials, who is blamed, and what strangers can do.
#include "cylon/net/mesh/mesh_transport.h"

#include <array>
#include <map>

#include "cylon/base/asio_executor.h"
#include "cylon/net/tcp/tcp_path.h"
#include "cylon/wire/bytes.h"
#include "cylon/wire/frame.h"
#include "cylon/wire/handshake.h"
#include "cylon/wire/strangers.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

const std::string kSecret = "a secret";

class Counter : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes&) override {
    return Buffers{};
  }
  void OnMessage(Rank, Message) override {
    ++count;
    if (count == 1) {
      first.MarkFinished();
    }
  }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    lost.emplace(peer, cause);
    if (lost.size() == 1) {
      any_lost.MarkFinished();
    }
  }

  int count = 0;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> first = arrow::Future<>::Make();
  arrow::Future<> any_lost = arrow::Future<>::Make();
};

/// All ranks on one executor: a task may act for two of them at the same moment.
class MeshTest : public ::testing::Test {
 protected:
  void Open(int ranks) {
    world.job = "job";
    world.epoch = "00000001";
    Do([&] {
      for (Rank rank = 0; rank < ranks; ++rank) {
        std::vector<std::unique_ptr<Path>> paths;
        paths.push_back(MakeTcpPath(executor, "127.0.0.1").ValueOrDie());
        listeners.push_back(MeshTransport::Listen(executor, std::move(paths), ranks));
        world.cards.push_back({"localhost", 0, listeners.back()->address()});
      }
    });
    sinks = std::vector<Counter>(static_cast<size_t>(ranks));
    transports.resize(static_cast<size_t>(ranks));
  }
  void Join(size_t rank, Duration deadline = std::chrono::seconds(30), const std::string& secret = kSecret) {
    auto own = world;
    own.rank = static_cast<Rank>(rank);
    transports[rank] = listeners[rank]->Join(own, {secret, deadline});
  }
  void Start() {
    std::vector<arrow::Future<>> started;
    Do([&] {
      for (size_t rank = 0; rank < transports.size(); ++rank) {
        Join(rank);
        started.push_back(transports[rank]->Start(&sinks[rank]));
      }
    });
    for (auto& future : started) {
      const auto status = executor.Await(future);
      ASSERT_TRUE(status.ok()) << status;
    }
  }
  void Do(const std::function<void()>& what) {
    const auto status = executor.RunTask([&] {
      what();
      return arrow::Status::OK();
    });
    ASSERT_TRUE(status.ok()) << status;
  }
  void Drop() {
    Do([&] {
      transports.clear();
      listeners.clear();
    });
    world.cards.clear();
  }
  void TearDown() override { Drop(); }
  /// A connection to a rank's port that nothing has been sent on. To be dropped in a task.
  std::unique_ptr<Stream> Connect(size_t rank) {
    const auto address = HostPort::Parse(world.cards[rank].address).ValueOrDie();
    const auto deadline = executor.Now() + kPatience;
    auto dialled = Spawn(executor, ConnectTcp(executor.io(), executor, address, deadline));
    EXPECT_TRUE(executor.Wait(arrow::Future<>(dialled), deadline).ok());
    return dialled.MoveResult().ValueOrDie();
  }
  /// Waits until the other side of a connection has closed it, whatever it sends before.
  bool Ends(Stream* stream) {
    std::vector<uint8_t> buffer(4096);
    while (true) {
      arrow::Future<int64_t> read;
      Do([&] { read = stream->ReadSome(buffer); });
      const auto got = executor.Await(read, executor.Now() + kPatience);
      if (!got.ok() || *got == 0) {
        return got.ok() || IsEndOfStream(got.status());
      }
    }
  }
  static Message Small() {
    Message message;
    message.channel = {1, 0, ChannelKind::kExchange, 1};
    return message;
  }

  AsioExecutor executor{"test"};
  World world;
  std::vector<std::unique_ptr<MeshTransport>> listeners;
  std::vector<Counter> sinks;
  std::vector<std::unique_ptr<Transport>> transports;
};

TEST_F(MeshTest, TwoThatDialEachOtherAtOnceKeepOneConnection) {
  for (int round = 0; round < 20; ++round) {
    Open(4);
    Start();
    arrow::Future<> there;
    arrow::Future<> back;
    Do([&] {
      there = transports[0]->Send(2, Small());
      back = transports[2]->Send(0, Small());
    });
    EXPECT_TRUE(executor.Await(there).ok());
    EXPECT_TRUE(executor.Await(back).ok());
    EXPECT_TRUE(executor.Await(sinks[0].first).ok());
    EXPECT_TRUE(executor.Await(sinks[2].first).ok());
    for (const auto& sink : sinks) {
      EXPECT_TRUE(sink.lost.empty());
    }
    Drop();
  }
}

TEST_F(MeshTest, ARankThatGivesUpIsNamedAndSendsToItFailAtOnce) {
  Open(3);
  Start();
  Do([&] { transports[1]->Abort(); });
  EXPECT_TRUE(executor.Await(sinks[0].any_lost).ok());
  ASSERT_EQ(sinks[0].lost.count(1), 1U);
  EXPECT_THAT(sinks[0].lost.at(1).message(), HasSubstr("rank 1"));
  Do([&] {
    auto sent = transports[0]->Send(1, Small());
    ASSERT_TRUE(sent.is_finished());
    EXPECT_THAT(sent.status().message(), HasSubstr("rank 1"));
  });
}

TEST_F(MeshTest, AGoodbyeIsNoFailure) {
  Open(2);
  Start();
  arrow::Future<> closed;
  Do([&] { closed = transports[1]->Close(); });
  EXPECT_TRUE(executor.Await(sinks[0].any_lost).ok());
  EXPECT_TRUE(executor.Await(closed).ok());
  EXPECT_TRUE(sinks[0].lost.at(1).ok()) << sinks[0].lost.at(1);
}

TEST_F(MeshTest, ASilentNeighbourIsNamedAtTheDeadline) {
  Open(2);
  arrow::Future<> started;
  Do([&] {
    Join(0, std::chrono::milliseconds(200));
    started = transports[0]->Start(&sinks[0]);
  });
  const auto status = executor.Await(started);
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("rank 1"));
}

TEST_F(MeshTest, AWrongSecretIsToldOnBothSidesAndTheOthersStillMeet) {
  Open(3);
  std::vector<arrow::Future<>> started;
  Do([&] {
    for (size_t rank = 0; rank < 3; ++rank) {
      Join(rank, kPatience, rank == 1 ? "another secret" : kSecret);
      started.push_back(transports[rank]->Start(&sinks[rank]));
    }
  });
  // Rank 0 dials rank 1, which dials rank 2: a connection of either direction is refused, to its dialler's knowledge.
  for (const size_t rank : {0, 1}) {
    const auto status = executor.Await(started[rank], executor.Now() + kPatience);
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(), HasSubstr("cannot connect to rank " + std::to_string(rank + 1)));
    EXPECT_THAT(status.message(), HasSubstr("does not know the job's secret"));
    EXPECT_THAT(status.message(), HasSubstr("CYLON_SECRET"));
  }
  arrow::Future<> sent;
  Do([&] { sent = transports[0]->Send(2, Small()); });
  EXPECT_TRUE(executor.Await(sent, executor.Now() + kPatience).ok());
  EXPECT_TRUE(executor.Await(sinks[2].first, executor.Now() + kPatience).ok());
  Do([&] {
    EXPECT_EQ(sinks[0].lost.count(2), 0U);
    EXPECT_TRUE(sinks[2].lost.empty()) << "who has not proven itself is nobody's loss";
  });
}

TEST_F(MeshTest, StrangersAreClosedAndDisturbNobody) {
  Open(3);
  Start();
  std::vector<std::unique_ptr<Stream>> strangers;
  // The long ones are more than is read after a refusal; the short ones wait for an answer.
  for (const std::string& garbage : {std::string("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), std::string("CYHS"),
                                     std::string(100000, '\0'), std::string(100000, '\xff')}) {
    strangers.push_back(Connect(0));
    auto* stranger = strangers.back().get();
    arrow::Future<> written;
    Do([&] { written = stranger->Write({Bytes(garbage)}); });
    const auto status = executor.Await(written, executor.Now() + kPatience);
    EXPECT_TRUE(status.ok() || IsEndOfStream(status)) << status;
  }
  arrow::Future<> sent;
  Do([&] { sent = transports[1]->Send(0, Small()); });
  EXPECT_TRUE(executor.Await(sent, executor.Now() + kPatience).ok());
  EXPECT_TRUE(executor.Await(sinks[0].first, executor.Now() + kPatience).ok());
  for (auto& stranger : strangers) {
    EXPECT_TRUE(Ends(stranger.get()));
  }
  Do([&] {
    strangers.clear();
    for (const auto& sink : sinks) {
      EXPECT_TRUE(sink.lost.empty());
    }
    EXPECT_EQ(sinks[0].count, 1);
  });
}

TEST_F(MeshTest, ACrowdOfSilentStrangersGivesWay) {
  Open(5);
  std::vector<std::unique_ptr<Stream>> strangers;
  const auto crowd = [&] {
    for (size_t i = 0; i < 2 * kStrangersAtOnce; ++i) {
      strangers.push_back(Connect(1));
    }
  };
  crowd();  // before rank 1 knows the world
  Start();
  crowd();
  arrow::Future<> sent;
  Do([&] { sent = transports[3]->Send(1, Small()); });  // they are no neighbours: this dials
  EXPECT_TRUE(executor.Await(sent, executor.Now() + kPatience).ok());
  EXPECT_TRUE(executor.Await(sinks[1].first, executor.Now() + kPatience).ok());
  // The oldest of each crowd were closed.
  for (const size_t oldest : {size_t{0}, 2 * kStrangersAtOnce}) {
    EXPECT_TRUE(Ends(strangers[oldest].get()));
  }
  Do([&] {
    strangers.clear();
    for (const auto& sink : sinks) {
      EXPECT_TRUE(sink.lost.empty());
    }
  });
}

TEST_F(MeshTest, AStrangerIsClosedInTimeThoughTheWorldIsNotKnown) {
  Open(2);
  auto stranger = Connect(0);
  EXPECT_TRUE(Ends(stranger.get()));
  Do([&] { stranger.reset(); });
}

TEST_F(MeshTest, AConnectionThatIsTurnedAwayIsMadeAgain) {
  Open(3);
  // The card of rank 1 leads to a port that closes the first connections at once, as one that strangers crowd does.
  std::unique_ptr<Listener> crowded;
  std::vector<std::unique_ptr<Stream>> came;
  arrow::Future<> third = arrow::Future<>::Make();
  arrow::Future<> started;
  Do([&] {
    crowded = ListenTcp(executor.io(), {"127.0.0.1", 0}, [&](std::unique_ptr<Stream> stream) {
                came.push_back(std::move(stream));
                if (came.size() < 3) {
                  came.back()->Close();
                } else if (came.size() == 3) {
                  third.MarkFinished();
                }
              }).ValueOrDie();
    world.cards[1].address = "tcp://" + crowded->address().ToString();
    Join(0);
    started = transports[0]->Start(&sinks[0]);
  });
  ASSERT_TRUE(executor.Await(third, executor.Now() + kPatience).ok());
  const auto dialler = executor.Await(Spawn(
      executor, HandshakeAsListener(came[2].get(), executor, {world.job, world.epoch, 1, "mesh"}, kSecret, kNever)));
  ASSERT_TRUE(dialler.ok()) << dialler.status();
  EXPECT_EQ(dialler->rank, 0);
  Do([&] {
    EXPECT_TRUE(sinks[0].lost.empty());
    came.clear();
    crowded.reset();
  });
}

/// Handshakes as `rank` on a connection that the test dialled, and waits to be taken.
Co<void> BeTaken(Stream* stream, Executor* executor, Identity self) {
  auto handshake = HandshakeAsDialler(stream, *executor, std::move(self), kSecret, kNever);
  CYLON_CO_RETURN_NOT_OK((co_await handshake).status());
  std::array<uint8_t, 1> verdict{};
  auto read = stream->Read(verdict);
  CYLON_CO_RETURN_NOT_OK(co_await read);
  co_return verdict[0] == 1 ? arrow::Status::OK() : arrow::Status::Invalid("refused");
}

struct BadFrame {
  std::string name;
  std::string bytes;
  std::string complaint;
};

FrameHeader GoodHeader() {
  FrameHeader header;
  header.type = 1;
  header.sequence = 1;
  header.epoch = 1;
  return header;
}

std::string Encoded(const FrameHeader& header) {
  const auto bytes = EncodeFrameHeader(header);
  return {bytes.begin(), bytes.end()};
}

std::vector<BadFrame> BadFrames() {
  std::vector<BadFrame> frames{{"garbage", std::string(kFrameHeaderBytes, 'x'), "magic is"}};
  auto header = GoodHeader();
  header.sequence = 7;
  frames.push_back({"gap", Encoded(header), "sent frame 7 after frame 0"});
  header = GoodHeader();
  header.epoch = 9;
  frames.push_back({"epoch", Encoded(header), "another run (epoch 9, not 1)"});
  header = GoodHeader();
  header.type = 77;
  frames.push_back({"type", Encoded(header), "unknown type 77"});
  header = GoodHeader();
  header.payload_bytes = 10;
  header.segments = 1;
  ByteWriter length;
  length.Number(uint64_t{11});
  frames.push_back({"larger", Encoded(header) + length.Take(), "larger than their frame"});
  length.Number(uint64_t{9});
  frames.push_back({"smaller", Encoded(header) + length.Take(), "9 bytes in a frame of 10"});
  return frames;
}

TEST_F(MeshTest, AMalformedFrameOfAProvenPeerIsAProtocolErrorThatNamesIt) {
  for (const auto& bad : BadFrames()) {
    SCOPED_TRACE(bad.name);
    // In a world of two rank 0 dials: the test is rank 0.
    Open(2);
    arrow::Future<> started;
    Do([&] {
      Join(1);
      started = transports[1]->Start(&sinks[1]);
    });
    auto stream = Connect(1);
    const auto taken =
        executor.Await(Spawn(executor, BeTaken(stream.get(), &executor, {world.job, world.epoch, 0, "mesh"})));
    ASSERT_TRUE(taken.ok()) << taken;
    ASSERT_TRUE(executor.Await(started, executor.Now() + kPatience).ok());
    arrow::Future<> written;
    Do([&] { written = stream->Write({Bytes(bad.bytes)}); });
    EXPECT_TRUE(executor.Await(written, executor.Now() + kPatience).ok());
    ASSERT_TRUE(executor.Await(sinks[1].any_lost, executor.Now() + kPatience).ok());
    Do([&] {
      ASSERT_EQ(sinks[1].lost.count(0), 1U);
      const auto& cause = sinks[1].lost.at(0);
      EXPECT_TRUE(IsError(cause, ErrorKind::kProtocol)) << cause;
      EXPECT_EQ(GetErrorDetail(cause)->rank, 0);
      EXPECT_THAT(cause.message(), HasSubstr("rank 0"));
      EXPECT_THAT(cause.message(), HasSubstr(bad.complaint));
      EXPECT_EQ(sinks[1].count, 0);
      stream.reset();
    });
    Drop();
  }
}

TEST_F(MeshTest, RanksThatAreNoNeighboursConnectAtTheFirstMessage) {
  Open(5);
  // The card of rank 2 leads to the test, which sees every connection that rank 0 makes to it.
  std::vector<std::unique_ptr<Stream>> came;
  arrow::Future<> first = arrow::Future<>::Make();
  arrow::Future<> second = arrow::Future<>::Make();
  std::unique_ptr<Listener> door;
  std::vector<arrow::Future<>> started;
  Do([&] {
    door = ListenTcp(executor.io(), {"127.0.0.1", 0}, [&](std::unique_ptr<Stream> stream) {
             came.push_back(std::move(stream));
             (came.size() == 1 ? first : second).MarkFinished();
           }).ValueOrDie();
    world.cards[2].address = "tcp://" + door->address().ToString();
    Join(1);  // is dialled by rank 0; it does not start, as it would dial rank 2
    for (const size_t rank : {0, 4}) {
      Join(rank);
      started.push_back(transports[rank]->Start(&sinks[rank]));
    }
  });
  ASSERT_TRUE(executor.Await(started[0], executor.Now() + kPatience).ok());
  // Connections are accepted in the order in which they were made: had rank 0 made one, it would be first.
  auto own = Connect(2);
  ASSERT_TRUE(executor.Await(first, executor.Now() + kPatience).ok());
  const std::string hello = "it is me";
  std::string heard(hello.size(), ' ');
  arrow::Future<> written;
  arrow::Future<> read;
  Do([&] {
    EXPECT_EQ(came.size(), 1U);
    written = own->Write({Bytes(hello)});
    read = came[0]->Read(Bytes(heard));
  });
  EXPECT_TRUE(executor.Await(written, executor.Now() + kPatience).ok());
  EXPECT_TRUE(executor.Await(read, executor.Now() + kPatience).ok());
  EXPECT_EQ(heard, hello);

  Do([&] { static_cast<void>(transports[0]->Send(2, Small())); });
  ASSERT_TRUE(executor.Await(second, executor.Now() + kPatience).ok());
  const auto dialler = executor.Await(Spawn(
      executor, HandshakeAsListener(came[1].get(), executor, {world.job, world.epoch, 2, "mesh"}, kSecret, kNever)));
  ASSERT_TRUE(dialler.ok()) << dialler.status();
  EXPECT_EQ(dialler->rank, 0);
  Do([&] {
    own.reset();
    came.clear();
    door.reset();
  });
}

}  // namespace
}  // namespace cylon::testing
