// What travels between two ranks of an exchange.
#include "cylon/exchange/stream.h"

#include <utility>

namespace cylon::internal {

namespace {

constexpr int64_t kAlignment = BatchPayload::kBodyAlignment;
/// Rows of one stream, which may cost their sender no bytes (columns of nulls, no columns): sums must not overflow.
constexpr int64_t kMaxRows = int64_t{1} << 48;

int64_t RoundUp(int64_t value) { return (value + kAlignment - 1) / kAlignment * kAlignment; }

// The body that `segments` from the second on make: one stretch of memory, each at the next multiple of 64. Copied
// only where they do not lie so.
arrow::Result<std::shared_ptr<arrow::Buffer>> BodyOf(const Buffers& segments, arrow::MemoryPool* pool) {
  if (segments.size() < 2) {
    return std::make_shared<arrow::Buffer>(nullptr, 0);
  }
  const auto& first = segments[1];
  const auto& whole = first->parent();
  int64_t length = 0;
  bool in_place = whole != nullptr;
  for (size_t i = 1; i < segments.size(); ++i) {
    const int64_t begin = RoundUp(length);
    in_place = in_place && segments[i]->parent() == whole && segments[i]->data() == first->data() + begin;
    length = begin + segments[i]->size();
  }
  if (in_place) {
    return arrow::SliceBuffer(whole, first->data() - whole->data(), length);
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> body, arrow::AllocateBuffer(length, pool));
  int64_t end = 0;
  for (size_t i = 1; i < segments.size(); ++i) {
    const int64_t begin = RoundUp(end);
    std::memset(body->mutable_data() + end, 0, static_cast<size_t>(begin - end));
    std::memcpy(body->mutable_data() + begin, segments[i]->data(), static_cast<size_t>(segments[i]->size()));
    end = begin + segments[i]->size();
  }
  return body;
}

}  // namespace

OutStream::OutStream(ChannelId channel, const std::shared_ptr<arrow::Schema>& schema, arrow::MemoryPool* pool)
    : channel_(channel), encoder_(schema, pool, [this](BatchPayload payload) {
        Frame frame;
        if (payload.type == arrow::ipc::MessageType::RECORD_BATCH) {
          frame.type = FrameType::kBatch;
          frame.rows = batch_rows_;
        }
        frame.sequence = sequence_++;
        frame.body_length = payload.body_length;
        Message message{channel_, InlineBytes::Of(frame), {}};
        message.segments.reserve(payload.body.size() + 1);
        message.segments.push_back(std::move(payload.metadata));
        for (auto& buffer : payload.body) {
          message.segments.push_back(std::move(buffer));
        }
        messages_.push_back(std::move(message));
        return arrow::Status::OK();
      }) {}

arrow::Result<std::vector<Message>> OutStream::Write(const arrow::RecordBatch& batch) {
  messages_.clear();
  batch_rows_ = batch.num_rows();
  ARROW_RETURN_NOT_OK(encoder_.Write(batch));
  rows_ += batch_rows_;
  return std::exchange(messages_, {});
}

Message OutStream::End(const arrow::Status& status) {
  Frame frame;
  frame.type = FrameType::kEnd;
  frame.sequence = sequence_++;
  frame.rows = rows_;
  Message message{channel_, InlineBytes::Of(frame), {}};
  if (!status.ok()) {
    message.segments.push_back(arrow::Buffer::FromString(EncodeStatus(status)));
  }
  return message;
}

InStream::InStream(Rank from, std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool)
    : from_(from), pool_(pool), decoder_(std::move(schema), pool) {}

arrow::Status InStream::Wrong(const std::string& what) const {
  return ProtocolError("in an exchange, rank " + std::to_string(from_) + " sent " + what +
                           "; all ranks must run the same version of Cylon",
                       from_);
}

arrow::Status InStream::TakeEnd(const Frame& frame, const Buffers& segments) {
  ended_ = true;
  if (segments.empty()) {
    if (frame.rows != rows_) {
      return Wrong(std::to_string(rows_) + " rows and said that they are " + std::to_string(frame.rows));
    }
    return arrow::Status::OK();
  }
  if (auto read = DecodeStatus(std::string_view(*segments[0]), &status_); !read.ok()) {
    return Wrong("an end that cannot be read (" + read.message() + ")");
  }
  return arrow::Status::OK();
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> InStream::Take(Message message) {
  Frame frame;
  if (!message.header.As(&frame)) {
    return Wrong("a header of " + std::to_string(message.header.size()) + " bytes, expected " +
                 std::to_string(sizeof(Frame)));
  }
  if (ended_) {
    return Wrong("a message after the end of its stream");
  }
  if (frame.sequence != sequence_) {
    return Wrong("message " + std::to_string(frame.sequence) + ", expected message " + std::to_string(sequence_));
  }
  ++sequence_;
  if (frame.type == FrameType::kEnd) {
    ARROW_RETURN_NOT_OK(TakeEnd(frame, message.segments));
    return nullptr;
  }
  if ((frame.type != FrameType::kPayload && frame.type != FrameType::kBatch) || message.segments.empty()) {
    return Wrong("a message of type " + std::to_string(static_cast<uint32_t>(frame.type)) + " with " +
                 std::to_string(message.segments.size()) + " segments");
  }
  ARROW_ASSIGN_OR_RAISE(auto body, BodyOf(message.segments, pool_));
  if (body->size() != frame.body_length) {
    return Wrong("a body of " + std::to_string(body->size()) + " bytes, expected " + std::to_string(frame.body_length));
  }
  auto batch = decoder_.Take(message.segments[0], std::move(body));
  if (!batch.ok()) {
    if (batch.status().IsOutOfMemory()) {
      return batch.status();
    }
    return Wrong("a batch that cannot be read (" + batch.status().message() + ")");
  }
  if ((*batch != nullptr) != (frame.type == FrameType::kBatch)) {
    return Wrong("a message that is not of the type that it says");
  }
  if (*batch != nullptr) {
    if ((*batch)->num_rows() != frame.rows) {
      return Wrong("a batch of " + std::to_string((*batch)->num_rows()) + " rows, expected " +
                   std::to_string(frame.rows));
    }
    if (frame.rows > kMaxRows - rows_) {
      return Wrong("a batch of " + std::to_string(frame.rows) + " rows after " + std::to_string(rows_) +
                   ", expected at most " + std::to_string(kMaxRows) + " in all");
    }
    if (auto valid = validator_.Check(**batch); !valid.ok()) {
      return Wrong("a batch that is not valid (" + valid.message() + ")");
    }
    rows_ += frame.rows;
  }
  return batch;
}

}  // namespace cylon::internal
