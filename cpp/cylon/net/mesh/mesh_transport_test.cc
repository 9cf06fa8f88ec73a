// Connections between ranks: who dials, who is blamed, and what strangers can do.
#include "cylon/net/mesh/mesh_transport.h"

#include <array>
#include <map>
#include <set>
#include <thread>

#include "cylon/base/asio_executor.h"
#include "cylon/net/mesh/claim.h"
#include "cylon/net/tcp/tcp_path.h"
#include "cylon/wire/bytes.h"
#include "cylon/wire/frame.h"
#include "cylon/wire/secure.h"
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
  void OnPeerMet(Rank peer) override { met.insert(peer); }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override {
    lost.emplace(peer, cause);
    if (lost.size() == 1) {
      any_lost.MarkFinished();
    }
  }

  int count = 0;
  std::multiset<Rank> met;
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
    transports[rank] = listeners[rank]->Join(
        own, MeshSettings{.security = {secret}, .connect_deadline = deadline, .peer_timeout = peer_timeout});
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
  /// The rank that has dialled `*stream`, opened as rank `self`. The stream is given back.
  Rank BeDialled(std::unique_ptr<Stream>* stream, Rank self) {
    auto opening = Spawn(executor, OpenAsListener(std::move(*stream), executor, {kSecret},
                                                  {world.job, world.epoch, self, "mesh"}, kNever));
    EXPECT_TRUE(executor.Wait(arrow::Future<>(opening), executor.Now() + kPatience).ok());
    EXPECT_TRUE(opening.status().ok()) << opening.status();
    if (!opening.status().ok()) {
      return -1;
    }
    auto opened = opening.MoveResult();
    *stream = std::move(opened->stream);
    return opened->peer.rank;
  }
  static Message Small() {
    Message message;
    message.channel = {1, 0, ChannelKind::kExchange, 1};
    return message;
  }

  AsioExecutor executor{"test"};
  Duration peer_timeout = std::chrono::seconds(10);
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

TEST_F(MeshTest, EachNeighbourIsMetOnceThoughItsConnectionIsOlderThanTheStart) {
  Open(3);
  std::vector<arrow::Future<>> started(3);
  Do([&] {
    for (const size_t rank : {0, 1, 2}) {
      Join(rank);
    }
    started[0] = transports[0]->Start(&sinks[0]);
    started[1] = transports[1]->Start(&sinks[1]);
  });
  ASSERT_TRUE(executor.Await(started[1]).ok());  // rank 2 has taken its connection
  Do([&] { started[2] = transports[2]->Start(&sinks[2]); });
  ASSERT_TRUE(executor.Await(started[2]).ok());
  ASSERT_TRUE(executor.Await(started[0]).ok());
  EXPECT_EQ(sinks[0].met, (std::multiset<Rank>{1, 2}));
  EXPECT_EQ(sinks[1].met, (std::multiset<Rank>{0, 2}));
  EXPECT_EQ(sinks[2].met, (std::multiset<Rank>{0, 1}));
}

TEST_F(MeshTest, ARankThatGivesUpIsNamedAndSendsToItFailAtOnce) {
  Open(3);
  Start();
  Do([&] { transports[1]->Abort(); });
  EXPECT_TRUE(executor.Await(sinks[0].any_lost).ok());
  ASSERT_EQ(sinks[0].lost.count(1), 1U);
  EXPECT_THAT(sinks[0].lost.at(1).message(), HasSubstr("rank 1"));
  EXPECT_TRUE(IsNobodyListening(sinks[0].lost.at(1))) << sinks[0].lost.at(1);
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
  EXPECT_EQ(BeDialled(&came[2], 1), 0);
  Do([&] {
    EXPECT_TRUE(sinks[0].lost.empty());
    came.clear();
    crowded.reset();
  });
}

/// Opens a connection that the test dialled as rank `self`, and claims the link.
Co<OpenedStream> BeTaken(std::unique_ptr<Stream> stream, Executor* executor, Identity self,
                         internal::LinkClaim own = {77, 0, 0, 1, 0}) {
  auto open = OpenAsDialler(std::move(stream), *executor, {kSecret}, std::move(self), "localhost", kNever);
  CYLON_CO_ASSIGN_OR_RETURN(OpenedStream opened, co_await open);
  auto claim = internal::ClaimLink(opened.stream.get(), *executor, own, kNever);
  CYLON_CO_ASSIGN_OR_RETURN(const auto answer, co_await claim);
  if (answer.outcome != internal::LinkAnswer::kTaken) {
    co_return arrow::Status::Invalid(static_cast<int>(answer.outcome), " ", answer.reason);
  }
  co_return opened;
}

