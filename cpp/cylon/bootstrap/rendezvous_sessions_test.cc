// Sessions of a rendezvous server and their clients, over pipes in memory and a clock that jumps.
#include "cylon/bootstrap/rendezvous_sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "cylon/base/error.h"
#include "cylon/bootstrap/rendezvous_client.h"
#include "cylon/bootstrap/testing/memory_pipe.h"
#include "cylon/bootstrap/testing/virtual_time.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

std::string NameOf(char digit) { return std::string(kCourierNameBytes, digit); }
std::string NonceOf(char byte) { return std::string(kRendezvousNonceBytes, byte); }

/// One who says what it likes, and keeps what it is told.
struct Caller {
  std::unique_ptr<Stream> stream;
  std::shared_ptr<FramedOutbox> outbox;
  std::vector<RendezvousFrame> heard;
  arrow::Status end = arrow::Status::OK();  // not OK once the server has hung up

  ~Caller() { outbox->Detach(); }
  static Co<void> Listen(std::shared_ptr<Caller> self) {
    while (true) {
      auto reading = ReadRendezvousFrame(self->stream.get());
      auto frame = co_await reading;
      if (!frame.ok()) {
        self->end = frame.status();
        co_return self->end;
      }
      self->heard.push_back(*std::move(frame));
    }
  }
};

class RendezvousSessionsTest : public ::testing::Test {
 protected:
  ~RendezvousSessionsTest() override {
    time_.Do([&] {
      for (const auto& client : clients_) {
        client->Close();
      }
      sessions_->Close();
    });
    time_.RunFor(1h);
    EXPECT_EQ(sessions_->connections(), 0U);
    EXPECT_EQ(counters_->sessions, 0U);
  }

  void Start(RendezvousLimits limits = {}) {
    sessions_ =
        std::make_shared<RendezvousSessions>(time_, NonceOf(life_), std::vector<uint16_t>{4712}, counters_, limits);
  }
  std::shared_ptr<Caller> Call(size_t capacity = 64 << 10, bool listens = true) {
    PipeEnds ends(capacity);
    const auto caller = std::make_shared<Caller>();
    caller->stream = std::move(ends.near);
    caller->outbox = std::make_shared<FramedOutbox>(caller->stream.get());
    time_.Do([&] {
      internal::DriveVoid(RendezvousSessions::Serve(sessions_, std::move(ends.far), Guest{"job"}),
                          arrow::Future<>::Make());
      if (listens) {
        internal::DriveVoid(Caller::Listen(caller), arrow::Future<>::Make());
      }
    });
    return caller;
  }
  void Say(const std::shared_ptr<Caller>& caller, const RendezvousFrame& frame) {
    time_.Do([&] { caller->outbox->Push(EncodeRendezvousFrame(frame)); });
  }
  std::shared_ptr<Caller> CallAs(char digit, char incarnation, size_t capacity = 64 << 10, bool listens = true) {
    auto caller = Call(capacity, listens);
    RendezvousFrame hello{RendezvousOp::kHello, 0, NameOf(digit)};
    hello.nonce = NonceOf(incarnation);
    Say(caller, hello);
    return caller;
  }
  void SayTell(const std::shared_ptr<Caller>& caller, uint64_t id, char to, const std::string& text) {
    RendezvousFrame tell{RendezvousOp::kTell, id, NameOf(to)};
    tell.text = text;
    Say(caller, tell);
  }

  /// A client that connects to the server of the moment, unless `away_`.
  std::shared_ptr<RendezvousClient> Client(char digit) {
    const auto connect = [this](TimePoint) -> Co<std::unique_ptr<Stream>> { return Connect(this); };
    auto client = std::make_shared<RendezvousClient>(time_, "memory", connect, NameOf(digit), NonceOf(digit));
    clients_.push_back(client);
    auto opening = arrow::Future<>::Make();
    time_.Do([&] { internal::DriveVoid(RendezvousClient::Open(client, kNever), opening); });
    EXPECT_TRUE(opening.is_finished() && opening.status().ok());
    return client;
  }
  static Co<std::unique_ptr<Stream>> Connect(RendezvousSessionsTest* self) {
    if (self->away_) {
      co_return arrow::Status::IOError("nobody listens");
    }
    PipeEnds ends;
    internal::DriveVoid(RendezvousSessions::Serve(self->sessions_, std::move(ends.far), Guest{"job"}),
                        arrow::Future<>::Make());
    co_return std::move(ends.near);
  }
  arrow::Future<> Tell(const std::shared_ptr<RendezvousClient>& client, char to, const std::string& text) {
    arrow::Future<> told;
    time_.Do([&] { told = client->Tell(NameOf(to), text); });
    return told;
  }
  arrow::Result<std::string> Draw(const std::shared_ptr<RendezvousClient>& client) {
    auto drawn = arrow::Future<RendezvousClient::ProbeToken>::Make();
    time_.Do([&] { internal::Drive(RendezvousClient::DrawToken(client, kNever), drawn); });
    ARROW_ASSIGN_OR_RAISE(const auto token, drawn.result());
    EXPECT_EQ(token.lookers.size(), 2U);
    EXPECT_EQ(token.lookers[1].ToString(), "127.0.0.1:4712");
    return token.token;
  }
  bool Probed(size_t looker, const std::string& token, const HostPort& from) {
    bool good = false;
    time_.Do([&] { good = sessions_->Probed(looker, token, from); });
    return good;
  }

