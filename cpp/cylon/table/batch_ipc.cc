// Record batches as Arrow IPC payloads, and back.
#include "cylon/table/batch_ipc.h"

#include <arrow/ipc/reader.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <deque>

namespace cylon {

namespace {

constexpr int64_t RoundUp(int64_t value) {
  return (value + BatchPayload::kBodyAlignment - 1) / BatchPayload::kBodyAlignment * BatchPayload::kBodyAlignment;
}

/// Walks a flatbuffer that Arrow has just written, to move the buffers of a message's body. Every step stays inside
/// the bytes; a place that is not there is -1. (Arrow does not install its flatbuffer headers.)
///
///   table:  int32 distance back to its vtable, then fields
///   vtable: uint16 size, uint16 size of the table, uint16 place of field 0, of field 1, ... (0: not there)
///   vector: uint32 count, then elements
class FlatBytes {
 public:
  explicit FlatBytes(arrow::MutableBuffer* bytes) : data_(bytes->mutable_data()), size_(bytes->size()) {}

  template <typename T>
  T Get(int64_t place) const {
    T value{};
    if (Inside(place, sizeof(T))) {
      std::memcpy(&value, data_ + place, sizeof(T));
    }
    return value;
  }
  template <typename T>
  bool Set(int64_t place, T value) {
    if (!Inside(place, sizeof(T))) {
      return false;
    }
    std::memcpy(data_ + place, &value, sizeof(T));
    return true;
  }
  /// Where the table, vector or string is that the offset at `place` points to.
  int64_t Follow(int64_t place) const { return Inside(place, 4) ? place + Get<uint32_t>(place) : -1; }
  /// Where `field` of the table at `table` is stored.
  int64_t Field(int64_t table, int field) const {
    if (!Inside(table, 4)) {
      return -1;
    }
    const int64_t vtable = table - Get<int32_t>(table);
    const int64_t entry = vtable + 4 + int64_t{2} * field;
    if (!Inside(vtable, 4) || entry + 2 > vtable + Get<uint16_t>(vtable)) {
      return -1;
    }
    const auto distance = Get<uint16_t>(entry);
    return distance == 0 ? -1 : table + distance;
  }

 private:
  bool Inside(int64_t place, int64_t length) const { return place >= 0 && length <= size_ && place <= size_ - length; }

  uint8_t* data_;
  int64_t size_;
};

// Places in Arrow's Message.fbs.
constexpr int kMessageHeader = 2;
constexpr int kMessageBodyLength = 3;
constexpr int kDictionaryBatchData = 1;
constexpr int kRecordBatchBuffers = 2;
/// struct Buffer { offset: long; length: long; }
constexpr int64_t kBufferStruct = 16;

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
  arrow::MutableBuffer view(copy->mutable_data(), copy->size());
  FlatBytes bytes(&view);

