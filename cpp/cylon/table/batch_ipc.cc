// Record batches as Arrow IPC payloads, and back.
#include "cylon/table/batch_ipc.h"

#include <arrow/ipc/reader.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>

#include "cylon/table/flat_bytes.h"

namespace cylon {

namespace {

using internal::FlatBytes;
using internal::StorageOf;

constexpr int64_t RoundUp(int64_t value) {
  return (value + BatchPayload::kBodyAlignment - 1) / BatchPayload::kBodyAlignment * BatchPayload::kBodyAlignment;
}

// `payload` with its buffers at multiples of 64, the metadata telling so.
arrow::Result<BatchPayload> AlignBody(const arrow::ipc::IpcPayload& payload, arrow::MemoryPool* pool) {
  BatchPayload out;
  out.type = payload.type;
  if (payload.type == arrow::ipc::MessageType::SCHEMA) {
    out.metadata = payload.metadata;
    return out;
  }
  auto unexpected = [&](const char* what) {
    return arrow::Status::Invalid(
        "Arrow wrote IPC metadata without ", what, " (", payload.metadata->size(),
        " bytes); expected the layout of Message.fbs; use the Arrow that Cylon was built for");
  };
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> copy, arrow::AllocateBuffer(payload.metadata->size(), pool));
  std::memcpy(copy->mutable_data(), payload.metadata->data(), static_cast<size_t>(payload.metadata->size()));
  const FlatBytes bytes(copy->data(), copy->size());
  const auto set = [&](int64_t place, int64_t value) {
    if (!bytes.Inside(place, sizeof(value))) {
      return false;
    }
    std::memcpy(copy->mutable_data() + place, &value, sizeof(value));
    return true;
  };

  int64_t batch = internal::HeaderOf(bytes);
  if (payload.type == arrow::ipc::MessageType::DICTIONARY_BATCH) {
    batch = internal::DictionaryData(bytes, batch);
  }
  const int64_t buffers = bytes.Follow(bytes.Field(batch, internal::kRecordBatchBuffers));
  const int64_t count = buffers < 0 ? 0 : bytes.Get<uint32_t>(buffers);
  if (count != static_cast<int64_t>(payload.body_buffers.size())) {
    return unexpected("the buffers of its body");
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto& buffer = payload.body_buffers[i];
    if (!set(buffers + 4 + i * internal::kBufferStruct, RoundUp(out.body_length))) {
      return unexpected("the place of a buffer");
    }
    if (buffer != nullptr && buffer->size() > 0) {
      out.body_length = RoundUp(out.body_length) + buffer->size();
      out.body.push_back(buffer);
    }
  }
  // A length of 0 is left out, being the default.
  const int64_t length = bytes.Field(bytes.Follow(0), internal::kMessageBodyLength);
  if (length < 0 ? out.body_length != 0 : !set(length, out.body_length)) {
    return unexpected("the length of its body");
  }
  out.metadata = std::move(copy);
  return out;
}

class AligningSink : public arrow::ipc::internal::IpcPayloadWriter {
 public:
  AligningSink(BatchEncoder::Sink sink, arrow::MemoryPool* pool) : sink_(std::move(sink)), pool_(pool) {}
  arrow::Status WritePayload(const arrow::ipc::IpcPayload& payload) override {
    ARROW_ASSIGN_OR_RAISE(auto aligned, AlignBody(payload, pool_));
    return sink_(std::move(aligned));
  }
  arrow::Status Close() override { return arrow::Status::OK(); }

 private:
  BatchEncoder::Sink sink_;
  arrow::MemoryPool* pool_;
};

/// Messages that were taken and not yet read.
using Inbox = std::deque<std::unique_ptr<arrow::ipc::Message>>;

class InboxReader : public arrow::ipc::MessageReader {
 public:
  explicit InboxReader(std::shared_ptr<Inbox> inbox) : inbox_(std::move(inbox)) {}
  arrow::Result<std::unique_ptr<arrow::ipc::Message>> ReadNextMessage() override {
    if (inbox_->empty()) {
      return nullptr;
    }
    auto message = std::move(inbox_->front());
    inbox_->pop_front();
    return message;
  }

