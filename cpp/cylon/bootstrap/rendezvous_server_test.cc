// A rendezvous server and its clients over sockets.
#include "cylon/bootstrap/rendezvous_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>

#include <asio/ip/tcp.hpp>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/probe.h"
#include "cylon/bootstrap/rendezvous_protocol.h"
#include "cylon/bootstrap/store_server.h"
#include "cylon/bootstrap/tcp_courier.h"
#include "cylon/bootstrap/tcp_store.h"
#include "cylon/bootstrap/testing/any_store.h"
#include "cylon/bootstrap/testing/other_address.h"
#include "cylon/bootstrap/testing/proxy.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class RendezvousServerTest : public ::testing::Test {
 protected:
  using CourierPtr = std::shared_ptr<Courier>;

  void Stop() { server_.reset(); }
  /// On the port that it had; nobody is known there.
  void StartAnew(const std::string& secret = kSecret) {
    server_ = RendezvousServer::Start(server_executor_, address_, 0, {SecuredBy(secret)}).ValueOrDie();
  }
  TimePoint Soon() { return executor_.Now() + kPatience; }

  arrow::Result<CourierPtr> Open(const HostPort& at, const std::string& secret = kSecret, Duration patience = kPatience,
                                 const std::string& job = "job", Duration returns = kPatience) {
    auto opening = Spawn(executor_, OpenTcpCourier(&executor_, at, SecuredBy(secret), job, Soon(),
                                                   {.away = patience, .returns = returns}));
    ARROW_RETURN_NOT_OK(executor_.Wait(arrow::Future<>(opening), Soon()));
    ARROW_ASSIGN_OR_RAISE(auto courier, opening.MoveResult());
    return CourierPtr(std::move(courier));
  }
  CourierPtr Open() { return Open(address_).ValueOrDie(); }

  template <typename F>
  void Do(F function) {
    ASSERT_TRUE(executor_
                    .RunTask([&] {
                      function();
                      return arrow::Status::OK();
                    })
                    .ok());
  }
  arrow::Future<> StartTelling(const CourierPtr& courier, const std::string& to, const std::string& text) {
    arrow::Future<> told;
    Do([&] { told = courier->Tell(to, text); });
    return told;
  }
  arrow::Status Tell(const CourierPtr& courier, const std::string& to, const std::string& text) {
    return executor_.Await(StartTelling(courier, to, text), Soon());
  }
  /// Finishes with the next letter.
  arrow::Future<CourierLetter> Next(const CourierPtr& courier) {
    auto next = arrow::Future<CourierLetter>::Make();
    Do([&] {
      courier->OnLetter([next](const CourierLetter& letter) mutable {
        if (!next.is_finished()) {
          next.MarkFinished(letter);
        }
      });
    });
    return next;
  }
  template <typename T>
  auto Await(const arrow::Future<T>& future) {
    return executor_.Await(future, Soon());
  }
  arrow::Result<SeenAddresses> Probe(const CourierPtr& courier, uint16_t port) {
    return Await(Spawn(executor_, courier->Probe(port, Soon())));
  }
  auto StartRelay(const CourierPtr& courier, const std::string& to, const std::string& token, TimePoint deadline) {
    return Spawn(executor_, courier->Relay(to, token, deadline));
  }
  /// Until the server has counted so many.
  void AwaitCount(uint64_t RendezvousCounters::* count, uint64_t expected) {
    const auto deadline = Soon();
    while (server_->counters().*count != expected && executor_.Now() < deadline) {
    }
    EXPECT_EQ(server_->counters().*count, expected);
  }
  /// A port that nobody has, or had a moment ago.
  uint16_t FreePort() {
    uint16_t port = 0;
    Do([&] {
      port = ListenTcp(executor_.io(), {"127.0.0.1", 0}, [](std::unique_ptr<Stream>) {}).ValueOrDie()->address().port;
    });
    return port;
  }
  arrow::Result<std::unique_ptr<Stream>> Dial(const HostPort& at) {
    auto dialling = Spawn(executor_, ConnectTcp(executor_.io(), executor_, at, Soon()));
    ARROW_RETURN_NOT_OK(executor_.Wait(arrow::Future<>(dialling), Soon()));
    return dialling.MoveResult();
  }

  AsioExecutor server_executor_{"server"};
  AsioExecutor executor_{"client"};
  std::unique_ptr<RendezvousServer> server_ =
      RendezvousServer::Start(server_executor_, {kOwnHost, 0}, 0, {SecuredBy(kSecret)}).ValueOrDie();
  HostPort address_ = server_->address();
  const std::string token_ = std::string(kRendezvousNonceBytes, 't');
};

