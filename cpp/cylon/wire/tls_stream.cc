// TLS 1.3 over another stream.
//
//   Read  <- OpenSSL decrypts <- TlsWire <- ReadSome of the stream below
//   Write -> OpenSSL encrypts -> TlsWire -> Write of the stream below
//
// OpenSSL never waits: the wire gives it what has come, and takes all it writes. So one object serves both directions,
// and neither holds up the other.
#include "cylon/wire/tls_stream.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/wire/end_of_stream.h"
#include "cylon/wire/tls_session.h"
#include "cylon/wire/tls_wire.h"

namespace cylon {

namespace {

/// Before the handshake is complete: so much is read, and so long is waited.
constexpr size_t kTlsStrangerBytes = 64 << 10;
constexpr auto kTlsPatience = std::chrono::seconds(5);
/// A listener that has refused a certificate reads on for so long: closing over unread bytes would reset the reason
/// away.
constexpr auto kTlsFarewell = std::chrono::seconds(1);
/// What a write moves before others have their turn. (A read waits for the stream below, which sees to that itself.)
constexpr size_t kTlsTurn = 4 << 20;
/// The first byte of all that TLS begins with.
constexpr uint8_t kTlsAlert = 21;
constexpr uint8_t kTlsHandshake = 22;

/// Shared with the reads and writes of the stream below that are under way, so that these find memory whatever became
/// of the stream above.
class TlsState : public std::enable_shared_from_this<TlsState> {
 public:
  TlsState(std::unique_ptr<Stream> below, Executor& executor, std::unique_ptr<TlsSession> session)
      : below_(std::move(below)), executor_(executor), session_(std::move(session)), peer_name_(below_->peer_name()) {
    session_->SetWire(wire_.MakeBio());
  }

  /// All within the deadline; a stream of which this fails is closed.
  Co<void> Handshake(TimePoint deadline) {
    auto timer = executor_.PostAt(std::min(deadline, executor_.Now() + kTlsPatience), Ender());
    auto talk = Converse();
    arrow::Status status = co_await talk;
    timer->Cancel();
    if (late_) {
      status = DeadlineError(peer_name_ +
                             " did not finish the TLS handshake in time; check that it speaks TLS on this port");
    }
    if (!status.ok()) {
      if (session_->refused_certificate() && !late_) {
        timer = executor_.PostAt(executor_.Now() + kTlsFarewell, Ender());
        auto drain = Drain();
        auto drained = co_await drain;  // a peer that does not listen changes nothing
        static_cast<void>(drained);
        timer->Cancel();
      }
      Close();
    }
    established_ = status.ok();
    co_return status;
  }

  arrow::Future<int64_t> Read(std::span<uint8_t> into, bool all) {
    if (closed_) {
      return arrow::Future<int64_t>::MakeFinished(ClosedHere());
    }
    if (read_.has_value()) {
      return arrow::Future<int64_t>::MakeFinished(
          arrow::Status::Invalid("a read of ", peer_name_, " is under way; wait for it before the next one"));
    }
    auto done = arrow::Future<int64_t>::Make();
    read_ = done;
    into_ = into;
    got_ = 0;
    all_ = all;
    PumpRead();
    PumpWrite();
    return done;
  }

  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) {
    if (closed_) {
      return arrow::Future<>::MakeFinished(ClosedHere());
    }
    if (write_.has_value()) {
      return arrow::Future<>::MakeFinished(
          arrow::Status::Invalid("a write to ", peer_name_, " is under way; wait for it before the next one"));
    }
    auto done = arrow::Future<>::Make();
    write_ = done;
    parts_ = std::move(parts);
    next_part_ = 0;
    record_ = {};
    PumpWrite();
    return done;
  }

  void EndWrites() {
    if (closed_ || !established_ || !broken_.ok() || !write_broken_.ok()) {
      return Close();
    }
    if (!std::exchange(said_goodbye_, true)) {
      session_->SayGoodbye();
      PumpWrite();
    }
  }

