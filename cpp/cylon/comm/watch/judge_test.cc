// What a watch decides, told step by step: no clock, no thread, no socket.
#include "cylon/comm/watch/judge.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cylon::internal {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;

/// Remembers what the judge has done.
class Hands final : public JudgeHands {
 public:
  void Dial(Rank peer, Duration) override { dialled.insert(peer); }
  void Ask(Rank witness, Rank about, TimePoint) override { asked.insert({witness, about}); }
  void Tell(Rank asker, Rank about, TimePoint, Testimony testimony, Duration) override {
    told[{asker, about}] = testimony;
  }
  void ShowLife() override { ++shown; }
  void LookForLife(Rank about) override { looked.insert(about); }
  void Conclude(const Finding& finding) override { findings.push_back(finding); }

  std::set<Rank> dialled;
  std::set<std::pair<Rank, Rank>> asked;
  std::map<std::pair<Rank, Rank>, Testimony> told;
  std::set<Rank> looked;
  int shown = 0;
  std::vector<Finding> findings;
};

/// Rank 0 of a ring; time passes in ticks, in which those of `alive` are heard.
class JudgeTest : public ::testing::Test {
 protected:
  static constexpr Duration kTimeout = 10s;

  void Make(int size, bool store = false, std::set<Rank> here = {}, bool linked = true) {
    Judge::Setup setup;
    setup.size = size;
    setup.timeout = kTimeout;
    setup.start_grace = 10s;
    setup.has_store = store;
    setup.here = std::move(here);
    judge_ = std::make_unique<Judge>(setup, &hands_);
    judge_->Start(now_);
    for (Rank rank = 1; rank < size; ++rank) {
      if (linked && (rank == 1 || rank == size - 1)) {
        judge_->OnLink(rank, now_);
        alive_.insert(rank);
      }
    }
  }

  /// Rank 0 of four, that hears one neighbour, 3, and has not heard the other, 1, yet.
  void MakeUnheard(bool store) {
    Make(4, store, {}, /*linked=*/false);
    judge_->OnLink(3, now_);
    alive_.insert(3);
  }

  void Pass(Duration time, const std::function<void()>& each_tick = [] {}) {
    const TimePoint until = now_ + time;
    while (now_ + judge_->pause() <= until) {
      now_ += judge_->pause();
      for (const Rank rank : alive_) {
        judge_->OnHeard(rank, now_);
      }
      judge_->Tick(now_);
      each_tick();
    }
  }

  void Witness(Rank witness, Rank about, Testimony testimony, Duration age = {}) {
    judge_->OnAnswer(witness, about, now_, testimony, age, now_);
  }

  const Finding& only() const {
    EXPECT_EQ(hands_.findings.size(), 1U);
    static const Finding kNone;
    return hands_.findings.empty() ? kNone : hands_.findings[0];
  }

  Hands hands_;
  std::unique_ptr<Judge> judge_;
  TimePoint now_{1h};
  std::set<Rank> alive_;
};

TEST_F(JudgeTest, NobodyIsSuspectedWhoBeats) {
  Make(4);
  hands_.dialled.clear();
  Pass(60s);
  EXPECT_TRUE(hands_.findings.empty());
  EXPECT_TRUE(hands_.asked.empty());
  EXPECT_TRUE(hands_.dialled.empty());
  EXPECT_EQ(judge_->beat(), Duration(500ms));
}

TEST_F(JudgeTest, ASilentRankIsDialledAndWitnessesAreAskedBeforeItCounts) {
  Make(4, /*store=*/true);
  alive_.erase(1);
  Pass(6900ms);
  EXPECT_TRUE(hands_.asked.empty());
  Pass(1s);
  EXPECT_THAT(hands_.dialled, IsSupersetOf({1, 2}));  // itself, and its other neighbour
  EXPECT_TRUE(hands_.asked.contains({3, 1}));         // this rank's other neighbour
  EXPECT_TRUE(hands_.looked.contains(1));
  EXPECT_GT(hands_.shown, 0);
  EXPECT_TRUE(hands_.findings.empty());
}

