// The stream between two ranks: whole and in order, or refused with the peer's name.
#include "cylon/exchange/stream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/table/testing/all_types.h"

namespace cylon::internal {
namespace {

using cylon::testing::RandomBatch;
using ::testing::AllOf;
using ::testing::HasSubstr;

std::shared_ptr<arrow::Schema> TestSchema() {
  return arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8())});
}

class StreamTest : public ::testing::Test {
 protected:
  arrow::Status Feed(const std::vector<Message>& messages) {
    for (const auto& message : messages) {
      ARROW_ASSIGN_OR_RAISE(last_, in_.Take(message));
    }
    return arrow::Status::OK();
  }
  static Message With(Message message, const std::function<void(Frame*)>& change) {
    Frame frame;
    EXPECT_TRUE(message.header.As(&frame));
    change(&frame);
    message.header = InlineBytes::Of(frame);
    return message;
  }
  void ExpectRefused(const Message& message, const std::string& why) {
    auto status = in_.Take(message).status();
    EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
    EXPECT_THAT(status.message(), AllOf(HasSubstr("rank 5"), HasSubstr(why)));
    ASSERT_NE(GetErrorDetail(status), nullptr);
    EXPECT_EQ(GetErrorDetail(status)->rank, 5);
  }

  OutStream out_{ChannelId{}, TestSchema(), arrow::default_memory_pool()};
  InStream in_{5, TestSchema(), arrow::default_memory_pool()};
  std::shared_ptr<arrow::RecordBatch> last_;
  std::shared_ptr<arrow::RecordBatch> batch_ = RandomBatch(TestSchema(), 50, 1);
};

TEST_F(StreamTest, BatchesAndTheEndPass) {
  ASSERT_TRUE(Feed(*out_.Write(*batch_)).ok());
  ASSERT_NE(last_, nullptr);
  EXPECT_TRUE(last_->Equals(*batch_));
  EXPECT_EQ((*out_.Write(*batch_)).size(), 1U) << "the schema travels once";
  OutStream fresh(ChannelId{}, TestSchema(), arrow::default_memory_pool());
  InStream in(5, TestSchema(), arrow::default_memory_pool());
  ASSERT_TRUE(in.Take(fresh.End(arrow::Status::OK())).ok());
  EXPECT_TRUE(in.ended());
  EXPECT_TRUE(in.status().ok());
}

TEST_F(StreamTest, TheEndCarriesAStatus) {
  ASSERT_TRUE(in_.Take(out_.End(arrow::Status::IOError("disk on fire"))).ok());
  EXPECT_TRUE(in_.ended());
  EXPECT_TRUE(in_.status().IsIOError());
  EXPECT_THAT(in_.status().message(), HasSubstr("disk on fire"));
}

TEST_F(StreamTest, AGapIsRefused) {
  auto messages = *out_.Write(*batch_);
  ExpectRefused(messages[1], "message 1, expected message 0");
}

TEST_F(StreamTest, MissingRowsAreNoticedAtTheEnd) {
  ASSERT_TRUE(Feed(*out_.Write(*batch_)).ok());
  auto end = With(out_.End(arrow::Status::OK()), [](Frame* frame) { frame->rows = 51; });
  ExpectRefused(end, "said that they are 51");
}

TEST_F(StreamTest, NothingMayFollowTheEnd) {
  ASSERT_TRUE(in_.Take(out_.End(arrow::Status::OK())).ok());
  ExpectRefused(out_.End(arrow::Status::OK()), "after the end");
}

TEST_F(StreamTest, BytesThatAreNoBatchAreRefused) {
  auto messages = *out_.Write(*batch_);
  ASSERT_TRUE(in_.Take(messages[0]).ok());
  auto short_body = messages[1];
  short_body.segments.pop_back();
  ExpectRefused(short_body, "a body of");
}

