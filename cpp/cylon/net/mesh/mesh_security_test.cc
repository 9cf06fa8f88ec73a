// Ranks that are secured in different ways, on loopback and off it.
#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <map>

#include "cylon/base/asio_executor.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/tcp/tcp_path.h"
#include "cylon/wire/bytes.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

/// An IPv4 address of this machine that is not on loopback; "" where it has none.
std::string OffLoopback() {
  ifaddrs* all = nullptr;
  if (::getifaddrs(&all) != 0) {
    return "";
  }
  std::string found;
  for (const ifaddrs* one = all; one != nullptr && found.empty(); one = one->ifa_next) {
    if (one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET && (one->ifa_flags & IFF_UP) != 0 &&
        (one->ifa_flags & IFF_LOOPBACK) == 0) {
      const void* address = one->ifa_addr;
      std::array<char, INET_ADDRSTRLEN> text{};
      ::inet_ntop(AF_INET, &static_cast<const sockaddr_in*>(address)->sin_addr, text.data(), text.size());
      found = text.data();
    }
  }
  ::freeifaddrs(all);
  return found;
}

class Recorder : public Sink {
 public:
  arrow::Result<Buffers> Allocate(Rank, const ChannelId&, const InlineBytes&, const Sizes& sizes) override {
    Buffers buffers;
    for (const int64_t size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      buffers.push_back(std::move(buffer));
    }
    return buffers;
  }
  void OnMessage(Rank, Message message) override {
    text = message.segments.at(0)->ToString();
    std::exchange(came, arrow::Future<>::Make()).MarkFinished();
  }
  void OnPeerLost(Rank peer, const arrow::Status& cause) override { lost.emplace(peer, cause); }

  std::string text;
  std::map<Rank, arrow::Status> lost;
  arrow::Future<> came = arrow::Future<>::Make();
};

/// Two ranks on one executor, each with its own settings.
class MeshSecurityTest : public ::testing::Test {
 protected:
  MeshSecurityTest() {
    for (auto& own : settings) {
      own.security.secret = "a secret";
      own.connect_deadline = kPatience;
    }
  }
  void TearDown() override {
    Do([&] {
      for (size_t rank = 0; rank < 2; ++rank) {
        transports[rank].reset();
        listeners[rank].reset();
      }
    });
  }
  void Do(const std::function<void()>& what) {
    const auto status = executor.RunTask([&] {
      what();
      return arrow::Status::OK();
    });
    ASSERT_TRUE(status.ok()) << status;
  }
  /// Both ranks on `host`; how their starts end.
  void Start(const std::string& host) {
    World world;
    world.job = "job";
    world.epoch = "00000001";
    Do([&] {
      for (auto& listener : listeners) {
        std::vector<std::unique_ptr<Path>> paths;
        paths.push_back(MakeTcpPath(executor, host).ValueOrDie());
        listener = MeshTransport::Listen(executor, std::move(paths), 2);
        world.cards.push_back({"localhost", 0, listener->address()});
      }
      for (size_t rank = 0; rank < 2; ++rank) {
        world.rank = static_cast<Rank>(rank);
        transports[rank] = listeners[rank]->Join(world, settings[rank]);
        started[rank] = transports[rank]->Start(&sinks[rank]);
      }
    });
    for (size_t rank = 0; rank < 2; ++rank) {
      outcome[rank] = executor.Await(started[rank], executor.Now() + kPatience);
    }
    address = world.cards[1].address;
  }
  void ExpectAMessagePasses() {
    for (const auto& status : outcome) {
      ASSERT_TRUE(status.ok()) << status;
    }
    Message message;
    message.channel = {1, 0, ChannelKind::kExchange, 1};
    message.segments = {arrow::Buffer::FromString("between ranks")};
    arrow::Future<> came;
    Do([&] {
      came = sinks[1].came;
      static_cast<void>(transports[0]->Send(1, message));
    });
    ASSERT_TRUE(executor.Await(came, executor.Now() + kPatience).ok());
    EXPECT_EQ(sinks[1].text, "between ranks");
  }
  /// What rank 1's port answers a stranger that says `bytes`, until it closes.
  std::string Say(const std::string& bytes) {
    auto dialled = Spawn(executor, ConnectTcp(executor.io(), executor, *HostPort::Parse(address), kNever));
    EXPECT_TRUE(executor.Wait(arrow::Future<>(dialled)).ok());
    auto stream = dialled.MoveResult().ValueOrDie();
    arrow::Future<> written;
    Do([&] { written = stream->Write({Bytes(bytes)}); });
    EXPECT_TRUE(executor.Await(written).ok());
    std::string answer;
    std::string buffer(4096, ' ');
    while (true) {
      arrow::Future<int64_t> read;
      Do([&] { read = stream->ReadSome(Bytes(buffer)); });
      const auto got = executor.Await(read, executor.Now() + kPatience);
      if (!got.ok() || *got == 0) {
        break;
      }
      answer.append(buffer, 0, static_cast<size_t>(*got));
    }
    Do([&] { stream.reset(); });
    return answer;
  }
  static std::string Preamble(uint16_t version, uint8_t mode) {
    ByteWriter out;
    out.Raw("CYLN");
    out.Number(version);
    out.Number(mode);
    out.Number(uint8_t{0});
    return out.Take();
  }