  VirtualTime time_;
  std::shared_ptr<RendezvousCounters> counters_ = std::make_shared<RendezvousCounters>();
  std::shared_ptr<RendezvousSessions> sessions_;
  std::vector<std::shared_ptr<RendezvousClient>> clients_;
  bool away_ = false;
  char life_ = 'l';
};

TEST_F(RendezvousSessionsTest, ALetterComesWithWhatTheServerHasSeenOfItsSender) {
  Start();
  const auto alice = Client('a');
  const auto bob = Client('b');
  std::vector<CourierLetter> heard;
  EXPECT_TRUE(Tell(alice, 'b', "early").status().ok());
  time_.Do([&] { bob->OnLetter([&](const CourierLetter& letter) { heard.push_back(letter); }); });
  const auto token = Draw(alice);
  ASSERT_TRUE(token.ok()) << token.status();
  EXPECT_TRUE(Probed(0, *token, {"203.0.113.7", 1000}));
  EXPECT_TRUE(Tell(alice, 'b', "one").status().ok());
  EXPECT_TRUE(Probed(1, *token, {"203.0.113.7", 1001}));
  EXPECT_TRUE(Tell(alice, 'b', "two").status().ok());
  ASSERT_EQ(heard.size(), 3U);
  EXPECT_EQ(heard[0].from, NameOf('a'));
  EXPECT_EQ(heard[0].text, "early");
  EXPECT_EQ(heard[0].seen, SeenAddresses());
  EXPECT_EQ(heard[1].seen.addresses.size(), 1U);
  EXPECT_FALSE(heard[1].seen.symmetric);
  EXPECT_EQ(heard[2].seen.addresses.at(1).ToString(), "203.0.113.7:1001");
  EXPECT_TRUE(heard[2].seen.symmetric);
  EXPECT_EQ(counters_->letters, 3U);
  EXPECT_EQ(counters_->probes, 2U);
}

TEST_F(RendezvousSessionsTest, ATokenIsGoodOnceAtEachPortAndUntilTheNext) {
  Start();
  const auto alice = Client('a');
  const auto first = Draw(alice).ValueOrDie();
  EXPECT_TRUE(Probed(0, first, {"203.0.113.7", 1}));
  EXPECT_FALSE(Probed(0, first, {"203.0.113.7", 2}));
  EXPECT_FALSE(Probed(2, first, {"203.0.113.7", 2}));  // there are two ports
  const auto second = Draw(alice).ValueOrDie();
  EXPECT_FALSE(Probed(1, first, {"203.0.113.7", 2}));
  EXPECT_TRUE(Probed(1, second, {"203.0.113.7", 2}));
  EXPECT_FALSE(Probed(0, NonceOf('?'), {"203.0.113.7", 2}));
  time_.Do([&] { alice->Close(); });
  EXPECT_FALSE(Probed(0, second, {"203.0.113.7", 2}));
}

TEST_F(RendezvousSessionsTest, ANameThatIsTakenIsRefused) {
  Start();
  const auto alice = Client('a');
  const auto impostor = CallAs('a', 'x');
  ASSERT_EQ(impostor->heard.size(), 1U);
  EXPECT_EQ(impostor->heard[0].op, RendezvousOp::kGone);
  EXPECT_TRUE(impostor->heard[0].status.IsAlreadyExists()) << impostor->heard[0].status;
  EXPECT_THAT(impostor->heard[0].status.message(), AllOf(HasSubstr(NameOf('a')), HasSubstr("draw another one")));
  EXPECT_FALSE(impostor->end.ok());
  EXPECT_TRUE(Tell(alice, 'a', "still here").status().ok());
  EXPECT_EQ(counters_->sessions_refused, 1U);
}

