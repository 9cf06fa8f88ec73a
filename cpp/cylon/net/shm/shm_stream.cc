// A stream through the memory of a host.
#include "cylon/net/shm/shm_stream.h"

#include <cerrno>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/base/error.h"

namespace cylon::internal {

namespace {

/// Bytes after which the other end is told of them, so that both copy at the same time.
constexpr uint64_t kStepBytes = 64 << 10;
/// What one direction moves before others have their turn, in bytes and in calls.
constexpr uint64_t kShmTurnBytes = 4 << 20;
constexpr int kShmTurnCalls = 32;
/// Bells that are taken off the socket at once.
constexpr size_t kBellBytes = 256;

/// Shared with the handler that watches the socket.
class ShmState : public Poller, public std::enable_shared_from_this<ShmState> {
 public:
  ShmState(AsioExecutor& executor, std::unique_ptr<UnixStream> socket, RingMemory memory, bool dialler)
      : executor_(executor),
        socket_(std::move(socket)),
        memory_(std::move(memory)),
        out_(memory_.writer(dialler)),
        in_(memory_.reader(dialler)),
        peer_name_(socket_->peer_name()) {}

  void Start() {
    executor_.AddPoller(this);
    Watch();
  }

  arrow::Future<int64_t> Read(std::span<uint8_t> into, bool all) {
    if (closed_) {
      return arrow::Future<int64_t>::MakeFinished(ClosedHere());
    }
    if (read_.has_value()) {
      return arrow::Future<int64_t>::MakeFinished(
          arrow::Status::Invalid("a read of ", peer_name_, " is under way; wait for it before the next one"));
    }
    into_ = into;
    got_ = 0;
    all_ = all;
    if (++read_calls_ < kShmTurnCalls) {
      if (auto result = TryRead()) {
        return arrow::Future<int64_t>::MakeFinished(std::move(*result));
      }
    }
    read_ = arrow::Future<int64_t>::Make();
    return *read_;
  }

  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) {
    if (closed_) {
      return arrow::Future<>::MakeFinished(ClosedHere());
    }
    if (write_.has_value()) {
      return arrow::Future<>::MakeFinished(
          arrow::Status::Invalid("a write to ", peer_name_, " is under way; wait for it before the next one"));
    }
    parts_ = std::move(parts);
    next_part_ = 0;
    if (++write_calls_ < kShmTurnCalls) {
      if (auto result = TryWrite()) {
        return result->ok() ? Done() : arrow::Future<>::MakeFinished(std::move(*result));
      }
    }
    write_ = arrow::Future<>::Make();
    return *write_;
  }

  void Close() {
    if (closed_) {
      return;
    }
    auto self = shared_from_this();  // who waits below may let go of the stream
    closed_ = true;
    executor_.RemovePoller(this);
    socket_->Close();
    memory_.Reset();
    Finish(&read_, arrow::Result<int64_t>(ClosedHere()));
    Finish(&write_, ClosedHere());
  }

  bool Poll() override {
    if (dozing_) {
      dozing_ = false;
      in_.Wake();
      out_.Wake();
    }
    read_calls_ = 0;
    write_calls_ = 0;
    if (!read_ && !write_) {
      return false;
    }
    moved_ = false;
    auto self = std::shared_ptr<ShmState>();
    if (read_) {
      if (auto result = TryRead()) {
        self = shared_from_this();
        Finish(&read_, std::move(*result));
        moved_ = true;
      }
    }
    if (write_ && !closed_) {
      if (auto result = TryWrite()) {
        self = shared_from_this();
        Finish(&write_, *result);
        moved_ = true;
      }
    }
    return moved_;
  }

  bool Doze() override {
    dozing_ = true;
    bool idle = true;
    if (read_) {
      idle = in_.Sleep() && idle;
    }
    if (write_) {
      idle = out_.Sleep() && idle;
    }
    return idle;
  }

  const std::string& peer_name() const { return peer_name_; }

 private:
  arrow::Status ClosedHere() const { return arrow::Status::IOError("connection to ", peer_name_, " is closed"); }

  arrow::Status Broken() const {
    return ProtocolError(peer_name_ +
                         " wrote a position into the memory that is shared with it that cannot be; the connection is "
                         "dropped. Check that all ranks run the same version of Cylon");
  }

  template <typename Future, typename Outcome>
  static void Finish(std::optional<Future>* waiting, Outcome outcome) {
    if (auto future = std::exchange(*waiting, std::nullopt)) {
      future->MarkFinished(std::move(outcome));
    }
  }