TEST_F(RendezvousServerTest, TwoProcessesTalk) {
  const auto alice = Open();
  const auto bob = Open();
  EXPECT_NE(alice->name(), bob->name());
  EXPECT_TRUE(IsCourierName(alice->name())) << alice->name();
  const auto at_bob = Next(bob);
  ASSERT_TRUE(Tell(alice, bob->name(), "hello").ok());
  const auto letter = Await(at_bob);
  ASSERT_TRUE(letter.ok()) << letter.status();
  EXPECT_EQ(letter->from, alice->name());
  EXPECT_EQ(letter->text, "hello");
  const auto at_alice = Next(alice);
  ASSERT_TRUE(Tell(bob, letter->from, std::string(Courier::kMaxLetter, '\0')).ok());
  EXPECT_EQ(Await(at_alice)->text, std::string(Courier::kMaxLetter, '\0'));
  const auto counters = server_->counters();
  EXPECT_EQ(counters.sessions, 2U);
  EXPECT_EQ(counters.letters, 2U);
}

TEST_F(RendezvousServerTest, LettersThatCannotBePassedOnAreTold) {
  const auto alice = Open();
  const auto nobody = Tell(alice, std::string(kCourierNameBytes, '0'), "hello?");
  EXPECT_TRUE(nobody.IsKeyError()) << nobody;
  const auto long_one = Tell(alice, alice->name(), std::string(Courier::kMaxLetter + 1, 'x'));
  EXPECT_TRUE(long_one.IsInvalid()) << long_one;
  const auto no_name = Tell(alice, "bob", "hello");
  EXPECT_TRUE(no_name.IsInvalid()) << no_name;
  EXPECT_THAT(no_name.message(), HasSubstr("'bob' is no name"));
  Do([&] { alice->Close(); });
  EXPECT_TRUE(Tell(alice, alice->name(), "hello").IsCancelled());
}

TEST_F(RendezvousServerTest, ItsClientsComeBackAfterARestart) {
  const auto alice = Open();
  const auto bob = Open();
  for (int round = 0; round < 3; ++round) {
    const auto at_bob = Next(bob);
    Stop();
    auto telling = StartTelling(alice, bob->name(), std::to_string(round));
    StartAnew();
    auto told = Await(telling);
    // Alice may be back before bob is: that he is gone is not said so soon.
    while (told.message().find("others may not have come back to it yet") != std::string::npos) {
      told = Tell(alice, bob->name(), std::to_string(round));
    }
    ASSERT_TRUE(told.ok()) << told;
    EXPECT_EQ(Await(at_bob)->text, std::to_string(round));
  }
}

TEST_F(RendezvousServerTest, ALostConnectionIsMadeAnewUnderTheSameName) {
  Proxy proxy(address_);
  const auto alice = Open(proxy.address()).ValueOrDie();
  const auto bob = Open();
  for (int round = 0; round < 3; ++round) {
    const auto at_alice = Next(alice);
    const auto at_bob = Next(bob);
    proxy.Cut();
    ASSERT_TRUE(Tell(alice, bob->name(), "there?").ok());
    EXPECT_EQ(Await(at_bob)->from, alice->name());
    ASSERT_TRUE(Tell(bob, alice->name(), "yes").ok());
    EXPECT_EQ(Await(at_alice)->text, "yes");
  }
}

