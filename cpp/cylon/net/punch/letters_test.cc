// Letters between processes: who can read and write them.
#include "cylon/net/punch/letters.h"

#include <optional>

#include "cylon/base/random.h"
#include "cylon/net/punch/testing/fake_courier.h"
#include "cylon/wire/testing.h"

namespace cylon::testing {
namespace {

using internal::DecodeLetter;
using internal::EncodeLetter;
using internal::Letter;
using internal::LetterKind;
using internal::SealedLetters;
using internal::SeenNumbers;
using internal::TellWhoMayReturn;
using ::testing::HasSubstr;

const std::string kAttempt = "0123456789abcdef";

Letter SomeLetter() {
  return {LetterKind::kAnswer, kAttempt, std::chrono::milliseconds(1500), true, true, true, {{"10.0.0.7", 80}}};
}

TEST(LetterTest, ComesOutAsItWentIn) {
  const auto bytes = EncodeLetter(SomeLetter());
  const auto letter = DecodeLetter(bytes);
  ASSERT_TRUE(letter.ok()) << letter.status();
  EXPECT_EQ(letter->kind, LetterKind::kAnswer);
  EXPECT_EQ(letter->attempt, kAttempt);
  EXPECT_EQ(letter->left, std::chrono::milliseconds(1500));
  EXPECT_TRUE(letter->symmetric && letter->declined && letter->fresh);
  ASSERT_EQ(letter->candidates.size(), 1);
  EXPECT_EQ(letter->candidates[0].ToString(), "10.0.0.7:80");
}

TEST(LetterTest, WhatNoEncoderWritesIsRefused) {
  const auto bytes = EncodeLetter(SomeLetter());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_TRUE(DecodeLetter(std::string_view(bytes).substr(0, size)).status().IsInvalid()) << size;
  }
  EXPECT_THAT(DecodeLetter(bytes + "x").status().message(), HasSubstr("goes on after its addresses"));
  for (const auto& [at, value] : {std::pair<size_t, char>{0, 0}, {0, 4}, {20, '\x7f'}, {21, 8}}) {
    auto changed = bytes;
    changed[at] = value;
    EXPECT_THAT(DecodeLetter(changed).status().message(), HasSubstr("no letter that this version knows")) << at;
  }
}

TEST(LetterTest, TheTimeLeftIsToldWithinLimits) {
  auto letter = SomeLetter();
  letter.left = std::chrono::hours(5);
  EXPECT_EQ(DecodeLetter(EncodeLetter(letter))->left, std::chrono::minutes(10));
  letter.left = -std::chrono::hours(5);
  EXPECT_EQ(DecodeLetter(EncodeLetter(letter))->left, Duration{});
}

TEST(LetterTest, ANumberIsTakenOnceAndSoonOrNever) {
  SeenNumbers numbers;
  EXPECT_TRUE(numbers.Take(1));
  EXPECT_FALSE(numbers.Take(1));
  EXPECT_TRUE(numbers.Take(5));
  EXPECT_TRUE(numbers.Take(3));
  EXPECT_FALSE(numbers.Take(3));
  EXPECT_TRUE(numbers.Take(68));
  EXPECT_FALSE(numbers.Take(5));
  EXPECT_FALSE(numbers.Take(4)) << "older than 64 others";
  EXPECT_TRUE(numbers.Take(6));
  EXPECT_TRUE(numbers.Take(UINT64_MAX));
  EXPECT_FALSE(numbers.Take(68));
  EXPECT_FALSE(numbers.Take(UINT64_MAX));
}

/// One process, and the letters that it has read.
struct Desk {
  Desk(TestExecutor& world, CourierHub& hub, const std::string& secret, const std::string& job) {
    courier = hub.Join(world.executor);
    letters = SealedLetters::Make(courier, secret, job, 1);
    for (const auto kind : {LetterKind::kCall, LetterKind::kAnswer, LetterKind::kRelay}) {
      letters->Read(kind, [this](const std::string& from, const SeenAddresses& seen, const Letter& letter) {
        froms.push_back(from);
        seens.push_back(seen);
        read.push_back(letter);
      });
    }
  }
  std::shared_ptr<FakeCourier> courier;
  std::shared_ptr<SealedLetters> letters;
  std::vector<std::string> froms;
  std::vector<SeenAddresses> seens;
  std::vector<Letter> read;
};

class SealedLettersTest : public ::testing::Test {
 protected:
  ~SealedLettersTest() override {
    world.Do([this] { desks.clear(); });
  }
  Desk& Open(const std::string& secret = "a secret", const std::string& job = "job") {
    world.Do([&] { desks.push_back(std::make_unique<Desk>(world, hub, secret, job)); });
    return *desks.back();
  }
  arrow::Status Tell(Desk& from, const std::string& to, const Letter& letter = SomeLetter()) {
    const auto status = world.Await(world.Start([&] { return from.letters->Tell(to, letter); }));
    world.Do([] {});  // what was delivered has been read
    return status;
  }