TEST_F(JudgeTest, ALinkThatIsSilentForAQuarterOfTheLimitGetsAnother) {
  Make(4);
  hands_.dialled.clear();
  alive_.erase(1);
  Pass(2400ms);
  EXPECT_TRUE(hands_.dialled.empty());
  Pass(600ms);
  EXPECT_EQ(hands_.dialled, std::set<Rank>{1});
  EXPECT_TRUE(hands_.asked.empty());
  judge_->OnLink(1, now_);
  alive_.insert(1);
  Pass(60s);
  EXPECT_TRUE(hands_.findings.empty());
}

TEST_F(JudgeTest, SilenceAtASecondWitnessIsAFailureAtTheLimit) {
  Make(4);
  alive_.erase(1);
  auto witness = [&] { Witness(3, 1, Testimony::kSilent, 5s); };
  Pass(9900ms, witness);
  EXPECT_TRUE(hands_.findings.empty());
  Pass(600ms, witness);
  EXPECT_EQ(only().kind, ErrorKind::kRankFailed);
  EXPECT_EQ(only().source, Finding::Source::kSilence);
  EXPECT_EQ(only().rank, 1);
  EXPECT_EQ(only().text, "silent for 10 s: no heartbeat at ranks 0 and 3");
}

TEST_F(JudgeTest, ARankThatAWitnessHearsHasLostOnlyALink) {
  Make(4);
  alive_.erase(1);
  Pass(10500ms, [&] {
    Witness(2, 1, Testimony::kHears, 300ms);
    Witness(3, 1, Testimony::kSilent, 5s);
  });
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
  EXPECT_EQ(only().rank, 0);
  EXPECT_EQ(only().other, 1);
  EXPECT_EQ(only().text, "nothing came through for 10 s, though rank 2 hears it");
}

TEST_F(JudgeTest, SignsOfLifeInTheStoreAreAWitness) {
  Make(2, /*store=*/true);
  alive_.erase(1);
  int sign = 0;
  Pass(10500ms, [&] { judge_->OnStore(1, true, std::to_string(++sign), now_); });
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
  EXPECT_THAT(only().text, HasSubstr("it shows signs of life in the store"));
}

TEST_F(JudgeTest, AStoreWithoutASignOfLifeIsAWitnessToo) {
  Make(2, /*store=*/true);
  alive_.erase(1);
  Pass(10500ms, [&] { judge_->OnStore(1, true, "7", now_); });
  EXPECT_EQ(only().kind, ErrorKind::kRankFailed);
  EXPECT_EQ(only().text, "silent for 10 s: no heartbeat at rank 0, and no sign of life in the store");
}

TEST_F(JudgeTest, AMachineThatTakesConnectionsForASilentProcessIsAWitnessToo) {
  Make(2);
  alive_.erase(1);
  Pass(10500ms, [&] { judge_->OnDialFailed(1, DialEnd::kUnanswered, now_); });
  EXPECT_EQ(only().kind, ErrorKind::kRankFailed);
  EXPECT_THAT(only().text, HasSubstr("its machine takes connections that the process does not answer"));
}

TEST_F(JudgeTest, WhoReachesNobodyIsIsolatedAndAccusesNobody) {
  for (const int size : {2, 3, 5}) {
    hands_ = Hands();
    alive_.clear();
    Make(size, /*store=*/true);
    alive_.clear();
    Pass(10500ms, [&] {
      for (Rank rank = 1; rank < size; ++rank) {
        judge_->OnDialFailed(rank, DialEnd::kUnreachable, now_);
        judge_->OnStore(rank, false, "", now_);
      }
    });
    EXPECT_EQ(only().kind, ErrorKind::kIsolated) << size;
    EXPECT_EQ(only().rank, 0);
    EXPECT_THAT(only().text, HasSubstr("no other rank answers"));
    Pass(60s);
    EXPECT_EQ(hands_.findings.size(), 1U);
  }
}

TEST_F(JudgeTest, AnEndedProcessOfThisMachineIsToldAtOnce) {
  Make(3, false, {1, 2});
  alive_.erase(1);
  Pass(1s);
  judge_->OnLinkEnd(1, now_);
  EXPECT_TRUE(hands_.dialled.contains(1));
  EXPECT_TRUE(hands_.findings.empty());
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  EXPECT_EQ(only().source, Finding::Source::kEnded);
  EXPECT_EQ(only().rank, 1);
}

