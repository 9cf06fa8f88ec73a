// One attempt of two processes to reach each other through their gateways.
#include "cylon/net/punch/punch_engine.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/wire/conversation.h"

namespace cylon::internal {

namespace {

using asio::ip::tcp;

constexpr Duration kFirstRest = std::chrono::milliseconds(50);
constexpr Duration kLongestRest = std::chrono::milliseconds(250);
/// A socket that has waited for so long sends its SYN again by itself soon enough.
constexpr Duration kKernelsPatience = std::chrono::seconds(1);
constexpr char kTakeThis = 1;
/// For the answer to a nomination: a way and back, and a process that is busy. After it the next connection has a turn.
constexpr Duration kConfirmPatience = std::chrono::seconds(2);

/// Errors that another try from the same host cannot better.
bool IsHopeless(const asio::error_code& error) {
  return error == asio::error::network_unreachable || error == asio::error::address_family_not_supported ||
         error == asio::error::access_denied;
}

Co<void> ReceiveTakeThis(PunchedStream* stream, Executor* executor, TimePoint deadline) {
  Conversation talk(stream, *executor, deadline);
  auto receive = talk.ReceiveRaw(1);
  CYLON_CO_ASSIGN_OR_RETURN(const std::string word, co_await receive);
  co_return word[0] == kTakeThis ? arrow::Status::OK()
                                 : ProtocolError(stream->peer_name() + " neither nominates nor confirms a connection");
}

Co<void> SendTakeThis(PunchedStream* stream, Executor* executor, TimePoint deadline) {
  Conversation talk(stream, *executor, deadline);
  auto send = talk.SendRaw(std::string(1, kTakeThis));
  co_return co_await send;
}

}  // namespace

void PunchAttempt::Connecting::Finish(const asio::error_code& outcome) {
  if (!done.is_finished()) {
    error = outcome;
    done.MarkFinished();
  }
}

PunchAttempt::PunchAttempt(AsioExecutor& executor, std::shared_ptr<PunchPort> port, PunchTerms terms)
    : executor_(executor), port_(std::move(port)), terms_(std::move(terms)), tag_(PunchTag(terms_.attempt)) {}

std::shared_ptr<PunchAttempt> PunchAttempt::Start(AsioExecutor& executor, std::shared_ptr<PunchPort> port,
                                                  PunchTerms terms) {
  auto self = std::make_shared<PunchAttempt>(executor, std::move(port), std::move(terms));
  const std::weak_ptr<PunchAttempt> weak = self;
  self->port_->Expect(self->tag_, [weak](std::unique_ptr<PunchedStream> stream, const PunchHello& hello) {
    if (auto attempt = weak.lock()) {
      static_cast<void>(Spawn(attempt->executor_, Take(attempt, std::move(stream), hello)));
    }
  });
  self->timer_ = executor.PostAt(self->terms_.deadline, [weak] {
    if (auto attempt = weak.lock()) {
      attempt->End(attempt->TooLate());
    }
  });
  return self;
}

void PunchAttempt::Dial(const std::vector<HostPort>& candidates, Duration patience) {
  for (const auto& candidate : candidates) {
    if (!over_) {
      auto knock = std::make_shared<Knock>();
      knock->candidate = candidate;
      knocks_.push_back(knock);
      static_cast<void>(Spawn(executor_, DialCandidate(shared_from_this(), std::move(knock), patience)));
    }
  }
}

Co<void> PunchAttempt::DialCandidate(std::shared_ptr<PunchAttempt> self, std::shared_ptr<Knock> knock,
                                     Duration patience) {
  asio::error_code error;
  const auto host = asio::ip::make_address(knock->candidate.host, error);
  if (error) {
    knock->last = "is no address";
    co_return arrow::Status::Invalid("the candidate ", knock->candidate.ToString(), " is no address");
  }
  const tcp::endpoint to(host, knock->candidate.port);
  Duration pause = kFirstRest;
  TimePoint again = patience > Duration{} ? self->executor_.Now() + patience : kNever;
  while (!self->over_) {
    std::unique_ptr<PunchedStream> stream;
    auto connect = self->Connect(knock.get(), to, again, &stream);
    const auto status = co_await connect;
    CYLON_CO_RETURN_NOT_OK(status);
    if (stream != nullptr) {
      auto attempt = self->Try(std::move(stream), nullptr);
      const auto tried = co_await attempt;
      knock->last = tried.message();
    }
    if (self->over_) {
      break;
    }
    if (self->executor_.Now() >= again) {
      patience *= 2;
      again = patience < kKernelsPatience ? self->executor_.Now() + patience : kNever;
      if (stream == nullptr) {
        continue;
      }
    }
    auto rest = arrow::Future<>::Make();
    knock->rest = rest;
    auto timer = self->executor_.PostAt(self->executor_.Now() + pause, [rest]() mutable {
      if (!rest.is_finished()) {
        rest.MarkFinished();
      }
    });
    pause = std::min(2 * pause, kLongestRest);
    CYLON_CO_RETURN_NOT_OK(co_await rest);
    timer->Cancel();
  }
  co_return arrow::Status::OK();
}

/// OK with `connected` set, or without where another try may end better, of which there is one at `again` at the
/// latest.
Co<void> PunchAttempt::Connect(Knock* knock, tcp::endpoint to, TimePoint again,
                               std::unique_ptr<PunchedStream>* connected) {
  auto socket = port_->MakeSocket(to);
  if (!socket.ok()) {
    knock->last = socket.status().message();
    co_return arrow::Status::OK();
  }
  auto connecting = std::make_shared<Connecting>(std::move(*socket));
  knock->connecting = connecting;
  connecting->socket.async_connect(to, [connecting](const asio::error_code& outcome) { connecting->Finish(outcome); });
  std::shared_ptr<Timer> timer;
  if (again != kNever) {
    timer = executor_.PostAt(again, [weak = std::weak_ptr<Connecting>(connecting)] {
      if (auto late = weak.lock()) {
        late->Finish(asio::error::try_again);
      }
    });
  }
  auto done = connecting->done;
  CYLON_CO_RETURN_NOT_OK(co_await done);
  if (timer != nullptr) {
    timer->Cancel();
  }
  knock->connecting.reset();
  if (over_) {
    co_return arrow::Status::Cancelled("the attempt is over");
  }
  if (!connecting->error) {
    *connected = MakePunchedStream(std::move(connecting->socket), to);
    co_return arrow::Status::OK();
  }
  asio::error_code ignored;
  connecting->socket.close(ignored);
  if (connecting->error == asio::error::try_again) {
    co_return arrow::Status::OK();
  }
  knock->last = connecting->error.message();
  co_return IsHopeless(connecting->error) ? arrow::Status::IOError(knock->last) : arrow::Status::OK();
}

Co<void> PunchAttempt::Take(std::shared_ptr<PunchAttempt> self, std::unique_ptr<PunchedStream> stream,
                            PunchHello hello) {
  auto attempt = self->Try(std::move(stream), &hello);
  co_return co_await attempt;
}

/// From a connection to the winner, or to why it is none. `theirs`: the hello of who dialled; none: this side dialled.
Co<void> PunchAttempt::Try(std::unique_ptr<PunchedStream> stream, const PunchHello* theirs) {
  if (over_) {
    co_return arrow::Status::Cancelled("the attempt is over");
  }
  PunchedStream* const raw = stream.get();
  streams_.insert(raw);
  auto prove = Prove(raw, theirs);
  arrow::Status status = co_await prove;
  if (status.ok()) {
    auto agree = terms_.role == PunchRole::kCaller ? Nominate(raw) : AwaitNomination(raw);
    status = co_await agree;
  }
  streams_.erase(raw);
  if (status.ok() && !over_) {
    Win(std::move(stream));
  }
  // Whoever waits to nominate another looks now whether that is still wanted.
  if (terms_.role == PunchRole::kCaller && !nominating_.is_finished() && nominated_ == raw) {
    nominated_ = nullptr;
    auto turn = nominating_;
    turn.MarkFinished();
  }
  co_return status;
}

Co<void> PunchAttempt::Prove(PunchedStream* stream, const PunchHello* theirs) {
  PunchHello own{terms_.role, tag_, ""};
  CYLON_CO_ASSIGN_OR_RETURN(own.nonce, RandomBytes(kPunchNonceBytes));
  Conversation talk(stream, executor_, terms_.deadline);
  auto greet = talk.SendRaw(EncodePunchHello(own));
  CYLON_CO_RETURN_NOT_OK(co_await greet);
  PunchHello other;
  if (theirs != nullptr) {
    other = *theirs;
  } else {
    auto receive = talk.ReceiveRaw(kPunchHelloBytes);
    CYLON_CO_ASSIGN_OR_RETURN(const std::string bytes, co_await receive);
    CYLON_CO_ASSIGN_OR_RETURN(other, DecodePunchHello(bytes));
  }
  CYLON_CO_RETURN_NOT_OK(CheckPunchHello(own, other));
  auto prove = talk.SendRaw(PunchProof(terms_.attempt, own, other));
  CYLON_CO_RETURN_NOT_OK(co_await prove);
  auto receive = talk.ReceiveRaw(kPunchProofBytes);
  CYLON_CO_ASSIGN_OR_RETURN(const std::string proof, co_await receive);
  co_return SameProof(proof, PunchProof(terms_.attempt, other, own))
      ? arrow::Status::OK()
      : AuthenticationError(stream->peer_name() + " does not know the attempt that it names");
}

Co<void> PunchAttempt::Nominate(PunchedStream* stream) {
  while (!over_ && !nominating_.is_finished()) {
    auto turn = nominating_;
    CYLON_CO_RETURN_NOT_OK(co_await turn);
  }
  if (over_) {
    co_return arrow::Status::Cancelled("the attempt is over");
  }
  nominating_ = arrow::Future<>::Make();
  nominated_ = stream;
  auto send = SendTakeThis(stream, &executor_, terms_.deadline);
  CYLON_CO_RETURN_NOT_OK(co_await send);
  auto receive = ReceiveTakeThis(stream, &executor_, std::min(terms_.deadline, executor_.Now() + kConfirmPatience));
  co_return co_await receive;
}

Co<void> PunchAttempt::AwaitNomination(PunchedStream* stream) {
  auto receive = ReceiveTakeThis(stream, &executor_, terms_.deadline);
  CYLON_CO_RETURN_NOT_OK(co_await receive);
  auto send = SendTakeThis(stream, &executor_, terms_.deadline);
  co_return co_await send;
}

void PunchAttempt::Win(std::unique_ptr<PunchedStream> stream) {
  KeepPunched(*stream);
  winner_ = std::move(stream);
  End(arrow::Status::OK());
}

std::unique_ptr<Stream> PunchAttempt::TakeWinner() { return std::move(winner_); }

void PunchAttempt::End(const arrow::Status& why) {
  if (std::exchange(over_, true)) {
    return;
  }
  port_->Forget(tag_);
  if (timer_ != nullptr) {
    timer_->Cancel();
  }
  for (const auto& knock : knocks_) {
    if (auto connecting = std::exchange(knock->connecting, nullptr)) {
      asio::error_code ignored;
      connecting->socket.close(ignored);
      connecting->Finish(asio::error::operation_aborted);
    }
    if (knock->rest.is_valid() && !knock->rest.is_finished()) {
      knock->rest.MarkFinished();
    }
  }
  // Each that closes resumes who waits for it, who takes it out.
  while (!streams_.empty()) {
    PunchedStream* const one = *streams_.begin();
    streams_.erase(streams_.begin());
    one->Close();
  }
  if (!nominating_.is_finished()) {
    auto turn = nominating_;
    turn.MarkFinished();
  }
  done_.MarkFinished(why);
}

arrow::Status PunchAttempt::TooLate() const {
  std::string each;
  for (const auto& knock : knocks_) {
    each += (each.empty() ? "" : ", ") + knock->candidate.ToString() + " (" +
            (knock->last.empty() ? "no answer" : knock->last) + ")";
  }
  return DeadlineError(each.empty() ? "it named no address that could be dialled, and did not dial this process"
                                    : "none of its addresses answered: " + each);
}

}  // namespace cylon::internal
