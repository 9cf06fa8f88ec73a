// What others wrote into the store may be anything: it is refused with its key, and no rank waits or breaks for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/base/asio_executor.h"
#include "cylon/base/error.h"
#include "cylon/bootstrap/gathering.h"
#include "cylon/bootstrap/meeting.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"

namespace cylon::testing {
namespace {

using ::testing::HasSubstr;

class HostileStoreTest : public ::testing::Test {
 protected:
  void Put(const std::string& key, const std::string& value) {
    ASSERT_TRUE(executor_.Await(store_->Set(key, value, std::chrono::hours(1))).ok());
  }
  /// Rank `rank` (-1: drawn) of two joins the epoch "e" of "job".
  arrow::Status Join(Rank rank) {
    JoinRequest request;
    request.job = "job";
    request.epoch = "e";
    request.rank = rank;
    request.world_size = 2;
    request.card = {"host", 1000, "address"};
    request.deadline = executor_.Now() + std::chrono::seconds(60);
    auto joining = Spawn(executor_, cylon::Join(store_.get(), executor_, request));
    return executor_.Await(joining).status();
  }
  void ExpectProtocolError(const arrow::Status& status, const std::string& why) {
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(), HasSubstr(why));
  }

  AsioExecutor executor_{"hostile"};
  std::unique_ptr<Store> store_ = OpenMemoryStore(MakeMemoryStoreData(), executor_);
};

TEST_F(HostileStoreTest, AProblemThatIsNoneIsRefused) {
  Put("job/e/problem", R"({"code":0,"message":""})");
  ExpectProtocolError(Join(1), "'e/problem' in the store tells of no problem");
}

TEST_F(HostileStoreTest, ATableOfAnotherSizeIsRefused) {
  Put("job/e/table", R"({"cards":[{"host":"h","process":1,"address":"a","watch":"","nonce":"x"}]})");
  ExpectProtocolError(Join(1), "the table in the store has 1 ranks, expected the 2");
}

TEST_F(HostileStoreTest, TextsWhereNumbersBelongAreNoNumbers) {
  Put("job/e/here/1", R"({"host":"h","process":1,"address":"a","watch":"","nonce":5,"size":"2","drawn":"no"})");
  EXPECT_THAT(Join(0).message(), HasSubstr("was started for 0 ranks, this one for 2"));
}

TEST_F(HostileStoreTest, APlaceThatIsTakenWithoutEndIsRefused) {
  Put("job/e/here/1", R"({"nonce":"x"})");
  Put("job/e/here/1/after/x", R"({"nonce":"x"})");
  ExpectProtocolError(Join(1), "'job/e/here/1' in the store was taken by more than 64 processes");
}

TEST_F(HostileStoreTest, ARankThatSomethingElseHasInAWorldThatStandsIsTaken) {
  Put("job/e/here/1", R"({"nonce":5})");
  Put("job/e/table", "{}");
  const auto status = Join(1);
  EXPECT_TRUE(IsError(status, ErrorKind::kRankTaken)) << status;
  EXPECT_THAT(status.message(), HasSubstr("was started twice"));
}

TEST_F(HostileStoreTest, ACountOfArrivalsBelowOneIsRefused) {
  Put("job/e/arrivals", "-7");
  ExpectProtocolError(Join(-1), "the count of arrivals in the store is -6");
}

TEST_F(HostileStoreTest, ReplacementsWithoutEndAreRefused) {
  Put("job/3-e/rejoin/arrivals", "9000000000000000000");
  GatherRequest request;
  request.job = "job";
  request.epoch = "3-e";
  request.rank = 0;
  request.world_size = 1;
  request.card = {"host", 1000, "address"};
  request.deadline = executor_.Now() + std::chrono::seconds(60);
  auto gathering = Spawn(executor_, Gather(store_.get(), executor_, request));
  ExpectProtocolError(executor_.Await(gathering).status(), "counts 9000000000000000000 replacements");
}

TEST_F(HostileStoreTest, WhatLiesTooDeepIsLeftOut) {
  const std::string deep = R"({"host":"h","x":)" + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}";
  auto json = internal::ParseObject("key", deep);
  ASSERT_TRUE(json.ok()) << json.status();
  EXPECT_EQ(internal::TextIn(*json, "host"), "h");
  EXPECT_LT(json->dump().size(), 100U);
}

}  // namespace
}  // namespace cylon::testing