TEST_F(JudgeTest, ARefusalFromElsewhereNeedsAnotherWitnessOrThatNobodyObjects) {
  Make(4);
  alive_.erase(1);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  EXPECT_TRUE(hands_.findings.empty());
  Witness(2, 1, Testimony::kRefused);
  EXPECT_EQ(only().source, Finding::Source::kEnded);

  hands_ = Hands();
  alive_.clear();
  Make(4);
  alive_.erase(1);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  Pass(900ms);
  EXPECT_TRUE(hands_.findings.empty());
  Pass(200ms);
  EXPECT_EQ(only().source, Finding::Source::kEnded);
}

TEST_F(JudgeTest, ARefusedRankThatAWitnessHearsHasLostOnlyALink) {
  Make(4);
  alive_.erase(1);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  Pass(10500ms, [&] { Witness(2, 1, Testimony::kHears, 100ms); });
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
}

TEST_F(JudgeTest, AConnectionThatIsMadeAgainIsNoNews) {
  Make(4);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kUnreachable, now_);
  Pass(2s);
  judge_->OnLink(1, now_);
  Pass(30s);
  EXPECT_TRUE(hands_.findings.empty());
}

TEST_F(JudgeTest, OnesOwnLateClockVoidsOnesEvidence) {
  Make(4);
  alive_.clear();
  Pass(9s, [&] { Witness(2, 1, Testimony::kSilent, 5s); });
  now_ += 30s;  // this process did not run
  judge_->Tick(now_);
  EXPECT_TRUE(hands_.findings.empty());
  Pass(9500ms, [&] { Witness(2, 1, Testimony::kSilent, 5s); });
  EXPECT_TRUE(hands_.findings.empty());
  Pass(1s, [&] { Witness(2, 1, Testimony::kSilent, 5s); });
  EXPECT_EQ(hands_.findings.at(0).rank, 1);
}

TEST_F(JudgeTest, WhateverComesFirstAfterThisProcessDidNotRun) {
  for (const bool lost : {true, false}) {
    hands_ = Hands();
    alive_.clear();
    Make(2);
    now_ += 30s;
    if (lost) {
      judge_->Investigate(1, "connection reset", now_);
    } else {
      judge_->OnLinkEnd(1, now_);
      judge_->OnDialFailed(1, DialEnd::kUnreachable, now_);
    }
    judge_->Tick(now_);
    EXPECT_TRUE(hands_.findings.empty()) << lost;
  }
}

TEST_F(JudgeTest, WhoHasNotRunSaysSo) {
  Make(3, false, {1});
  now_ += 12s;
  judge_->Tick(now_);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  EXPECT_THAT(only().text, HasSubstr("rank 0, which says so, had itself not run for 11.5 s"));
}

TEST_F(JudgeTest, ALostDataLinkToAPeerThatAnswersIsALostLink) {
  Make(6);
  judge_->Investigate(3, "connection reset", now_);
  EXPECT_TRUE(hands_.dialled.contains(3));
  judge_->OnLink(3, now_);  // the connection alone may have been taken by a process that ends
  EXPECT_TRUE(hands_.findings.empty());
  EXPECT_TRUE(hands_.asked.contains({3, 3}));
  Witness(3, 3, Testimony::kHears);
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
  EXPECT_EQ(only().other, 3);
  EXPECT_EQ(only().text, "connection reset");
}

TEST_F(JudgeTest, AnOldAnswerDoesNotSayThatThePeerLivesNow) {
  Make(6);
  const TimePoint before = now_ - 1s;
  judge_->Investigate(3, "connection reset", now_);
  judge_->OnAnswer(3, 3, before, Testimony::kHears, {}, now_);
  judge_->OnAnswer(2, 3, now_, Testimony::kHears, 400ms, now_);
  EXPECT_TRUE(hands_.findings.empty());
  judge_->OnDialFailed(3, DialEnd::kRefused, now_);
  Pass(2s);
  EXPECT_EQ(only().source, Finding::Source::kEnded);
}

