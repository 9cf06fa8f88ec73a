// Tickets: as text, as bytes, and who is let in by one.
#include "cylon/bootstrap/ticket.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/testing/any_store.h"

namespace cylon::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kNow = 1'800'000'000;

TicketClaims Claims() { return {std::string(kTicketIdBytes, 'i'), "flights", kNow + 3600, 8, 1 << 30, 1 << 20}; }

TEST(TicketTest, ClaimsComeBackAsTheyWere) {
  EXPECT_EQ(DecodeTicketClaims(EncodeTicketClaims(Claims())).ValueOrDie(), Claims());
  auto most = Claims();
  most.job = std::string(kMaxTicketJob, 'j');
  most.expires = -1;
  most.ranks = kMostTicketRanks;
  most.relay_bytes = most.relay_rate = UINT64_MAX;
  EXPECT_EQ(DecodeTicketClaims(EncodeTicketClaims(most)).ValueOrDie(), most);
  EXPECT_LE(EncodeTicketClaims(most).size(), kMaxTicketBytes);
}

TEST(TicketTest, ClaimsThatNoTicketMayHaveAreRefusedWithTheirLimits) {
  const auto refused = [](auto change, const char* text) {
    auto claims = Claims();
    change(&claims);
    const auto issued = IssueTicket(kSecret, claims).status();
    EXPECT_TRUE(issued.IsInvalid()) << issued;
    EXPECT_THAT(issued.message(), HasSubstr(text));
    EXPECT_FALSE(DecodeTicketClaims(EncodeTicketClaims(claims)).ok());
  };
  refused([](auto* claims) { claims->job.clear(); }, "1 to 256");
  refused([](auto* claims) { claims->job = std::string(kMaxTicketJob + 1, 'j'); }, "1 to 256");
  refused([](auto* claims) { claims->job = "a\nb"; }, "control characters");
  refused([](auto* claims) { claims->ranks = 0; }, "1 to 65536");
  refused([](auto* claims) { claims->ranks = kMostTicketRanks + 1; }, "1 to 65536");
  refused([](auto* claims) { claims->relay_rate = kLeastRelayRate - 1; }, "at least 65536");
  auto none = Claims();
  none.relay_bytes = none.relay_rate = 0;
  EXPECT_TRUE(IssueTicket(kSecret, none).ok());
}

TEST(TicketTest, OtherVersionsAndShortClaimsAreNone) {
  auto bytes = EncodeTicketClaims(Claims());
  EXPECT_TRUE(IsError(DecodeTicketClaims(bytes.substr(0, 30)).status(), ErrorKind::kProtocol));
  bytes[0] = 9;
  EXPECT_THAT(DecodeTicketClaims(bytes).status().message(), HasSubstr("version 9"));
}

TEST(TicketTest, TheSignatureIsTheSecretAndDependsOnKeyAndClaims) {
  const auto ticket = ParseTicket(IssueTicket(kSecret, Claims()).ValueOrDie() + "\n", "a test").ValueOrDie();
  EXPECT_EQ(ticket.claims, EncodeTicketClaims(Claims()));
  EXPECT_EQ(ticket.secret, SignTicket(kSecret, ticket.claims));
  EXPECT_EQ(ticket.secret.size(), 32U);
  EXPECT_NE(ticket.secret, SignTicket(std::string(32, 'k'), ticket.claims));
  auto other = Claims();
  other.expires += 1;
  EXPECT_NE(ticket.secret, SignTicket(kSecret, EncodeTicketClaims(other)));
}

TEST(TicketTest, WhatIsNoTicketIsRefusedWithoutBeingRepeated) {
  const std::string good = IssueTicket(kSecret, Claims()).ValueOrDie();
  for (const std::string& text :
       {std::string("hunter2"), std::string(kTicketPrefix), std::string(64, 'a'), good.substr(0, 60), good + "00zz",
        good.substr(1), std::string(kTicketPrefix) + std::string(5000, 'a')}) {
    const auto status = ParseTicket(text, "CYLON_TICKET").status();
    EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("CYLON_TICKET"), Not(HasSubstr("hunter2")), Not(HasSubstr(good.substr(20, 40)))));
  }
}

class TicketSecurityTest : public ::testing::Test {
 protected:
  void SetUp() override {
    path_ = ::testing::TempDir() + "cylon-ticket-" + HexEncode(*RandomBytes(8));
    std::ofstream(path_) << text_ << "\n";
    ASSERT_EQ(::chmod(path_.c_str(), 0600), 0);
    options_.job = "flights";
    options_.store = "tcp://127.0.0.1:7000";
  }
  void TearDown() override { std::filesystem::remove(path_); }
  arrow::Result<Security> At(const std::string& address) {
    return SecurityAt(HostPort::Parse(address).ValueOrDie(), options_, kSecret);
  }

