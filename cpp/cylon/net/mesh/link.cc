// The frames between two ranks: keeping, acknowledging and resuming. (Reading them: link_read.cc.)
#include "cylon/net/mesh/link.h"

#include <algorithm>
#include <cstring>

#include "cylon/net/mesh/link_limits.h"

namespace cylon::internal {

namespace {

/// Small frames are read ahead through a buffer of this size; what is larger lands where it will be used.
constexpr size_t kReadAhead = 64 << 10;
/// Queued frames that leave in one system call, at most: past this a call costs no more than it saves.
constexpr size_t kFramesAtOnce = 64;
constexpr int64_t kBytesAtOnce = 256 << 10;
/// Instead of a message's id: nobody waits for it.
constexpr uint64_t kNoMessage = UINT64_MAX;

void PutNumber(std::vector<uint8_t>* out, uint64_t value) {
  for (int shift = 0; shift < 64; shift += 8) {
    out->push_back(static_cast<uint8_t>(value >> shift));
  }
}

}  // namespace

/// Frames that leave together, and what holds their memory meanwhile, whatever the other end acknowledges.
struct Link::Batch {
  struct Run {
    size_t begin;
    size_t end;
    std::shared_ptr<std::vector<uint8_t>> from;
  };
  /// Either a run of bytes or a segment, in the order in which they leave.
  struct Part {
    Run run;
    std::shared_ptr<arrow::Buffer> segment;
  };
  Bytes bytes = std::make_shared<std::vector<uint8_t>>();
  std::vector<Part> parts;
  std::vector<uint64_t> free_when_gone;  // ids of messages that were copied
  size_t frames = 0;
  int64_t size = 0;

