// Two that dial each other at once, and who else comes to their ports.
#include "cylon/net/punch/punch_engine.h"

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/bootstrap/testing/dialling.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using internal::kPunchHelloBytes;
using internal::kPunchProofBytes;
using internal::PunchAttempt;
using internal::PunchHello;
using internal::PunchPort;
using internal::PunchProof;
using internal::PunchRole;
using internal::PunchTag;
using ::testing::HasSubstr;

const std::string kTheAttempt = "the attempt 0123";
/// For attempts that have to come to nothing.
constexpr auto kShort = std::chrono::milliseconds(400);

int Descriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

/// Both sides on one executor, each with a port of its own.
class PunchEngineTest : public ::testing::Test {
 protected:
  PunchEngineTest() {
    world.Do([this] {
      near = PunchPort::Open(world.executor).ValueOrDie();
      far = PunchPort::Open(world.executor).ValueOrDie();
    });
  }
  ~PunchEngineTest() override {
    world.Do([this] {
      attempts.clear();
      streams.clear();
      listener.reset();
      near.reset();
      far.reset();
    });
  }

  HostPort At(const std::shared_ptr<PunchPort>& port) const { return {"127.0.0.1", port->number()}; }
  std::shared_ptr<PunchAttempt> Start(const std::shared_ptr<PunchPort>& port, PunchRole role,
                                      const std::vector<HostPort>& candidates, Duration span = kPatience) {
    std::shared_ptr<PunchAttempt> attempt;
    world.Do([&] {
      attempt = PunchAttempt::Start(world.executor, port, {kTheAttempt, role, world.executor.Now() + span});
      attempt->Dial(candidates, role == PunchRole::kCaller ? kShort / 2 : Duration{});
      attempts.push_back(attempt);
    });
    return attempt;
  }
  arrow::Status Outcome(const std::shared_ptr<PunchAttempt>& attempt) { return world.Await(attempt->done()); }
  /// Both have won, and it is one stream.
  void ExpectOneStream(const std::shared_ptr<PunchAttempt>& one, const std::shared_ptr<PunchAttempt>& other) {
    for (const auto& attempt : {one, other}) {
      const auto status = Outcome(attempt);
      ASSERT_TRUE(status.ok()) << status;
    }
    world.Do([&] {
      streams.push_back(one->TakeWinner());
      streams.push_back(other->TakeWinner());
    });
    ASSERT_NE(streams[0], nullptr);
    ASSERT_NE(streams[1], nullptr);
    EXPECT_FALSE(streams[0]->is_loopback());
    std::string got(5, '\0');
    for (const size_t from : {0, 1}) {
      auto read = world.Start([&] { return streams[1 - from]->Read(Bytes(got)); });
      auto written = world.Start([&] { return streams[from]->Write({Bytes(std::string_view("hello"))}); });
      EXPECT_TRUE(world.Await(written).ok());
      EXPECT_TRUE(world.Await(read).ok());
      EXPECT_EQ(got, "hello");
    }
  }

  std::unique_ptr<Stream> Connect(const HostPort& to) {
    auto dialled =
        Spawn(world.executor, ConnectTcp(world.executor.io(), world.executor, to, world.executor.Now() + kPatience));
    EXPECT_TRUE(world.executor.Wait(arrow::Future<>(dialled), world.executor.Now() + kPatience).ok());
    return dialled.MoveResult().ValueOrDie();
  }
  void Send(Stream* stream, const std::string& bytes) {
    EXPECT_TRUE(world.Await(world.Start([&] { return stream->Write({Bytes(std::string_view(bytes))}); })).ok());
  }
  std::string Receive(Stream* stream, size_t size) {
    std::string bytes(size, '\0');
    const auto status = world.Await(world.Start([&] { return stream->Read(Bytes(bytes)); }));
    return status.ok() ? bytes : "";
  }
  /// Goes through the exchange as the called side, up to the nomination.
  std::unique_ptr<Stream> ConnectAsCalled(const std::string& attempt) {
    auto stream = Connect(At(near));
    const PunchHello own{PunchRole::kCalled, PunchTag(kTheAttempt), "bbbbbbbbbbbbbbbb"};
    Send(stream.get(), internal::EncodePunchHello(own));
    const auto theirs = internal::DecodePunchHello(Receive(stream.get(), kPunchHelloBytes));
    EXPECT_TRUE(theirs.ok()) << theirs.status();
    Send(stream.get(), PunchProof(attempt, own, *theirs));
    EXPECT_EQ(Receive(stream.get(), kPunchProofBytes), PunchProof(kTheAttempt, *theirs, own));
    return stream;
  }

