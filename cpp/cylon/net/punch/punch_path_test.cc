// Processes that tell each other by letters how to be reached: punched, relayed, and what goes wrong.
#include "cylon/net/punch/punch_path.h"

#include <chrono>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/net/mesh/ways.h"
#include "cylon/net/punch/punch_paths.h"
#include "cylon/net/punch/testing/punch_process.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

int DescriptorsOfThis() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    ++count;
  }
  return count;
}

SeenAddresses Symmetric(uint16_t port) {
  return {{{"127.0.0.1", port}, {"127.0.0.1", static_cast<uint16_t>(port ^ 1)}}, true};
}

TEST(PunchPathTest, OnePortServesAllPairs) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  Process three(hub);
  ExpectConnection(one, one.Dial(two.punch()), two);
  ExpectConnection(one, one.Dial(three.punch()), three);
  ExpectConnection(three, three.Dial(two.punch()), two);
  for (auto* process : {&one, &two, &three}) {
    process->Do([&] {
      EXPECT_EQ(process->courier->probed.size(), 1);
      EXPECT_EQ(process->courier->probes, 1) << "a port that was probed lately is not probed again";
    });
  }
  EXPECT_EQ(hub.relays(), 0);
}

TEST(PunchPathTest, WhoWasConnectedBeforeIsReachedByFreshPorts) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  auto near = one.Dial(two.punch());
  ASSERT_TRUE(near.ok()) << near.status();
  auto far = two.Accepted();
  // The first connection still stands, as one does that a gateway has forgotten.
  ExpectConnection(one, one.Dial(two.punch()), two);
  ExpectConnection(two, two.Dial(one.punch()), one);
  ExpectPassage(one, near->get(), two, far.get());
  for (auto* process : {&one, &two}) {
    process->Do([&] { EXPECT_EQ(process->courier->probed.size(), 3); });
  }
  one.Do([&] { near->reset(); });
  two.Do([&] { far.reset(); });
}

TEST(PunchPathTest, LettersOfOnePortGoOutTogetherAndAnotherPortWaitsForThem) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  Process three(hub);
  Process four(hub);
  ExpectConnection(one, one.Dial(two.punch()), two);
  auto arrived = arrow::Future<>::Make();
  auto both = arrow::Future<>::Make();
  int letters = 0;
  hub.SetCensor([&](const auto& from, const auto&, CourierLetter*) {
    if (from == one.courier->name() && ++letters == 2) {
      both.MarkFinished();
    }
    return true;
  });
  one.Do([&] { one.courier->acknowledged = arrived; });
  auto third = one.StartDial(three.punch());
  auto fourth = one.StartDial(four.punch());
  ASSERT_TRUE(one.Await(both).ok());
  auto fresh = one.StartDial(two.punch());  // as there was a connection before
  one.Do([] {});                            // it has begun
  one.Do([&] { EXPECT_EQ(one.courier->probes, 1) << "letters would go out with the wrong port"; });
  one.Do([&] {
    one.courier->acknowledged = Done();
    arrived.MarkFinished();
  });
  ExpectConnection(one, one.Finish(third), three);
  ExpectConnection(one, one.Finish(fourth), four);
  ExpectConnection(one, one.Finish(fresh), two);
  one.Do([&] { EXPECT_EQ(one.courier->probed.size(), 2); });
}

TEST(PunchPathTest, AddressesAreOfTheirPath) {
  CourierHub hub;
  Process one(hub);
  EXPECT_EQ(one.paths[0]->name(), "punch");
  EXPECT_EQ(one.paths[1]->name(), "relay");
  EXPECT_EQ(one.paths[0]->address(), one.punch());
  EXPECT_EQ(one.paths[1]->address(), one.relay());
  EXPECT_TRUE(one.paths[0]->Reaches("punch://x"));
  EXPECT_FALSE(one.paths[0]->Reaches("relay://x"));
  EXPECT_TRUE(one.paths[1]->Reaches("relay://x"));
  EXPECT_FALSE(one.paths[1]->Reaches("tcp://127.0.0.1:1"));
  EXPECT_THAT(one.Dial(one.punch()).status().message(), HasSubstr("is this process' own"));
  EXPECT_THAT(one.Dial(one.relay()).status().message(), HasSubstr("is this process' own"));
}

TEST(PunchPathTest, NeedsASecret) {
  CourierHub hub;
  TestExecutor world("paths");
  world.Do([&] {
    const auto made = MakePunchPaths(world.executor, hub.Join(world.executor), "", "job");
    EXPECT_TRUE(IsError(made.status(), ErrorKind::kAuthentication)) << made.status();
  });
}