TEST_F(RendezvousServerTest, WhoseConnectionWasLostMayComeBackAndWhoHasClosedItIsGone) {
  Proxy proxy(address_);
  const auto alice = Open(proxy.address()).ValueOrDie();
  const auto patient = Open();
  const auto hasty = Open(address_, kSecret, kPatience, "job", 0s).ValueOrDie();
  ASSERT_TRUE(Tell(patient, alice->name(), "there?").ok());
  proxy.Reset();
  arrow::Status told;
  do {  // until the server has noticed
    told = Tell(patient, alice->name(), "still there?");
  } while (told.ok());
  EXPECT_TRUE(told.IsIOError()) << told;
  EXPECT_THAT(told.message(), HasSubstr("was lost"));
  EXPECT_THAT(told.message(), HasSubstr("may come back"));
  EXPECT_TRUE(Tell(hasty, alice->name(), "and now?").IsKeyError());

  const auto bob = Open();
  Do([&] { bob->Close(); });
  do {
    told = Tell(patient, bob->name(), "there?");
  } while (told.ok());
  EXPECT_TRUE(told.IsKeyError()) << told;
}

TEST_F(RendezvousServerTest, AServerThatStaysAwayIsNamedInBoundedTime) {
  const auto alice = Open(address_, kSecret, 200ms).ValueOrDie();
  Stop();
  const auto told = Tell(alice, alice->name(), "hello");
  EXPECT_TRUE(told.IsIOError()) << told;
  EXPECT_THAT(told.message(), AllOf(HasSubstr("the rendezvous server at " + address_.ToString() + " is gone"),
                                    HasSubstr("within 200 ms")));
  StartAnew();
  EXPECT_TRUE(Tell(alice, alice->name(), "hello").ok());
}

TEST_F(RendezvousServerTest, NobodyThereIsADeadlineErrorWhenOpening) {
  Stop();
  auto opening =
      Spawn(executor_, OpenTcpCourier(&executor_, address_, SecuredBy(kSecret), "job", executor_.Now() + 50ms));
  const auto status = Await(arrow::Future<>(opening));
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr(address_.ToString()), HasSubstr("start cylon-rendezvous")));
}

TEST_F(RendezvousServerTest, AWrongSecretIsRefused) {
  const auto status = Open(address_, std::string(32, '\xbb')).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
  EXPECT_THAT(status.message(), HasSubstr("cannot use the rendezvous server at " + address_.ToString()));
  EXPECT_EQ(server_->counters().sessions_begun, 0U);
  AwaitCount(&RendezvousCounters::strangers_refused, 1);  // once it has been told why
  EXPECT_TRUE(
      IsError(RendezvousServer::Start(server_executor_, {"127.0.0.1", 0}, 0, {}).status(), ErrorKind::kAuthentication));
}

TEST_F(RendezvousServerTest, AStrangerIsClosedAndDisturbsNobody) {
  const auto alice = Open();
  for (const auto& port : {address_, server_->probe_address()}) {
    for (const std::string said : {"GET / HTTP/1.1\r\n\r\n", "CYLP0123456789abcdef", "CYLNxxxxxxxx"}) {
      auto stream = Dial(port).ValueOrDie();
      arrow::Future<int64_t> reading;
      std::string buffer(4096, '\0');
      int64_t got = 1;
      arrow::Future<> writing;
      Do([&] {
        std::vector<std::span<const uint8_t>> parts;
        parts.emplace_back(reinterpret_cast<const uint8_t*>(said.data()), said.size());
        writing = stream->Write(std::move(parts));
      });
      EXPECT_TRUE(Await(writing).ok());
      // A refusal, or nothing; then the end.
      while (got > 0) {
        Do([&] { reading = stream->ReadSome({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()}); });
        got = Await(reading).ValueOr(0);
      }
      Do([&] { stream.reset(); });
    }
  }
  EXPECT_TRUE(Tell(alice, alice->name(), "hello").ok());
  EXPECT_EQ(server_->counters().probes, 0U);
}

TEST_F(RendezvousServerTest, SilentStrangersGiveWay) {
  for (const auto& port : {address_, server_->probe_address()}) {
    std::vector<std::unique_ptr<Stream>> silent;
    for (int i = 0; i < 70; ++i) {
      silent.push_back(Dial(port).ValueOrDie());
    }
    std::string byte(1, '\0');
    arrow::Future<int64_t> reading;
    Do([&] { reading = silent[0]->ReadSome({reinterpret_cast<uint8_t*>(byte.data()), 1}); });
    EXPECT_EQ(Await(reading).ValueOr(0), 0);
    Do([&] { silent.clear(); });
  }
  EXPECT_TRUE(Open(address_).ok());
}

