// A rendezvous server that lets in by tickets, over sockets.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <ctime>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/rendezvous_protocol.h"
#include "cylon/bootstrap/rendezvous_server.h"
#include "cylon/bootstrap/tcp_courier.h"
#include "cylon/bootstrap/tcp_store.h"
#include "cylon/bootstrap/testing/any_store.h"
#include "cylon/bootstrap/testing/other_address.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

class RendezvousTicketTest : public ::testing::Test {
 protected:
  using CourierPtr = std::shared_ptr<Courier>;
  using StorePtr = std::unique_ptr<Store>;

  std::unique_ptr<RendezvousServer> Start(const std::string& host) {
    RendezvousConfig config;
    config.operator_key = key_;
    config.unix_clock = [this] { return now_.load(); };
    return RendezvousServer::Start(server_executor_, {host, 0}, 0, std::move(config)).ValueOrDie();
  }
  TicketClaims Claims(const std::string& job = "job") {
    return {RandomBytes(kTicketIdBytes).ValueOrDie(), job, now_ + 3600, 2, 1 << 30, 64 << 20};
  }
  Security With(const TicketClaims& claims, const std::string& key) {
    const auto ticket = ParseTicket(IssueTicket(key, claims).ValueOrDie(), "a test").ValueOrDie();
    Security security = SecuredBy(ticket.secret);
    security.ticket = ticket.claims;
    return security;
  }
  Security With(const TicketClaims& claims) { return With(claims, key_); }

  arrow::Result<StorePtr> OpenStore(const Security& security, Duration patience = kPatience) {
    return OpenTcpStore(server_->address(), security, executor_, executor_.Now() + patience);
  }
  arrow::Result<CourierPtr> OpenCourier(const Security& security, const std::string& job = "job",
                                        Duration patience = kPatience) {
    auto opening =
        Spawn(executor_, OpenTcpCourier(&executor_, server_->address(), security, job, executor_.Now() + patience));
    ARROW_RETURN_NOT_OK(executor_.Wait(arrow::Future<>(opening)));
    ARROW_ASSIGN_OR_RAISE(auto courier, opening.MoveResult());
    return CourierPtr(std::move(courier));
  }
  arrow::Status Tell(const CourierPtr& courier, const std::string& to) {
    arrow::Future<> told;
    EXPECT_TRUE(executor_
                    .RunTask([&] {
                      told = courier->Tell(to, "hello");
                      return arrow::Status::OK();
                    })
                    .ok());
    return executor_.Await(told);
  }
  /// Both ends of a relay, or the error of the first.
  arrow::Status Relay(const CourierPtr& first, const CourierPtr& second) {
    const std::string token = RandomBytes(kRendezvousNonceBytes).ValueOrDie();
    auto near = Spawn(executor_, first->Relay(second->name(), token, executor_.Now() + kPatience));
    auto far = Spawn(executor_, second->Relay(first->name(), token, executor_.Now() + kPatience));
    EXPECT_TRUE(executor_.Wait(arrow::Future<>(near)).ok());
    EXPECT_TRUE(executor_.Wait(arrow::Future<>(far)).ok());
    const auto joined = near.status();
    EXPECT_EQ(far.status().ok(), joined.ok());
    EXPECT_TRUE(executor_
                    .RunTask([&] {
                      static_cast<void>(near.MoveResult());
                      static_cast<void>(far.MoveResult());
                      return arrow::Status::OK();
                    })
                    .ok());
    return joined;
  }
  /// What both kinds of client are refused with, without trying again.
  void ExpectRefused(const Security& security, const ::testing::Matcher<std::string>& message, bool authentication) {
    for (const auto& status : {OpenStore(security).status(), OpenCourier(security).status()}) {
      EXPECT_EQ(IsError(status, ErrorKind::kAuthentication), authentication) << status;
      EXPECT_EQ(status.IsInvalid(), !authentication) << status;
      EXPECT_THAT(status.message(), message);
    }
  }

  const std::string key_ = std::string(32, 'k');
  std::atomic<int64_t> now_ = static_cast<int64_t>(std::time(nullptr));
  AsioExecutor server_executor_{"server"};
  AsioExecutor executor_{"client"};
  std::unique_ptr<RendezvousServer> server_ = Start("127.0.0.1");
};

TEST_F(RendezvousTicketTest, AJobWithATicketMeetsAndTalks) {
  const auto security = With(Claims());
  const auto first = OpenStore(security).ValueOrDie();
  const auto second = OpenStore(security).ValueOrDie();
  ASSERT_TRUE(executor_.Await(first->Set("job/key", "value", kRunTimeToLive)).ok());
  EXPECT_EQ(executor_.Await(second->TryGet("job/key")).ValueOr(""), "value");
  const auto alice = OpenCourier(security).ValueOrDie();
  const auto bob = OpenCourier(security).ValueOrDie();
  EXPECT_TRUE(Tell(alice, bob->name()).ok());
  const auto relayed = Relay(alice, bob);
  EXPECT_TRUE(relayed.ok()) << relayed;
}

TEST_F(RendezvousTicketTest, OffLoopbackTheSecretOfTheTicketEncrypts) {
  const std::string host = OtherAddress();
  if (host.empty()) {
    GTEST_SKIP() << "this machine has no address but loopback ones";
  }
  server_ = Start(host);
  const auto store = OpenStore(With(Claims())).ValueOrDie();
  EXPECT_TRUE(executor_.Await(store->Set("key", "value", kRunTimeToLive)).ok());
  ExpectRefused(With(Claims(), std::string(32, 'x')), HasSubstr("does not know this process's ticket"), true);
}