  void Close() {
    if (closed_) {
      return;
    }
    auto self = shared_from_this();  // who waits below may let go of the stream
    if (established_ && broken_.ok() && write_broken_.ok() && !wire_.sending() && !said_goodbye_) {
      // It goes where the kernel has room for it, which is all that one who ends now can do.
      session_->SayGoodbye();
      static_cast<void>(below_->Write(wire_.All()));
    }
    closed_ = true;
    below_->Close();
    FinishRead(ClosedHere());
    FinishWrite(ClosedHere());
  }

  const std::string& peer_name() const { return peer_name_; }
  bool is_loopback() const { return below_->is_loopback(); }
  std::string binding() const { return session_->Binding(); }

 private:
  /// It may be long until something comes. What small messages can do without goes.
  void Rest() {
    session_->Rest();
    if (!write_.has_value() && wire_.Rest()) {
      stage_.reset();
    }
  }

  // --- The handshake ---

  Task Ender() {
    return [weak = weak_from_this()] {
      if (auto late = weak.lock()) {
        late->late_ = true;
        late->Close();
      }
    };
  }

  Co<void> Converse() {
    size_t heard = 0;
    while (true) {
      const TlsOutcome outcome = session_->Handshake();
      auto sending = below_->Write(wire_.All());
      const arrow::Status sent = co_await sending;
      wire_.DropAll();
      if (outcome == TlsOutcome::kFailed) {
        co_return session_->failure();
      }
      CYLON_CO_RETURN_NOT_OK(Interrupted(sent));
      if (outcome != TlsOutcome::kWantsInput) {
        co_return arrow::Status::OK();
      }
      if (heard == kTlsStrangerBytes) {
        co_return ProtocolError(peer_name_ + " sent " + std::to_string(heard) +
                                " bytes without finishing the TLS handshake, more than are read from a stranger; check "
                                "what listens there");
      }
      const auto space = wire_.Space();
      auto reading = below_->ReadSome(space.first(std::min(space.size(), kTlsStrangerBytes - heard)));
      const arrow::Result<int64_t> got = co_await reading;
      CYLON_CO_RETURN_NOT_OK(Interrupted(!got.ok() || *got > 0 ? got.status() : EndOfStream(peer_name_)));
      wire_.Came(space, static_cast<size_t>(*got));
      if (const uint8_t first = wire_.in()[0]; heard == 0 && first != kTlsHandshake && first != kTlsAlert) {
        co_return ProtocolError(peer_name_ + " does not speak TLS; is it another program's port, or one without TLS?");
      }
      heard += static_cast<size_t>(*got);
    }
  }

  arrow::Status Interrupted(const arrow::Status& status) const {
    return status.ok() ? status
                       : status.WithMessage(peer_name_, " ended the TLS handshake: ", status.message(),
                                            "; check that it speaks TLS on this port, and its messages");
  }

  /// Reads what a refused peer still sends, until it closes.
  Co<void> Drain() {
    for (size_t heard = 0; heard < kTlsStrangerBytes;) {
      auto reading = below_->ReadSome(wire_.Space());
      const arrow::Result<int64_t> got = co_await reading;
      if (!got.ok() || *got == 0) {
        break;
      }
      heard += static_cast<size_t>(*got);
    }
    co_return arrow::Status::OK();
  }

  // --- Reading ---

  void PumpRead() {
    while (read_.has_value() && !closed_) {
      Decrypt();
      if (got_ == into_.size() || (!all_ && got_ > 0)) {
        return FinishRead(static_cast<int64_t>(got_));  // what else was found comes up again with the next read
      }
      if (!broken_.ok()) {
        return FinishRead(broken_);
      }
      if (ended_) {
        return FinishRead(all_ ? arrow::Result<int64_t>(EndOfStream(peer_name_)) : arrow::Result<int64_t>(0));
      }
      if (!fill_error_.ok()) {
        return FinishRead(std::exchange(fill_error_, arrow::Status::OK()));
      }
      if (!Fill()) {
        return;
      }
    }
  }

  /// Straight into the caller's memory, as much as there is.
  void Decrypt() {
    while (got_ < into_.size() && broken_.ok() && !ended_by_peer_) {
      size_t got = 0;
      const TlsOutcome outcome = session_->Read(into_.data() + got_, into_.size() - got_, &got);
      if (outcome == TlsOutcome::kDone) {
        got_ += got;
      } else if (outcome == TlsOutcome::kFailed) {
        broken_ = wire_.flooded() ? Flood() : session_->failure();
      } else if (outcome == TlsOutcome::kEnded) {
        ended_by_peer_ = ended_ = true;
      } else {
        break;
      }
    }
  }

