/// Record batches as Arrow IPC payloads whose buffers begin at multiples of 64 bytes, and back.
#pragma once

#include <arrow/api.h>
#include <arrow/ipc/message.h>
#include <arrow/ipc/writer.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/table/wire_schema.h"

namespace cylon {

/// An encapsulated IPC message: metadata, and the body's buffers as they lie in the batch. In the body each buffer
/// begins at a multiple of kBodyAlignment, in this order (Arrow itself writes multiples of 8): whoever places them so
/// has the body without a copy.
struct BatchPayload {
  static constexpr int64_t kBodyAlignment = 64;

  arrow::ipc::MessageType type = arrow::ipc::MessageType::NONE;
  std::shared_ptr<arrow::Buffer> metadata;
  std::vector<std::shared_ptr<arrow::Buffer>> body;  ///< none of them empty
  int64_t body_length = 0;                           ///< with the padding between buffers
};

/// One stream of batches: the schema first, dictionaries when they change. Not thread-safe.
class CYLON_EXPORT BatchEncoder {
 public:
  using Sink = std::function<arrow::Status(BatchPayload)>;
  /// `sink` gets the payloads in order. Small pieces (bitmaps and offsets of slices) are rewritten in memory of `pool`.
  BatchEncoder(const std::shared_ptr<arrow::Schema>& schema, arrow::MemoryPool* pool, Sink sink);
  ~BatchEncoder();
  BatchEncoder(BatchEncoder&&) noexcept;

  arrow::Status Write(const arrow::RecordBatch& batch);

 private:
  std::shared_ptr<arrow::Schema> schema_;  // as it travels
  arrow::MemoryPool* pool_;
  Sink sink_;
  bool has_unions_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> writer_;
};

/// The other end of a BatchEncoder. Not thread-safe.
class CYLON_EXPORT BatchDecoder {
 public:
  /// Batches come out with `schema`, whatever is known here of its extension types. The stream's own schema has to be
  /// what a BatchEncoder for `schema` writes; a body must not be compressed, nor a dictionary come in pieces.
  BatchDecoder(std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool);
  ~BatchDecoder();
  BatchDecoder(BatchDecoder&&) noexcept;

  /// Takes one message in the order of the stream; the batch, where it completes one, else nullptr. The batch's buffers
  /// are slices of `body`. Invalid, IOError and the like where the bytes are no such message.
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> Take(std::shared_ptr<arrow::Buffer> metadata,
                                                          std::shared_ptr<arrow::Buffer> body);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cylon