TEST_F(RendezvousServerTest, AProbeShowsWhereItCameFrom) {
  const auto alice = Open();
  const auto bob = Open();
  EXPECT_TRUE(alice->seen().addresses.empty());
  const uint16_t port = FreePort();
  for (int round = 0; round < 2; ++round) {  // the same port again, at once
    const auto seen = Probe(alice, port);
    ASSERT_TRUE(seen.ok()) << seen.status();
    ASSERT_EQ(seen->addresses.size(), 1U);
    EXPECT_EQ(seen->addresses[0].ToString(), "127.0.0.1:" + std::to_string(port));
    EXPECT_FALSE(seen->symmetric);
    EXPECT_EQ(alice->seen(), *seen);
  }
  const auto at_bob = Next(bob);
  ASSERT_TRUE(Tell(alice, bob->name(), "hello").ok());
  EXPECT_EQ(Await(at_bob)->seen, alice->seen());
  EXPECT_EQ(server_->counters().probes, 4U);
}

TEST_F(RendezvousServerTest, AProbeMayUseAPortThatIsListenedOn) {
  const auto alice = Open();
  // A punching process listens on the port and connects from it, all with these two options.
  asio::ip::tcp::acceptor acceptor(executor_.io());
  acceptor.open(asio::ip::tcp::v4());
  acceptor.set_option(asio::ip::tcp::acceptor::reuse_address(true));
  const int on = 1;
  ASSERT_EQ(::setsockopt(acceptor.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), 0);
  acceptor.bind({asio::ip::tcp::v4(), 0});
  acceptor.listen();
  const auto seen = Probe(alice, acceptor.local_endpoint().port());
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->addresses.at(0).port, acceptor.local_endpoint().port());
}

TEST_F(RendezvousServerTest, ADifferentAddressAtEachPortIsSymmetric) {
  // The proxy stands for a gateway with a port for each destination, at the address of the server's other port.
  const auto server = RendezvousServer::Start(server_executor_, {"127.0.0.1", 0}, 0, {SecuredBy(kSecret)}).ValueOrDie();
  Proxy proxy(server->address());
  const auto alice = Open(proxy.address()).ValueOrDie();
  const auto seen = Probe(alice, FreePort());
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->addresses.size(), 2U);
  EXPECT_TRUE(seen->symmetric);
}

TEST_F(RendezvousServerTest, AProbeThatFailsNamesBothEnds) {
  const auto alice = Open();
  uint16_t taken = 0;
  std::unique_ptr<Listener> listener;  // without the option that would let others have its port
  Do([&] {
    listener = ListenTcp(executor_.io(), {"0.0.0.0", 0}, [](std::unique_ptr<Stream>) {}).ValueOrDie();
    taken = listener->address().port;
  });
  const auto status = Probe(alice, taken).status();
  Do([&] { listener.reset(); });
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr(address_.ToString()), HasSubstr("port " + std::to_string(taken))));
  std::vector<std::unique_ptr<Stream>> kept;  // by one that takes connections and says nothing
  HostPort silent;
  Do([&] {
    listener = ListenTcp(executor_.io(), {"127.0.0.1", 0}, [&](std::unique_ptr<Stream> stream) {
                 kept.push_back(std::move(stream));
               }).ValueOrDie();
    silent = listener->address();
  });
  const auto late = Await(Spawn(executor_, ProbeFrom(&executor_, 0, silent, token_, 1s, executor_.Now() + 20ms,
                                                     arrow::Future<>::Make())))
                        .status();
  Do([&] {
    listener.reset();
    kept.clear();
  });
  EXPECT_TRUE(IsError(late, ErrorKind::kDeadline)) << late;
  EXPECT_THAT(late.message(), HasSubstr("no answer before the deadline"));
  const auto refused =
      Await(Spawn(executor_, ProbeFrom(&executor_, 0, address_, std::string(kRendezvousNonceBytes, '?'), 1s, Soon(),
                                       arrow::Future<>::Make())));
  EXPECT_TRUE(refused.status().IsIOError()) << refused.status();
}