TEST_F(StreamTest, MetadataThatIsNoneIsRefused) {
  auto messages = *out_.Write(*batch_);
  messages[0].segments[0] = arrow::Buffer::FromString("what is this");
  ExpectRefused(messages[0], "cannot be read");
}

TEST_F(StreamTest, AShortHeaderIsRefused) {
  auto messages = *out_.Write(*batch_);
  messages[0].header = InlineBytes::Of(uint32_t{7});
  ExpectRefused(messages[0], "a header of 4 bytes");
}

TEST_F(StreamTest, ANumberOfRowsThatIsWrongIsRefused) {
  auto messages = *out_.Write(*batch_);
  ASSERT_TRUE(in_.Take(messages[0]).ok());
  ExpectRefused(With(messages[1], [](Frame* frame) { frame->rows = 3; }), "expected 3");
}

// One row of (n, s), whose text lies at `offsets` of `bytes`; the encoder passes on what it is given.
std::shared_ptr<arrow::RecordBatch> OneRow(const arrow::RecordBatch& batch, const std::array<int32_t, 2>& offsets,
                                           const std::string& bytes) {
  std::shared_ptr<arrow::Buffer> buffer = *arrow::AllocateBuffer(8);
  std::memcpy(buffer->mutable_data(), offsets.data(), 8);
  return arrow::RecordBatch::Make(
      TestSchema(), 1,
      {batch.column_data(0)->Slice(0, 1),
       arrow::ArrayData::Make(arrow::utf8(), 1, {nullptr, buffer, arrow::Buffer::FromString(bytes)}, 0)});
}

TEST_F(StreamTest, OffsetsBeyondTheDataAreRefused) {
  auto messages = *out_.Write(*OneRow(*batch_, {0, 1}, "x"));
  ASSERT_TRUE(in_.Take(messages[0]).ok());
  // The text's offsets are the first segment of 8 bytes that has its 1 in the second half.
  for (auto& segment : messages[1].segments) {
    int32_t values[2];
    if (segment->size() >= 8 && (std::memcpy(values, segment->data(), 8), values[0] == 0 && values[1] == 1)) {
      segment = arrow::Buffer::FromVector(std::vector<int32_t>{0, 1000000});
    }
  }
  ExpectRefused(messages[1], "not valid");
}

TEST_F(StreamTest, TextThatIsNotUtf8IsRefused) {
  auto messages = *out_.Write(*OneRow(*batch_, {0, 1}, "\xff"));
  ASSERT_TRUE(in_.Take(messages[0]).ok());
  ExpectRefused(messages[1], "the text of row 0 is not UTF-8");
}

TEST_F(StreamTest, AnotherSchemaIsRefused) {
  OutStream other(ChannelId{}, arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::binary())}),
                  arrow::default_memory_pool());
  auto messages = *other.Write(
      *RandomBatch(arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::binary())}), 3, 1));
  ExpectRefused(messages[0], "another schema");
}

TEST_F(StreamTest, MoreRowsThanCanBeAddedAreRefused) {
  auto schema = arrow::schema(arrow::FieldVector{});
  OutStream out(ChannelId{}, schema, arrow::default_memory_pool());
  InStream in(5, schema, arrow::default_memory_pool());
  auto batch = arrow::RecordBatch::Make(schema, INT64_MAX, std::vector<std::shared_ptr<arrow::ArrayData>>{});
  auto messages = *out.Write(*batch);
  ASSERT_TRUE(in.Take(messages[0]).ok());
  auto status = in.Take(messages[1]).status();
  EXPECT_TRUE(IsError(status, ErrorKind::kProtocol)) << status;
  EXPECT_THAT(status.message(), HasSubstr("a batch of 9223372036854775807 rows after 0"));
}

TEST_F(StreamTest, AnEndThatCannotBeReadNamesThePeer) {
  auto end = out_.End(arrow::Status::IOError("disk on fire"));
  end.segments[0] = arrow::Buffer::FromString("{}");
  ExpectRefused(end, "an end that cannot be read");
}

}  // namespace
}  // namespace cylon::internal
