// A rendezvous server's relays, over pipes in memory and a clock that jumps.
#include "cylon/bootstrap/rendezvous_relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/bootstrap/testing/memory_pipe.h"
#include "cylon/bootstrap/testing/virtual_time.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;
using namespace std::chrono_literals;

/// One end of a relay, seen from its process.
struct RelayEnd {
  std::shared_ptr<MemoryPipe> pipe;
  std::unique_ptr<Stream> stream;
  std::shared_ptr<FramedOutbox> outbox;
  arrow::Future<RendezvousFrame> answer = arrow::Future<RendezvousFrame>::Make();
  size_t sent = 0;
  std::string got;
  bool ended = false;  // the server has hung up

  ~RelayEnd() { outbox->Detach(); }
  arrow::Status refusal() const { return answer.is_finished() ? answer.status() & answer.result()->status : told(); }
  arrow::Status told() const { return arrow::Status::Invalid("it was told nothing"); }
  bool joined() const { return answer.is_finished() && answer.result().ok() && answer.result()->status.ok(); }

  static Co<void> Send(std::shared_ptr<RelayEnd> self, std::string bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const size_t piece = std::min<size_t>(bytes.size() - at, 16 << 10);
      std::vector<std::span<const uint8_t>> parts;
      parts.emplace_back(reinterpret_cast<const uint8_t*>(bytes.data()) + at, piece);
      auto writing = self->stream->Write(std::move(parts));
      CYLON_CO_RETURN_NOT_OK(co_await writing);
      at += piece;
      self->sent += piece;
    }
    co_return arrow::Status::OK();
  }
  static Co<void> Receive(std::shared_ptr<RelayEnd> self) {
    std::string buffer(1 << 16, '\0');
    while (true) {
      auto reading = self->stream->ReadSome({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()});
      const auto got = co_await reading;
      if (!got.ok() || *got == 0) {
        self->ended = true;
        co_return got.status();
      }
      self->got.append(buffer, 0, static_cast<size_t>(*got));
    }
  }
};

class RendezvousRelayTest : public ::testing::Test {
 protected:
  ~RendezvousRelayTest() override {
    time_.Do([&] { relay_->Close(); });
    EXPECT_EQ(relay_->waiting(), 0U);
    EXPECT_EQ(relay_->pairs(), 0U);
    EXPECT_EQ(counters_->relays, 0U);
    EXPECT_EQ(counters_->relays_waiting, 0U);
  }

  void Start(RelayLimits limits = {}) { relay_ = std::make_shared<RendezvousRelay>(time_, counters_, limits); }
  std::shared_ptr<RelayEnd> Ask(char from, char to, const std::string& job = "job", char token = 't',
                                uint32_t patience_ms = 10000) {
    RendezvousFrame ask{RendezvousOp::kAskRelay, 0, std::string(kCourierNameBytes, from),
                        std::string(kCourierNameBytes, to), std::string(kRendezvousNonceBytes, token)};
    ask.patience_ms = patience_ms;
    return Say(EncodeRendezvousFrame(ask), job);
  }
  std::shared_ptr<RelayEnd> Say(const std::string& frame, const std::string& job) {
    PipeEnds ends;
    const auto end = std::make_shared<RelayEnd>();
    end->pipe = ends.pipe;
    end->stream = std::move(ends.near);
    end->outbox = std::make_shared<FramedOutbox>(end->stream.get());
    time_.Do([&] {
      internal::DriveVoid(RendezvousRelay::Serve(relay_, std::move(ends.far), guest_.ticket ? guest_ : Guest{job}),
                          arrow::Future<>::Make());
      internal::Drive(ReadRendezvousFrame(end->stream.get()), end->answer);
      end->outbox->Push(frame);
    });
    return end;
  }
  void Send(const std::shared_ptr<RelayEnd>& end, const std::string& bytes) {
    time_.Do([&] { internal::DriveVoid(RelayEnd::Send(end, bytes), arrow::Future<>::Make()); });
  }
  void Receive(const std::shared_ptr<RelayEnd>& end) {
    time_.Do([&] { internal::DriveVoid(RelayEnd::Receive(end), arrow::Future<>::Make()); });
  }
  void Close(const std::shared_ptr<RelayEnd>& end) {
    time_.Do([&] { end->stream->Close(); });
  }

