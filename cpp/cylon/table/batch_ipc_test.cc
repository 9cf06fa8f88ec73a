// IPC payloads: every type comes back, buffers are placed at multiples of 64, bad bytes are refused.
#include "cylon/table/batch_ipc.h"

#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/util/compression.h>
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
  auto refused = other.Take(payloads[0].metadata, Body(payloads[0])).status();
  EXPECT_TRUE(refused.IsTypeError()) << refused;
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("expected {n: int32}"));
}

// What a peer writes itself, with Arrow's own writer: all of a stream's payloads.
std::vector<BatchPayload> WriteWith(const arrow::ipc::IpcWriteOptions& options,
                                    const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  auto sink = *arrow::io::BufferOutputStream::Create();
  auto writer = *arrow::ipc::MakeStreamWriter(sink, batches[0]->schema(), options);
  for (const auto& batch : batches) {
    EXPECT_TRUE(writer->WriteRecordBatch(*batch).ok());
  }
  EXPECT_TRUE(writer->Close().ok());
  auto source = std::make_shared<arrow::io::BufferReader>(*sink->Finish());
  std::vector<BatchPayload> payloads;
  while (true) {
    auto message = *arrow::ipc::ReadMessage(source.get());
    if (message == nullptr) {
      return payloads;
    }
    payloads.push_back({message->type(), message->metadata(), {message->body()}, message->body_length()});
  }
}

// The first payload of a stream with `schema`, as it has to be.
BatchPayload SchemaOf(const std::shared_ptr<arrow::Schema>& schema) {
  std::vector<BatchPayload> payloads;
  BatchEncoder encoder(schema, arrow::default_memory_pool(), [&](BatchPayload payload) {
    payloads.push_back(std::move(payload));
    return arrow::Status::OK();
  });
  EXPECT_TRUE(encoder.Write(*RandomBatch(schema, 0, 1)).ok());
  payloads[0].body.push_back(std::make_shared<arrow::Buffer>(nullptr, 0));
  return payloads[0];
}

// The status of the first payload that is refused.
arrow::Status TakeAll(const std::shared_ptr<arrow::Schema>& schema, const std::vector<BatchPayload>& payloads) {
  BatchDecoder decoder(schema, arrow::default_memory_pool());
  for (const auto& payload : payloads) {
    ARROW_RETURN_NOT_OK(decoder.Take(payload.metadata, payload.body[0]));
  }
  return arrow::Status::OK();
}

TEST(BatchIpcTest, CompressedBodiesAreRefusedBeforeTheyGrow) {
  auto schema = arrow::schema({arrow::field("n", arrow::int64())});
  // A MiB of zeros: some KiB on their way.
  auto zeros = *arrow::AllocateBuffer(1 << 20);
  std::memset(zeros->mutable_data(), 0, static_cast<size_t>(zeros->size()));
  auto batch = arrow::RecordBatch::Make(
      schema, 1 << 17, {arrow::ArrayData::Make(arrow::int64(), 1 << 17, {nullptr, std::move(zeros)}, 0)});
  for (const auto type : {arrow::Compression::LZ4_FRAME, arrow::Compression::ZSTD}) {
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.codec = *arrow::util::Codec::Create(type);
    arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
    BatchDecoder decoder(schema, &pool);
    auto payloads = WriteWith(options, {batch});
    payloads[0] = SchemaOf(schema);
    ASSERT_TRUE(decoder.Take(payloads[0].metadata, payloads[0].body[0]).ok());
    auto refused = decoder.Take(payloads[1].metadata, payloads[1].body[0]).status();
    EXPECT_TRUE(refused.IsInvalid()) << refused;
    EXPECT_THAT(refused.message(),
                ::testing::HasSubstr("a body of " + std::to_string(payloads[1].body_length) + " bytes is compressed"));
    EXPECT_LT(pool.max_memory(), 64 << 10);
  }
}

TEST(BatchIpcTest, DictionariesWithoutABatchAreRefused) {
  auto schema = arrow::schema({arrow::field("d", arrow::dictionary(arrow::int8(), arrow::utf8()))});
  auto payloads = WriteWith(arrow::ipc::IpcWriteOptions::Defaults(), {RandomBatch(schema, 20, 1)});
  ASSERT_EQ(payloads.size(), 3U);
  payloads[0] = SchemaOf(schema);
  payloads.insert(payloads.begin() + 1, payloads[1]);
  auto refused = TakeAll(schema, payloads);
  EXPECT_TRUE(refused.IsInvalid()) << refused;
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("2 dictionaries came before a batch, expected at most the 1"));
}

TEST(BatchIpcTest, DictionariesInPiecesAreRefused) {
  auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  auto schema = arrow::schema({arrow::field("d", type)});
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.emit_dictionary_deltas = true;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (const auto& values : std::vector<std::vector<std::string>>{{"a"}, {"a", "b"}}) {
    arrow::StringBuilder text;
    arrow::Int8Builder codes;
    ASSERT_TRUE(text.AppendValues(values).ok() && codes.AppendValues({0, 0}).ok());
    batches.push_back(arrow::RecordBatch::Make(
        schema, 2, {*arrow::DictionaryArray::FromArrays(type, *codes.Finish(), *text.Finish())}));
  }
  auto payloads = WriteWith(options, batches);
  payloads[0] = SchemaOf(schema);
  auto refused = TakeAll(schema, payloads);
  EXPECT_TRUE(refused.IsInvalid()) << refused;
  EXPECT_THAT(refused.message(), ::testing::HasSubstr("a piece of a dictionary came"));
}

/// An extension type whose maker counts how often a registry has called it.
class CallingType : public cylon::testing::PointType {
 public:
  std::string extension_name() const override { return "cylon.test.calling"; }
  arrow::Result<std::shared_ptr<arrow::DataType>> Deserialize(std::shared_ptr<arrow::DataType>,
                                                              const std::string&) const override {
    ++calls;
    return std::make_shared<CallingType>();
  }
  static inline int calls = 0;
};

// A registered type may be written in Python, and its maker would run with whatever bytes the peer chose.
TEST(BatchIpcTest, NoExtensionTypeIsMadeFromTheBytesOfAPeer) {
  auto type = std::make_shared<CallingType>();
  ASSERT_TRUE(arrow::RegisterExtensionType(type).ok());
  auto extended = arrow::schema({arrow::field("p", type)});
  auto batch = RandomBatch(arrow::schema({arrow::field("p", type->storage_type())}), 20, 1);
  auto column = batch->column_data(0)->Copy();
  column->type = type;
  auto told = arrow::RecordBatch::Make(extended, 20, {std::move(column)});

  Stream stream(extended);
  ExpectSame(stream.Pass(*told), *told);
  // A peer that writes it itself names the type in its schema's metadata; it is refused, whatever is expected here.
  const auto payloads = WriteWith(arrow::ipc::IpcWriteOptions::Defaults(), {told});
  EXPECT_TRUE(TakeAll(extended, payloads).IsTypeError());
  EXPECT_TRUE(TakeAll(batch->schema(), payloads).IsTypeError());
  EXPECT_EQ(CallingType::calls, 0);
  ASSERT_TRUE(arrow::UnregisterExtensionType(type->extension_name()).ok());
}

}  // namespace
}  // namespace cylon