TEST_F(JudgeTest, AnAnswerToWhatIsNotAskedYetSaysNothing) {
  Make(6);
  judge_->Investigate(3, "nothing came", now_);
  judge_->OnLink(3, now_);
  judge_->OnAnswer(3, 3, now_ + 1s, Testimony::kHears, {}, now_);
  EXPECT_TRUE(hands_.findings.empty());
  Witness(3, 3, Testimony::kHears);
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
}

TEST_F(JudgeTest, ALostDataLinkToASilentPeerIsAFailureAtTheLimit) {
  Make(6);
  judge_->Investigate(3, "nothing came", now_);
  Pass(10500ms, [&] { Witness(2, 3, Testimony::kSilent, 9s); });
  EXPECT_EQ(only().kind, ErrorKind::kRankFailed);
  EXPECT_EQ(only().text, "silent for 10 s: no heartbeat at ranks 0 and 2");
}

TEST_F(JudgeTest, ADataLinkThatIsLostAtTheLimitLeavesTimeToShowLife) {
  Make(2, /*store=*/true);
  alive_.clear();
  int sign = 0;
  auto store = [&] { judge_->OnStore(1, true, std::to_string(++sign), now_); };
  Pass(9900ms, store);
  judge_->Investigate(1, "cut", now_);  // what was seen before says nothing of now
  now_ += 200ms;
  judge_->Tick(now_);
  judge_->OnStore(1, true, std::to_string(sign), now_);
  EXPECT_TRUE(hands_.findings.empty());
  Pass(200ms, store);
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
}

TEST_F(JudgeTest, WhoRunsAndWasNeverHeardIsMissedFromWhenItsLinkStood) {
  MakeUnheard(/*store=*/true);
  Pass(1s);
  judge_->OnMet(1, now_);
  auto look = [&] {
    Witness(3, 1, Testimony::kSilent, 5s);  // the way to it may not be made
    judge_->OnDialFailed(1, DialEnd::kUnanswered, now_);
    judge_->OnStore(1, true, "", now_);
  };
  Pass(9900ms, look);
  EXPECT_TRUE(hands_.findings.empty());
  EXPECT_GT(hands_.shown, 15);  // this rank lives, whoever does not hear it
  Pass(600ms, look);
  EXPECT_EQ(only().kind, ErrorKind::kRankFailed);
  EXPECT_EQ(only().text, "silent for 10 s: no heartbeat at rank 0, and no sign of life in the store");
}

TEST_F(JudgeTest, WhoWasNeverHeardIsMissedFromWhenItShowedLifeLast) {
  MakeUnheard(/*store=*/true);
  judge_->OnMet(1, now_);
  int sign = 0;
  Pass(5s, [&] { judge_->OnStore(1, true, std::to_string(++sign), now_); });
  auto look = [&] { judge_->OnStore(1, true, std::to_string(sign), now_); };
  Pass(9s, look);
  EXPECT_TRUE(hands_.findings.empty());
  Pass(1s, look);
  EXPECT_EQ(only().kind, ErrorKind::kRankFailed);
}

TEST_F(JudgeTest, WhoWasNeverHeardAndShowsLifeHasLostNothingBeforeTheGraceHasEnded) {
  MakeUnheard(/*store=*/true);
  judge_->OnMet(1, now_);
  int sign = 0;
  auto look = [&] { judge_->OnStore(1, true, std::to_string(++sign), now_); };
  Pass(19900ms, look);
  EXPECT_TRUE(hands_.findings.empty());
  Pass(600ms, look);
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
}

TEST_F(JudgeTest, WhoWasNeverHeardIsMissedAfterTheGraceWhereNoStoreKnows) {
  MakeUnheard(/*store=*/false);
  judge_->OnMet(1, now_);
  judge_->OnQuestion(3, 1, now_, now_);
  auto look = [&] {
    judge_->OnQuestion(3, 1, now_, now_);
    Witness(3, 1, Testimony::kSilent, 5s);
  };
  Pass(19900ms, look);
  EXPECT_EQ(hands_.told.at({3, 1}), Testimony::kUnsure);
  EXPECT_TRUE(hands_.findings.empty());
  Pass(600ms, look);
  EXPECT_EQ(only().text, "silent for 10 s: no heartbeat at ranks 0 and 3");
}