  /// The bytes of one frame that has none but these; those of neighbours leave as one part.
  void AddRun(const Bytes& from, size_t begin, size_t end) {
    size += static_cast<int64_t>(end - begin);
    if (!parts.empty() && parts.back().run.from == from && parts.back().run.end == begin) {
      parts.back().run.end = end;
    } else {
      parts.push_back({{begin, end, from}, nullptr});
    }
  }
  void AddSegments(const Buffers& segments) {
    for (const auto& segment : segments) {
      if (segment->size() > 0) {
        parts.push_back({{}, segment});
        size += segment->size();
      }
    }
  }
  std::vector<std::span<const uint8_t>> Spans() const {
    std::vector<std::span<const uint8_t>> spans;
    spans.reserve(parts.size());
    for (const auto& part : parts) {
      if (part.segment != nullptr) {
        spans.emplace_back(part.segment->data(), static_cast<size_t>(part.segment->size()));
      } else {
        spans.emplace_back(part.run.from->data() + part.run.begin, part.run.end - part.run.begin);
      }
    }
    return spans;
  }
};

Link::Connection::Connection(std::unique_ptr<Stream> from) : stream(std::move(from)), buffer(kReadAhead) {}

Link::Link(Executor& executor, LinkOwner* owner, Rank peer, uint32_t epoch)
    : executor_(executor), owner_(owner), peer_(peer), epoch_(epoch), heard_(executor.Now()) {}

void Link::Start() {
  started_ = true;
  if (connection_ != nullptr && !connection_->reading) {
    connection_->reading = true;
    internal::Detach(executor_, ReadLoop(shared_from_this(), connection_));
  }
}

void Link::Queue(uint64_t id, Message message) {
  auto& queue = message.channel.kind == ChannelKind::kControl ? control_ : queue_;
  queue.push_back({id, kMessage, std::move(message)});
  Kick();
}

void Link::QueueGoodbye() {
  if (!said_goodbye_ && !ended_) {
    said_goodbye_ = true;
    queue_.push_back({kNoMessage, kGoodbye, {}});
    Kick();
  }
}

void Link::Ping() {
  ping_due_ = true;
  Kick();
}

arrow::Status Link::Attach(std::unique_ptr<Stream> stream, uint64_t peer_received) {
  const uint64_t forgotten = kept_.empty() ? sent_ : kept_.front().sequence - 1;
  if (peer_received < forgotten || peer_received > sent_) {
    return ProtocolError("rank " + std::to_string(peer_) + " says that it has received frame " +
                             std::to_string(peer_received) + " of the link; it has acknowledged frame " +
                             std::to_string(forgotten) + ", and frame " + std::to_string(sent_) +
                             " was the last one sent; check that all ranks run the same version of Cylon",
                         peer_);
  }
  connection_ = std::make_shared<Connection>(std::move(stream));
  heard_ = executor_.Now();
  written_here_ = kept_.size();
  ping_due_ = pong_due_ = false;
  told_ = received_;  // in the opening of this connection
  untold_bytes_ = 0;
  awaited_ = tell_ = false;
  const auto self = shared_from_this();  // who is told that a message has arrived may let go of this
  ARROW_RETURN_NOT_OK(TakeAcknowledgement(peer_received));
  written_here_ = 0;
  if (started_) {
    Start();
  }
  Kick();
  EndIfDone();
  return arrow::Status::OK();
}

void Link::Detach() {
  if (auto old = std::exchange(connection_, nullptr)) {
    old->stream->Close();  // its loops see that it is no longer the connection
    EndTurn(old->turn);
  }
}

void Link::EndTurn(arrow::Future<>& turn) {
  if (turn.is_valid() && !turn.is_finished()) {
    turn.MarkFinished();
  }
}

void Link::Break(const arrow::Status& cause) {
  if (connection_ == nullptr || ended_) {
    return;
  }
  const auto self = shared_from_this();
  Detach();
  if (heard_goodbye_ || (said_goodbye_ && queue_.empty() && kept_.empty())) {
    // Nothing more was to come, and what has not arrived there is not wanted.
    return End(arrow::Status::OK());
  }
  if (owner_ != nullptr) {
    owner_->Broke(peer_, cause);
  }
}

void Link::Close() {
  owner_ = nullptr;
  End(arrow::Status::Cancelled("this rank closed the link"));
}

void Link::End(const arrow::Status& cause) {
  if (ended_) {
    return;
  }
  const auto self = shared_from_this();
  ended_ = true;
  Detach();
  control_.clear();  // the mesh fails what was queued for a peer that is gone
  queue_.clear();
  kept_.clear();
  landing_.reset();
  if (auto* owner = std::exchange(owner_, nullptr)) {
    owner->Ended(peer_, cause);
  }
}

/// Both have said all they had to say, and know it of each other.
void Link::EndIfDone() {
  if (heard_goodbye_ && connection_ != nullptr && !connection_->writing && !HasWork() && kept_.empty() &&
      told_ == received_) {
    End(arrow::Status::OK());
  }
}

// --- Writing ---

bool Link::HasWork() const {
  return written_here_ < kept_.size() || !control_.empty() || !queue_.empty() || ping_due_ || pong_due_ ||
         (tell_ && told_ != received_);
}

void Link::Kick() {
  if (connection_ != nullptr && !connection_->writing && !ended_ && HasWork()) {
    connection_->writing = true;
    internal::Detach(executor_, WriteLoop(shared_from_this(), connection_));
  }
}

FrameHeader Link::MakeHeader(FrameType type, uint64_t sequence) {
  FrameHeader header;
  header.type = type;
  header.sequence = sequence;
  header.acknowledged = received_;
  header.epoch = epoch_;
  told_ = received_;
  untold_bytes_ = 0;
  awaited_ = tell_ = false;
  return header;
}

void Link::AppendBare(Batch* batch, FrameType type) {
  const auto encoded = EncodeFrameHeader(MakeHeader(type, 0));
  const size_t begin = batch->bytes->size();
  batch->bytes->insert(batch->bytes->end(), encoded.begin(), encoded.end());
  batch->AddRun(batch->bytes, begin, batch->bytes->size());
  ++batch->frames;
}

void Link::Append(Batch* batch, Queued queued) {
  const auto& message = queued.message;
  const int64_t payload = message.payload_bytes();
  FrameHeader header = MakeHeader(queued.type, ++sent_);
  header.payload_bytes = static_cast<uint64_t>(payload);
  header.communicator = message.channel.communicator;
  header.segments = static_cast<uint32_t>(message.segments.size());
  header.inline_bytes = static_cast<uint16_t>(message.header.size());
  header.kind = static_cast<uint16_t>(message.channel.kind);
  header.channel_sequence = message.channel.sequence;
  auto& bytes = *batch->bytes;
  const size_t begin = bytes.size();
  const auto encoded = EncodeFrameHeader(header);
  bytes.insert(bytes.end(), encoded.begin(), encoded.end());
  bytes.insert(bytes.end(), message.header.data(), message.header.data() + message.header.size());
  for (const auto& segment : message.segments) {
    PutNumber(&bytes, static_cast<uint64_t>(segment->size()));
  }
  const bool copied = payload <= kCopiedBytes;
  if (copied) {
    for (const auto& segment : message.segments) {
      bytes.insert(bytes.end(), segment->data(), segment->data() + segment->size());
    }
    batch->free_when_gone.push_back(queued.id);
  }
  kept_.push_back(
      {queued.id, sent_, batch->bytes, begin, bytes.size(), copied ? Buffers{} : std::move(queued.message.segments)});
}

/// Takes what leaves next: what has to be sent again, then control, then the rest; signs of life and acknowledgements
/// that no message carried come last.
void Link::Fill(Batch* batch) {
  while (batch->frames < kFramesAtOnce && batch->size < kBytesAtOnce) {
    if (written_here_ == kept_.size()) {
      auto& queue = control_.empty() ? queue_ : control_;
      if (queue.empty()) {
        break;
      }
      auto next = std::move(queue.front());
      queue.pop_front();
      Append(batch, std::move(next));
    }
    const auto& frame = kept_[written_here_++];
    batch->AddRun(frame.bytes, frame.begin, frame.end);
    batch->AddSegments(frame.segments);
    ++batch->frames;
  }
  if (std::exchange(ping_due_, false)) {
    AppendBare(batch, kPing);
  }
  if (std::exchange(pong_due_, false)) {
    AppendBare(batch, kPong);
  }
  if (tell_ && told_ != received_) {
    AppendBare(batch, kAcknowledge);
  }
}

Co<void> Link::WriteLoop(std::shared_ptr<Link> self, std::shared_ptr<Connection> connection) {
  while (self->connection_ == connection && self->HasWork()) {
    Batch batch;
    self->Fill(&batch);
    auto written = connection->stream->Write(batch.Spans());
    const auto status = co_await written;
    for (const uint64_t id : batch.free_when_gone) {  // gone or not: what is sent again is the copy
      if (self->owner_ != nullptr) {
        self->owner_->Sent(self->peer_, id);
      }
    }
    if (self->connection_ == connection && !status.ok()) {
      self->Break(status);
    }
  }
  connection->writing = false;
  if (self->connection_ == connection) {
    self->EndIfDone();
  }
  co_return arrow::Status::OK();
}

/// Forgets what the peer has received.
arrow::Status Link::TakeAcknowledgement(uint64_t acknowledged) {
  const uint64_t first = sent_ - kept_.size() + 1;
  if (acknowledged >= first + written_here_) {
    return ProtocolError("rank " + std::to_string(peer_) + " acknowledged frame " + std::to_string(acknowledged) +
                             ", which was not sent to it; check that all ranks run the same version of Cylon",
                         peer_);
  }
  while (!kept_.empty() && kept_.front().sequence <= acknowledged) {
    const uint64_t id = kept_.front().id;
    kept_.pop_front();
    --written_here_;
    if (owner_ != nullptr) {
      owner_->Sent(peer_, id);
    }
  }
  return arrow::Status::OK();
}

}  // namespace cylon::internal
