// IPC payloads: every type comes back, buffers are placed at multiples of 64, bad bytes are refused.
#include "cylon/table/batch_ipc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cylon/table/testing/all_types.h"

namespace cylon {
namespace {

using cylon::testing::AllTypesSchema;
using cylon::testing::RandomBatch;

// The body as a receiver lays it down.
std::shared_ptr<arrow::Buffer> Body(const BatchPayload& payload) {
  std::string body;
  for (const auto& buffer : payload.body) {
    body.resize((body.size() + 63) / 64 * 64);
    body += buffer->ToString();
  }
  EXPECT_EQ(static_cast<int64_t>(body.size()), payload.body_length);
  auto out = *arrow::AllocateBuffer(static_cast<int64_t>(body.size()));
  std::memcpy(out->mutable_data(), body.data(), body.size());
  return out;
}

struct Stream {
  explicit Stream(const std::shared_ptr<arrow::Schema>& schema)
      : encoder(schema, arrow::default_memory_pool(),
                [this](const BatchPayload& payload) {
                  types.push_back(payload.type);
                  auto body = Body(payload);
                  bytes += payload.metadata->size() + body->size();
                  return decoder.Take(payload.metadata, body).Value(&last);
                }),
        decoder(schema, arrow::default_memory_pool()) {}

  std::shared_ptr<arrow::RecordBatch> Pass(const arrow::RecordBatch& batch) {
    types.clear();
    bytes = 0;
    last = nullptr;
    auto status = encoder.Write(batch);
    EXPECT_TRUE(status.ok()) << status;
    return last;
  }

  BatchEncoder encoder;
  BatchDecoder decoder;
  std::vector<arrow::ipc::MessageType> types;
  int64_t bytes = 0;
  std::shared_ptr<arrow::RecordBatch> last;
};

void ExpectSame(const std::shared_ptr<arrow::RecordBatch>& got, const arrow::RecordBatch& expected) {
  ASSERT_NE(got, nullptr);
  ASSERT_TRUE(got->ValidateFull().ok()) << got->ValidateFull();
  ASSERT_TRUE(got->schema()->Equals(*expected.schema(), true)) << got->schema()->ToString();
  for (int i = 0; i < expected.num_columns(); ++i) {
    EXPECT_TRUE(got->column(i)->Equals(*expected.column(i))) << expected.schema()->field(i)->ToString();
  }
}

TEST(BatchIpcTest, EveryTypeComesBack) {
  for (const int64_t rows : {0, 1, 100}) {
    Stream stream(AllTypesSchema());
    auto batch = RandomBatch(AllTypesSchema(), rows, 7);
    ASSERT_TRUE(batch->ValidateFull().ok()) << batch->ValidateFull();
    ExpectSame(stream.Pass(*batch), *batch);
  }
}

TEST(BatchIpcTest, SlicesComeBack) {
  Stream stream(AllTypesSchema());
  auto batch = RandomBatch(AllTypesSchema(), 200, 8);
  for (const auto& [offset, length] : std::vector<std::pair<int64_t, int64_t>>{{0, 3}, {13, 50}, {199, 1}, {77, 0}}) {
    auto slice = batch->Slice(offset, length);
    ExpectSame(stream.Pass(*slice), *slice);
  }
}

TEST(BatchIpcTest, SlicesCarryOnlyWhatTheyShow) {
  auto schema = arrow::schema({arrow::field("n", arrow::int64()), arrow::field("s", arrow::utf8()),
                               arrow::field("l", arrow::list(arrow::int32()))});
  Stream stream(schema);
  auto batch = RandomBatch(schema, 10000, 9);
  stream.Pass(*batch->Slice(5000, 10));
  EXPECT_LT(stream.bytes, 4096);
}

TEST(BatchIpcTest, BuffersBeginAtMultiplesOf64) {
  Stream stream(AllTypesSchema());
  auto batch = RandomBatch(AllTypesSchema(), 100, 3);
  auto back = stream.Pass(*batch);
  ASSERT_NE(back, nullptr);
  for (const auto& column : back->column_data()) {
    for (const auto& buffer : column->buffers) {
      if (buffer != nullptr && buffer->size() > 0) {
        EXPECT_EQ(buffer->address() % 64, 0) << column->type->ToString();
      }
    }
  }
}

TEST(BatchIpcTest, EqualDictionariesTravelOnceAndChangedOnesAgain) {
  using arrow::ipc::MessageType;
  auto schema = arrow::schema({arrow::field("d", arrow::dictionary(arrow::int8(), arrow::utf8()))});
  Stream stream(schema);
  auto first = RandomBatch(schema, 20, 1);
  auto second = RandomBatch(schema, 20, 2);
  ExpectSame(stream.Pass(*first), *first);
  EXPECT_EQ(stream.types.size(), 3U);  // schema, dictionary, batch
  ExpectSame(stream.Pass(*first->Slice(3, 4)), *first->Slice(3, 4));
  EXPECT_EQ(stream.types, (std::vector<MessageType>{MessageType::RECORD_BATCH}));
  ExpectSame(stream.Pass(*second), *second);
  EXPECT_EQ(stream.types, (std::vector<MessageType>{MessageType::DICTIONARY_BATCH, MessageType::RECORD_BATCH}));
}

TEST(BatchIpcTest, RowsWithoutColumnsKeepTheirCount) {
  auto schema = arrow::schema(arrow::FieldVector{});
  Stream stream(schema);
  auto batch = arrow::RecordBatch::Make(schema, 12, std::vector<std::shared_ptr<arrow::ArrayData>>{});
  EXPECT_EQ(stream.Pass(*batch)->num_rows(), 12);
}

TEST(BatchIpcTest, BadBytesAreRefused) {
  auto schema = arrow::schema({arrow::field("n", arrow::int64())});
  std::vector<BatchPayload> payloads;
  BatchEncoder encoder(schema, arrow::default_memory_pool(), [&](BatchPayload payload) {
    payloads.push_back(std::move(payload));
    return arrow::Status::OK();
  });
  ASSERT_TRUE(encoder.Write(*RandomBatch(schema, 100, 1)).ok());
  ASSERT_EQ(payloads.size(), 2U);

  BatchDecoder headless(schema, arrow::default_memory_pool());
  EXPECT_TRUE(headless.Take(payloads[1].metadata, Body(payloads[1])).status().IsInvalid());

  BatchDecoder decoder(schema, arrow::default_memory_pool());
  ASSERT_TRUE(decoder.Take(payloads[0].metadata, Body(payloads[0])).ok());
  EXPECT_FALSE(decoder.Take(arrow::Buffer::FromString("no flatbuffer at all"), Body(payloads[1])).ok());
  EXPECT_FALSE(decoder.Take(payloads[1].metadata, arrow::SliceBuffer(Body(payloads[1]), 0, 64)).ok());

  BatchDecoder other(arrow::schema({arrow::field("n", arrow::int32())}), arrow::default_memory_pool());
  ASSERT_TRUE(other.Take(payloads[0].metadata, Body(payloads[0])).ok());
  auto refused = other.Take(payloads[1].metadata, Body(payloads[1]));
  EXPECT_TRUE(refused.status().IsTypeError()) << refused.status();
}

}  // namespace
}  // namespace cylon
