// Byte streams over TCP, and addresses as text.
#include "cylon/wire/stream.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <asio/ip/tcp.hpp>
#include <tuple>

#include "cylon/base/error.h"
#include "cylon/wire/socket_stream.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

TEST(HostPortTest, ReadsHostsAndPorts) {
  EXPECT_EQ(HostPort::Parse("localhost:1")->ToString(), "localhost:1");
  EXPECT_EQ(HostPort::Parse("tcp://10.0.0.1:65535")->ToString(), "10.0.0.1:65535");
  auto v6 = HostPort::Parse("tcp://[::1]:0");
  ASSERT_TRUE(v6.ok());
  EXPECT_EQ(v6->host, "::1");
  EXPECT_EQ(v6->ToString(), "[::1]:0");
}

TEST(HostPortTest, SaysWhatIsWrong) {
  const std::pair<const char*, const char*> cases[] = {{"", "has no port"},
                                                       {"host", "has no port"},
                                                       {":1", "has no host"},
                                                       {"h:", "between 0 and 65535"},
                                                       {"h:65536", "65535"},
                                                       {"h:1x", "65535"},
                                                       {"::1:5", "more than one colon"},
                                                       {"a:b:1", "more than one colon"},
                                                       {"[::1]5", "after its IPv6 host"},
                                                       {"[::1", "after its IPv6 host"}};
  for (const auto& [text, what] : cases) {
    auto parsed = HostPort::Parse(text);
    ASSERT_TRUE(parsed.status().IsInvalid()) << text;
    EXPECT_THAT(parsed.status().message(), HasSubstr(what));
    EXPECT_THAT(parsed.status().message(), HasSubstr("write host:port"));
  }
}

void SendAndReceive(const std::string& host) {
  StreamPair pair(host);
  std::string sent(20 << 20, 'x');
  for (size_t i = 0; i < sent.size(); ++i) {
    sent[i] = static_cast<char>(i * 2654435761U >> 13);
  }
  std::vector<std::span<const uint8_t>> parts;
  for (size_t at = 0; at < sent.size();) {
    const size_t size = std::min(sent.size() - at, at < 5000 ? at % 7 : at % 300007 + 1);
    parts.push_back(Bytes(std::string_view(sent).substr(at, size)));
    at += size;
    if (size == 0) {
      parts.push_back(Bytes(std::string_view(sent).substr(at, 1)));
      ++at;
    }
  }
  std::string got(sent.size(), '\0');
  auto reading = pair.Start([&] { return pair.far->Read(Bytes(got)); });
  auto writing = pair.Start([&] { return pair.near->Write(parts); });
  ASSERT_TRUE(pair.Await(writing).ok());
  ASSERT_TRUE(pair.Await(reading).ok());
  EXPECT_TRUE(sent == got);
  EXPECT_TRUE(pair.near->is_loopback());
  EXPECT_EQ(pair.near->peer_name(), pair.listener->address().ToString());
}

TEST(StreamTest, CarriesManyPartsInOrder) { SendAndReceive("127.0.0.1"); }

TEST(StreamTest, SpeaksIpv6) { SendAndReceive("::1"); }

TEST(StreamTest, AListenerForBothFamiliesSeesIpv4AddressesAsSuch) {
  StreamPair pair("::ffff:127.0.0.1");
  EXPECT_THAT(pair.listener->address().ToString(), ::testing::StartsWith("127.0.0.1:"));
  EXPECT_THAT(pair.far->peer_name(), ::testing::StartsWith("127.0.0.1:"));
  EXPECT_TRUE(pair.far->is_loopback());
}