  arrow::Status Flood() const {
    return ProtocolError(peer_name_ + " asks for new keys without end and reads no answer; check what runs there");
  }

  /// Called when OpenSSL has taken all. True where the stream below has given something, be it its end or an error;
  /// false where that has to be waited for.
  bool Fill() {
    if (filling_) {
      return false;
    }
    filling_ = true;
    const auto space = wire_.Space();
    auto reading = below_->ReadSome(space);
    if (reading.is_finished()) {
      Filled(space, reading.result());
      return true;
    }
    reading.AddCallback([self = shared_from_this(), space](const arrow::Result<int64_t>& got) {
      self->Filled(space, got);
      self->PumpRead();
      self->PumpWrite();
    });
    Rest();
    return false;
  }

  void Filled(std::span<uint8_t> space, const arrow::Result<int64_t>& got) {
    filling_ = false;
    fill_error_ = got.status();
    if (got.ok()) {
      wire_.Came(space, static_cast<size_t>(*got));
      ended_ = *got == 0;
    }
  }

  void FinishRead(arrow::Result<int64_t> result) {
    if (auto future = std::exchange(read_, std::nullopt)) {
      future->MarkFinished(std::move(result));
    }
  }

  // --- Writing ---

  /// Sends what there is to send, of the caller's or of OpenSSL's own.
  void PumpWrite() {
    size_t turn = 0;
    while (!closed_) {
      if (!wire_.sending() && !resting_) {
        Encrypt();
      }
      if (!broken_.ok()) {
        FinishRead(broken_);
        FinishWrite(broken_);
      }
      if (closed_ || wire_.sending() || resting_ || wire_.out().empty()) {
        if (!closed_ && !wire_.sending() && !resting_ && said_goodbye_) {
          below_->EndWrites();
        }
        return;
      }
      if (turn >= kTlsTurn) {
        resting_ = true;
        executor_.Post([self = shared_from_this()] {
          self->resting_ = false;
          self->PumpWrite();
        });
        return;
      }
      turn += wire_.out().size();
      wire_.BeginSending();
      auto sent = below_->Write({wire_.out()});
      if (!sent.is_finished()) {
        sent.AddCallback([self = shared_from_this()](const arrow::Status& status) {
          self->Sent(status);
          self->PumpWrite();
        });
        return;
      }
      Sent(sent.status());
    }
  }

  /// Fills the wire with records of the caller's bytes.
  void Encrypt() {
    if (!write_broken_.ok()) {
      wire_.DropOut();
      return FinishWrite(write_broken_);
    }
    while (write_.has_value() && broken_.ok() && wire_.HasRoom() && NextRecord()) {
      const TlsOutcome outcome = session_->Write(record_.data(), record_.size());
      if (outcome == TlsOutcome::kDone) {
        record_ = {};
      } else if (outcome == TlsOutcome::kFailed) {
        broken_ = session_->failure();
      } else if (ended_ || !fill_error_.ok()) {
        return FinishWrite(ended_ ? EndOfStream(peer_name_) : fill_error_);
      } else if (!Fill()) {
        return;  // half of a message about keys has come: OpenSSL writes nothing before it has seen the other half
      }
    }
    if (write_.has_value() && broken_.ok() && wire_.out().empty() && !NextRecord()) {
      FinishWrite(arrow::Status::OK());
    }
  }

  /// The next bytes for a record, into record_; false at the end. Large parts are encrypted where they lie; small ones
  /// are gathered, as a record for each would cost more than the copy.
  bool NextRecord() {
    size_t staged = 0;
    while (record_.empty() && staged < kTlsRecord && next_part_ < parts_.size()) {
      auto& part = parts_[next_part_];
      const size_t count = std::min(part.size(), kTlsRecord - staged);
      if (staged == 0 && (count == kTlsRecord || next_part_ + 1 == parts_.size())) {
        record_ = part.first(count);
      } else if (count > 0) {
        if (stage_ == nullptr) {
          stage_ = std::make_unique_for_overwrite<uint8_t[]>(kTlsRecord);
        }
        std::memcpy(stage_.get() + staged, part.data(), count);
        staged += count;
      }
      part = part.subspan(count);
      next_part_ += part.empty() ? 1 : 0;
    }
    if (staged > 0) {
      record_ = {stage_.get(), staged};
    }
    return !record_.empty();
  }

