// A courier over TCP: the face of a RendezvousClient, with probes and relays over connections of their own.
#include "cylon/bootstrap/tcp_courier.h"

#include <algorithm>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/dial_server.h"
#include "cylon/bootstrap/nap.h"
#include "cylon/bootstrap/probe.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/bytes.h"

namespace cylon {

namespace {

/// Between attempts at a relay where the server is away.
constexpr Duration kRelayRetry = std::chrono::milliseconds(100);

/// Of a probe, for a first answer: so many round trips to the server, as its last answer took one, within these. A
/// whole world may wait for the one probe whose first packet is lost.
constexpr int kProbeRoundTrips = 3;
constexpr Duration kLeastProbePatience = std::chrono::milliseconds(100);
constexpr Duration kMostProbePatience = std::chrono::milliseconds(400);

/// What the courier and its coroutines share.
struct CourierState {
  AsioExecutor* executor;
  HostPort address;
  Security security;
  std::string job;
  RendezvousPatience patience;
  Duration keep_alive;
  arrow::Future<> stop = arrow::Future<>::Make();
  std::shared_ptr<RendezvousClient> client = nullptr;
  SeenAddresses seen = {};
};

/// What became of something that closing the courier ends.
arrow::Status OrLeft(const CourierState& state, const arrow::Status& status) {
  return state.stop.is_finished() ? arrow::Status::Cancelled("the rendezvous was left on this side") : status;
}

Identity Visitor(const std::string& job, const char* purpose) {
  Identity self;
  self.job = job;
  self.purpose = purpose;
  return self;
}

Co<SeenAddresses> ProbeAll(std::shared_ptr<CourierState> state, uint16_t local_port, TimePoint deadline) {
  const TimePoint asked = state->executor->Now();
  auto drawing = RendezvousClient::DrawToken(state->client, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(const auto drawn, co_await drawing);
  const auto patience = std::clamp<Duration>(kProbeRoundTrips * (state->executor->Now() - asked), kLeastProbePatience,
                                             kMostProbePatience);
  // All at once: packets that are lost, and long ways, are waited for together.
  std::vector<arrow::Future<HostPort>> probing;
  for (const auto& looker : drawn.lookers) {
    probing.push_back(
        StartNow(ProbeFrom(state->executor, local_port, looker, drawn.token, patience, deadline, state->stop)));
  }
  SeenAddresses seen;
  for (auto& each : probing) {
    const auto address = co_await each;
    CYLON_CO_RETURN_NOT_OK(OrLeft(*state, address.status()));
    AddSeen(*address, &seen);
  }
  state->seen = seen;
  co_return seen;
}

/// Asks for the other end, and waits for it, until `deadline`.
Co<void> MeetOverRelay(Stream* stream, Executor* executor, RendezvousFrame ask, TimePoint deadline) {
  const auto patience = std::chrono::ceil<std::chrono::milliseconds>(deadline - executor->Now());
  constexpr int64_t kLongest = UINT32_MAX;
  ask.patience_ms = static_cast<uint32_t>(std::clamp<int64_t>(patience.count(), 0, kLongest));
  bool late = false;
  std::shared_ptr<Timer> timer;
  if (deadline != kNever) {
    timer = executor->PostAt(deadline, [&late, stream] {
      late = true;
      stream->Close();
    });
  }
  ByteWriter framed;
  framed.Text(EncodeRendezvousFrame(ask));
  std::vector<std::span<const uint8_t>> parts;
  parts.emplace_back(reinterpret_cast<const uint8_t*>(framed.bytes().data()), framed.bytes().size());
  auto asking = stream->Write(std::move(parts));
  arrow::Status status = co_await asking;
  if (status.ok()) {
    auto waiting = ReadRendezvousFrame(stream);
    const auto answer = co_await waiting;
    status = answer.status();
    if (answer.ok() && answer->op != RendezvousOp::kJoined) {
      status = ProtocolError(stream->peer_name() + " answered message " + std::to_string(static_cast<int>(answer->op)) +
                             " to one who wants a relay");
    } else if (answer.ok()) {
      status = answer->status;
    }
  }
  if (timer) {
    timer->Cancel();
  }
  co_return late ? DeadlineError("the other end of a relay, " + ask.to + ", did not come before the deadline") : status;
}

Co<std::unique_ptr<Stream>> TryRelay(std::shared_ptr<CourierState> state, std::string to, std::string token,
                                     TimePoint deadline) {
  auto dialling = DialServer(state->executor, state->address, state->security, Visitor(state->job, kRelayPurpose),
                             state->stop, state->keep_alive, deadline);
  auto opened = co_await dialling;
  CYLON_CO_RETURN_NOT_OK(OrLeft(*state, opened.status()));
  const auto stream = std::make_shared<std::unique_ptr<Stream>>(*std::move(opened));
  state->stop.AddCallback([weak = std::weak_ptr<std::unique_ptr<Stream>>(stream)](const arrow::Status&) {
    if (const auto waiting = weak.lock(); waiting && *waiting) {
      (*waiting)->Close();
    }
  });
  RendezvousFrame ask{RendezvousOp::kAskRelay, 0, state->client->name(), to, token};
  auto meeting = MeetOverRelay(stream->get(), state->executor, std::move(ask), deadline);
  const arrow::Status met = co_await meeting;
  CYLON_CO_RETURN_NOT_OK(OrLeft(*state, met));
  co_return std::move(*stream);
}

/// Tries again where the connection fails: the server may be starting anew.
Co<std::unique_ptr<Stream>> OpenRelay(std::shared_ptr<CourierState> state, std::string to, std::string token,
                                      TimePoint deadline) {
  if (!IsCourierName(to) || token.size() != kRendezvousNonceBytes) {
    co_return arrow::Status::Invalid("a relay needs the other's name, ", kCourierNameBytes,
                                     " hexadecimal digits, and a token of ", kRendezvousNonceBytes, " bytes; '", to,
                                     "' and ", token.size(), " bytes were given");
  }
  const TimePoint give_up = std::min<TimePoint>(deadline, state->executor->Now() + state->patience.away);
  const auto nap = std::make_shared<Nap>();
  state->stop.AddCallback([weak = std::weak_ptr<Nap>(nap)](const arrow::Status&) {
    if (const auto asleep = weak.lock()) {
      asleep->Wake();
    }
  });
  while (true) {
    auto trying = TryRelay(state, to, token, deadline);
    auto stream = co_await trying;
    const auto again = state->executor->Now() + kRelayRetry;
    if (stream.ok() || !stream.status().IsIOError() || GetErrorDetail(stream.status()) != nullptr || again >= give_up) {
      co_return stream;
    }
    auto sleeping = nap->Until(*state->executor, again);
    CYLON_CO_RETURN_NOT_OK(co_await sleeping);
    CYLON_CO_RETURN_NOT_OK(OrLeft(*state, arrow::Status::OK()));
  }
}

class TcpCourier : public Courier {
 public:
  explicit TcpCourier(std::shared_ptr<CourierState> state) : state_(std::move(state)) {}
  ~TcpCourier() override {
    RunNow(*state_->executor, [state = state_] { End(*state); });
  }
  TcpCourier(const TcpCourier&) = delete;
  TcpCourier& operator=(const TcpCourier&) = delete;

  std::string name() const override { return state_->client->name(); }
  const SeenAddresses& seen() const override { return state_->seen; }
  Co<SeenAddresses> Probe(uint16_t local_port, TimePoint deadline) override {
    return ProbeAll(state_, local_port, deadline);
  }
  arrow::Future<> Tell(const std::string& to, const std::string& text) override {
    return state_->client->Tell(to, text);
  }
  void OnLetter(std::function<void(const CourierLetter&)> on_letter) override {
    state_->client->OnLetter(std::move(on_letter));
  }
  Co<std::unique_ptr<Stream>> Relay(const std::string& to, const std::string& token, TimePoint deadline) override {
    return OpenRelay(state_, to, token, deadline);
  }
  void Close() override { End(*state_); }

 private:
  static void End(CourierState& state) {
    state.client->Close();
    if (!state.stop.is_finished()) {
      state.stop.MarkFinished();
    }
  }

  std::shared_ptr<CourierState> state_;
};

}  // namespace

Co<std::unique_ptr<Courier>> OpenTcpCourier(AsioExecutor* executor, HostPort address, Security security,
                                            std::string job, TimePoint deadline, RendezvousPatience patience,
                                            Duration keep_alive) {
  CYLON_CO_ASSIGN_OR_RETURN(const std::string name, RandomBytes(kCourierNameBytes / 2));
  CYLON_CO_ASSIGN_OR_RETURN(std::string incarnation, RandomBytes(kRendezvousNonceBytes));
  const auto state = std::make_shared<CourierState>(
      CourierState{executor, std::move(address), std::move(security), std::move(job), patience, keep_alive});
  const auto connect = [executor, address = state->address, security = state->security, job = state->job,
                        stop = state->stop, keep_alive](TimePoint until) {
    return DialServer(executor, address, security, Visitor(job, kRendezvousPurpose), stop, keep_alive, until);
  };
  state->client = std::make_shared<RendezvousClient>(*executor, state->address.ToString(), connect, HexEncode(name),
                                                     std::move(incarnation), patience);
  auto courier = std::make_unique<TcpCourier>(state);  // closes the client, whatever comes
  auto opening = RendezvousClient::Open(state->client, deadline);
  CYLON_CO_RETURN_NOT_OK(co_await opening);
  co_return courier;
}

}  // namespace cylon