  /// Whoever asks from now on has a ticket.
  void ShowTicket(char id, uint64_t bytes, uint64_t rate, Duration life) {
    guest_ = Guest{"job", TicketClaims{std::string(kTicketIdBytes, id), "job", 0, 2, bytes, rate}, time_.Now() + life};
  }

  VirtualTime time_;
  Guest guest_;
  std::shared_ptr<RendezvousCounters> counters_ = std::make_shared<RendezvousCounters>();
  std::shared_ptr<RendezvousRelay> relay_;
};

/// Bytes of which no two runs are the same.
std::string Pattern(size_t size, uint32_t seed) {
  std::string bytes(size, '\0');
  for (auto& byte : bytes) {
    seed = seed * 1664525 + 1013904223;
    byte = static_cast<char>(seed >> 24);
  }
  return bytes;
}

TEST_F(RendezvousRelayTest, BytesGoBothWays) {
  Start();
  const auto alice = Ask('a', 'b');
  EXPECT_FALSE(alice->answer.is_finished());
  EXPECT_EQ(counters_->relays_waiting, 1U);
  const auto bob = Ask('b', 'a');
  ASSERT_TRUE(alice->joined() && bob->joined());
  const auto there = Pattern(1 << 20, 1);
  const auto back = Pattern(1 << 20, 2);
  Receive(alice);
  Receive(bob);
  Send(alice, there);
  Send(bob, back);
  time_.RunFor(1s);
  EXPECT_TRUE(bob->got == there);
  EXPECT_TRUE(alice->got == back);
  EXPECT_EQ(counters_->relayed_bytes, uint64_t{2} << 20);
  EXPECT_EQ(counters_->relays, 1U);
  Close(alice);
  EXPECT_TRUE(bob->ended);
}

TEST_F(RendezvousRelayTest, WhoHasSaidAllIsStillToldWhatTheOtherHasToSay) {
  Start();
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Receive(alice);
  Receive(bob);
  const auto last = Pattern(300 << 10, 1);
  const auto answer = Pattern(300 << 10, 2);
  Send(alice, last);
  time_.Do([&] { alice->stream->EndWrites(); });
  EXPECT_TRUE(bob->got == last);
  EXPECT_TRUE(bob->ended);
  EXPECT_FALSE(alice->ended);
  time_.RunFor(5s);
  Send(bob, answer);
  EXPECT_TRUE(alice->got == answer);
  EXPECT_EQ(relay_->pairs(), 1U);
  time_.Do([&] { bob->stream->EndWrites(); });
  EXPECT_TRUE(alice->ended);
  EXPECT_EQ(relay_->pairs(), 0U);
}

TEST_F(RendezvousRelayTest, AnEndThatIsSilentAfterTheEndOfTheOtherIsClosed) {
  Start();
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Receive(bob);
  Close(alice);
  EXPECT_TRUE(bob->ended);
  time_.RunFor(9s);
  EXPECT_EQ(relay_->pairs(), 1U);
  time_.RunFor(2s);
  EXPECT_EQ(relay_->pairs(), 0U);
}

TEST_F(RendezvousRelayTest, AnEndThatWaitsAloneIsToldAtItsDeadline) {
  Start();
  const auto alice = Ask('a', 'b');
  const auto patient = Ask('c', 'd', "job", 't', UINT32_MAX);
  time_.RunFor(9s);
  EXPECT_FALSE(alice->answer.is_finished());
  time_.RunFor(2s);
  EXPECT_TRUE(IsError(alice->refusal(), ErrorKind::kDeadline)) << alice->refusal();
  EXPECT_THAT(alice->refusal().message(), HasSubstr("did not come within 10000 ms"));
  Receive(alice);
  EXPECT_TRUE(alice->ended);
  time_.RunFor(1min);  // as long as anybody may wait
  EXPECT_TRUE(IsError(patient->refusal(), ErrorKind::kDeadline)) << patient->refusal();
  EXPECT_EQ(counters_->relays_refused, 2U);
}

TEST_F(RendezvousRelayTest, OnlyTheSamePairTokenAndJobMeet) {
  Start();
  const auto alice = Ask('a', 'b');
  const std::vector<std::shared_ptr<RelayEnd>> others = {Ask('b', 'c'), Ask('c', 'a'), Ask('b', 'a', "another"),
                                                         Ask('b', 'a', "job", 'u'), Ask('b', 'c', "job", 'u')};
  EXPECT_EQ(relay_->waiting(), 6U);
  for (const auto& other : others) {
    EXPECT_FALSE(other->answer.is_finished());
  }
  EXPECT_TRUE(Ask('b', 'a')->joined());
  EXPECT_TRUE(alice->joined());
}