 private:
  std::shared_ptr<Inbox> inbox_;
};

bool HasUnion(const arrow::DataType& type) {
  const arrow::DataType& storage = StorageOf(type);
  if (storage.id() == arrow::Type::DICTIONARY) {
    return HasUnion(*static_cast<const arrow::DictionaryType&>(storage).value_type());
  }
  return arrow::is_union(storage.id()) || std::any_of(storage.fields().begin(), storage.fields().end(),
                                                      [](const auto& field) { return HasUnion(*field->type()); });
}

// The same values, with the codes and offsets of unions in memory of their own. Arrow 26 writes those of a slice up to
// the next multiple of 64 bytes, beyond the end of a buffer that is not as long; ours are padded.
arrow::Result<std::shared_ptr<arrow::ArrayData>> PadUnions(const std::shared_ptr<arrow::ArrayData>& data,
                                                           arrow::MemoryPool* pool) {
  if (!HasUnion(*data->type)) {
    return data;
  }
  auto out = data->Copy();
  const auto id = StorageOf(*data->type).id();
  if (arrow::is_union(id)) {
    const std::array<int64_t, 3> widths = {0, sizeof(int8_t), sizeof(int32_t)};  // validity, codes, offsets
    for (size_t i = 1; i < data->buffers.size(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto copy, arrow::AllocateBuffer(data->length * widths[i], pool));
      std::memcpy(copy->mutable_data(), data->buffers[i]->data() + data->offset * widths[i],
                  static_cast<size_t>(copy->size()));
      copy->ZeroPadding();
      out->buffers[i] = std::move(copy);
    }
    out->offset = 0;
  }
  for (auto& child : out->child_data) {
    if (id == arrow::Type::SPARSE_UNION) {
      child = child->Slice(data->offset, data->length);
    }
    ARROW_ASSIGN_OR_RAISE(child, PadUnions(child, pool));
  }
  if (out->dictionary != nullptr) {
    ARROW_ASSIGN_OR_RAISE(out->dictionary, PadUnions(out->dictionary, pool));
  }
  return out;
}

arrow::ipc::IpcWriteOptions WriteOptions(arrow::MemoryPool* pool) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.allow_64bit = true;
  options.memory_pool = pool;
  options.use_threads = false;
  return options;
}

// What no BatchEncoder writes, and a hostile one could: bytes that grow when they are read, and dictionaries that do.
arrow::Status CheckContent(const arrow::ipc::Message& message) {
  const FlatBytes bytes(message.metadata()->data(), message.metadata()->size());
  const int64_t header = internal::HeaderOf(bytes);
  int64_t batch = header;
  if (message.type() == arrow::ipc::MessageType::DICTIONARY_BATCH) {
    batch = internal::DictionaryData(bytes, header);
    const int64_t delta = bytes.Field(header, internal::kDictionaryBatchIsDelta);
    if (bytes.Get<uint8_t>(delta) != 0) {
      return arrow::Status::Invalid("a piece of a dictionary came, expected whole ones");
    }
  }
  if (bytes.Field(batch, internal::kRecordBatchCompression) >= 0) {
    return arrow::Status::Invalid("a body of ", message.body_length(),
                                  " bytes is compressed, expected one that takes no more memory than it has bytes");
  }
  return arrow::Status::OK();
}

}  // namespace

BatchEncoder::BatchEncoder(const std::shared_ptr<arrow::Schema>& schema, arrow::MemoryPool* pool, Sink sink)
    : schema_(WireSchema(*schema)),
      pool_(pool),
      sink_(std::move(sink)),
      has_unions_(std::any_of(schema_->fields().begin(), schema_->fields().end(),
                              [](const auto& field) { return HasUnion(*field->type()); })) {}
BatchEncoder::~BatchEncoder() = default;
BatchEncoder::BatchEncoder(BatchEncoder&&) noexcept = default;

