// A process at a rendezvous server: told again what was lost with a connection, and heard once.
#include "cylon/bootstrap/rendezvous_client.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/crowded.h"
#include "cylon/bootstrap/rendezvous_pulse.h"

namespace cylon {

namespace {

/// Between attempts to reach a server that does not answer.
constexpr auto kFirstDial = std::chrono::milliseconds(10);
constexpr auto kLongestDial = std::chrono::seconds(1);
/// The same of one that has been away for long, while nobody waits for it.
constexpr auto kRareDial = std::chrono::seconds(10);
/// One attempt.
constexpr auto kDialPatience = std::chrono::seconds(10);
/// After a restart of the server its clients come back, each by itself: a name that is not there may be one of theirs.
constexpr auto kReturnPatience = std::chrono::seconds(5);
/// How long the welcome may take.
constexpr auto kWelcomePatience = std::chrono::seconds(5);
constexpr size_t kEarlyLetters = 64;
/// Senders whose last letter is remembered, so that it is not heard twice; a world has a thousand.
constexpr size_t kMostSenders = 1 << 16;

/// True where another attempt cannot fare better.
bool IsHopeless(const arrow::Status& status) {
  return IsError(status, ErrorKind::kAuthentication) || IsError(status, ErrorKind::kProtocol) || status.IsInvalid() ||
         status.IsAlreadyExists();
}

arrow::Status CourierClosed() { return arrow::Status::Cancelled("the rendezvous was left on this side"); }

}  // namespace

struct RendezvousClient::Link {
  explicit Link(std::unique_ptr<Stream> from)
      : stream(std::move(from)), outbox(std::make_shared<FramedOutbox>(stream.get())) {}
  ~Link() {
    if (pulse) {
      pulse->Stop();
    }
    outbox->Detach();
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  std::unique_ptr<Stream> stream;
  std::shared_ptr<FramedOutbox> outbox;
  std::shared_ptr<RendezvousPulse> pulse;
  std::vector<uint16_t> ports;  // for probes, besides the one that was dialled
  std::string life;             // of the server
  uint64_t frames = 0;          // that have come
  bool expects = false;         // somebody looks whether more do
};

RendezvousClient::RendezvousClient(Executor& executor, std::string server, RendezvousConnector connect,
                                   std::string name, std::string incarnation, RendezvousPatience patience)
    : executor_(executor),
      server_(std::move(server)),
      connect_(std::move(connect)),
      name_(std::move(name)),
      incarnation_(std::move(incarnation)),
      patience_(patience),
      owed_(patience.answer) {}

Co<void> RendezvousClient::Open(std::shared_ptr<RendezvousClient> self, TimePoint deadline) {
  Duration pause = kFirstDial;
  std::optional<TimePoint> crowded_since;
  while (true) {
    auto trying = TryConnect(self, deadline);
    auto link = co_await trying;
    if (link.ok()) {
      self->GoOn(*link);
      co_return arrow::Status::OK();
    }
    const arrow::Status status = link.status();
    if (self->closed_ || IsHopeless(status)) {
      co_return status;
    }
    const auto now = self->executor_.Now();
    if (IsCrowded(status, now, &crowded_since)) {
      co_return NoPlace(status);
    }
    if (now >= deadline || (deadline != kNever && now + pause >= deadline)) {
      if (status.IsCapacityError()) {
        co_return NoPlace(status);
      }
      co_return DeadlineError("no rendezvous server answered at " + self->server_ + " before the deadline (" +
                              status.message() + "); start cylon-rendezvous there, and check the address");
    }
    auto sleeping = self->nap_.Until(self->executor_, now + pause);
    CYLON_CO_RETURN_NOT_OK(co_await sleeping);
    pause = std::min<Duration>(2 * pause, kLongestDial);
  }
}

arrow::Future<> RendezvousClient::Tell(const std::string& to, const std::string& text) {
  if (!IsCourierName(to)) {
    return arrow::Status::Invalid("'", to, "' is no name; one has ", kCourierNameBytes, " hexadecimal digits");
  }
  if (text.size() > Courier::kMaxLetter) {
    return arrow::Status::Invalid("a letter of ", text.size(), " bytes is too long; at most ", Courier::kMaxLetter,
                                  " are passed on");
  }
  RendezvousFrame tell{RendezvousOp::kTell, 0, to};
  tell.patience_ms = static_cast<uint32_t>(
      std::clamp<int64_t>(std::chrono::ceil<std::chrono::milliseconds>(patience_.returns).count(), 0, UINT32_MAX));
  tell.text = text;
  return arrow::Future<>(Ask(std::move(tell)));
}

void RendezvousClient::OnLetter(std::function<void(const CourierLetter&)> on_letter) {
  on_letter_ = std::move(on_letter);
  while (on_letter_ && !early_.empty()) {
    const CourierLetter letter = std::move(early_.front());
    early_.pop_front();
    const auto tell = on_letter_;
    tell(letter);
  }
}

Co<RendezvousClient::ProbeToken> RendezvousClient::DrawToken(std::shared_ptr<RendezvousClient> self,
                                                             TimePoint deadline) {
  auto drawing = self->Ask({RendezvousOp::kDraw}, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(std::string token, co_await drawing);
  if (self->link_ == nullptr) {
    co_return arrow::Status::IOError("the rendezvous server at ", self->server_, " is away: ", self->trouble_);
  }
  CYLON_CO_ASSIGN_OR_RETURN(const HostPort dialled, HostPort::Parse(self->link_->stream->peer_name()));
  ProbeToken drawn{std::move(token), {dialled}};
  for (const auto port : self->link_->ports) {
    drawn.lookers.push_back({dialled.host, port});
  }
  co_return drawn;
}

void RendezvousClient::Close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  for (const auto& link : {std::exchange(link_, nullptr), std::exchange(joining_, nullptr)}) {
    if (link) {
      link->stream->Close();
    }
  }
  FailAll(CourierClosed());
  on_letter_ = {};
  nap_.Wake();
}

arrow::Future<std::string> RendezvousClient::Ask(RendezvousFrame frame, TimePoint deadline) {
  if (closed_) {
    return CourierClosed();
  }
  frame.id = next_id_++;
  Asked asked{std::move(frame), arrow::Future<std::string>::Make()};
  if (deadline != kNever) {
    asked.timer = executor_.PostAt(deadline, [weak = weak_from_this(), id = asked.frame.id] {
      if (const auto self = weak.lock()) {
        self->Answer(id, DeadlineError("the rendezvous server at " + self->server_ +
                                       " did not answer before the deadline; check that it runs"));
      }
    });
  }
  auto done = asked.done;
  const auto& placed = asked_.emplace(asked.frame.id, std::move(asked)).first->second;
  if (link_) {
    link_->outbox->Push(EncodeRendezvousFrame(placed.frame));
    ExpectAnswer(link_);
  } else if (connecting_ && executor_.Now() >= give_up_) {
    give_up_ = executor_.Now() + patience_.away;
    nap_.Wake();
  } else {
    Connect();
  }
  return done;
}

void RendezvousClient::ExpectAnswer(const LinkPtr& link) {
  // Pushing may have dropped it.
  if (link == nullptr || std::exchange(link->expects, true)) {
    return;
  }
  executor_.PostAt(executor_.Now() + owed_,
                   [weak = weak_from_this(), late = std::weak_ptr<Link>(link), before = link->frames] {
                     const auto self = weak.lock();
                     const auto there = late.lock();
                     if (!self || !there || self->link_ != there) {
                       return;
                     }
                     there->expects = false;
                     if (self->asked_.empty()) {
                       return;
                     }
                     if (there->frames > before) {
                       return self->ExpectAnswer(there);
                     }
                     self->owed_ = std::min(2 * self->owed_, self->patience_.away);
                     self->Drop(there, arrow::Status::IOError("it owes an answer and is silent"));
                   });
}

void RendezvousClient::Answer(uint64_t id, arrow::Result<std::string> answer) {
  const auto found = asked_.find(id);
  if (found == asked_.end()) {
    return;  // it has been given up
  }
  auto asked = std::move(found->second);
  asked_.erase(found);
  if (asked.timer) {
    asked.timer->Cancel();
  }
  asked.done.MarkFinished(std::move(answer));
}

void RendezvousClient::Hear(const RendezvousFrame& letter) {
  if (last_from_.size() >= kMostSenders && !last_from_.contains(letter.name)) {
    last_from_.erase(last_from_.begin());
  }
  auto& last = last_from_[letter.name];
  if (letter.id <= last) {
    return;  // told again, as its answer was lost
  }
  last = letter.id;
  CourierLetter heard{letter.name, letter.seen, letter.text};
  if (const auto tell = on_letter_) {
    return tell(heard);
  }
  early_.push_back(std::move(heard));
  if (early_.size() > kEarlyLetters) {
    early_.pop_front();
  }
}

arrow::Status RendezvousClient::Take(const LinkPtr& link, const RendezvousFrame& frame) {
  link->pulse->Heard();
  ++link->frames;
  switch (frame.op) {
    case RendezvousOp::kPing:
      break;
    case RendezvousOp::kGone:
      return frame.status;
    case RendezvousOp::kTold:
      owed_ = patience_.answer;
      if (frame.status.IsKeyError() && executor_.Now() < others_due_) {
        Answer(frame.id, arrow::Status::IOError("the rendezvous server at ", server_,
                                                " was started anew, and others may not have come back to it yet: ",
                                                frame.status.message()));
      } else {
        Answer(frame.id, frame.status.ok() ? arrow::Result<std::string>("") : arrow::Result<std::string>(frame.status));
      }
      break;
    case RendezvousOp::kDrawn:
      owed_ = patience_.answer;
      Answer(frame.id, frame.nonce);
      break;
    case RendezvousOp::kLetter:
      Hear(frame);
      break;
    default:
      return ProtocolError("the rendezvous server at " + server_ + " sent message " +
                           std::to_string(static_cast<int>(frame.op)) + ", which is no server's");
  }
  return arrow::Status::OK();
}

void RendezvousClient::Drop(const LinkPtr& link, const arrow::Status& why) {
  link->pulse->Stop();
  link->stream->Close();
  if (link_ != link) {
    return;
  }
  link_ = nullptr;
  trouble_ = why.message();
  Connect();  // whether or not something waits: letters come to who is there
}

void RendezvousClient::FailAll(const arrow::Status& why) {
  for (auto& [id, asked] : std::exchange(asked_, {})) {
    if (asked.timer) {
      asked.timer->Cancel();
    }
    auto done = asked.done;
    done.MarkFinished(why);
  }
}

void RendezvousClient::Connect() {
  if (!connecting_ && !closed_) {
    connecting_ = true;
    internal::DriveVoid(Reconnect(shared_from_this()), arrow::Future<>::Make());
  }
}

arrow::Status RendezvousClient::Gone() const {
  return arrow::Status::IOError("the rendezvous server at ", server_, " is gone: ", trouble_,
                                ", and it did not come back within ",
                                std::chrono::ceil<std::chrono::milliseconds>(patience_.away).count(),
                                " ms; start cylon-rendezvous again at that address");
}

Co<void> RendezvousClient::Reconnect(std::shared_ptr<RendezvousClient> self) {
  self->give_up_ = self->executor_.Now() + self->patience_.away;
  Duration pause = kFirstDial;
  arrow::Status status;
  while (!self->closed_) {
    const TimePoint start = self->executor_.Now();
    const TimePoint late = start + kDialPatience;
    auto trying = TryConnect(self, start < self->give_up_ ? std::min<TimePoint>(self->give_up_, late) : late);
    auto link = co_await trying;
    if (self->closed_) {
      break;
    }
    if (link.ok()) {
      self->connecting_ = false;
      self->GoOn(*link);
      co_return arrow::Status::OK();
    }
    status = link.status();
    self->trouble_ = status.message();
    if (IsHopeless(status)) {
      self->connecting_ = false;
      self->FailAll(status);
      co_return status;
    }
    const auto now = self->executor_.Now();
    const bool given_up = now >= self->give_up_;
    if (given_up) {
      self->FailAll(self->Gone());
    }
    auto sleeping = self->nap_.Until(self->executor_,
                                     given_up ? now + kRareDial : std::min<TimePoint>(now + pause, self->give_up_));
    CYLON_CO_RETURN_NOT_OK(co_await sleeping);
    pause = std::min<Duration>(2 * pause, kLongestDial);
  }
  self->connecting_ = false;
  co_return status;
}

Co<RendezvousClient::LinkPtr> RendezvousClient::TryConnect(std::shared_ptr<RendezvousClient> self, TimePoint deadline) {
  auto dialling = self->connect_(deadline);
  auto stream = co_await dialling;
  if (!stream.ok()) {
    const arrow::Status status = stream.status();
    co_return IsHopeless(status)
        ? status.WithMessage("cannot use the rendezvous server at ", self->server_, ": ", status.message())
        : status;
  }
  if (self->closed_) {
    co_return CourierClosed();
  }
  const auto link = std::make_shared<Link>(*std::move(stream));
  self->joining_ = link;
  const auto timer = self->executor_.PostAt(std::min<TimePoint>(deadline, self->executor_.Now() + kWelcomePatience),
                                            [weak = std::weak_ptr<Link>(link)] {
                                              if (const auto slow = weak.lock()) {
                                                slow->stream->Close();
                                              }
                                            });
  RendezvousFrame hello{RendezvousOp::kHello, 0, self->name_};
  hello.nonce = self->incarnation_;
  link->outbox->Push(EncodeRendezvousFrame(hello));
  auto greeting = ReadRendezvousFrame(link->stream.get());
  const auto welcome = co_await greeting;
  timer->Cancel();
  self->joining_ = nullptr;
  if (self->closed_) {
    co_return CourierClosed();
  }
  CYLON_CO_RETURN_NOT_OK(welcome.status());
  if (welcome->op == RendezvousOp::kGone) {
    const arrow::Status& why = welcome->status;
    co_return why.WithMessage("the rendezvous server at ", self->server_, " takes no session: ", why.message());
  }
  if (welcome->op != RendezvousOp::kWelcome) {
    co_return ProtocolError("the rendezvous server at " + self->server_ + " began with message " +
                            std::to_string(static_cast<int>(welcome->op)) + "; run the same version on both sides");
  }
  link->ports = welcome->ports;
  link->life = welcome->nonce;
  co_return link;
}

void RendezvousClient::GoOn(const LinkPtr& link) {
  link_ = link;
  if (const std::string before = std::exchange(life_, link->life); !before.empty() && before != life_) {
    others_due_ = executor_.Now() + kReturnPatience;
  }
  const std::weak_ptr<Link> weak = link;
  link->pulse = std::make_shared<RendezvousPulse>(
      executor_,
      [weak] {
        if (const auto there = weak.lock()) {
          there->outbox->Push(EncodeRendezvousFrame({RendezvousOp::kPing}));
        }
      },
      [weak, client = weak_from_this()] {
        const auto there = weak.lock();
        const auto self = client.lock();
        if (there && self) {
          self->Drop(there, arrow::Status::IOError(
                                "it has said nothing for ",
                                std::chrono::duration_cast<std::chrono::seconds>(kRendezvousSilence).count(), " s"));
        }
      });
  link->pulse->Start();
  for (const auto& [id, asked] : asked_) {
    link->outbox->Push(EncodeRendezvousFrame(asked.frame));
  }
  if (!asked_.empty()) {
    ExpectAnswer(link);
  }
  internal::DriveVoid(Read(shared_from_this(), link), arrow::Future<>::Make());
}

Co<void> RendezvousClient::Read(std::shared_ptr<RendezvousClient> self, LinkPtr link) {
  while (true) {
    auto reading = ReadRendezvousFrame(link->stream.get());
    const auto frame = co_await reading;
    auto status = frame.status();
    if (status.ok()) {
      status = self->Take(link, *frame);
    }
    if (!status.ok()) {
      self->Drop(link, status);
      co_return status;
    }
  }
}

}  // namespace cylon