/// Sends `bytes` and reads as many, at the same time.
Co<std::string> Exchange(Stream* stream, std::string bytes) {
  std::vector<std::span<const uint8_t>> parts;
  parts.emplace_back(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  auto writing = stream->Write(std::move(parts));
  std::string got(bytes.size(), '\0');
  auto reading = stream->Read({reinterpret_cast<uint8_t*>(got.data()), got.size()});
  CYLON_CO_RETURN_NOT_OK(co_await reading);
  CYLON_CO_RETURN_NOT_OK(co_await writing);
  co_return got;
}

TEST_F(RendezvousServerTest, EightMebibytesGoBothWaysOverARelay) {
  const auto alice = Open();
  const auto bob = Open();
  auto from_alice = StartRelay(alice, bob->name(), token_, Soon());
  auto from_bob = StartRelay(bob, alice->name(), token_, Soon());
  ASSERT_TRUE(Await(arrow::Future<>(from_alice)).ok()) << from_alice.status();
  ASSERT_TRUE(Await(arrow::Future<>(from_bob)).ok()) << from_bob.status();
  auto near = from_alice.MoveResult().ValueOrDie();
  auto far = from_bob.MoveResult().ValueOrDie();
  const std::string there = RandomBytes(8 << 20).ValueOrDie();
  const std::string back = RandomBytes(8 << 20).ValueOrDie();
  const auto at_alice = Spawn(executor_, Exchange(near.get(), there));
  const auto at_bob = Spawn(executor_, Exchange(far.get(), back));
  EXPECT_TRUE(Await(at_alice).ValueOr("") == back);
  EXPECT_TRUE(Await(at_bob).ValueOr("") == there);
  AwaitCount(&RendezvousCounters::relayed_bytes, uint64_t{16} << 20);
  EXPECT_EQ(server_->counters().relays, 1U);
  // The end of one is the end of the other.
  std::string byte(1, '\0');
  arrow::Future<> reading;
  Do([&] {
    reading = far->Read({reinterpret_cast<uint8_t*>(byte.data()), 1});
    near.reset();
  });
  const auto end = Await(reading);
  EXPECT_TRUE(IsEndOfStream(end)) << end;
  Do([&] { far.reset(); });
}

TEST_F(RendezvousServerTest, ARelayIsDialledAgainWhereTheServerStartsAnew) {
  const auto alice = Open();
  const auto bob = Open();
  auto from_alice = StartRelay(alice, bob->name(), token_, Soon());
  AwaitCount(&RendezvousCounters::relays_waiting, 1);
  Stop();
  auto from_bob = StartRelay(bob, alice->name(), token_, Soon());
  StartAnew();
  EXPECT_TRUE(Await(arrow::Future<>(from_alice)).ok()) << from_alice.status();
  EXPECT_TRUE(Await(arrow::Future<>(from_bob)).ok()) << from_bob.status();
  Do([&] {
    from_alice.MoveResult().ValueOrDie().reset();
    from_bob.MoveResult().ValueOrDie().reset();
  });
}

TEST_F(RendezvousServerTest, OffLoopbackLettersAndRelaysAreEncrypted) {
  const std::string host = OtherAddress();
  if (host.empty()) {
    GTEST_SKIP() << "this machine has no address but loopback ones";
  }
  server_ = RendezvousServer::Start(server_executor_, {host, 0}, 0, {SecuredBy(kSecret)}).ValueOrDie();
  const auto alice = Open(server_->address()).ValueOrDie();
  const auto bob = Open(server_->address()).ValueOrDie();
  const uint16_t port = FreePort();
  const auto seen = Probe(alice, port);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(seen->addresses.at(0), (HostPort{host, port}));
  const auto at_bob = Next(bob);
  ASSERT_TRUE(Tell(alice, bob->name(), "hello").ok());
  EXPECT_EQ(Await(at_bob)->seen, *seen);
  auto from_alice = StartRelay(alice, bob->name(), token_, Soon());
  auto from_bob = StartRelay(bob, alice->name(), token_, Soon());
  ASSERT_TRUE(Await(arrow::Future<>(from_alice)).ok()) << from_alice.status();
  ASSERT_TRUE(Await(arrow::Future<>(from_bob)).ok()) << from_bob.status();
  auto near = from_alice.MoveResult().ValueOrDie();
  auto far = from_bob.MoveResult().ValueOrDie();
  EXPECT_FALSE(near->binding().empty());  // TLS, to the server
  const std::string there = RandomBytes(1 << 20).ValueOrDie();
  const auto at_alice = Spawn(executor_, Exchange(near.get(), there));
  const auto echoed = Spawn(executor_, Exchange(far.get(), there));
  EXPECT_TRUE(Await(at_alice).ValueOr("") == there);
  EXPECT_TRUE(Await(echoed).ValueOr("") == there);
  Do([&] {
    near.reset();
    far.reset();
  });
}

TEST_F(RendezvousServerTest, ARelayWhoseOtherEndNeverComesEndsAtItsDeadline) {
  const auto alice = Open();
  const auto bob = Open();
  const auto relay = StartRelay(alice, bob->name(), token_, executor_.Now() + 50ms);
  const auto status = Await(arrow::Future<>(relay));
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("other end of a relay"));
  const auto wrong = StartRelay(alice, bob->name(), "short", Soon());
  EXPECT_TRUE(Await(arrow::Future<>(wrong)).IsInvalid());
  // Closing ends one that waits.
  AwaitCount(&RendezvousCounters::relays_waiting, 0);
  const auto waiting = StartRelay(alice, bob->name(), token_, Soon());
  AwaitCount(&RendezvousCounters::relays_waiting, 1);
  Do([&] { alice->Close(); });
  EXPECT_TRUE(Await(arrow::Future<>(waiting)).IsCancelled()) << waiting.status();
}