TEST_F(RendezvousSessionsTest, TheSameProcessTakesItsNameAlongWithWhatWasSeen) {
  Start();
  const auto bob = Client('b');
  std::vector<CourierLetter> heard;
  time_.Do([&] { bob->OnLetter([&](const CourierLetter& letter) { heard.push_back(letter); }); });
  const auto before = CallAs('a', 'i');
  Say(before, {RendezvousOp::kDraw, 1});
  ASSERT_EQ(before->heard.size(), 2U);
  EXPECT_TRUE(Probed(0, before->heard[1].nonce, {"203.0.113.7", 1}));
  const auto after = CallAs('a', 'i');
  EXPECT_FALSE(before->end.ok());
  EXPECT_EQ(before->heard.back().op, RendezvousOp::kGone);
  SayTell(after, 2, 'b', "hi");
  ASSERT_EQ(heard.size(), 1U);
  EXPECT_EQ(heard[0].seen.addresses.size(), 1U);
  EXPECT_EQ(counters_->sessions, 2U);
  EXPECT_EQ(counters_->sessions_begun, 3U);
}

TEST_F(RendezvousSessionsTest, ALetterThatIsToldAgainIsHeardOnce) {
  Start();
  const auto bob = Client('b');
  std::vector<std::string> heard;
  time_.Do([&] { bob->OnLetter([&](const CourierLetter& letter) { heard.push_back(letter.text); }); });
  SayTell(CallAs('a', 'i'), 1, 'b', "one");
  const auto again = CallAs('a', 'i');  // it has not heard the answer
  SayTell(again, 1, 'b', "one");
  SayTell(again, 2, 'b', "two");
  EXPECT_THAT(heard, ElementsAre("one", "two"));
}

TEST_F(RendezvousSessionsTest, ALetterToNobodyIsAKeyError) {
  Start();
  const auto alice = Client('a');
  const auto told = Tell(alice, 'c', "anybody?");
  ASSERT_TRUE(told.is_finished());
  EXPECT_TRUE(told.status().IsKeyError()) << told.status();
  EXPECT_THAT(told.status().message(), AllOf(HasSubstr(NameOf('c')), HasSubstr("not come yet, or is gone")));
  EXPECT_EQ(counters_->letters_refused, 1U);
}

TEST_F(RendezvousSessionsTest, TooLongALetterIsRefusedAtBothEnds) {
  Start();
  const auto alice = Client('a');
  EXPECT_TRUE(Tell(alice, 'a', std::string(Courier::kMaxLetter, 'x')).status().ok());
  const auto refused = Tell(alice, 'a', std::string(Courier::kMaxLetter + 1, 'x')).status();
  EXPECT_TRUE(refused.IsInvalid()) << refused;
  EXPECT_THAT(refused.message(), AllOf(HasSubstr("4097 bytes"), HasSubstr("at most 4096")));
  // One that does not ask its own side first.
  const auto rude = CallAs('b', 'b');
  SayTell(rude, 1, 'a', std::string(Courier::kMaxLetter + 1, 'x'));
  ASSERT_EQ(rude->heard.size(), 2U);
  EXPECT_TRUE(rude->heard[1].status.IsInvalid()) << rude->heard[1].status;
  SayTell(rude, 2, 'a', std::string(kMaxRendezvousFrame, 'x'));
  EXPECT_FALSE(rude->end.ok());
}

TEST_F(RendezvousSessionsTest, WhatIsNoMessageEndsTheSessionWithAReason) {
  Start();
  for (const auto& bytes : {std::string("\x63"), std::string(), EncodeRendezvousFrame({RendezvousOp::kPing}) + "x",
                            EncodeRendezvousFrame({RendezvousOp::kWelcome})}) {
    const auto caller = CallAs('c', 'i');
    time_.Do([&] { caller->outbox->Push(bytes); });
    ASSERT_FALSE(caller->end.ok());
    EXPECT_EQ(caller->heard.back().op, RendezvousOp::kGone);
    EXPECT_TRUE(IsError(caller->heard.back().status, ErrorKind::kProtocol)) << caller->heard.back().status;
  }
  const auto nameless = Call();
  Say(nameless, {RendezvousOp::kDraw, 1});
  EXPECT_THAT(nameless->heard.back().status.message(), HasSubstr("not with its name"));
}