TEST_F(RendezvousRelayTest, WhoDialsAgainTakesItsPlace) {
  Start();
  const auto before = Ask('a', 'b');
  const auto alice = Ask('a', 'b');
  EXPECT_FALSE(before->answer.status().ok());
  const auto bob = Ask('b', 'a');
  EXPECT_TRUE(alice->joined() && bob->joined());
}

TEST_F(RendezvousRelayTest, WhoLeavesOrSpeaksBeforeTheOtherComesIsForgotten) {
  Start();
  const auto left = Ask('a', 'b');
  Close(left);
  EXPECT_EQ(relay_->waiting(), 0U);
  const auto spoke = Ask('a', 'b');
  Send(spoke, "hello?");
  EXPECT_EQ(relay_->waiting(), 0U);
  EXPECT_FALSE(spoke->answer.status().ok());
}

TEST_F(RendezvousRelayTest, WhatAsksForNoPairIsRefusedWithAReason) {
  Start();
  EXPECT_TRUE(Ask('a', 'a')->refusal().IsInvalid());
  const auto wrong = Say(EncodeRendezvousFrame({RendezvousOp::kPing}), "job");
  EXPECT_TRUE(IsError(wrong->refusal(), ErrorKind::kProtocol)) << wrong->refusal();
  const auto garbage = Say("garbage", "job");
  EXPECT_TRUE(IsError(garbage->refusal(), ErrorKind::kProtocol)) << garbage->refusal();
  PipeEnds silent;
  auto served = arrow::Future<>::Make();
  time_.Do([&] { internal::DriveVoid(RendezvousRelay::Serve(relay_, std::move(silent.far), Guest{"job"}), served); });
  time_.RunFor(11s);
  EXPECT_TRUE(served.is_finished());
}

TEST_F(RendezvousRelayTest, ASlowReaderSlowsItsWriterDown) {
  Start();
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Send(alice, Pattern(8 << 20, 1));
  time_.RunFor(1min);
  EXPECT_LE(alice->sent, 256U << 10);  // two pipes, the buffer and a write
  Receive(bob);
  time_.RunFor(1min);
  EXPECT_EQ(bob->got.size(), 8U << 20);
}

TEST_F(RendezvousRelayTest, WhatWasSentBeforeAnEndArrives) {
  // Whether or not the other end is sending at that moment, and nobody reads that.
  for (const size_t under_way : {size_t{0}, size_t{1} << 10, size_t{300} << 10}) {
    Start();
    const auto alice = Ask('a', 'b');
    const auto bob = Ask('b', 'a');
    const auto last = Pattern(40 << 10, 1);
    Send(bob, Pattern(under_way, 2));
    Send(alice, last);
    Close(alice);
    Receive(bob);
    time_.RunFor(1s);
    EXPECT_TRUE(bob->got == last) << under_way << ": " << bob->got.size();
    EXPECT_TRUE(bob->ended);
    Close(bob);
    EXPECT_EQ(relay_->pairs(), 0U);
  }
}

TEST_F(RendezvousRelayTest, AJobHasARate) {
  RelayLimits limits;
  limits.job_rate = 1 << 20;
  limits.job_burst = 1 << 20;
  Start(limits);
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Receive(bob);
  Send(alice, Pattern(5 << 20, 1));
  time_.RunFor(2s);
  EXPECT_NEAR(static_cast<double>(bob->got.size()), 3 << 20, 128 << 10);
  time_.RunFor(3s);
  EXPECT_EQ(bob->got.size(), 5U << 20);
}

TEST_F(RendezvousRelayTest, JobsShareTheServersRateEvenly) {
  RelayLimits limits;
  limits.rate = 2 << 20;
  limits.job_burst = 64 << 10;
  Start(limits);
  // A job of three pairs, and one of a single one.
  std::vector<std::shared_ptr<RelayEnd>> many;
  for (const char token : {'1', '2', '3'}) {
    const auto from = Ask('a', 'b', "many", token);
    many.push_back(Ask('b', 'a', "many", token));
    Receive(many.back());
    Send(from, Pattern(16 << 20, 1));
  }
  const auto from = Ask('a', 'b', "one");
  const auto one = Ask('b', 'a', "one");
  Receive(one);
  Send(from, Pattern(16 << 20, 2));
  time_.RunFor(4s);
  size_t of_many = 0;
  for (const auto& each : many) {
    of_many += each->got.size();
    EXPECT_GT(each->got.size(), 512U << 10);
  }
  EXPECT_NEAR(static_cast<double>(of_many), 4 << 20, 512 << 10);
  EXPECT_NEAR(static_cast<double>(one->got.size()), 4 << 20, 512 << 10);
}