  const std::string text_ = IssueTicket(std::string(32, 'k'), Claims()).ValueOrDie();
  const Ticket ticket_ = ParseTicket(text_, "a test").ValueOrDie();
  std::string path_;
  Options options_;
};

TEST_F(TicketSecurityTest, WithoutATicketTheJobsSecretCounts) {
  const auto security = At("127.0.0.1:7000").ValueOrDie();
  EXPECT_EQ(security.secret, kSecret);
  EXPECT_EQ(security.ticket, "");
}

TEST_F(TicketSecurityTest, ATicketComesFromAFileOfItsOwnerOrFromAnOption) {
  options_.ticket_file = path_;
  auto security = At("127.0.0.1:7000").ValueOrDie();
  EXPECT_EQ(security.secret, ticket_.secret);
  EXPECT_EQ(security.ticket, ticket_.claims);
  options_.ticket_file = "/nowhere";
  options_.ticket = text_;
  EXPECT_EQ(At("127.0.0.1:7000").ValueOrDie().secret, ticket_.secret);
}

TEST_F(TicketSecurityTest, ATicketThatOthersMayReadIsRefused) {
  options_.ticket_file = path_;
  ASSERT_EQ(::chmod(path_.c_str(), 0644), 0);
  const auto status = At("127.0.0.1:7000").status();
  EXPECT_TRUE(IsError(status, ErrorKind::kAuthentication)) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("the ticket file " + path_), HasSubstr("chmod 600")));
}

TEST_F(TicketSecurityTest, ATicketIsForTheRendezvousServerAlone) {
  options_.ticket = text_;
  options_.rendezvous = "203.0.113.1:7000";
  EXPECT_EQ(At("127.0.0.1:7000").ValueOrDie().secret, kSecret);
  EXPECT_EQ(At("203.0.113.1:7000").ValueOrDie().secret, ticket_.secret);
}

TEST_F(TicketSecurityTest, ATicketForAnotherJobIsToldBeforeItIsShown) {
  options_.ticket = text_;
  options_.job = "weather";
  const auto status = At("127.0.0.1:7000").status();
  EXPECT_TRUE(status.IsInvalid()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("for job 'flights'"), HasSubstr("of job 'weather'")));
}

class TicketAdmissionTest : public ::testing::Test {
 protected:
  arrow::Status Judge(const std::string& job) {
    auto admission = reader_(EncodeTicketClaims(Claims()));
    ARROW_RETURN_NOT_OK(admission.status());
    EXPECT_EQ(admission->secret, SignTicket(kSecret, EncodeTicketClaims(Claims())));
    Identity dialler;
    dialler.job = job;
    return admission->admits(dialler);
  }

  int64_t now_ = kNow;
  TicketReader reader_ = AdmitByTickets(kSecret, [this] { return now_; });
};

TEST_F(TicketAdmissionTest, LetsInItsOwnJob) {
  EXPECT_TRUE(Judge("flights").ok());
  EXPECT_TRUE(Judge("").ok());
  const auto status = Judge("weather");
  EXPECT_TRUE(status.IsInvalid()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("job 'flights'"), HasSubstr("job 'weather'"), HasSubstr("CYLON_JOB")));
}

TEST_F(TicketAdmissionTest, ExpiresAFewMinutesLateAsClocksDisagree) {
  const int64_t allowance = std::chrono::seconds(kClockAllowance).count();
  now_ = Claims().expires + allowance - 1;
  EXPECT_TRUE(Judge("flights").ok());
  now_ = Claims().expires + allowance;
  const auto status = Judge("flights");
  EXPECT_TRUE(status.IsInvalid()) << status;
  EXPECT_THAT(status.message(), AllOf(HasSubstr("has expired: it was good until 2027-01-15 09:00:00 UTC"),
                                      HasSubstr("09:05:00 UTC"), HasSubstr("ask the operator for a new one")));
}

TEST_F(TicketAdmissionTest, WhatIsNoTicketHasNoSecret) {
  EXPECT_TRUE(IsError(reader_("what?").status(), ErrorKind::kProtocol));
  EXPECT_FALSE(reader_("").ok());
}

}  // namespace
}  // namespace cylon::testing