TEST(PunchPathTest, WhatIsPunchedOrRelayedIsEncrypted) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  for (const auto& address : {two.punch(), two.relay()}) {
    auto dialled = one.Dial(address);
    ASSERT_TRUE(dialled.ok()) << dialled.status();
    const Identity here{"job", "1", 0, "mesh", 1};
    const Identity there{"job", "1", 1, "mesh", -1};
    auto listening =
        Spawn(two.executor, OpenAsListener(two.Accepted(), two.executor, {"a secret"}, there, two.in(kPatience)));
    auto opening = Spawn(one.executor, OpenAsDialler(std::move(*dialled), one.executor, {"a secret"}, here, "localhost",
                                                     one.in(kPatience)));
    ASSERT_TRUE(one.executor.Wait(arrow::Future<>(opening), one.in(kPatience)).ok());
    ASSERT_TRUE(two.executor.Wait(arrow::Future<>(listening), two.in(kPatience)).ok());
    ASSERT_TRUE(opening.status().ok()) << opening.status();
    ASSERT_TRUE(listening.status().ok()) << listening.status();
    auto near = opening.MoveResult().ValueOrDie();
    auto far = listening.MoveResult().ValueOrDie();
    EXPECT_NE(near.stream->binding(), "");
    EXPECT_EQ(near.stream->binding(), far.stream->binding());
    one.Do([&] { near.stream.reset(); });
    two.Do([&] { far.stream.reset(); });
  }
}

TEST(PunchPathTest, SaysThatNobodyOfThatNameIsThere) {
  CourierHub hub;
  Process one(hub);
  std::string gone;
  {
    Process two(hub);
    gone = two.courier->name();
  }
  for (const std::string scheme : {"punch://", "relay://"}) {
    const auto status = one.Dial(scheme + gone).status();
    EXPECT_TRUE(IsNobodyListening(status)) << status;
    EXPECT_THAT(status.message(), HasSubstr("nobody of the name " + gone));
  }
}

TEST(PunchPathTest, IsGoneWhenBothPathsAreClosed) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  two.Do([&] { two.paths[0]->Close(); });
  const auto punched = one.Dial(two.punch(), std::chrono::milliseconds(300)).status();
  EXPECT_FALSE(IsNobodyListening(punched)) << punched;
  two.Do([&] { two.paths[1]->Close(); });
  EXPECT_TRUE(IsNobodyListening(one.Dial(two.punch()).status()));
}

TEST(PunchPathTest, APeerThatNeverAnswersLeavesTimeForTheNextAddress) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  hub.SetCensor([](const auto&, const auto&, CourierLetter*) { return false; });
  const auto span = std::chrono::seconds(1);
  const TimePoint deadline = one.in(span);
  const auto status = one.Dial(two.punch(), span).status();
  EXPECT_LT(one.executor.Now(), deadline);
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_FALSE(IsError(status, ErrorKind::kDeadline)) << status;
  EXPECT_THAT(status.message(), HasSubstr("did not answer a call"));
  one.Do([&] { EXPECT_EQ(one.courier->probed.size(), 2) << "the second round has a fresh port"; });
  const auto relayed = one.Dial(two.relay(), std::chrono::milliseconds(300)).status();
  EXPECT_TRUE(IsError(relayed, ErrorKind::kDeadline)) << relayed;
  EXPECT_THAT(relayed.message(), HasSubstr("cannot meet process " + two.courier->name().substr(0, 8)));
}

TEST(PunchPathTest, ASecondRoundMendsALostLetter) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  int letters = 0;
  hub.SetCensor([&](const auto&, const auto&, CourierLetter*) { return ++letters > 1; });
  ExpectConnection(one, one.Dial(two.punch(), std::chrono::seconds(5)), two);
  EXPECT_EQ(letters, 4) << "a lost call, a look whether it is there, a call and its answer";
}

TEST(PunchPathTest, BehindTwoSymmetricGatewaysNothingIsTried) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  for (auto* process : {&one, &two}) {
    process->Do([&] { process->courier->see = Symmetric; });
  }
  const auto status = one.Dial(two.punch()).status();
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("the gateways of both ends give each destination a port of its own"));
  ExpectConnection(one, one.Dial(two.relay()), two);
}