  const int64_t message = bytes.Follow(0);
  int64_t batch = bytes.Follow(bytes.Field(message, kMessageHeader));
  if (payload.type == arrow::ipc::MessageType::DICTIONARY_BATCH) {
    batch = bytes.Follow(bytes.Field(batch, kDictionaryBatchData));
  }
  const int64_t buffers = bytes.Follow(bytes.Field(batch, kRecordBatchBuffers));
  const int64_t count = buffers < 0 ? 0 : bytes.Get<uint32_t>(buffers);
  if (count != static_cast<int64_t>(payload.body_buffers.size())) {
    return unexpected("the buffers of its body");
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto& buffer = payload.body_buffers[i];
    if (!bytes.Set<int64_t>(buffers + 4 + i * kBufferStruct, RoundUp(out.body_length))) {
      return unexpected("the place of a buffer");
    }
    if (buffer != nullptr && buffer->size() > 0) {
      out.body_length = RoundUp(out.body_length) + buffer->size();
      out.body.push_back(buffer);
    }
  }
  // A length of 0 is left out, being the default.
  const int64_t length = bytes.Field(message, kMessageBodyLength);
  if (length < 0 ? out.body_length != 0 : !bytes.Set<int64_t>(length, out.body_length)) {
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

const arrow::DataType& StorageOf(const arrow::DataType& type) {
  const auto* layer = &type;
  while (layer->id() == arrow::Type::EXTENSION) {
    layer = static_cast<const arrow::ExtensionType&>(*layer).storage_type().get();
  }
  return *layer;
}

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

// `data` as `type`, which lies over the same layout. nullptr where it does not.
std::shared_ptr<arrow::ArrayData> Retype(const arrow::ArrayData& data, const std::shared_ptr<arrow::DataType>& type) {
  const arrow::DataType& target = StorageOf(*type);
  const arrow::DataType& source = StorageOf(*data.type);
  if (target.id() != source.id() || target.num_fields() != source.num_fields() ||
      static_cast<size_t>(target.num_fields()) != data.child_data.size() ||
      (target.num_fields() == 0 && target.id() != arrow::Type::DICTIONARY && !target.Equals(source))) {
    return nullptr;
  }
  auto out = std::make_shared<arrow::ArrayData>(data);
  out->type = type;
  for (int i = 0; i < target.num_fields(); ++i) {
    out->child_data[i] = Retype(*data.child_data[i], target.field(i)->type());
    if (out->child_data[i] == nullptr) {
      return nullptr;
    }
  }
  if (target.id() == arrow::Type::DICTIONARY) {
    const auto& dictionary = static_cast<const arrow::DictionaryType&>(target);
    if (!dictionary.index_type()->Equals(static_cast<const arrow::DictionaryType&>(source).index_type()) ||
        data.dictionary == nullptr) {
      return nullptr;
    }
    out->dictionary = Retype(*data.dictionary, dictionary.value_type());
    if (out->dictionary == nullptr) {
      return nullptr;
    }
  }
  return out;
}

}  // namespace

BatchEncoder::BatchEncoder(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool, Sink sink)
    : schema_(std::move(schema)),
      pool_(pool),
      sink_(std::move(sink)),
      has_unions_(std::any_of(schema_->fields().begin(), schema_->fields().end(),
                              [](const auto& field) { return HasUnion(*field->type()); })) {}
BatchEncoder::~BatchEncoder() = default;
BatchEncoder::BatchEncoder(BatchEncoder&&) noexcept = default;

arrow::Status BatchEncoder::Write(const arrow::RecordBatch& batch) {
  if (writer_ == nullptr) {
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.allow_64bit = true;
    options.memory_pool = pool_;
    options.use_threads = false;
    ARROW_ASSIGN_OR_RAISE(writer_, arrow::ipc::internal::OpenRecordBatchWriter(
                                       std::make_unique<AligningSink>(sink_, pool_), schema_, options));
  }
  if (!has_unions_) {
    return writer_->WriteRecordBatch(batch);
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  for (const auto& column : batch.column_data()) {
    ARROW_ASSIGN_OR_RAISE(auto padded, PadUnions(column, pool_));
    columns.push_back(std::move(padded));
  }
  return writer_->WriteRecordBatch(*arrow::RecordBatch::Make(schema_, batch.num_rows(), std::move(columns)));
}

struct BatchDecoder::State {
  std::shared_ptr<arrow::Schema> schema;
  arrow::MemoryPool* pool;
  std::shared_ptr<Inbox> inbox = std::make_shared<Inbox>();
  std::shared_ptr<arrow::RecordBatchReader> reader;
};

BatchDecoder::BatchDecoder(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool)
    : state_(std::make_unique<State>()) {
  state_->schema = std::move(schema);
  state_->pool = pool;
}
BatchDecoder::~BatchDecoder() = default;
BatchDecoder::BatchDecoder(BatchDecoder&&) noexcept = default;

arrow::Result<std::shared_ptr<arrow::RecordBatch>> BatchDecoder::Take(std::shared_ptr<arrow::Buffer> metadata,
                                                                      std::shared_ptr<arrow::Buffer> body) {
  ARROW_ASSIGN_OR_RAISE(auto message, arrow::ipc::Message::Open(std::move(metadata), std::move(body)));
  const auto type = message->type();
  state_->inbox->push_back(std::move(message));
  if (state_->reader == nullptr) {
    if (type != arrow::ipc::MessageType::SCHEMA) {
      return arrow::Status::Invalid("the stream begins with a message of type ", static_cast<int>(type),
                                    ", expected its schema");
    }
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = state_->pool;
    options.use_threads = false;
    ARROW_ASSIGN_OR_RAISE(state_->reader, arrow::ipc::RecordBatchStreamReader::Open(
                                              std::make_unique<InboxReader>(state_->inbox), options));
    return nullptr;
  }
  if (type == arrow::ipc::MessageType::DICTIONARY_BATCH) {
    return nullptr;
  }
  if (type != arrow::ipc::MessageType::RECORD_BATCH) {
    return arrow::Status::Invalid("a message of type ", static_cast<int>(type),
                                  " came, expected a record batch or a dictionary");
  }
  std::shared_ptr<arrow::RecordBatch> batch;
  ARROW_RETURN_NOT_OK(state_->reader->ReadNext(&batch));
  if (batch == nullptr || !state_->inbox->empty()) {
    return arrow::Status::Invalid("the stream ended before the dictionaries that its schema names");
  }
  return WithSchema(batch, state_->schema);
}

arrow::Result<std::shared_ptr<arrow::RecordBatch>> WithSchema(const std::shared_ptr<arrow::RecordBatch>& batch,
                                                              const std::shared_ptr<arrow::Schema>& schema) {
  if (batch->schema() == schema || batch->schema()->Equals(*schema, /*check_metadata=*/true)) {
    return batch;
  }
  auto mismatch = [&] {
    return arrow::Status::TypeError("a batch has columns {", batch->schema()->ToString(), "}, expected {",
                                    schema->ToString(), "}; cast it to that schema");
  };
  if (batch->num_columns() != schema->num_fields()) {
    return mismatch();
  }
  std::vector<std::shared_ptr<arrow::ArrayData>> columns;
  columns.reserve(static_cast<size_t>(batch->num_columns()));
  for (int i = 0; i < batch->num_columns(); ++i) {
    const auto& column = batch->column_data(i);
    const auto& field = schema->field(i);
    if (batch->schema()->field(i)->name() != field->name()) {
      return mismatch();
    }
    columns.push_back(column->type->Equals(*field->type(), /*check_metadata=*/true) ? column
                                                                                    : Retype(*column, field->type()));
    if (columns.back() == nullptr) {
      return mismatch();
    }
  }
  return arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns));
}

}  // namespace cylon
