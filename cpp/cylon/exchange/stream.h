/// What travels between two ranks of an exchange: batches as messages, and the mark of the stream's end.
#pragma once

#include <arrow/api.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/net/message.h"
#include "cylon/table/batch_ipc.h"
#include "cylon/table/batch_validator.h"

namespace cylon::internal {

enum class FrameType : uint32_t {
  kPayload = 1,  ///< an IPC message without rows: the schema, or a dictionary
  kBatch = 2,    ///< an IPC message with a record batch
  kEnd = 3,      ///< nothing follows; the segment is the sender's status, where it is not OK
};

/// The inline header of every message of an exchange.
///
///   0        4          8            16         24            32
///   +--------+----------+------------+----------+-------------+
///   |  type  |  (zero)  |  sequence  |   rows   | body length |
///   +--------+----------+------------+----------+-------------+
///
/// `sequence` counts the messages of the stream. `rows` are the batch's; at the end, those of the whole stream. The
/// first segment is the metadata, the others are the body's buffers, each at a multiple of 64.
struct Frame {
  FrameType type = FrameType::kPayload;
  uint32_t zero = 0;
  uint64_t sequence = 0;
  int64_t rows = 0;
  int64_t body_length = 0;
};
static_assert(sizeof(Frame) == 32);

/// The stream to one rank. Not thread-safe.
class OutStream {
 public:
  OutStream(ChannelId channel, const std::shared_ptr<arrow::Schema>& schema, arrow::MemoryPool* pool);
  OutStream(const OutStream&) = delete;
  OutStream& operator=(const OutStream&) = delete;

  /// The messages that carry `batch`: its own last, before it what it needs.
  arrow::Result<std::vector<Message>> Write(const arrow::RecordBatch& batch);
  /// The last message.
  Message End(const arrow::Status& status);

 private:
  ChannelId channel_;
  BatchEncoder encoder_;
  std::vector<Message> messages_;
  uint64_t sequence_ = 0;
  int64_t batch_rows_ = 0;
  int64_t rows_ = 0;
};

/// The stream from one rank: checks that it is whole and in order, and every batch in full. Not thread-safe.
class InStream {
 public:
  InStream(Rank from, std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool);

  /// Takes the next message; the batch, where it completes one, else nullptr. ProtocolError names the peer.
  arrow::Result<std::shared_ptr<arrow::RecordBatch>> Take(Message message);
  bool ended() const { return ended_; }
  /// What the sender said at the end.
  const arrow::Status& status() const { return status_; }

 private:
  arrow::Status Wrong(const std::string& what) const;
  arrow::Status TakeEnd(const Frame& frame, const Buffers& segments);

  Rank from_;
  arrow::MemoryPool* pool_;
  BatchDecoder decoder_;
  BatchValidator validator_;
  uint64_t sequence_ = 0;
  int64_t rows_ = 0;
  bool ended_ = false;
  arrow::Status status_;
};

}  // namespace cylon::internal
