// Processes that have no way to each other meet at the server.
#include "cylon/net/punch/relay_path.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/net/punch/either.h"
#include "cylon/net/punch/letters.h"

namespace cylon::internal {

namespace {

constexpr std::string_view kRelayScheme = "relay://";
/// Of a dial without a deadline, and of what a peer asks for.
constexpr Duration kLongestMeeting = std::chrono::minutes(1);

/// A stream that somebody in between copies: never on loopback, wherever that is, so that it is encrypted from end to
/// end.
class RelayedStream : public Stream {
 public:
  RelayedStream(std::unique_ptr<Stream> below, const std::string& peer)
      : below_(std::move(below)), peer_name_(ShortName(peer) + " by a relay") {}

  arrow::Future<> Read(std::span<uint8_t> into) override { return below_->Read(into); }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override { return below_->ReadSome(into); }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    return below_->Write(std::move(parts));
  }
  void EndWrites() override { below_->EndWrites(); }
  void Close() override { below_->Close(); }
  std::string peer_name() const override { return peer_name_; }
  bool is_loopback() const override { return false; }
  std::string binding() const override { return below_->binding(); }

 private:
  const std::unique_ptr<Stream> below_;
  const std::string peer_name_;
};

/// Outlives its path as long as something waits.
class Relayer : public std::enable_shared_from_this<Relayer> {
 public:
  Relayer(AsioExecutor& executor, std::shared_ptr<SealedLetters> letters)
      : executor_(executor), letters_(std::move(letters)) {}

  void ReadLetters() {
    letters_->Read(LetterKind::kRelay, [weak = weak_from_this()](const auto& from, const auto&, const auto& letter) {
      if (auto self = weak.lock(); self != nullptr && self->accept_ != nullptr) {
        static_cast<void>(Spawn(self->executor_, Meet(self, from, letter)));
      }
    });
  }

  std::string name() const { return letters_->courier().name(); }
  void Accept(std::function<void(std::unique_ptr<Stream>)> accept) { accept_ = std::move(accept); }

  static Co<std::unique_ptr<Stream>> Dial(std::shared_ptr<Relayer> self, std::string peer, TimePoint deadline,
                                          arrow::Future<> stop) {
    if (peer == self->name()) {
      co_return arrow::Status::Invalid("the address ", kRelayScheme, peer, " is this process' own");
    }
    if (!stop.is_valid()) {
      stop = arrow::Future<>::Make();
    }
    CYLON_CO_ASSIGN_OR_RETURN(const std::string token, RandomBytes(kAttemptBytes));
    const TimePoint now = self->executor_.Now();
    const TimePoint until = std::min(deadline, now + kLongestMeeting);
    // A letter that cannot be passed on within the deadline is no letter.
    auto late = arrow::Future<>::Make();
    auto timer = self->executor_.PostAt(until, [late]() mutable { late.MarkFinished(); });
    auto told = StartNow(TellWhoMayReturn(self->letters_, &self->executor_, peer,
                                          Letter{LetterKind::kRelay, token, until - now}, until));
    const auto status = co_await Either(told, Either(stop, late));
    timer->Cancel();
    if (!told.is_finished() || stop.is_finished()) {
      co_return stop.is_finished() ? Stopped()
                                   : DeadlineError("cannot tell " + ShortName(peer) +
                                                   " to meet at the relay: the server did not answer in time");
    }
    CYLON_CO_RETURN_NOT_OK(status);
    auto relay = StartNow(self->letters_->courier().Relay(peer, token, until));
    const auto met = co_await Either(arrow::Future<>(relay), stop);
    if (!relay.is_finished()) {
      co_return Stopped();  // what comes of it is closed with the last who knows of it
    }
    if (!met.ok()) {
      co_return met.WithMessage("cannot meet ", ShortName(peer), " at the relay: ", met.message());
    }
    co_return std::make_unique<RelayedStream>(relay.MoveResult().MoveValueUnsafe(), peer);
  }

  void Close() {
    accept_ = nullptr;
    if (!std::exchange(closed_, true)) {
      letters_->Leave();
    }
  }

 private:
  static arrow::Status Stopped() { return arrow::Status::Cancelled("this side has given up the connection"); }

  /// The called side. Who called is told by its own deadline where this fails.
  static Co<void> Meet(std::shared_ptr<Relayer> self, std::string peer, Letter call) {
    if (self->closed_) {
      co_return arrow::Status::Cancelled("this rank is closing");  // since the letter was read
    }
    const TimePoint until = self->executor_.Now() + std::min(call.left, kLongestMeeting);
    auto relay = self->letters_->courier().Relay(peer, call.attempt, until);
    CYLON_CO_ASSIGN_OR_RETURN(auto stream, co_await relay);
    if (const auto accept = self->accept_) {
      accept(std::make_unique<RelayedStream>(std::move(stream), peer));
    }
    co_return arrow::Status::OK();
  }

  AsioExecutor& executor_;
  const std::shared_ptr<SealedLetters> letters_;
  std::function<void(std::unique_ptr<Stream>)> accept_;
  bool closed_ = false;
};

class RelayPath : public Path {
 public:
  explicit RelayPath(std::shared_ptr<Relayer> relayer)
      : relayer_(std::move(relayer)), address_(std::string(kRelayScheme) + relayer_->name()) {}
  ~RelayPath() override { relayer_->Close(); }

  std::string name() const override { return "relay"; }
  std::string address() const override { return address_; }
  void Accept(std::function<void(std::unique_ptr<Stream>)> accept) override { relayer_->Accept(std::move(accept)); }
  bool Reaches(const std::string& address) const override { return address.starts_with(kRelayScheme); }

  Co<std::unique_ptr<Stream>> Dial(std::string address, TimePoint deadline, arrow::Future<> stop) override {
    if (!Reaches(address)) {
      co_return arrow::Status::Invalid("the address ", address, " is not one of ", kRelayScheme);
    }
    auto dial = Relayer::Dial(relayer_, address.substr(kRelayScheme.size()), deadline, std::move(stop));
    co_return co_await dial;
  }

  Co<std::unique_ptr<Stream>> Settle(std::unique_ptr<Stream> proven, bool, TimePoint) override {
    co_return std::move(proven);
  }

  void Close() override { relayer_->Close(); }

 private:
  const std::shared_ptr<Relayer> relayer_;
  const std::string address_;
};

}  // namespace

std::unique_ptr<Path> MakeRelayPath(AsioExecutor& executor, std::shared_ptr<SealedLetters> letters) {
  auto relayer = std::make_shared<Relayer>(executor, std::move(letters));
  relayer->ReadLetters();
  return std::make_unique<RelayPath>(std::move(relayer));
}

}  // namespace cylon::internal