  void Sent(const arrow::Status& status) {
    wire_.Sent();
    if (!status.ok()) {
      write_broken_ = status;  // records are missing from now on: the other end could not read those that follow
      FinishWrite(status);
    } else if (write_.has_value() && !NextRecord()) {
      FinishWrite(arrow::Status::OK());
    }
  }

  void FinishWrite(const arrow::Status& status) {
    if (auto future = std::exchange(write_, std::nullopt)) {
      parts_.clear();
      record_ = {};
      future->MarkFinished(status);
    }
  }

  arrow::Status ClosedHere() const { return arrow::Status::IOError("connection to ", peer_name_, " is closed"); }

  std::unique_ptr<Stream> below_;
  Executor& executor_;
  TlsWire wire_;  // outlives the session, which has its BIO
  std::unique_ptr<TlsSession> session_;
  const std::string peer_name_;
  bool established_ = false;
  bool late_ = false;
  bool closed_ = false;
  arrow::Status broken_;  // both directions: TLS goes on after no failure

  bool filling_ = false;
  bool ended_ = false;
  bool ended_by_peer_ = false;  // by its word, not by the end of the stream below
  arrow::Status fill_error_;

  std::optional<arrow::Future<int64_t>> read_;
  std::span<uint8_t> into_;
  size_t got_ = 0;
  bool all_ = false;

  bool resting_ = false;
  bool said_goodbye_ = false;  // by EndWrites
  arrow::Status write_broken_;

  std::optional<arrow::Future<>> write_;
  std::vector<std::span<const uint8_t>> parts_;
  size_t next_part_ = 0;
  std::span<const uint8_t> record_;  // taken from the parts, not encrypted yet
  std::unique_ptr<uint8_t[]> stage_;
};

class TlsStream : public Stream {
 public:
  explicit TlsStream(std::shared_ptr<TlsState> state) : state_(std::move(state)) {}
  ~TlsStream() override { state_->Close(); }

  arrow::Future<> Read(std::span<uint8_t> into) override {
    auto state = state_;
    auto done = state->Read(into, /*all=*/true);
    return done.is_finished() ? arrow::Future<>::MakeFinished(done.status()) : arrow::Future<>(done);
  }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override {
    auto state = state_;
    return state->Read(into, /*all=*/false);
  }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    auto state = state_;
    return state->Write(std::move(parts));
  }
  void EndWrites() override {
    auto state = state_;
    state->EndWrites();
  }
  void Close() override {
    auto state = state_;
    state->Close();
  }
  std::string peer_name() const override { return state_->peer_name(); }
  bool is_loopback() const override { return state_->is_loopback(); }
  std::string binding() const override { return state_->binding(); }

 private:
  std::shared_ptr<TlsState> state_;
};

Co<std::unique_ptr<Stream>> EstablishTls(std::unique_ptr<Stream> below, Executor& executor, TlsRole role,
                                         TlsOptions options, TimePoint deadline) {
  CYLON_CO_ASSIGN_OR_RETURN(auto session, TlsSession::Make(role, std::move(options), below->peer_name()));
  const auto state = std::make_shared<TlsState>(std::move(below), executor, std::move(session));
  auto handshake = state->Handshake(deadline);
  CYLON_CO_RETURN_NOT_OK(co_await handshake);
  co_return std::make_unique<TlsStream>(state);
}

}  // namespace

Co<std::unique_ptr<Stream>> TlsAsDialler(std::unique_ptr<Stream> below, Executor& executor, TlsOptions options,
                                         TimePoint deadline) {
  return EstablishTls(std::move(below), executor, TlsRole::kDialler, std::move(options), deadline);
}

Co<std::unique_ptr<Stream>> TlsAsListener(std::unique_ptr<Stream> below, Executor& executor, TlsOptions options,
                                          TimePoint deadline) {
  return EstablishTls(std::move(below), executor, TlsRole::kListener, std::move(options), deadline);
}

}  // namespace cylon
