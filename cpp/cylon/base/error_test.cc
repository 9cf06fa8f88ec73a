// Errors: what their messages say, and that they survive the way to a peer.
#include "cylon/base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cylon {
namespace {

using testing::AllOf;
using testing::HasSubstr;

TEST(ErrorTest, ALostRankIsNamedWithHostCauseAndOperation) {
  auto status = RankFailedError(3, "node7", "killed by signal 9", "join", 12, /*agreed=*/false);
  EXPECT_TRUE(IsError(status, ErrorKind::kRankFailed));
  EXPECT_FALSE(IsError(status, ErrorKind::kDeadline));
  EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 3 on node7"), HasSubstr("killed by signal 9"),
                                      HasSubstr("join (operation 12)"), HasSubstr("no store has settled it")));
}

TEST(ErrorTest, OtherStatusesHaveNoDetail) {
  EXPECT_EQ(GetErrorDetail(arrow::Status::OK()), nullptr);
  EXPECT_EQ(GetErrorDetail(arrow::Status::Invalid("x")), nullptr);
}

TEST(ErrorTest, SurvivesTheWayToAPeer) {
  for (const auto& sent :
       {arrow::Status::OK(), arrow::Status::KeyError("no column 'a'"),
        RankFailedError(3, "node7", "connection closed", "sort", 5, false), OutOfMemoryError("big"),
        LinkLostError(4, 1, "no answer for 10 s", "Join", 2), IsolatedError(1, "no answer"),
        RankTakenError("rank 2 is taken", 2), arrow::Status::Invalid("bytes \xff that are no text")}) {
    arrow::Status received = arrow::Status::UnknownError("nothing");
    ASSERT_TRUE(DecodeStatus(EncodeStatus(sent), &received).ok());
    EXPECT_EQ(received.code(), sent.code());
    auto before = GetErrorDetail(sent);
    auto after = GetErrorDetail(received);
    ASSERT_EQ(before == nullptr, after == nullptr);
    if (before != nullptr) {
      EXPECT_EQ(received.message(), sent.message());
      EXPECT_EQ(after->kind, before->kind);
      EXPECT_EQ(after->rank, before->rank);
      EXPECT_EQ(after->other, before->other);
      EXPECT_EQ(after->host, before->host);
      EXPECT_EQ(after->operation, before->operation);
      EXPECT_EQ(after->sequence, before->sequence);
      EXPECT_EQ(after->cause, before->cause);
      EXPECT_EQ(after->agreed, before->agreed);
    }
  }
}

TEST(ErrorTest, ALostLinkNamesBothEndsWhicheverIsNamedFirst) {
  const auto status = LinkLostError(4, 1, "no answer for 10 s", "Join", 2);
  EXPECT_EQ(status.message(), LinkLostError(1, 4, "no answer for 10 s", "Join", 2).message());
  EXPECT_EQ(GetErrorDetail(status)->rank, 1);
  EXPECT_EQ(GetErrorDetail(status)->other, 4);
  EXPECT_THAT(status.message(), HasSubstr("between ranks 1 and 4, which both live, was lost"));
  EXPECT_THAT(IsolatedError(3, "no answer").message(), HasSubstr("rank 3 reaches no other rank"));
}

TEST(ErrorTest, MalformedBytesAreAProtocolError) {
  for (const char* bytes :
       {"", "{", "[]", "{\"code\":1}", "{\"code\":-4,\"message\":\"\"}", "{\"code\":999,\"message\":\"\"}",
        "{\"code\":4294967296,\"message\":\"\"}", "{\"code\":4,\"message\":\"m\",\"detail\":{\"kind\":4294967297}}",
        "{\"code\":4,\"message\":\"m\",\"detail\":7}", "{\"code\":4,\"message\":\"m\",\"detail\":{\"kind\":99}}"}) {
    arrow::Status decoded;
    EXPECT_TRUE(IsError(DecodeStatus(bytes, &decoded), ErrorKind::kProtocol)) << bytes;
  }
  arrow::Status decoded;
  const auto refused = DecodeStatus(std::string(kMaxStatusBytes + 1, '['), &decoded);
  EXPECT_EQ(refused.message(), "a peer's status has 1048577 bytes, expected at most 1048576");
}

TEST(ErrorTest, ARemoteErrorNamesTheRankItCameFrom) {
  auto status = RemoteError(2, arrow::Status::KeyError("no column 'a'"));
  EXPECT_TRUE(status.IsKeyError());
  EXPECT_TRUE(IsError(status, ErrorKind::kRemote));
  EXPECT_EQ(GetErrorDetail(status)->rank, 2);
  EXPECT_EQ(status.message(), "on rank 2: no column 'a'");
  EXPECT_TRUE(IsError(RemoteError(2, OutOfMemoryError("big")), ErrorKind::kOutOfMemory));
}

}  // namespace
}  // namespace cylon