TEST(PunchPathTest, OneSymmetricGatewayIsTried) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  one.Do([&] { one.courier->see = Symmetric; });
  ExpectConnection(one, one.Dial(two.punch()), two);
}

TEST(PunchPathTest, OneSymmetricGatewayIsTriedOnceAndNotForLong) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  one.Do([&] { one.courier->see = [](uint16_t) { return SeenAddresses{{{"127.0.0.1", 1}}, true}; }; });
  two.Do([&] { two.courier->see = [](uint16_t) { return SeenAddresses{{{"127.0.0.1", 2}}, false}; }; });
  for (auto [from, to] : {std::pair(&one, &two), std::pair(&two, &one)}) {
    // Rounds of five seconds each would not end with these words.
    const auto status = from->Dial(to->punch(), std::chrono::seconds(60)).status();
    EXPECT_TRUE(status.IsIOError()) << status;
    EXPECT_THAT(status.message(), HasSubstr("only one end knows where to dial the other"));
  }
}

TEST(PunchPathTest, WithoutAFamilyInCommonTheRelayIsTakenAtOnce) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  one.Do([&] { one.courier->see = [](uint16_t port) { return SeenAddresses{{{"203.0.113.7", port}}, false}; }; });
  two.Do([&] { two.courier->see = [](uint16_t port) { return SeenAddresses{{{"2001:db8::7", port}}, false}; }; });
  for (auto [from, to] : {std::pair(&one, &two), std::pair(&two, &one)}) {
    // A round would end with other words.
    const auto status = from->Dial(to->punch(), std::chrono::seconds(60)).status();
    EXPECT_TRUE(status.IsIOError()) << status;
    EXPECT_THAT(status.message(), HasSubstr("one end has addresses of IPv4 only and the other of IPv6 only"));
    ExpectConnection(*from, from->Dial(to->relay()), *to);
  }
}

TEST(PunchPathTest, WhereAllCandidatesAreRefusedTheRelayIsTaken) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  one.Do([&] { one.courier->see = [](uint16_t) { return SeenAddresses{{{"127.0.0.1", 1}}, false}; }; });
  two.Do([&] { two.courier->see = [](uint16_t) { return SeenAddresses{{{"127.0.0.1", 2}}, false}; }; });
  auto reached = Spawn(one.executor, internal::ConnectByAny(one.paths, two.punch() + " " + two.relay(),
                                                            one.in(std::chrono::seconds(2)), {}));
  ASSERT_TRUE(one.executor.Wait(arrow::Future<>(reached), one.in(kPatience)).ok());
  ASSERT_TRUE(reached.status().ok()) << reached.status();
  auto way = reached.MoveResult().ValueOrDie();
  EXPECT_EQ(way.path->name(), "relay");
  ExpectConnection(one, std::move(way.stream), two);
  const auto status = one.Dial(two.punch(), std::chrono::milliseconds(500)).status();
  EXPECT_THAT(status.message(), HasSubstr("127.0.0.1:2 (Connection refused)"));
}

TEST(PunchPathTest, APeerThatHasNoPortSaysSo) {
  CourierHub hub;
  Process one(hub);
  TestExecutor world("peer");
  std::shared_ptr<internal::SealedLetters> peer;
  world.Do([&] {
    peer = internal::SealedLetters::Make(hub.Join(world.executor), "a secret", "job", 1);
    peer->Read(internal::LetterKind::kCall, [&](const auto& from, const auto&, const internal::Letter& call) {
      internal::Letter answer{internal::LetterKind::kAnswer, call.attempt};
      answer.declined = true;
      EXPECT_TRUE(peer->Tell(from, answer).is_finished());
    });
  });
  const auto status = one.Dial("punch://" + peer->courier().name()).status();
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("it has no port to do so"));
  world.Do([&] { peer.reset(); });
}

TEST(PunchPathTest, WhoIsGoneAfterACallAndDidNotAnswerItIsGone) {
  CourierHub hub;
  Process one(hub);
  TestExecutor world("peer");
  std::shared_ptr<internal::SealedLetters> peer;
  std::string name;
  world.Do([&] {
    auto courier = hub.Join(world.executor);
    name = courier->name();
    peer = internal::SealedLetters::Make(courier, "a secret", "job", 1);
    peer->Read(internal::LetterKind::kCall, [courier](const auto&, const auto&, const auto&) { courier->Close(); });
  });
  const auto status = one.Dial("punch://" + name, std::chrono::milliseconds(500)).status();
  EXPECT_TRUE(IsNobodyListening(status)) << status;
  EXPECT_THAT(status.message(), HasSubstr("nobody of the name " + name + " is at the server any more"));
  world.Do([&] { peer.reset(); });
}