  AsioExecutor executor{"test"};
  std::array<MeshSettings, 2> settings;
  std::array<std::unique_ptr<MeshTransport>, 2> listeners;
  std::array<std::unique_ptr<Transport>, 2> transports;
  std::array<Recorder, 2> sinks;
  std::array<arrow::Future<>, 2> started;
  std::array<arrow::Status, 2> outcome;
  std::string address;
};

#define CYLON_OFF_LOOPBACK(host)                                                                            \
  const std::string host = OffLoopback();                                                                   \
  if ((host).empty()) {                                                                                     \
    GTEST_SKIP() << "this machine has no IPv4 address off loopback; give it one, as a dummy interface has"; \
  }

TEST_F(MeshSecurityTest, OffLoopbackRanksEncryptUnasked) {
  CYLON_OFF_LOOPBACK(host);
  Start(host);
  ExpectAMessagePasses();
  EXPECT_THAT(Say(Preamble(kHandshakeVersion, 0)), HasSubstr("set CYLON_PLAIN_TEXT to the same value at all ranks"));
  ExpectAMessagePasses();  // the stranger has disturbed nobody
}

TEST_F(MeshSecurityTest, PlainTextIsSpokenOffLoopbackWhereAllAreToldTo) {
  CYLON_OFF_LOOPBACK(host);
  settings[0].security.plain_text = settings[1].security.plain_text = true;
  Start(host);
  ExpectAMessagePasses();
}

TEST_F(MeshSecurityTest, PlainTextAtOneRankNamesTheOptionAtBoth) {
  CYLON_OFF_LOOPBACK(host);
  settings[0].security.plain_text = true;
  settings[1].connect_deadline = std::chrono::milliseconds(500);
  Start(host);
  for (const auto& status : outcome) {
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), HasSubstr("CYLON_PLAIN_TEXT=1"));
    EXPECT_THAT(status.message(), HasSubstr("set CYLON_PLAIN_TEXT to the same value at all ranks"));
  }
}

TEST_F(MeshSecurityTest, OptionsThatDifferAreNamedWithBothValues) {
  settings[0].equal_options = "world_size=2;piece_bytes=100";
  settings[1].equal_options = "world_size=2;piece_bytes=200";
  settings[1].connect_deadline = std::chrono::milliseconds(500);
  Start("127.0.0.1");
  for (const auto& status : outcome) {
    EXPECT_FALSE(status.ok());
    EXPECT_THAT(status.message(), HasSubstr("piece_bytes=100, this side piece_bytes=200"));
  }
}

TEST_F(MeshSecurityTest, AnotherVersionIsToldBoth) {
  Start("127.0.0.1");
  const std::string version = std::to_string(kHandshakeVersion + 1);
  EXPECT_THAT(Say(Preamble(kHandshakeVersion + 1, 0)),
              HasSubstr("speaks version " + version + " of the protocol, this side version " +
                        std::to_string(kHandshakeVersion)));
  ExpectAMessagePasses();
}

TEST_F(MeshSecurityTest, StrangersOffLoopbackAreRefusedAndDisturbNobody) {
  CYLON_OFF_LOOPBACK(host);
  Start(host);
  EXPECT_THAT(Say("GET / HTTP/1.1\r\nHost: there\r\n\r\n"), HasSubstr("does not speak Cylon's protocol"));
  EXPECT_THAT(Say(std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11) + std::string(500, 'x')),
              HasSubstr("does not speak Cylon's protocol"));
  // Garbage inside of what should be TLS ends with an alert.
  const std::string answer = Say(Preamble(kHandshakeVersion, 1) + std::string(2000, 'x'));
  EXPECT_THAT(answer, ::testing::Not(HasSubstr("CYHS")));
  ExpectAMessagePasses();
  for (const auto& sink : sinks) {
    EXPECT_TRUE(sink.lost.empty());
  }
}

}  // namespace
}  // namespace cylon::testing