TEST_F(RendezvousTicketTest, AJobSeesNeitherKeysNorProcessesOfAnother) {
  // One's name begins as the other's keys do.
  const auto ours = OpenStore(With(Claims("job"))).ValueOrDie();
  const auto theirs = OpenStore(With(Claims("job/key"))).ValueOrDie();
  ASSERT_TRUE(executor_.Await(ours->Set("job/key/x", "ours", kRunTimeToLive)).ok());
  EXPECT_TRUE(executor_.Await(theirs->TryGet("job/key/x")).status().IsKeyError());
  EXPECT_EQ(executor_.Await(theirs->SetIfAbsent("job/key/x", "theirs", kRunTimeToLive)).ValueOr(""), "theirs");
  EXPECT_EQ(executor_.Await(ours->TryGet("job/key/x")).ValueOr(""), "ours");
  ASSERT_TRUE(executor_.Await(theirs->Delete("job/key/x")).ok());
  EXPECT_EQ(executor_.Await(ours->TryGet("job/key/x")).ValueOr(""), "ours");
  const auto alice = OpenCourier(With(Claims("job")), "job").ValueOrDie();
  const auto eve = OpenCourier(With(Claims("job/key")), "job/key").ValueOrDie();
  EXPECT_TRUE(Tell(eve, alice->name()).IsKeyError());
  EXPECT_TRUE(Tell(alice, eve->name()).IsKeyError());
}

TEST_F(RendezvousTicketTest, KeysOutliveTheProcessesOfTheirJob) {
  const auto claims = Claims();
  ASSERT_TRUE(executor_.Await(OpenStore(With(claims)).ValueOrDie()->Set("key", "value", kRunTimeToLive)).ok());
  const auto other = OpenStore(With(Claims("other"))).ValueOrDie();
  EXPECT_EQ(executor_.Await(OpenStore(With(claims)).ValueOrDie()->TryGet("key")).ValueOr(""), "value");
}

TEST_F(RendezvousTicketTest, ATicketThatIsNotSignedWithItsKeyIsRefused) {
  ExpectRefused(With(Claims(), std::string(32, 'x')), HasSubstr("ask the operator for a new one"), true);
  auto changed = With(Claims());
  auto claims = Claims();
  claims.ranks = 1000;
  changed.ticket = EncodeTicketClaims(claims);
  ExpectRefused(changed, HasSubstr("does not know this process's ticket"), true);
  changed.ticket = "no claims";
  for (const auto& status : {OpenStore(changed).status(), OpenCourier(changed).status()}) {
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  }
}

TEST_F(RendezvousTicketTest, ATicketThatHasExpiredIsRefused) {
  const auto security = With(Claims());
  const auto store = OpenStore(security).ValueOrDie();
  now_ += 3600 + 301;
  ExpectRefused(security, AllOf(HasSubstr("the ticket for job 'job' has expired"), HasSubstr("UTC")), false);
  EXPECT_TRUE(executor_.Await(store->Set("key", "value", kRunTimeToLive)).ok());  // who is in stays
}

TEST_F(RendezvousTicketTest, ATicketForAnotherJobIsRefused) {
  const auto status = OpenCourier(With(Claims("theirs")), "ours").status();
  EXPECT_TRUE(status.IsInvalid()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("for job 'theirs'"), HasSubstr("of job 'ours'")));
}

TEST_F(RendezvousTicketTest, ASecretIsNoTicketAndATicketIsNoSecret) {
  ExpectRefused(SecuredBy(key_), HasSubstr("this server lets in by tickets"), false);
  ExpectRefused(SecuredBy(kSecret), HasSubstr("CYLON_TICKET_FILE"), false);
  server_ = RendezvousServer::Start(server_executor_, {"127.0.0.1", 0}, 0, {SecuredBy(kSecret)}).ValueOrDie();
  ExpectRefused(With(Claims()), AllOf(HasSubstr("shows a ticket"), HasSubstr("unset CYLON_TICKET")), false);
  server_.reset();
  const auto store = StoreServer::Start(server_executor_, {"127.0.0.1", 0}, SecuredBy(kSecret)).ValueOrDie();
  const auto status = OpenTcpStore(store->address(), With(Claims()), executor_, executor_.Now() + kPatience).status();
  EXPECT_THAT(status.message(), HasSubstr("unset CYLON_TICKET"));
}

TEST_F(RendezvousTicketTest, NoMoreProcessesAreInThanTheTicketIsFor) {
  const auto security = With(Claims());
  auto first = OpenStore(security).ValueOrDie();
  const auto second = OpenStore(security).ValueOrDie();
  auto status = OpenStore(security, 300ms).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("no place was free"), HasSubstr("as many as its ticket is for")));
  auto alice = OpenCourier(security).ValueOrDie();
  const auto bob = OpenCourier(security).ValueOrDie();
  // Each of the two processes has another for its watch.
  const auto watch_of_alice = OpenCourier(security).ValueOrDie();
  const auto watch_of_bob = OpenCourier(security).ValueOrDie();
  status = OpenCourier(security, "job", 300ms).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("job 'job' has 4 sessions at the rendezvous server"));
  EXPECT_TRUE(OpenCourier(With(Claims("other")), "other").ok());
  // Who waits gets the place that becomes free.
  first.reset();
  alice.reset();
  EXPECT_TRUE(OpenStore(security).ok());
  EXPECT_TRUE(OpenCourier(security).ok());
}

TEST_F(RendezvousTicketTest, ATicketForNoBytesRelaysNothing) {
  auto claims = Claims();
  claims.relay_bytes = 0;
  const auto alice = OpenCourier(With(claims)).ValueOrDie();
  const auto bob = OpenCourier(With(claims)).ValueOrDie();
  const auto status = Relay(alice, bob);
  EXPECT_TRUE(status.IsCapacityError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("as many as its ticket allows"));
}

}  // namespace
}  // namespace cylon::testing