/// A call is lost, and the server does not say whether who was called is there.
class UnansweredLookTest : public ::testing::Test {
 protected:
  UnansweredLookTest() {
    hub_.SetCensor([this](const auto&, const auto&, CourierLetter*) {
      if (++letters_ == 2) {
        looked_.MarkFinished();
      }
      return letters_ > 1;
    });
    one_.Do([this] { one_.courier->acknowledged = arrow::Future<>::Make(); });
  }

  CourierHub hub_;
  int letters_ = 0;
  arrow::Future<> looked_ = arrow::Future<>::Make();
  Process one_{hub_};
  Process two_{hub_};
};

TEST_F(UnansweredLookTest, EndsWithItsDial) {
  const auto status = one_.Dial(two_.punch(), std::chrono::milliseconds(300)).status();
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_FALSE(IsNobodyListening(status)) << status;
}

TEST_F(UnansweredLookTest, EndsWithItsPath) {
  auto dialled = one_.StartDial(two_.punch(), std::chrono::seconds(2));
  ASSERT_TRUE(one_.Await(looked_).ok());
  one_.Do([this] { one_.paths[0]->Close(); });
  EXPECT_TRUE(one_.Finish(dialled).status().IsCancelled());
}

TEST_F(UnansweredLookTest, EndsWhereItIsGivenUp) {
  auto stop = arrow::Future<>::Make();
  auto dialled = one_.StartDial(two_.punch(), std::chrono::seconds(2), stop);
  ASSERT_TRUE(one_.Await(looked_).ok());
  one_.Do([&] { stop.MarkFinished(); });
  EXPECT_TRUE(one_.Finish(dialled).status().IsCancelled());
}

TEST(PunchPathTest, AddressesOfOtherPathsAreRefused) {
  CourierHub hub;
  Process one(hub);
  for (const auto& path : one.paths) {
    auto dialled = Spawn(one.executor, path->Dial("tcp://127.0.0.1:1", one.in(kPatience), {}));
    EXPECT_THAT(one.Finish(dialled).status().message(), HasSubstr("the address tcp://127.0.0.1:1 is not one of"));
  }
}

TEST(PunchPathTest, WithoutThePublicAddressTheRelayIsLeft) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  one.Do([&] { one.courier->probe_error = arrow::Status::IOError("the server is away"); });
  const auto status = one.Dial(two.punch(), std::chrono::seconds(1)).status();
  EXPECT_TRUE(status.IsIOError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("cannot learn at which public address this process is: the server is away"));
}

TEST(PunchPathTest, LettersOfStrangersChangeNothing) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  Process stranger(hub, "", "another secret");
  hub.Inject(two.courier->name(), {"somebody", {}, "nonsense"});
  const auto status = stranger.Dial(two.punch(), std::chrono::milliseconds(300)).status();
  EXPECT_THAT(status.message(), HasSubstr("did not answer a call"));
  two.Do([&] { EXPECT_EQ(two.courier->probes, 0) << "a stranger makes it do nothing"; });
  ExpectConnection(one, one.Dial(two.punch()), two);
}

TEST(PunchPathTest, LettersThatComeAgainChangeNothing) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  std::mutex mutex;
  std::vector<std::pair<std::string, CourierLetter>> all;
  hub.SetCensor([&](const auto&, const auto& to, CourierLetter* letter) {
    const std::lock_guard lock(mutex);
    all.emplace_back(to, *letter);
    return true;
  });
  ExpectConnection(one, one.Dial(two.punch()), two);
  ExpectConnection(one, one.Dial(two.relay()), two);
  const size_t before = all.size();
  EXPECT_EQ(before, 3);
  for (size_t i = 0; i < before; ++i) {
    hub.Inject(all[i].first, all[i].second);
  }
  one.Do([] {});
  two.Do([&] { EXPECT_TRUE(two.accepted.empty()); });
  ExpectConnection(one, one.Dial(two.punch()), two);
  EXPECT_EQ(all.size(), before + 2) << "nothing answered what came again";
}

