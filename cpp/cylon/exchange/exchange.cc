// The exchange: produce, send, receive and consume, all at the same time.
#include "cylon/exchange/exchange.h"

#include <algorithm>
#include <deque>
#include <utility>

#include "cylon/base/failpoint.h"
#include "cylon/base/trace.h"
#include "cylon/exchange/chunking.h"
#include "cylon/exchange/port.h"
#include "cylon/exchange/stream.h"
#include "cylon/kernels/partition.h"

namespace cylon {

namespace {

using internal::InStream;
using internal::OutStream;
using internal::Port;

/// Chunks on their way to one rank before this thread turns to receiving: one on the wire, one behind it.
constexpr int kChunksInFlight = 2;
/// Share of the budget that arrived chunks may hold before they are taken.
constexpr int64_t kAllowanceShare = 8;

// IPC cuts slices of most types to what they show; of these it sends all that they refer to, or the encoder copies it.
bool HasViews(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::LIST_VIEW:
    case arrow::Type::LARGE_LIST_VIEW:
    case arrow::Type::DENSE_UNION:
      return true;
    case arrow::Type::EXTENSION:
      return HasViews(*static_cast<const arrow::ExtensionType&>(type).storage_type());
    default:
      return std::any_of(type.fields().begin(), type.fields().end(),
                         [](const auto& field) { return HasViews(*field->type()); });
  }
}

std::string Fingerprint(const arrow::Schema& schema) {
  std::string text;
  for (const auto& field : schema.fields()) {
    text += (text.empty() ? "" : ", ") + field->ToString(/*show_metadata=*/false);
  }
  return "{" + text + "}";
}

class Session {
 public:
  Session(Context& context, const std::string& what, const std::shared_ptr<arrow::Schema>& schema,
          const ExchangeSource& source, const ExchangeTarget& target)
      : communicator_(context.communicator()),
        resources_(context.resources()),
        what_(what),
        schema_(schema),
        source_(source),
        target_(target),
        rank_(context.rank()),
        size_(context.world_size()),
        chunk_bytes_(internal::ChunkBytes(*resources_, size_)),
        has_views_(std::any_of(schema->fields().begin(), schema->fields().end(),
                               [](const auto& field) { return HasViews(*field->type()); })),
        pending_(static_cast<size_t>(size_)) {}

  arrow::Result<ExchangeStats> Run();

 private:
  struct Pending {
    std::shared_ptr<arrow::RecordBatch> batch;
    int64_t next_row = 0;
    int64_t rows_each = 0;
  };

  arrow::Status Agree(const char* moment, const arrow::Status& status, std::vector<int64_t> values);
  arrow::Status RunAlone();
  arrow::Status Stream();
  arrow::Status Receive();
  arrow::Status Produce();
  arrow::Status Queue(Outgoing outgoing);
  arrow::Status SendPending();
  void SendEnds(const arrow::Status& status);
  arrow::Status Drain();
  arrow::Status Wait();
  arrow::Status Revoked() const;
  bool nothing_pending() const {
    return std::all_of(pending_.begin(), pending_.end(), [](const auto& queue) { return queue.empty(); });
  }

  Communicator& communicator_;
  const std::shared_ptr<Resources> resources_;
  const std::string& what_;
  const std::shared_ptr<arrow::Schema>& schema_;
  const ExchangeSource& source_;
  const ExchangeTarget& target_;
  const Rank rank_;
  const int size_;
  const int64_t chunk_bytes_;
  const bool has_views_;