  CourierHub hub;
  TestExecutor world{"letters"};
  std::vector<std::unique_ptr<Desk>> desks;
};

TEST_F(SealedLettersTest, AreReadByWhomTheyAreFor) {
  auto& here = Open();
  auto& there = Open();
  world.Do([&] {
    const auto probed = Spawn(world.executor, here.courier->Probe(4711, kNever));
    static_cast<void>(probed);
  });
  ASSERT_TRUE(Tell(here, there.courier->name()).ok());
  ASSERT_EQ(there.read.size(), 1);
  EXPECT_EQ(there.froms[0], here.courier->name());
  ASSERT_EQ(there.seens[0].addresses.size(), 1);
  EXPECT_EQ(there.seens[0].addresses[0].port, 4711);
  EXPECT_EQ(EncodeLetter(there.read[0]), EncodeLetter(SomeLetter()));
  ASSERT_TRUE(Tell(there, here.courier->name()).ok());
  EXPECT_EQ(here.read.size(), 1);
}

TEST_F(SealedLettersTest, TheServerSeesNothingOfThem) {
  auto& here = Open();
  auto& there = Open();
  std::string passed;
  hub.SetCensor([&](const auto&, const auto&, CourierLetter* letter) {
    passed += letter->text;
    return true;
  });
  ASSERT_TRUE(Tell(here, there.courier->name()).ok());
  const auto bytes = HexDecode(passed).ValueOrDie();
  EXPECT_EQ(bytes.find(kAttempt), std::string::npos);
  EXPECT_EQ(bytes.find("10.0.0.7"), std::string::npos);
  EXPECT_LT(passed.size(), Courier::kMaxLetter);
}

TEST_F(SealedLettersTest, OfStrangersAreIgnoredAndCounted) {
  auto& here = Open();
  auto& other_secret = Open("another secret");
  auto& other_job = Open("a secret", "another job");
  ASSERT_TRUE(Tell(other_secret, here.courier->name()).ok());
  ASSERT_TRUE(Tell(other_job, here.courier->name()).ok());
  for (const char* text : {"", "00", "no hexadecimal digits", "000000000000000000"}) {
    hub.Inject(here.courier->name(), {"a stranger", {}, text});
  }
  world.Do([] {});
  EXPECT_TRUE(here.read.empty());
  EXPECT_EQ(here.letters->ignored().strange, 6);
}

TEST_F(SealedLettersTest, ThatAreChangedOnTheirWayAreIgnored) {
  auto& here = Open();
  auto& there = Open();
  hub.SetCensor([&](const auto&, const auto&, CourierLetter* letter) {
    auto& digit = letter->text[letter->text.size() / 2];
    digit = digit == '0' ? '1' : '0';
    return true;
  });
  ASSERT_TRUE(Tell(here, there.courier->name()).ok());
  EXPECT_TRUE(there.read.empty());
  EXPECT_EQ(there.letters->ignored().strange, 1);
}

TEST_F(SealedLettersTest, ThatComeAgainAreIgnored) {
  auto& here = Open();
  auto& there = Open();
  std::optional<CourierLetter> copy;
  hub.SetCensor([&](const auto&, const auto&, CourierLetter* letter) {
    copy = *letter;
    return true;
  });
  ASSERT_TRUE(Tell(here, there.courier->name()).ok());
  hub.Inject(there.courier->name(), *copy);
  world.Do([] {});
  EXPECT_EQ(there.read.size(), 1);
  EXPECT_EQ(there.letters->ignored().repeated, 1);
}

TEST_F(SealedLettersTest, ThatAreSentBackOrElsewhereAreIgnored) {
  auto& here = Open();
  auto& there = Open();
  auto& third = Open();
  std::optional<CourierLetter> copy;
  hub.SetCensor([&](const auto&, const auto&, CourierLetter* letter) {
    copy = *letter;
    return false;
  });
  ASSERT_TRUE(Tell(here, there.courier->name()).ok());
  hub.Inject(third.courier->name(), *copy);
  copy->from = there.courier->name();
  hub.Inject(here.courier->name(), *copy);
  copy->from = third.courier->name();
  hub.Inject(there.courier->name(), *copy);
  world.Do([] {});
  for (const auto& desk : desks) {
    EXPECT_TRUE(desk->read.empty());
    EXPECT_EQ(desk->letters->ignored().strange, 1);
  }
}

TEST_F(SealedLettersTest, ToNobodyAreKeyErrors) {
  auto& here = Open();
  EXPECT_TRUE(Tell(here, "nobody").IsKeyError());
}

TEST_F(SealedLettersTest, WhoRestsBeforeHeTellsAgainGoesWithTheLast) {
  auto& here = Open();
  arrow::Future<> told;
  world.Do([&] {
    told = StartNow(TellWhoMayReturn(here.letters, &world.executor, "nobody", SomeLetter(), kNever));
    EXPECT_FALSE(told.is_finished()) << "it rests";
    here.letters->Leave();
    EXPECT_TRUE(told.is_finished());
    const auto late = StartNow(TellWhoMayReturn(here.letters, &world.executor, "nobody", SomeLetter(), kNever));
    EXPECT_TRUE(late.status().IsCancelled()) << late.status();
  });
  EXPECT_TRUE(told.status().IsCancelled()) << told.status();
}

}  // namespace
}  // namespace cylon::testing