  /// Takes what is there; the result where that is enough.
  std::optional<arrow::Result<int64_t>> TryRead() {
    uint64_t turn = 0;
    while (got_ < into_.size() && turn < kShmTurnBytes) {
      const bool last = gone_;  // asked before the ring: what the peer wrote before its end is there then
      const uint64_t ready = in_.Ready(into_.size() - got_);
      if (ready == 0) {
        if (in_.broken()) {
          return Broken();
        }
        if (last && (all_ || got_ == 0)) {
          return all_ ? arrow::Result<int64_t>(EndOfStream(peer_name_)) : arrow::Result<int64_t>(0);
        }
        break;
      }
      const auto step = std::min<uint64_t>({ready, into_.size() - got_, kStepBytes});
      in_.Take(into_.subspan(got_, step));
      got_ += step;
      turn += step;
      moved_ = true;
      if (in_.Release()) {
        Ring();
      }
    }
    if (got_ == into_.size() || (!all_ && got_ > 0)) {
      return static_cast<int64_t>(got_);
    }
    return std::nullopt;
  }

  /// Puts what there is room for; the result where that is all.
  std::optional<arrow::Status> TryWrite() {
    if (gone_) {
      return EndOfStream(peer_name_);
    }
    uint64_t turn = 0;
    uint64_t untold = 0;  // put, but not published
    while (next_part_ < parts_.size() && turn < kShmTurnBytes) {
      auto& part = parts_[next_part_];
      if (part.empty()) {
        ++next_part_;
        continue;
      }
      const auto step = std::min<uint64_t>({out_.Room(part.size()), part.size(), kStepBytes - untold});
      if (step == 0) {
        break;
      }
      out_.Put(part.first(step));
      part = part.subspan(step);
      turn += step;
      untold += step;
      if (untold == kStepBytes) {
        Tell(&untold);
      }
    }
    Tell(&untold);
    if (out_.broken()) {
      return Broken();
    }
    for (; next_part_ < parts_.size() && parts_[next_part_].empty(); ++next_part_) {
    }
    return next_part_ == parts_.size() ? std::optional(arrow::Status::OK()) : std::nullopt;
  }

  void Tell(uint64_t* untold) {
    if (*untold > 0) {
      *untold = 0;
      moved_ = true;
      if (out_.Publish()) {
        Ring();
      }
    }
  }

  /// Wakes the other end. A full socket holds bells that have not been heard yet; one that is closed tells Watch.
  void Ring() {
    const uint8_t bell = 0;
    while (::send(socket_->socket().native_handle(), &bell, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EINTR) {
    }
  }

  void Watch() {
    socket_->socket().async_wait(asio::socket_base::wait_read, [self = shared_from_this()](const asio::error_code&) {
      if (self->closed_) {
        return;
      }
      self->Listen();
      self->Poll();
      if (!self->closed_ && !self->gone_) {
        self->Watch();
      }
    });
  }

  /// Takes bells off the socket, and sees its end. Descriptors that somebody passes are dropped by the system.
  void Listen() {
    std::array<uint8_t, kBellBytes> bells;
    const ssize_t count = ::recv(socket_->socket().native_handle(), bells.data(), bells.size(), MSG_DONTWAIT);
    gone_ = count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
  }

  AsioExecutor& executor_;
  std::unique_ptr<UnixStream> socket_;
  RingMemory memory_;
  RingWriter out_;
  RingReader in_;
  std::string peer_name_;
  bool closed_ = false;
  bool gone_ = false;    // the peer; nothing more will be in the ring
  bool dozing_ = false;  // flags are set in the rings
  bool moved_ = false;   // since Poll began

  std::optional<arrow::Future<int64_t>> read_;
  std::span<uint8_t> into_;
  size_t got_ = 0;
  bool all_ = false;
  int read_calls_ = 0;  // since others had their turn

  std::optional<arrow::Future<>> write_;
  std::vector<std::span<const uint8_t>> parts_;
  size_t next_part_ = 0;
  int write_calls_ = 0;
};

class ShmStream : public Stream {
 public:
  explicit ShmStream(std::shared_ptr<ShmState> state) : state_(std::move(state)) { state_->Start(); }
  ~ShmStream() override { state_->Close(); }

  arrow::Future<> Read(std::span<uint8_t> into) override {
    auto done = state_->Read(into, /*all=*/true);
    if (!done.is_finished()) {
      return arrow::Future<>(done);
    }
    return done.status().ok() ? Done() : arrow::Future<>::MakeFinished(done.status());
  }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override { return state_->Read(into, /*all=*/false); }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    return state_->Write(std::move(parts));
  }
  void Close() override {
    auto state = state_;
    state->Close();
  }
  std::string peer_name() const override { return state_->peer_name(); }
  bool is_loopback() const override { return true; }

 private:
  std::shared_ptr<ShmState> state_;
};

}  // namespace

std::unique_ptr<Stream> MakeShmStream(AsioExecutor& executor, std::unique_ptr<UnixStream> socket, RingMemory memory,
                                      bool dialler) {
  return std::make_unique<ShmStream>(
      std::make_shared<ShmState>(executor, std::move(socket), std::move(memory), dialler));
}

}  // namespace cylon::internal