  TestExecutor world{"punch"};
  std::shared_ptr<PunchPort> near;
  std::shared_ptr<PunchPort> far;
  std::vector<std::shared_ptr<PunchAttempt>> attempts;
  std::vector<std::unique_ptr<Stream>> streams;
  std::unique_ptr<Listener> listener;
};

TEST_F(PunchEngineTest, TwoThatDialEachOtherAgreeOnOneStream) {
  auto caller = Start(near, PunchRole::kCaller, {At(far)});
  auto called = Start(far, PunchRole::kCalled, {At(near)});
  ExpectOneStream(caller, called);
}

TEST_F(PunchEngineTest, ItIsEnoughThatOneCanBeDialled) {
  auto caller = Start(near, PunchRole::kCaller, {});
  auto called = Start(far, PunchRole::kCalled, {At(near)});
  ExpectOneStream(caller, called);
}

TEST_F(PunchEngineTest, WhoListensLateIsDialledAgain) {
  auto caller = Start(near, PunchRole::kCaller, {At(far)});
  // Until the called side knows of the attempt, its port closes what comes.
  std::shared_ptr<PunchAttempt> called;
  world.Do([&] {
    world.executor.PostAt(world.executor.Now() + std::chrono::milliseconds(100), [&] {
      called =
          PunchAttempt::Start(world.executor, far, {kTheAttempt, PunchRole::kCalled, world.executor.Now() + kPatience});
    });
  });
  const auto status = Outcome(caller);
  ASSERT_TRUE(status.ok()) << status;
  attempts.push_back(called);
  ExpectOneStream(caller, called);
}

TEST_F(PunchEngineTest, WorksAmongCandidatesThatGoNowhere) {
  const HostPort refused{"127.0.0.1", 1};
  world.Do([&] {
    listener = ListenTcp(world.executor.io(), {"127.0.0.1", 0}, [&](std::unique_ptr<Stream> stream) {
                 streams.push_back(std::move(stream));  // and says nothing
               }).ValueOrDie();
  });
  auto caller = Start(near, PunchRole::kCaller, {refused, listener->address(), At(far)});
  auto called = Start(far, PunchRole::kCalled, {refused, listener->address(), {"127.0.0.2", near->number()}});
  EXPECT_TRUE(Outcome(caller).ok());
  EXPECT_TRUE(Outcome(called).ok());
}

TEST_F(PunchEngineTest, SaysWhatBecameOfEachCandidateAtItsDeadline) {
  const HostPort refused{"127.0.0.1", 1};
  const auto status = Outcome(Start(near, PunchRole::kCaller, {refused, {"nowhere", 2}}, kShort));
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("127.0.0.1:1 (Connection refused)"));
  EXPECT_THAT(status.message(), HasSubstr("nowhere:2 (is no address)"));
  const auto none = Outcome(Start(near, PunchRole::kCaller, {}, kShort));
  EXPECT_THAT(none.message(), HasSubstr("named no address that could be dialled"));
}

