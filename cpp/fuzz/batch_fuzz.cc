// A stream of table batches from a hostile rank: what comes out is valid in full and has the schema that was agreed,
// and memory stays in proportion to what arrived.
#include <algorithm>

#include "cylon/exchange/stream.h"
#include "cylon/table/testing/all_types.h"
#include "fuzz/fuzz_target.h"

namespace cylon::fuzz {
namespace {

using internal::Frame;
using internal::FrameType;
using internal::InStream;
using internal::OutStream;

/// Small ones whose every byte counts, and one with every type.
const std::vector<std::shared_ptr<arrow::Schema>>& Schemas() {
  using namespace arrow;  // NOLINT(google-build-using-namespace): a list of types
  static const std::vector<std::shared_ptr<Schema>> schemas = {
      schema({field("n", int64())}),
      schema({field("s", utf8()), field("b", boolean())}),
      schema({field("d", dictionary(int8(), utf8()))}),
      schema({field("l", list(struct_({field("x", int16()), field("y", large_utf8())})))}),
      schema({field("v", utf8_view()), field("w", list_view(int32()))}),
      schema({field("u", dense_union({field("a", int32()), field("b", utf8())}))}),
      schema({field("r", run_end_encoded(int32(), utf8())), field("m", map(utf8(), int64()))}),
      cylon::testing::AllTypesSchema()};
  return schemas;
}

// How an input has a message: a byte of flags, the frame's fields as far as the flags ask for, and the segments.
//   1: type, 2: sequence, 4: rows, 8: body length are in the input; else they are what they should be
enum Flag : uint8_t { kOwnType = 1, kOwnSequence = 2, kOwnRows = 4, kOwnLength = 8, kIsEnd = 16, kIsBatch = 32 };

Message ReadMessage(Input& in, uint64_t sequence) {
  const uint8_t flags = in.Byte();
  Frame frame;
  frame.type = (flags & kIsEnd) != 0     ? FrameType::kEnd
               : (flags & kIsBatch) != 0 ? FrameType::kBatch
                                         : FrameType::kPayload;
  if ((flags & kOwnType) != 0) {
    frame.type = static_cast<FrameType>(in.Number(4));
  }
  frame.sequence = (flags & kOwnSequence) != 0 ? in.Number(8) : sequence;
  frame.rows = static_cast<int64_t>((flags & kOwnRows) != 0 ? in.Number(8) : in.Number(2));
  Message message;
  const size_t segments = in.Byte();
  int64_t length = 0;
  for (size_t i = 0; i < segments && !in.empty(); ++i) {
    // In memory of exactly its size, so that reading past its end is seen.
    const auto bytes = in.Text();
    std::shared_ptr<arrow::Buffer> segment = *arrow::AllocateBuffer(static_cast<int64_t>(bytes.size()));
    std::copy(bytes.begin(), bytes.end(), segment->mutable_data());
    if (i > 0) {
      length = (length + 63) / 64 * 64 + segment->size();
    }
    message.segments.push_back(std::move(segment));
  }
  frame.body_length = (flags & kOwnLength) != 0 ? static_cast<int64_t>(in.Number(8)) : length;
  message.header = InlineBytes::Of(frame);
  return message;
}

void RunBatch(std::string_view bytes) {
  Input in(bytes);
  const auto& schema = Schemas()[in.Byte() % Schemas().size()];
  arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
  InStream stream(5, schema, &pool);
  for (uint64_t sequence = 0; !in.empty(); ++sequence) {
    auto batch = stream.Take(ReadMessage(in, sequence));
    if (!batch.ok()) {
      Require(IsError(batch.status(), ErrorKind::kProtocol),
              "a refusal that is no ProtocolError: " + batch.status().ToString());
      break;
    }
    if (*batch != nullptr) {
      const auto valid = (*batch)->ValidateFull();
      Require(valid.ok(), "a batch that is not valid was taken: " + valid.ToString());
      Require((*batch)->schema()->Equals(*schema, true), "a batch of another schema was taken");
    }
  }
  // A body that is put together, and what Arrow rewrites of it (list offsets, views), once or twice.
  Require(pool.max_memory() <= static_cast<int64_t>(8 * bytes.size() + (64 << 10)),
          std::to_string(pool.max_memory()) + " bytes were taken for " + std::to_string(bytes.size()));
}

std::string WriteMessages(size_t schema, const std::vector<Message>& messages) {
  Output out;
  out.Byte(static_cast<uint8_t>(schema));
  for (const auto& message : messages) {
    Frame frame;
    Require(message.header.As(&frame), "an exchange wrote a header of another size");
    out.Byte(frame.type == FrameType::kEnd ? kIsEnd : frame.type == FrameType::kBatch ? kIsBatch : 0);
    out.Number(static_cast<uint64_t>(frame.rows), 2).Byte(static_cast<uint8_t>(message.segments.size()));
    for (const auto& segment : message.segments) {
      out.Text(std::string_view(*segment));
    }
  }
  return out.bytes();
}

std::vector<std::string> BatchSeeds() {
  std::vector<std::string> seeds;
  for (size_t i = 0; i < Schemas().size(); ++i) {
    for (const int64_t rows : {0, 3, 20}) {
      OutStream out(ChannelId{}, Schemas()[i], arrow::default_memory_pool());
      auto messages = out.Write(*cylon::testing::RandomBatch(Schemas()[i], rows, 1)).ValueOrDie();
      messages.push_back(out.End(rows == 3 ? arrow::Status::IOError("disk full") : arrow::Status::OK()));
      seeds.push_back(WriteMessages(i, messages));
    }
  }
  return seeds;
}

const Registration kBatch({"batch", RunBatch, BatchSeeds});

}  // namespace
}  // namespace cylon::fuzz