TEST_F(RendezvousSessionsTest, ASilentSessionEndsAndOneThatPingsDoesNot) {
  Start();
  const auto alice = Client('a');
  const auto silent = CallAs('b', 'i');
  const auto nameless = Call();
  time_.RunFor(29s);
  EXPECT_EQ(sessions_->connections(), 3U);
  time_.RunFor(2s);
  EXPECT_EQ(sessions_->connections(), 1U);
  EXPECT_EQ(silent->heard.back().op, RendezvousOp::kGone);
  EXPECT_THAT(silent->heard.back().status.message(), HasSubstr("has said nothing for 30 s"));
  EXPECT_FALSE(nameless->end.ok());
  time_.RunFor(1h);
  EXPECT_TRUE(Tell(alice, 'a', "still here").status().ok());
  EXPECT_EQ(counters_->sessions_begun, 2U);
  EXPECT_EQ(counters_->sessions_ended, 2U);
}

TEST_F(RendezvousSessionsTest, AClientLeavesAServerThatIsSilent) {
  Start();
  const auto alice = Client('a');
  // A server that has welcomed it and says no more: nobody reads the far ends of these.
  std::vector<std::unique_ptr<Stream>> kept;
  int dialled = 0;
  const auto connect = [&](TimePoint) -> Co<std::unique_ptr<Stream>> {
    return [](auto* all, int* count) -> Co<std::unique_ptr<Stream>> {
      PipeEnds ends;
      RendezvousFrame welcome{RendezvousOp::kWelcome};
      welcome.nonce = NonceOf('l');
      const auto outbox = std::make_shared<FramedOutbox>(ends.far.get());
      outbox->Push(EncodeRendezvousFrame(welcome));
      outbox->Detach();
      all->push_back(std::move(ends.far));
      ++*count;
      co_return std::move(ends.near);
    }(&kept, &dialled);
  };
  const auto client = std::make_shared<RendezvousClient>(time_, "memory", connect, NameOf('e'), NonceOf('e'));
  auto opening = arrow::Future<>::Make();
  time_.Do([&] { internal::DriveVoid(RendezvousClient::Open(client, kNever), opening); });
  ASSERT_TRUE(opening.is_finished());
  time_.RunFor(29s);
  EXPECT_EQ(dialled, 1);
  time_.RunFor(2s);
  EXPECT_EQ(dialled, 2);
  time_.Do([&] { client->Close(); });
}

TEST_F(RendezvousSessionsTest, WhoWritesTooMuchIsReadMoreSlowly) {
  RendezvousLimits limits;
  limits.letters_at_once = 4;
  limits.letters_per_second = 2;
  Start(limits);
  const auto alice = Client('a');
  std::vector<arrow::Future<>> told;
  for (int i = 0; i < 10; ++i) {
    told.push_back(Tell(alice, 'a', std::to_string(i)));
  }
  EXPECT_TRUE(told[3].is_finished());
  EXPECT_FALSE(told[4].is_finished());
  time_.RunFor(1s);
  EXPECT_TRUE(told[5].is_finished());
  EXPECT_FALSE(told[6].is_finished());
  time_.RunFor(2s);
  EXPECT_TRUE(told[9].is_finished());
  for (const auto& each : told) {
    EXPECT_TRUE(each.status().ok()) << each.status();
  }
}

TEST_F(RendezvousSessionsTest, AClientThatDoesNotReadIsClosed) {
  RendezvousLimits limits;
  limits.unread = 16 << 10;
  Start(limits);
  const auto alice = Client('a');
  const auto deaf = CallAs('d', 'i', /*capacity=*/1 << 10, /*listens=*/false);
  EXPECT_EQ(counters_->sessions, 2U);
  arrow::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    const auto told = Tell(alice, 'd', std::string(Courier::kMaxLetter, 'x'));
    ASSERT_TRUE(told.is_finished());
    status = told.status();
  }
  EXPECT_TRUE(status.IsKeyError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("does not read its letters"));
  EXPECT_EQ(counters_->sessions, 1U);
  EXPECT_EQ(counters_->sessions_ended, 1U);
  // And one that asks, and does not read the answers.
  const auto asks = CallAs('d', 'j', /*capacity=*/1 << 10, /*listens=*/false);
  for (uint64_t id = 1; id < 2000 && counters_->sessions == 2; ++id) {
    Say(asks, {RendezvousOp::kDraw, id});
  }
  EXPECT_EQ(counters_->sessions, 1U);
}