  std::shared_ptr<Port> port_;
  std::vector<std::unique_ptr<OutStream>> out_;
  std::vector<std::unique_ptr<InStream>> in_;
  std::vector<std::deque<Pending>> pending_;  // by destination
  std::vector<int64_t> sequence_;             // of what came, by source
  bool produced_ = false;                     // the source has no more
  bool ends_sent_ = false;
  int streams_ended_ = 0;
  bool told_ = false;  // another rank's error, which it will repeat when all agree
  arrow::Status revoked_;
  int64_t rows_sent_ = 0;
  ExchangeStats stats_;
};

arrow::Result<ExchangeStats> Session::Run() {
  TraceSpan span(resources_->tracer(), "exchange: " + what_);
  const auto began = communicator_.executor().Now();
  auto finish = [&]() -> ExchangeStats {
    span.Set("rows_sent", rows_sent_);
    span.Set("rows_received", stats_.rows_received);
    span.Set("bytes_sent", stats_.bytes_sent);
    span.Set("bytes_received", stats_.bytes_received);
    return stats_;
  };
  sequence_.assign(static_cast<size_t>(size_), 0);
  if (size_ == 1) {
    ARROW_RETURN_NOT_OK(RunAlone());
    return finish();
  }
  ARROW_RETURN_NOT_OK(Agree("begins", arrow::Status::OK(), {}));
  arrow::MemoryPool* pool = resources_->memory();
  const int64_t allowance = std::max(chunk_bytes_, resources_->memory()->limit() / kAllowanceShare);
  port_ = Port::Open(communicator_, pool, allowance);
  for (Rank rank = 0; rank < size_; ++rank) {
    out_.push_back(std::make_unique<OutStream>(port_->channel(), schema_, pool));
    in_.push_back(std::make_unique<InStream>(rank, schema_, pool));
  }

  arrow::Status status = Stream();
  if (!status.ok() || told_) {
    // What still comes is of no use. It is dropped by the lanes, so that nobody waits for this rank's memory.
    port_->Close();
    for (auto& queue : pending_) {
      queue.clear();
    }
    if (revoked_.ok()) {
      SendEnds(status);
      revoked_ = Drain();
    }
  }
  port_->Close();
  stats_.bytes_sent = port_->bytes_sent();
  stats_.bytes_received = port_->bytes_received();
  ARROW_RETURN_NOT_OK(revoked_);
  ARROW_RETURN_NOT_OK(Agree("ends", status, {rows_sent_, stats_.rows_received}));
  communicator_.CountExchange(stats_.bytes_sent, communicator_.executor().Now() - began);
  return finish();
}

arrow::Status Session::Agree(const char* moment, const arrow::Status& status, std::vector<int64_t> values) {
  Proposal proposal;
  proposal.signature = "exchange '" + what_ + "' of " + Fingerprint(*schema_) + " " + moment;
  proposal.status = status;
  proposal.values = std::move(values);
  ARROW_ASSIGN_OR_RAISE(auto agreement, communicator_.Agree(std::move(proposal)));
  if (!agreement.values.empty() && !agreement.values[0].empty() && agreement.Sum(0) != agreement.Sum(1)) {
    return ProtocolError("in the exchange '" + what_ + "' the ranks sent " + std::to_string(agreement.Sum(0)) +
                         " rows and received " + std::to_string(agreement.Sum(1)) +
                         "; expected the same; all ranks must run the same version of Cylon");
  }
  return arrow::Status::OK();
}

arrow::Status Session::RunAlone() {
  while (!produced_) {
    ARROW_RETURN_NOT_OK(Produce());
  }
  return arrow::Status::OK();
}

// OK where all is done, or where another rank has told of an error; else this rank's own error.
arrow::Status Session::Stream() {
  while (true) {
    revoked_ = Revoked();
    if (!revoked_.ok()) {
      return revoked_;
    }
    ARROW_RETURN_NOT_OK(port_->failure());
    ARROW_RETURN_NOT_OK(Receive());
    if (told_) {
      return arrow::Status::OK();
    }
    ARROW_RETURN_NOT_OK(SendPending());
    if (!produced_ && nothing_pending()) {
      ARROW_RETURN_NOT_OK(Produce());
      ARROW_RETURN_NOT_OK(SendPending());
      revoked_ = port_->Look();
      if (!revoked_.ok()) {
        return revoked_;
      }
      continue;  // what arrived meanwhile comes before the next
    }
    if (produced_ && nothing_pending()) {
      SendEnds(arrow::Status::OK());
      if (streams_ended_ == size_ - 1 && port_->idle()) {
        return port_->failure();
      }
    }
    revoked_ = Wait();
    if (!revoked_.ok()) {
      return revoked_;
    }
  }
}

arrow::Status Session::Receive() {
  while (auto arrival = port_->Take()) {
    CYLON_FAILPOINT("exchange.receive");
    InStream& stream = *in_[arrival->from];
    ARROW_ASSIGN_OR_RAISE(auto batch, stream.Take(std::move(arrival->message)));
    if (batch != nullptr) {
      stats_.rows_received += batch->num_rows();
      ARROW_RETURN_NOT_OK(target_(Incoming{arrival->from, sequence_[arrival->from]++, std::move(batch)}));
    } else if (stream.ended()) {
      ++streams_ended_;
      if (!stream.status().ok()) {
        told_ = true;
        return arrow::Status::OK();
      }
    }
  }
  return arrow::Status::OK();
}

arrow::Status Session::Produce() {
  ARROW_ASSIGN_OR_RAISE(auto next, source_());
  if (!next.has_value()) {
    produced_ = true;
    return arrow::Status::OK();
  }
  for (auto& outgoing : *next) {
    ARROW_RETURN_NOT_OK(Queue(std::move(outgoing)));
  }
  return arrow::Status::OK();
}

arrow::Status Session::Queue(Outgoing outgoing) {
  const auto& batch = outgoing.batch;
  if (batch == nullptr || batch->num_rows() == 0) {
    return arrow::Status::OK();
  }
  if (outgoing.to < 0 || outgoing.to >= size_) {
    return arrow::Status::Invalid("the exchange '", what_, "' was given rows for rank ", outgoing.to,
                                  ", expected 0 to ", size_ - 1, "; correct the partitioner");
  }
  ARROW_ASSIGN_OR_RAISE(outgoing.batch, WithSchema(batch, schema_));
  rows_sent_ += batch->num_rows();
  if (outgoing.to == rank_) {
    stats_.rows_received += batch->num_rows();
    return target_(Incoming{rank_, sequence_[rank_]++, std::move(outgoing.batch)});
  }
  const int64_t rows_each = internal::RowsPerChunk(*batch, chunk_bytes_);
  pending_[outgoing.to].push_back(Pending{std::move(outgoing.batch), 0, rows_each});
  return arrow::Status::OK();
}

arrow::Status Session::SendPending() {
  for (Rank to = 0; to < size_; ++to) {
    auto& queue = pending_[to];
    while (!queue.empty() && port_->in_flight(to) < kChunksInFlight) {
      CYLON_FAILPOINT("exchange.send");
      Pending& front = queue.front();
      auto chunk = front.batch;
      const int64_t rows = std::min(front.rows_each, chunk->num_rows() - front.next_row);
      if (rows < chunk->num_rows()) {
        chunk = chunk->Slice(front.next_row, rows);
      }
      if (has_views_) {
        ARROW_ASSIGN_OR_RAISE(chunk, CompactBatch(*resources_, chunk));
      }
      ARROW_ASSIGN_OR_RAISE(auto messages, out_[to]->Write(*chunk));
      port_->Send(to, std::move(messages));
      front.next_row += rows;
      if (front.next_row == front.batch->num_rows()) {
        queue.pop_front();
      }
    }
  }
  return arrow::Status::OK();
}

void Session::SendEnds(const arrow::Status& status) {
  if (std::exchange(ends_sent_, true)) {
    return;
  }
  for (Rank to = 0; to < size_; ++to) {
    if (to != rank_) {
      std::vector<Message> end;
      end.push_back(out_[to]->End(status));
      port_->Send(to, std::move(end));
    }
  }
}

// OK, or why the communicator is revoked, as it says itself where it can: with this rank's operation.
arrow::Status Session::Revoked() const {
  auto revoked = port_->revoked();
  if (revoked.ok()) {
    return revoked;
  }
  auto own = communicator_.Check();
  return own.ok() ? revoked : own;
}

// Waits until what this rank has sent is gone. Not OK: the communicator is revoked, or the wait was interrupted.
arrow::Status Session::Drain() {
  while (!port_->idle()) {
    ARROW_RETURN_NOT_OK(Revoked());
    ARROW_RETURN_NOT_OK(Wait());
  }
  return arrow::Status::OK();
}

// Until something has changed at the port.
arrow::Status Session::Wait() {
  return port_->Wait(communicator_, [this] {
    std::vector<Rank> ranks;
    for (Rank rank = 0; rank < size_; ++rank) {
      if (rank != rank_ && (!in_[rank]->ended() || port_->in_flight(rank) > 0)) {
        ranks.push_back(rank);
      }
    }
    return ranks;
  });
}

}  // namespace

arrow::Result<ExchangeStats> Exchange(Context& context, const std::string& what,
                                      const std::shared_ptr<arrow::Schema>& schema, const ExchangeSource& source,
                                      const ExchangeTarget& target) {
  Session session(context, what, schema, source, target);
  context.communicator().SetOperation("exchange: " + what);
  auto stats = session.Run();
  context.communicator().SetOperation("");
  return stats;
}

}  // namespace cylon