TEST(StreamTest, TellsTheEndOfStream) {
  StreamPair pair;
  std::string into(10, '\0');
  auto reading = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  auto writing = pair.Start([&] { return pair.far->Write({Bytes("12345")}); });
  ASSERT_TRUE(pair.Await(writing).ok());
  pair.Do([&] { pair.far->Close(); });
  const arrow::Status status = pair.Await(reading);
  EXPECT_TRUE(IsEndOfStream(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("connection closed by 127.0.0.1:"));
  auto some = pair.Start([&] { return pair.near->ReadSome(Bytes(into)); });
  auto count = pair.Await(some);
  ASSERT_TRUE(count.ok());
  EXPECT_EQ(*count, 0);
}

TEST(StreamTest, WhoEndsItsWritesIsStillWrittenTo) {
  StreamPair pair;
  auto last = pair.Start([&] { return pair.near->Write({Bytes("last")}); });
  ASSERT_TRUE(pair.Await(last).ok());
  pair.Do([&] { pair.near->EndWrites(); });
  std::string into(10, '\0');
  auto reading = pair.Start([&] { return pair.far->Read(Bytes(into)); });
  EXPECT_TRUE(IsEndOfStream(pair.Await(reading)));
  EXPECT_EQ(into.substr(0, 4), "last");
  auto answering = pair.Start([&] { return pair.far->Write({Bytes("answer")}); });
  ASSERT_TRUE(pair.Await(answering).ok());
  auto listening = pair.Start([&] { return pair.near->ReadSome(Bytes(into)); });
  EXPECT_EQ(pair.Await(listening).ValueOr(-1), 6);
  EXPECT_EQ(into.substr(0, 6), "answer");
}

TEST(StreamTest, AnIdleConnectionIsKeptAliveByTheSystem) {
  StreamPair pair;
  auto dialled = Spawn(pair.executor, ConnectTcp(pair.executor.io(), pair.executor, pair.listener->address(), kNever,
                                                 {}, std::chrono::seconds(3)));
  ASSERT_TRUE(pair.executor.Wait(arrow::Future<>(dialled), pair.executor.Now() + kPatience).ok());
  auto third = dialled.MoveResult().ValueOrDie();
  using TcpStream = internal::SocketStream<asio::ip::tcp::socket>;
  for (const auto& [stream, seconds] : {std::pair(pair.near.get(), 15), {pair.far.get(), 15}, {third.get(), 3}}) {
    auto* tcp = dynamic_cast<TcpStream*>(stream);
    ASSERT_NE(tcp, nullptr);
    for (const auto& [level, option, expected] :
         {std::tuple(SOL_SOCKET, SO_KEEPALIVE, 1), {IPPROTO_TCP, TCP_KEEPIDLE, seconds}}) {
      int value = 0;
      socklen_t size = sizeof(value);
      ASSERT_EQ(::getsockopt(tcp->socket().native_handle(), level, option, &value, &size), 0);
      EXPECT_EQ(value, expected);
    }
  }
  pair.Do([&] { third.reset(); });
}

TEST(StreamTest, ClosingFinishesWhatIsUnderWay) {
  StreamPair pair;
  std::string into(10, '\0');
  const std::string much(64 << 20, 'x');
  auto reading = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  auto writing = pair.Start([&] { return pair.near->Write({Bytes(much)}); });
  auto second = pair.Start([&] { return pair.near->Read(Bytes(into)); });
  EXPECT_THAT(second.status().message(), HasSubstr("is under way"));
  pair.Do([&] {
    pair.near.reset();
    EXPECT_TRUE(reading.is_finished());
    EXPECT_TRUE(writing.is_finished());
  });
  EXPECT_FALSE(reading.status().ok());
  EXPECT_FALSE(writing.status().ok());
  EXPECT_FALSE(IsEndOfStream(reading.status()));
}

TEST(StreamTest, ARefusedConnectionNamesTheAddress) {
  StreamPair pair;
  const HostPort address = pair.listener->address();
  pair.Do([&] { pair.listener->Close(); });
  auto dialled =
      Spawn(pair.executor, ConnectTcp(pair.executor.io(), pair.executor, address, pair.executor.Now() + kPatience));
  ASSERT_TRUE(pair.executor.Wait(arrow::Future<>(dialled)).ok());
  EXPECT_TRUE(dialled.status().IsIOError());
  EXPECT_THAT(dialled.status().message(), HasSubstr("cannot connect to " + address.ToString()));
  EXPECT_TRUE(IsNobodyListening(dialled.status()));
}

TEST(StreamTest, AConnectionThatIsNotAnsweredEndsAtItsDeadline) {
  AsioExecutor executor("test");
  // A backlog that is full: connections beyond it get no answer.
  asio::ip::tcp::acceptor full(executor.io(), asio::ip::tcp::v4());
  full.bind({asio::ip::address_v4::loopback(), 0});
  full.listen(0);
  const HostPort address{"127.0.0.1", full.local_endpoint().port()};
  const auto deadline = executor.Now() + std::chrono::milliseconds(200);
  std::vector<arrow::Future<std::unique_ptr<Stream>>> dialled;
  for (int i = 0; i < 4; ++i) {
    dialled.push_back(Spawn(executor, ConnectTcp(executor.io(), executor, address, deadline)));
  }
  int late = 0;
  for (auto& one : dialled) {
    ASSERT_TRUE(executor.Wait(arrow::Future<>(one)).ok());
    if (IsError(one.status(), ErrorKind::kDeadline)) {
      ++late;
      EXPECT_THAT(one.status().message(), HasSubstr(address.ToString()));
      EXPECT_FALSE(IsNobodyListening(one.status()));
    }
  }
  EXPECT_GT(late, 0);
}

TEST(StreamTest, ABusyPortSaysWhatToDo) {
  StreamPair pair;
  pair.Do([&] {
    auto second = ListenTcp(pair.executor.io(), pair.listener->address(), [](std::unique_ptr<Stream>) {});
    ASSERT_TRUE(second.status().IsIOError());
    EXPECT_THAT(second.status().message(), HasSubstr(pair.listener->address().ToString()));
    EXPECT_THAT(second.status().message(), HasSubstr("choose another"));
  });
}

}  // namespace
}  // namespace cylon::testing