TEST_F(RendezvousServerTest, AClientThatDoesNotReadIsClosed) {
  const auto alice = Open();
  // It has proven itself, says its name, and reads nothing after.
  const std::string deaf(kCourierNameBytes, 'd');
  auto stream = Dial(address_).ValueOrDie();
  Identity self;
  self.job = "job";
  self.purpose = kRendezvousPurpose;
  auto opening =
      Spawn(executor_, OpenAsDialler(std::move(stream), executor_, SecuredBy(kSecret), self, "127.0.0.1", Soon()));
  ASSERT_TRUE(Await(arrow::Future<>(opening)).ok());
  stream = std::move(opening.MoveResult()->stream);
  const auto outbox = std::make_shared<FramedOutbox>(stream.get());
  RendezvousFrame hello{RendezvousOp::kHello, 0, deaf};
  hello.nonce = std::string(kRendezvousNonceBytes, 'd');
  Do([&] { outbox->Push(EncodeRendezvousFrame(hello)); });
  AwaitCount(&RendezvousCounters::sessions, 2);
  arrow::Status told;
  for (int i = 0; i < 8000 && told.ok(); ++i) {
    told = Tell(alice, deaf, std::string(Courier::kMaxLetter, 'x'));
  }
  EXPECT_TRUE(told.IsKeyError()) << told;
  EXPECT_EQ(server_->counters().sessions, 1U);
  Do([&] {
    outbox->Detach();
    stream.reset();
  });
}

TEST_F(RendezvousServerTest, TheStoreIsOnTheSamePort) {
  const auto alice = Open();
  auto store = OpenTcpStore(address_, SecuredBy(kSecret), executor_, Soon()).ValueOrDie();
  ASSERT_TRUE(Await(store->Set("name", alice->name(), 1h)).ok());
  EXPECT_EQ(Await(store->TryGet("name")).ValueOr(""), alice->name());
}

TEST_F(RendezvousServerTest, AStoreServerIsAStoreAlone) {
  auto store = StoreServer::Start(server_executor_, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
  const auto status = Open(store->address()).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("'rendezvous/1'"), HasSubstr("'store/2'")));
}

TEST_F(RendezvousServerTest, ABusyPortIsNamed) {
  const auto probes = server_->probe_address();
  const auto busy =
      RendezvousServer::Start(server_executor_, {kOwnHost, 0}, probes.port, {SecuredBy(kSecret)}).status();
  EXPECT_TRUE(busy.IsIOError()) << busy;
  EXPECT_THAT(busy.message(), HasSubstr(probes.ToString()));
  EXPECT_THAT(RendezvousServer::Start(server_executor_, address_, 0, {SecuredBy(kSecret)}).status().message(),
              HasSubstr(address_.ToString()));
}

}  // namespace
}  // namespace cylon::testing