TEST_F(RendezvousRelayTest, AJobThatHasHadItsBytesEnds) {
  RelayLimits limits;
  limits.job_bytes = 1 << 20;
  Start(limits);
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Receive(bob);
  Receive(alice);
  Send(alice, Pattern(2 << 20, 1));
  time_.RunFor(1s);
  EXPECT_TRUE(bob->ended && alice->ended);
  EXPECT_LE(bob->got.size(), 1U << 20);
  const auto again = Ask('a', 'b');
  const auto other = Ask('b', 'a');
  for (const auto& end : {again, other}) {
    EXPECT_TRUE(end->refusal().IsCapacityError()) << end->refusal();
    EXPECT_THAT(end->refusal().message(), HasSubstr("for job 'job', its limit"));
  }
  const auto another = Ask('a', 'b', "another");
  EXPECT_TRUE(Ask('b', 'a', "another")->joined());
  time_.RunFor(2h);  // the job is forgotten
  const auto later = Ask('a', 'b');
  EXPECT_TRUE(Ask('b', 'a')->joined());
  EXPECT_TRUE(later->joined());
}

TEST_F(RendezvousRelayTest, ATicketsBytesCountForAsLongAsItIsGood) {
  Start();
  ShowTicket('1', 1 << 20, 64 << 20, 24h);
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Receive(bob);
  Receive(alice);
  Send(alice, Pattern(2 << 20, 1));
  time_.RunFor(1s);
  EXPECT_TRUE(bob->ended && alice->ended);
  EXPECT_LE(bob->got.size(), 1U << 20);
  time_.RunFor(23h);  // a job without a ticket would be forgotten
  const auto again = Ask('a', 'b');
  Ask('b', 'a');
  EXPECT_TRUE(again->refusal().IsCapacityError()) << again->refusal();
  EXPECT_THAT(again->refusal().message(), HasSubstr("as many as its ticket allows; ask the operator"));
  ShowTicket('2', 1 << 20, 64 << 20, 24h);
  const auto later = Ask('a', 'b');
  EXPECT_TRUE(Ask('b', 'a')->joined());
  EXPECT_TRUE(later->joined());
}

TEST_F(RendezvousRelayTest, ATicketHasARate) {
  Start();
  ShowTicket('1', 1 << 30, 1 << 20, 1h);
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Receive(bob);
  Send(alice, Pattern(5 << 20, 1));
  time_.RunFor(2s);
  EXPECT_NEAR(static_cast<double>(bob->got.size()), 3 << 20, 128 << 10);
}

TEST_F(RendezvousRelayTest, PairsAndWaitingEndsHaveLimits) {
  RelayLimits limits;
  limits.pairs = 1;
  limits.waiting = 2;
  Start(limits);
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  EXPECT_TRUE(alice->joined() && bob->joined());
  const auto one = Ask('1', '2');
  const auto three = Ask('3', '4');
  const auto five = Ask('5', '6');
  EXPECT_TRUE(five->refusal().IsCapacityError()) << five->refusal();
  EXPECT_THAT(five->refusal().message(), HasSubstr("2 streams wait for their other end"));
  const auto two = Ask('2', '1');
  EXPECT_TRUE(two->refusal().IsCapacityError()) << two->refusal();
  EXPECT_TRUE(one->refusal().IsCapacityError()) << one->refusal();
  EXPECT_THAT(two->refusal().message(), HasSubstr("relays 1 pairs already"));
}

TEST_F(RendezvousRelayTest, APairOverWhichNothingGoesEnds) {
  Start();
  const auto alice = Ask('a', 'b');
  const auto bob = Ask('b', 'a');
  Receive(alice);
  Receive(bob);
  time_.RunFor(4min);
  Send(alice, "still here");
  time_.RunFor(4min);
  EXPECT_EQ(bob->got, "still here");
  EXPECT_FALSE(alice->ended || bob->ended);
  time_.RunFor(2min);
  EXPECT_TRUE(alice->ended && bob->ended);
}

}  // namespace
}  // namespace cylon::testing