TEST(PunchPathTest, StrangersWhoDialThePortFirstAreNoPeers) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  std::vector<std::unique_ptr<Stream>> strangers;
  // While the letters travel, somebody dials every port that the server saw.
  hub.SetCensor([&](const auto&, const auto&, CourierLetter* letter) {
    for (const auto& address : letter->seen.addresses) {
      one.executor.Post([&, address] {
        auto dial = [](Process* self, HostPort to, std::vector<std::unique_ptr<Stream>>* kept) -> Co<void> {
          auto connect = ConnectTcp(self->executor.io(), self->executor, to, self->in(kPatience));
          CYLON_CO_ASSIGN_OR_RETURN(auto stream, co_await connect);
          kept->push_back(std::move(stream));
          co_return arrow::Status::OK();
        };
        static_cast<void>(Spawn(one.executor, dial(&one, address, &strangers)));
      });
    }
    return true;
  });
  ExpectConnection(one, one.Dial(two.punch()), two);
  two.Do([&] { EXPECT_TRUE(two.accepted.empty()); });
  one.Do([&] { strangers.clear(); });
}

TEST(PunchPathTest, ADialEndsWhenItIsStopped) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  hub.SetCensor([](const auto&, const auto&, CourierLetter*) { return false; });
  for (const auto& address : {two.punch(), two.relay()}) {
    auto stop = arrow::Future<>::Make();
    auto dialled = one.StartDial(address, kPatience, stop);
    one.Do([] {});
    one.Do([&] { stop.MarkFinished(); });
    EXPECT_TRUE(one.Finish(dialled).status().IsCancelled());
    auto stopped = arrow::Future<>::MakeFinished();
    auto never = one.StartDial(address, kPatience, stopped);
    EXPECT_TRUE(one.Finish(never).status().IsCancelled());
  }
}

TEST(PunchPathTest, ClosingInTheMiddleEndsDials) {
  CourierHub hub;
  for (const bool destroy : {false, true}) {
    for (const size_t which : {0, 1}) {
      Process one(hub);
      Process two(hub);
      hub.SetCensor([](const auto&, const auto&, CourierLetter*) { return false; });
      auto dialled = one.StartDial(which == 0 ? two.punch() : two.relay());
      one.Do([] {});
      one.Do([&] {
        if (destroy) {
          one.paths.clear();
        } else {
          one.paths[0]->Close();
          one.paths[1]->Close();
        }
      });
      const auto status = one.Finish(dialled).status();
      EXPECT_TRUE(status.IsCancelled()) << status;
    }
  }
}

TEST(PunchPathTest, ClosingInTheMiddleEndsWhatIsAnswered) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  // The answer is lost, so the called side waits and dials.
  int letters = 0;
  auto heard = arrow::Future<>::Make();
  hub.SetCensor([&](const auto&, const auto&, CourierLetter* letter) {
    letter->seen.addresses.clear();
    if (++letters == 2) {
      heard.MarkFinished();
    }
    return letters == 1;
  });
  auto dialled = one.StartDial(two.punch(), std::chrono::seconds(1));
  ASSERT_TRUE(two.Await(heard).ok());
  two.Do([&] { two.paths.clear(); });
  EXPECT_FALSE(one.Finish(dialled).ok());
  two.Do([&] { EXPECT_TRUE(two.accepted.empty()); });
}

TEST(PunchPathTest, AFullRelayIsTold) {
  CourierHub hub;
  Process one(hub);
  Process two(hub);
  one.Do([&] { one.courier->relay_error = arrow::Status::CapacityError("the server has no room"); });
  const auto status = one.Dial(two.relay(), std::chrono::milliseconds(300)).status();
  EXPECT_TRUE(status.IsCapacityError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("at the relay: the server has no room"));
}

TEST(PunchPathTest, KeepsNoDescriptorsOfDialsOrOfPaths) {
  CourierHub hub;
  int before = 0;
  for (int round = 0; round < 8; ++round) {
    {
      Process one(hub);
      Process two(hub);
      ExpectConnection(one, one.Dial(two.punch()), two);
      ExpectConnection(one, one.Dial(two.relay()), two);
      one.Do([&] { one.courier->see = [](uint16_t) { return SeenAddresses{{{"127.0.0.1", 1}}, false}; }; });
      hub.SetCensor([](const auto&, const auto&, CourierLetter* letter) {
        letter->seen.addresses = {{"127.0.0.1", 1}};
        return true;
      });
      EXPECT_FALSE(one.Dial(two.punch(), std::chrono::milliseconds(200)).ok());
      hub.SetCensor(nullptr);
    }
    if (round == 0) {
      before = DescriptorsOfThis();
    }
  }
  EXPECT_EQ(DescriptorsOfThis(), before);
}

}  // namespace
}  // namespace cylon::testing