TEST_F(PunchEngineTest, WhatIsNotAnsweredIsDialledAnewByTheCallerAloneAndGoesOnConnecting) {
  // A listener whose queue is full drops what comes, as many gateways do.
  asio::ip::tcp::acceptor full(world.executor.io());
  std::vector<asio::ip::tcp::socket> queue;
  world.Do([&] {
    full.open(asio::ip::tcp::v4());
    full.bind({asio::ip::make_address("127.0.0.1"), 0});
    full.listen(0);
    queue.emplace_back(world.executor.io(), asio::ip::tcp::v4());
  });
  queue.back().connect(full.local_endpoint());
  const HostPort silent{"127.0.0.1", full.local_endpoint().port()};
  const int before = Descriptors();
  const TimePoint deadline = world.executor.Now() + kPatience;
  auto called = Start(far, PunchRole::kCalled, {silent}, 3 * kShort);
  const auto only = NextDialling(silent.port, "", deadline);
  std::string later;
  world.Do([&] { world.executor.PostAt(world.executor.Now() + 2 * kShort, [&] { later = Dialling(silent.port); }); });
  const auto left = Outcome(called);
  EXPECT_THAT(left.message(), HasSubstr(silent.ToString() + " (no answer)"));
  EXPECT_NE(only, "");
  EXPECT_EQ(later, only) << "one socket, which is not made anew";
  EXPECT_EQ(Descriptors(), before);

  auto caller = Start(near, PunchRole::kCaller, {silent});
  const auto first = NextDialling(silent.port, "", deadline);
  const auto again = NextDialling(silent.port, first, deadline);
  EXPECT_FALSE(first.empty() || again.empty());
  world.Do([&] { caller->End(arrow::Status::Cancelled("enough")); });
  EXPECT_TRUE(Outcome(caller).IsCancelled());
  EXPECT_EQ(Descriptors(), before);
  world.Do([&] {
    queue.clear();
    full.close();
  });
}

TEST_F(PunchEngineTest, ASocketThatMeetsItselfIsNoPeer) {
  const auto status = Outcome(Start(near, PunchRole::kCaller, {At(near)}, kShort));
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("has met itself"));
}

TEST_F(PunchEngineTest, WhatIsSentBackIsNoPeer) {
  world.Do([&] {
    listener = ListenTcp(world.executor.io(), {"127.0.0.1", 0}, [&](std::unique_ptr<Stream> stream) {
                 auto echo = [](std::unique_ptr<Stream> both) -> Co<void> {
                   std::string bytes(kPunchHelloBytes, '\0');
                   auto read = both->Read(Bytes(bytes));
                   CYLON_CO_RETURN_NOT_OK(co_await read);
                   auto write = both->Write({Bytes(std::string_view(bytes))});
                   co_return co_await write;
                 };
                 static_cast<void>(Spawn(world.executor, echo(std::move(stream))));
               }).ValueOrDie();
  });
  const auto status = Outcome(Start(near, PunchRole::kCaller, {listener->address()}, kShort));
  EXPECT_TRUE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("comes back"));
}