arrow::Status BatchEncoder::Write(const arrow::RecordBatch& batch) {
  if (writer_ == nullptr) {
    ARROW_ASSIGN_OR_RAISE(writer_, arrow::ipc::internal::OpenRecordBatchWriter(
                                       std::make_unique<AligningSink>(sink_, pool_), schema_, WriteOptions(pool_)));
  }
  if (!has_unions_ && batch.schema()->Equals(*schema_, /*check_metadata=*/false)) {
    return writer_->WriteRecordBatch(batch);
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  for (const auto& column : batch.column_data()) {
    ARROW_ASSIGN_OR_RAISE(auto padded, PadUnions(column, pool_));
    columns.push_back(std::move(padded));
  }
  auto padded = arrow::RecordBatch::Make(batch.schema(), batch.num_rows(), std::move(columns));
  ARROW_ASSIGN_OR_RAISE(auto plain, WithSchema(padded, schema_));
  return writer_->WriteRecordBatch(*plain);
}

struct BatchDecoder::State {
  std::shared_ptr<arrow::Schema> schema;
  arrow::MemoryPool* pool;
  int dictionaries;      // of the schema
  int new_dictionaries;  // since the last batch
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  std::shared_ptr<arrow::RecordBatchReader> reader;

  arrow::Status TakeSchema(const arrow::ipc::Message& message);
};

BatchDecoder::BatchDecoder(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool)
    : state_(std::make_unique<State>()) {
  state_->dictionaries = CountDictionaries(*schema);
  state_->new_dictionaries = 0;
  state_->schema = std::move(schema);
  state_->pool = pool;
}
BatchDecoder::~BatchDecoder() = default;
BatchDecoder::BatchDecoder(BatchDecoder&&) noexcept = default;

// What comes is compared with what this side would write, and never interpreted: no types are made from its bytes.
arrow::Status BatchDecoder::State::TakeSchema(const arrow::ipc::Message& message) {
  if (message.type() != arrow::ipc::MessageType::SCHEMA) {
    return arrow::Status::Invalid("the stream begins with a message of type ", static_cast<int>(message.type()),
                                  ", expected its schema");
  }
  const auto wire_schema = WireSchema(*schema);
  arrow::ipc::IpcPayload own;
  ARROW_RETURN_NOT_OK(arrow::ipc::GetSchemaPayload(*wire_schema, WriteOptions(pool),
                                                   arrow::ipc::DictionaryFieldMapper(*wire_schema), &own));
  if (!message.metadata()->Equals(*own.metadata)) {
    return arrow::Status::TypeError("the stream has another schema (in ", message.metadata()->size(),
                                    " bytes), expected {", wire_schema->ToString(), "} (in ", own.metadata->size(),
                                    " bytes)");
  }
  ARROW_ASSIGN_OR_RAISE(auto first, arrow::ipc::Message::Open(own.metadata, nullptr));
  inbox->push_back(std::move(first));
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  // Where a body's buffers lie is the sender's choice; what is read through pointers of a type has to suit the type.
  options.ensure_alignment = arrow::ipc::Alignment::kDataTypeSpecificAlignment;
  return arrow::ipc::RecordBatchStreamReader::Open(std::make_unique<InboxReader>(inbox), options).Value(&reader);
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> BatchDecoder::Take(std::shared_ptr<arrow::Buffer> metadata,
                                                                      std::shared_ptr<arrow::Buffer> body) {
  ARROW_ASSIGN_OR_RAISE(auto message, arrow::ipc::Message::Open(std::move(metadata), std::move(body)));
  const auto type = message->type();
  if (state_->reader == nullptr) {
    ARROW_RETURN_NOT_OK(state_->TakeSchema(*message));
    return nullptr;
  }
  if (type != arrow::ipc::MessageType::DICTIONARY_BATCH && type != arrow::ipc::MessageType::RECORD_BATCH) {
    return arrow::Status::Invalid("a message of type ", static_cast<int>(type),
                                  " came, expected a record batch or a dictionary");
  }
  ARROW_RETURN_NOT_OK(CheckContent(*message));
  state_->inbox->push_back(std::move(message));
  if (type == arrow::ipc::MessageType::DICTIONARY_BATCH) {
    // They wait for the batch that refers to them.
    if (++state_->new_dictionaries > state_->dictionaries) {
      return arrow::Status::Invalid(state_->new_dictionaries,
                                    " dictionaries came before a batch, expected at most the ", state_->dictionaries,
                                    " of the schema");
    }
    return nullptr;
  }
  state_->new_dictionaries = 0;
  std::shared_ptr<arrow::RecordBatch> batch;
  ARROW_RETURN_NOT_OK(state_->reader->ReadNext(&batch));
  if (batch == nullptr || !state_->inbox->empty()) {
    return arrow::Status::Invalid("the stream ended before the dictionaries that its schema names");
  }
  return WithSchema(batch, state_->schema);
}

}  // namespace cylon