TEST_F(RendezvousSessionsTest, WhatAllHaveNotReadIsBoundedTogether) {
  RendezvousLimits limits;
  limits.unread_in_all = 16 << 10;
  Start(limits);
  const auto alice = Client('a');
  const auto slow = CallAs('d', 'i', /*capacity=*/1 << 10, /*listens=*/false);
  arrow::Status status;
  for (int i = 0; i < 10 && status.ok(); ++i) {
    status = Tell(alice, 'd', std::string(Courier::kMaxLetter, 'x')).status();
  }
  EXPECT_TRUE(status.IsCapacityError()) << status;
  EXPECT_THAT(status.message(), HasSubstr("tell it again later"));
  EXPECT_EQ(counters_->sessions, 2U);  // nobody is sent away for it
  time_.Do([&] { slow->stream->Close(); });
  EXPECT_TRUE(Tell(alice, 'a', "there is room again").status().ok());
}

TEST_F(RendezvousSessionsTest, TooManySessionsAreRefused) {
  RendezvousLimits limits;
  limits.sessions = 2;
  Start(limits);
  const auto one = CallAs('1', 'i');
  const auto two = CallAs('2', 'i');
  const auto three = CallAs('3', 'i');
  EXPECT_TRUE(three->heard.at(0).status.IsCapacityError()) << three->heard[0].status;
  const auto again = CallAs('2', 'i');  // it is one of the two
  EXPECT_EQ(again->heard.at(0).op, RendezvousOp::kWelcome);
}

TEST_F(RendezvousSessionsTest, WhatIsToldWhileTheServerIsAwayWaits) {
  Start();
  const auto alice = Client('a');
  const auto bob = Client('b');
  std::vector<std::string> heard;
  time_.Do([&] { bob->OnLetter([&](const CourierLetter& letter) { heard.push_back(letter.text); }); });
  away_ = true;
  time_.Do([&] { sessions_->Close(); });
  const auto told = Tell(alice, 'b', "hi");
  time_.RunFor(20s);
  EXPECT_FALSE(told.is_finished());
  Start();
  away_ = false;
  time_.RunFor(2s);
  // Whichever of them came back first: the letter was passed on, or its sender knows that nobody was there.
  ASSERT_TRUE(told.is_finished());
  EXPECT_TRUE(told.status().ok() || told.status().IsKeyError()) << told.status();
  EXPECT_TRUE(Tell(alice, 'b', "there?").status().ok());
  EXPECT_EQ(heard.back(), "there?");
}

TEST_F(RendezvousSessionsTest, AServerThatStaysAwayIsToldInBoundedTimeAndAskedAnew) {
  Start();
  const auto alice = Client('a');
  away_ = true;
  time_.Do([&] { sessions_->Close(); });
  const auto told = Tell(alice, 'a', "hi");
  time_.RunFor(31s);
  ASSERT_TRUE(told.is_finished());
  EXPECT_TRUE(told.status().IsIOError()) << told.status();
  EXPECT_THAT(told.status().message(), AllOf(HasSubstr("the rendezvous server at memory is gone"),
                                             HasSubstr("within 30000 ms"), HasSubstr("start cylon-rendezvous")));
  Start();
  away_ = false;
  EXPECT_TRUE(Tell(alice, 'a', "again").status().ok());
}

TEST_F(RendezvousSessionsTest, WhoIsQuietComesBackToAServerThatWasAwayForLong) {
  Start();
  const auto alice = Client('a');
  const auto bob = Client('b');
  away_ = true;
  time_.Do([&] { sessions_->Close(); });
  time_.RunFor(1h);
  Start();
  away_ = false;
  time_.RunFor(10s);  // nobody asks for anything
  EXPECT_EQ(counters_->sessions, 2U);
  EXPECT_TRUE(Tell(alice, 'b', "still here").status().ok());
}