TEST_F(PunchEngineTest, AStrangerAtThePortDisturbsNobody) {
  auto caller = Start(near, PunchRole::kCaller, {});
  auto silent = Connect(At(near));
  auto web = Connect(At(near));
  Send(web.get(), "GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
  EXPECT_EQ(Receive(web.get(), 1), "");
  auto other = Connect(At(near));
  Send(other.get(), internal::EncodePunchHello({PunchRole::kCalled, PunchTag("another attempt!"), "bbbbbbbbbbbbbbbb"}));
  EXPECT_EQ(Receive(other.get(), 1), "");
  auto called = Start(far, PunchRole::kCalled, {At(near)});
  ExpectOneStream(caller, called);
  world.Do([&] {
    silent.reset();
    web.reset();
    other.reset();
  });
}

TEST_F(PunchEngineTest, WhoHasOnlyHeardOfTheAttemptProvesNothing) {
  auto caller = Start(near, PunchRole::kCaller, {});
  // The tag is on the wire, the attempt is not.
  auto stranger = ConnectAsCalled("a guessed secret");
  EXPECT_EQ(Receive(stranger.get(), 1), "") << "not nominated, and closed";
  auto called = Start(far, PunchRole::kCalled, {At(near)});
  ExpectOneStream(caller, called);
  world.Do([&] { stranger.reset(); });
}

TEST_F(PunchEngineTest, TheNextIsNominatedWhereOneEndsBeforeItConfirms) {
  auto caller = Start(near, PunchRole::kCaller, {});
  auto first = ConnectAsCalled(kTheAttempt);
  EXPECT_EQ(Receive(first.get(), 1), std::string(1, 1));
  auto second = ConnectAsCalled(kTheAttempt);
  EXPECT_FALSE(caller->done().is_finished());
  world.Do([&] { first.reset(); });
  EXPECT_EQ(Receive(second.get(), 1), std::string(1, 1));
  Send(second.get(), std::string(1, 1));
  EXPECT_TRUE(Outcome(caller).ok());
  world.Do([&] { second.reset(); });
}

TEST_F(PunchEngineTest, TheOthersAreClosedWhenOneHasWon) {
  auto caller = Start(near, PunchRole::kCaller, {});
  auto winner = ConnectAsCalled(kTheAttempt);
  EXPECT_EQ(Receive(winner.get(), 1), std::string(1, 1));
  auto loser = ConnectAsCalled(kTheAttempt);
  Send(winner.get(), std::string(1, 1));
  EXPECT_TRUE(Outcome(caller).ok());
  EXPECT_EQ(Receive(loser.get(), 1), "");
  auto late = Connect(At(near));
  Send(late.get(), internal::EncodePunchHello({PunchRole::kCalled, PunchTag(kTheAttempt), "bbbbbbbbbbbbbbbb"}));
  EXPECT_EQ(Receive(late.get(), 1), "") << "of an attempt that is over";
  world.Do([&] {
    winner.reset();
    loser.reset();
    late.reset();
  });
}

TEST_F(PunchEngineTest, WhoNominatesWithoutHavingCalledIsRefused) {
  // The called side awaits a nomination, and gets something else.
  auto called = Start(near, PunchRole::kCalled, {}, kShort);
  auto stream = Connect(At(near));
  const PunchHello own{PunchRole::kCaller, PunchTag(kTheAttempt), "aaaaaaaaaaaaaaaa"};
  Send(stream.get(), internal::EncodePunchHello(own));
  const auto theirs = internal::DecodePunchHello(Receive(stream.get(), kPunchHelloBytes)).ValueOrDie();
  Send(stream.get(), PunchProof(kTheAttempt, own, theirs));
  EXPECT_EQ(Receive(stream.get(), kPunchProofBytes).size(), kPunchProofBytes);
  Send(stream.get(), "x");
  EXPECT_EQ(Receive(stream.get(), 1), "");
  EXPECT_TRUE(IsError(Outcome(called), ErrorKind::kDeadline));
  world.Do([&] { stream.reset(); });
}

TEST_F(PunchEngineTest, TheOldestOfTooManyStrangersGivesWay) {
  std::vector<std::unique_ptr<Stream>> crowd;
  for (int i = 0; i < 70; ++i) {
    crowd.push_back(Connect(At(near)));
  }
  EXPECT_EQ(Receive(crowd.front().get(), 1), "");
  world.Do([&] { crowd.clear(); });
}

TEST_F(PunchEngineTest, EndsInTheMiddleOfEverything) {
  world.Do([&] {
    listener = ListenTcp(world.executor.io(), {"127.0.0.1", 0}, [&](std::unique_ptr<Stream> stream) {
                 streams.push_back(std::move(stream));
               }).ValueOrDie();
  });
  // One that is refused, one that connects and is silent, one that has come and has not proven itself.
  auto attempt = Start(near, PunchRole::kCaller, {{"127.0.0.1", 1}, listener->address()});
  auto guest = ConnectAsCalled(kTheAttempt);
  world.Do([&] { attempt->End(arrow::Status::Cancelled("enough")); });
  EXPECT_TRUE(Outcome(attempt).IsCancelled());
  world.Do([&] { EXPECT_EQ(attempt->TakeWinner(), nullptr); });
  world.Do([&] { guest.reset(); });
}

TEST_F(PunchEngineTest, KeepsNoDescriptors) {
  std::optional<int> before;
  for (int round = 0; round < 12; ++round) {
    auto caller = Start(near, PunchRole::kCaller, {{"127.0.0.1", 1}, At(far), At(near)});
    if (round % 3 == 0) {
      world.Do([&] { caller->End(arrow::Status::Cancelled("enough")); });
    } else {
      auto called = Start(far, PunchRole::kCalled, {At(near), {"127.0.0.1", 1}});
      EXPECT_TRUE(Outcome(caller).ok());
      EXPECT_TRUE(Outcome(called).ok());
    }
    // What was accepted and is of no attempt any more is closed when its end has been read.
    world.Do([&] {
      attempts.clear();
      caller.reset();
    });
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (before && Descriptors() > *before && std::chrono::steady_clock::now() < deadline) {
      world.Do([] {});
    }
    before = before.value_or(Descriptors());
    EXPECT_LE(Descriptors(), *before) << round;
  }
}

}  // namespace
}  // namespace cylon::testing