TEST_F(JudgeTest, WhoShowsLifeIsNotGivenUpBecauseAWitnessCannotReachIt) {
  Make(4, /*store=*/true);
  alive_.erase(1);
  int sign = 0;
  Pass(9900ms, [&] { judge_->OnStore(1, true, std::to_string(++sign), now_); });
  judge_->Investigate(1, "cut", now_);
  Witness(3, 1, Testimony::kSilent, 5s);
  now_ += 100ms;
  judge_->Tick(now_);
  Witness(3, 1, Testimony::kSilent, 5s);
  EXPECT_TRUE(hands_.findings.empty());
  judge_->OnStore(1, true, std::to_string(sign), now_);
  judge_->OnStore(1, true, std::to_string(++sign), now_);
  EXPECT_EQ(only().kind, ErrorKind::kLinkLost);
}

TEST_F(JudgeTest, WhoHasLeftIsNotMissed) {
  Make(4);
  judge_->OnLeft(1);
  alive_.erase(1);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  Pass(60s);
  EXPECT_TRUE(hands_.findings.empty());
  judge_->Investigate(1, "connection reset", now_);
  EXPECT_EQ(only().source, Finding::Source::kDeparture);
}

TEST_F(JudgeTest, AWitnessSaysWhatItKnowsAndLaterWhatHasChanged) {
  Make(4);
  judge_->OnQuestion(3, 1, now_, now_);
  EXPECT_EQ(hands_.told.at({3, 1}), Testimony::kHears);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  EXPECT_EQ(hands_.told.at({3, 1}), Testimony::kRefused);
  judge_->OnQuestion(3, 0, now_, now_);  // about itself
  EXPECT_EQ(hands_.told.at({3, 0}), Testimony::kHears);
}

TEST_F(JudgeTest, AWitnessThatDidNotRunHasHeardNothingMeanwhile) {
  Make(4);
  alive_.clear();
  now_ += 30s;
  judge_->Tick(now_);
  judge_->OnQuestion(3, 1, now_, now_);
  EXPECT_EQ(hands_.told.at({3, 1}), Testimony::kUnsure);
  judge_->Investigate(2, "connection reset", now_);  // nor has it heard whom it only begins to look for
  judge_->OnQuestion(3, 2, now_, now_);
  EXPECT_EQ(hands_.told.at({3, 2}), Testimony::kUnsure);
}

TEST_F(JudgeTest, AWitnessTriesWhomItDoesNotWatch) {
  Make(6);
  auto ask = [&] { judge_->OnQuestion(5, 3, now_, now_); };
  ask();
  EXPECT_TRUE(hands_.dialled.contains(3));
  EXPECT_EQ(hands_.told.at({5, 3}), Testimony::kUnsure);
  Pass(3s, ask);
  EXPECT_EQ(hands_.told.at({5, 3}), Testimony::kSilent);
  judge_->OnLink(3, now_);
  EXPECT_EQ(hands_.told.at({5, 3}), Testimony::kHears);
}

TEST_F(JudgeTest, WhatOthersHaveFoundIsNotFoundAgain) {
  Make(4, false, {1, 2, 3});
  judge_->OnSettled(1);
  alive_.erase(1);
  judge_->OnLinkEnd(1, now_);
  judge_->OnDialFailed(1, DialEnd::kRefused, now_);
  judge_->Investigate(1, "connection reset", now_);
  Pass(30s);
  EXPECT_TRUE(hands_.findings.empty());
}

TEST_F(JudgeTest, ABeatIsATwentiethOfTheLimitWithinBounds) {
  for (const auto& [timeout, beat] : {std::pair<Duration, Duration>{3s, 150ms}, {200ms, 50ms}, {100s, 500ms}}) {
    Judge::Setup setup;
    setup.size = 2;
    setup.timeout = timeout;
    EXPECT_EQ(Judge(setup, &hands_).beat(), beat);
  }
}

}  // namespace
}  // namespace cylon::internal