TEST_F(RendezvousSessionsTest, ANameThatIsNotBackYetAfterARestartIsNotTakenForOneThatIsGone) {
  Start();
  const auto alice = Client('a');
  const auto bob = Client('b');
  time_.Do([&] { bob->Close(); });
  EXPECT_TRUE(Tell(alice, 'b', "gone?").status().IsKeyError());
  time_.Do([&] { sessions_->Close(); });
  Start();
  time_.RunFor(2s);
  const auto early = Tell(alice, 'b', "gone?").status();
  EXPECT_TRUE(early.IsKeyError()) << "it is the same life of the server: " << early;
  time_.Do([&] { sessions_->Close(); });
  life_ = 'm';
  Start();
  time_.RunFor(2s);
  const auto doubtful = Tell(alice, 'b', "gone?").status();
  EXPECT_TRUE(doubtful.IsIOError()) << doubtful;
  EXPECT_THAT(doubtful.message(), HasSubstr("was started anew, and others may not have come back to it yet"));
  time_.RunFor(5s);
  EXPECT_TRUE(Tell(alice, 'b', "gone?").status().IsKeyError());
}

TEST_F(RendezvousSessionsTest, AConnectionThatOwesAnAnswerAndIsSilentIsMadeAnew) {
  Start();
  const auto bob = Client('b');
  // As behind a gateway that has forgotten the connection: what is written goes nowhere, and nothing comes.
  std::vector<std::unique_ptr<Stream>> deaf;
  const auto connect = [&](TimePoint) -> Co<std::unique_ptr<Stream>> {
    if (deaf.size() == 2) {
      return Connect(this);
    }
    return [](auto* all) -> Co<std::unique_ptr<Stream>> {
      PipeEnds ends;
      RendezvousFrame welcome{RendezvousOp::kWelcome};
      welcome.nonce = NonceOf('l');
      const auto outbox = std::make_shared<FramedOutbox>(ends.far.get());
      outbox->Push(EncodeRendezvousFrame(welcome));
      outbox->Detach();
      all->push_back(std::move(ends.far));
      co_return std::move(ends.near);
    }(&deaf);
  };
  const auto alice = std::make_shared<RendezvousClient>(time_, "memory", connect, NameOf('a'), NonceOf('a'));
  clients_.push_back(alice);
  auto opening = arrow::Future<>::Make();
  time_.Do([&] { internal::DriveVoid(RendezvousClient::Open(alice, kNever), opening); });
  ASSERT_TRUE(opening.is_finished());
  time_.RunFor(10s);
  EXPECT_EQ(deaf.size(), 1U) << "nothing was asked, so nothing is owed";
  const auto told = Tell(alice, 'b', "hi");
  time_.RunFor(1900ms);
  EXPECT_EQ(deaf.size(), 1U);
  time_.RunFor(200ms);
  EXPECT_EQ(deaf.size(), 2U);
  EXPECT_FALSE(told.is_finished());
  time_.RunFor(3800ms);  // twice as long, since the new one was of no use either
  EXPECT_FALSE(told.is_finished());
  time_.RunFor(200ms);
  EXPECT_TRUE(told.is_finished() && told.status().ok()) << told.status();
}

TEST_F(RendezvousSessionsTest, ATokenThatIsNotDrawnInTimeIsADeadlineError) {
  Start();
  const auto alice = Client('a');
  away_ = true;
  time_.Do([&] { sessions_->Close(); });
  auto drawn = arrow::Future<RendezvousClient::ProbeToken>::Make();
  time_.Do([&] { internal::Drive(RendezvousClient::DrawToken(alice, time_.Now() + 5s), drawn); });
  time_.RunFor(6s);
  ASSERT_TRUE(drawn.is_finished());
  EXPECT_TRUE(IsError(drawn.status(), ErrorKind::kDeadline)) << drawn.status();
}

TEST_F(RendezvousSessionsTest, ClosingEndsWhatIsUnderWayWithCancelled) {
  Start();
  const auto alice = Client('a');
  away_ = true;
  time_.Do([&] { sessions_->Close(); });
  const auto told = Tell(alice, 'a', "hi");
  time_.Do([&] { alice->Close(); });
  EXPECT_TRUE(told.status().IsCancelled()) << told.status();
  EXPECT_TRUE(Tell(alice, 'a', "hi").status().IsCancelled());
}

TEST_F(RendezvousSessionsTest, TheLast64EarlyLettersAreKept) {
  Start();
  const auto alice = Client('a');
  for (int i = 0; i < 70; ++i) {
    ASSERT_TRUE(Tell(alice, 'a', std::to_string(i)).status().ok());
  }
  std::vector<std::string> heard;
  time_.Do([&] { alice->OnLetter([&](const CourierLetter& letter) { heard.push_back(letter.text); }); });
  ASSERT_EQ(heard.size(), 64U);
  EXPECT_EQ(heard.front(), "6");
  EXPECT_EQ(heard.back(), "69");
}

}  // namespace
}  // namespace cylon::testing