TEST_F(MeshTest, ClaimsThatCannotBeAreRefusedWithAReason) {
  Open(2);
  arrow::Future<> started;
  Do([&] {
    Join(1);
    started = transports[1]->Start(&sinks[1]);
  });
  const auto claim = [&](Rank rank, internal::LinkClaim own) {
    auto taking = Spawn(executor, BeTaken(Connect(1), &executor, {world.job, world.epoch, rank, "mesh"}, own));
    EXPECT_TRUE(executor.Wait(arrow::Future<>(taking), executor.Now() + kPatience).ok());
    return taking;
  };
  auto first = claim(0, {77, 0, 0, 2, 0});
  ASSERT_TRUE(first.status().ok()) << first.status();
  EXPECT_THAT(claim(9, {77, 0, 0, 1, 0}).status().message(), HasSubstr("rank 9 is none of the 2 ranks"));
  EXPECT_THAT(claim(1, {77, 0, 0, 1, 0}).status().message(),
              HasSubstr("this is rank 1 already; was it started twice?"));
  EXPECT_THAT(claim(0, {78, 0, 0, 9, 0}).status().message(),
              HasSubstr("another process was rank 0 on this link before"));
  EXPECT_THAT(claim(0, {77, 5, 1, 9, 0}).status().message(),
              HasSubstr("another process was rank 1 on this link before"));
  // One that was overtaken on its way finds the link busy; the one that was taken stays.
  EXPECT_THAT(claim(0, {77, 0, 0, 1, 0}).status().message(), HasSubstr("2 "));
  Do([&] { EXPECT_TRUE(sinks[1].lost.empty()); });
  // A later one takes its place, and has to know what was sent.
  auto later = claim(0, {77, 0, 1, 3, 0});
  EXPECT_TRUE(later.status().ok()) << later.status();
  auto impossible = claim(0, {77, 0, 1, 4, 1000});
  ASSERT_TRUE(executor.Await(sinks[1].any_lost, executor.Now() + kPatience).ok());
  Do([&] {
    EXPECT_TRUE(IsError(sinks[1].lost.at(0), ErrorKind::kProtocol)) << sinks[1].lost.at(0);
    EXPECT_THAT(sinks[1].lost.at(0).message(), HasSubstr("says that it has received frame 1000"));
    for (auto* taken : {&first, &later, &impossible}) {
      if (taken->status().ok()) {
        taken->MoveResult()->stream.reset();
      }
    }
  });
}

TEST_F(MeshTest, AnOwnClockThatComesLateAccusesNobody) {
  peer_timeout = std::chrono::milliseconds(400);
  Open(2);
  Start();
  // As when this process was stopped: nothing could be heard meanwhile.
  Do([&] { std::this_thread::sleep_for(peer_timeout * 2); });
  arrow::Future<> sent;
  Do([&] { sent = transports[0]->Send(1, Small()); });
  EXPECT_TRUE(executor.Await(sent, executor.Now() + kPatience).ok());
  EXPECT_TRUE(executor.Await(sinks[1].first, executor.Now() + kPatience).ok());
  Do([&] {
    for (const auto& sink : sinks) {
      EXPECT_TRUE(sink.lost.empty());
    }
  });
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
  header.type = 4;
  frames.push_back({"ping", Encoded(header), "numbered a frame of the type 4"});
  header = GoodHeader();
  header.type = 2;
  header.segments = 1;
  header.payload_bytes = uint64_t{1} << 40;
  frames.push_back({"goodbye", Encoded(header), "type 2 with 1099511627776 bytes, which has none"});
  header = GoodHeader();
  header.acknowledged = 5;
  frames.push_back({"acknowledged", Encoded(header), "acknowledged frame 5, which was not sent to it"});
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
    auto taking = Spawn(executor, BeTaken(std::move(stream), &executor, {world.job, world.epoch, 0, "mesh"}));
    ASSERT_TRUE(executor.Wait(arrow::Future<>(taking), executor.Now() + kPatience).ok());
    ASSERT_TRUE(taking.status().ok()) << taking.status();
    auto opened = taking.MoveResult();
    stream = std::move(opened->stream);
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
  EXPECT_EQ(BeDialled(&came[1], 2), 0);
  Do([&] {
    own.reset();
    came.clear();
    door.reset();
  });
}

}  // namespace
}  // namespace cylon::testing
