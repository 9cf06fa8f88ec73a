// A rendezvous server's sessions: names, letters, and what probes have shown.
#include "cylon/bootstrap/rendezvous_sessions.h"

#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/bootstrap/nap.h"
#include "cylon/bootstrap/rendezvous_pulse.h"
#include "cylon/bootstrap/token_bucket.h"

namespace cylon {

namespace {

/// Of connections that were lost: longer than anybody waits for who may come back, and as many as a busy server loses
/// in that time.
constexpr Duration kLossesRemembered = std::chrono::minutes(1);
constexpr size_t kMostLosses = 1 << 14;

arrow::Status RendezvousEnds() {
  return arrow::Status::Cancelled("the rendezvous server ends; start it again, its clients come back by themselves");
}

}  // namespace

/// One connection.
struct RendezvousSessions::Session {
  Session(std::unique_ptr<Stream> from, Guest of, size_t letters_at_once, std::shared_ptr<size_t> unread)
      : stream(std::move(from)),
        guest(std::move(of)),
        outbox(std::make_shared<FramedOutbox>(stream.get(), std::move(unread))),
        letters(static_cast<double>(letters_at_once)) {}
  ~Session() { outbox->Detach(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void Push(const RendezvousFrame& frame) { outbox->Push(EncodeRendezvousFrame(frame)); }
  void Answer(uint64_t id, const arrow::Status& status) {
    RendezvousFrame told{RendezvousOp::kTold, id};
    told.status = status;
    Push(told);
  }

  std::unique_ptr<Stream> stream;
  const Guest guest;
  std::shared_ptr<FramedOutbox> outbox;
  std::shared_ptr<RendezvousPulse> pulse;
  TokenBucket letters;
  Nap nap;  // while it has written more letters than it may
  bool ended = false;
  std::string name;
  std::string incarnation;
  std::string token;           // for its probes; empty before the first
  std::vector<bool> shown_at;  // by port: `token` has been shown there
  SeenAddresses seen;
};

RendezvousSessions::RendezvousSessions(Executor& executor, std::string life, std::vector<uint16_t> probe_ports,
                                       std::shared_ptr<RendezvousCounters> counters, RendezvousLimits limits)
    : executor_(executor),
      life_(std::move(life)),
      probe_ports_(std::move(probe_ports)),
      counters_(std::move(counters)),
      limits_(limits) {}

Co<void> RendezvousSessions::Serve(std::shared_ptr<RendezvousSessions> self, std::unique_ptr<Stream> stream,
                                   Guest guest) {
  if (self->closed_) {
    co_return RendezvousEnds();
  }
  auto session =
      std::make_shared<Session>(std::move(stream), std::move(guest), self->limits_.letters_at_once, self->unread_);
  self->sessions_.push_back(session);
  const std::weak_ptr<Session> weak = session;
  session->pulse = std::make_shared<RendezvousPulse>(
      self->executor_,
      [weak] {
        if (const auto there = weak.lock(); there && !there->name.empty()) {
          there->Push({RendezvousOp::kPing});
        }
      },
      [weak, server = self.get()] {  // a session that is there is one of the server's
        if (const auto there = weak.lock()) {
          ++server->counters_->sessions_ended;
          server->End(there, arrow::Status::IOError(
                                 "this process has said nothing for ",
                                 std::chrono::duration_cast<std::chrono::seconds>(kRendezvousSilence).count(),
                                 " s; it may come again"));
        }
      });
  session->pulse->Start();
  auto talking = Converse(self, session);
  const arrow::Status status = co_await talking;
  const bool sent_away = session->ended;
  if (!status.ok() && !IsEndOfStream(status)) {
    self->End(session, status);
  }
  session->ended = true;
  session->pulse->Stop();
  session->stream->Close();
  if (const auto at = self->named_.find(session->name); at != self->named_.end() && at->second == session) {
    self->named_.erase(at);
    self->LeavePlace(session);
    if (!sent_away && (!IsEndOfStream(status) || IsReset(status))) {
      self->Remember(session);
    }
  }
  if (const auto at = self->tokens_.find(session->token); at != self->tokens_.end() && at->second == session) {
    self->tokens_.erase(at);
  }
  self->sessions_.remove(session);
  co_return status;
}

bool RendezvousSessions::Probed(size_t looker, const std::string& token, const HostPort& from) {
  const auto at = tokens_.find(token);
  if (at == tokens_.end() || looker >= at->second->shown_at.size() || at->second->shown_at[looker]) {
    return false;
  }
  at->second->shown_at[looker] = true;
  AddSeen(from, &at->second->seen);
  ++counters_->probes;
  return true;
}

void RendezvousSessions::Close() {
  closed_ = true;
  for (const auto& session : std::list<SessionPtr>(sessions_)) {
    End(session, RendezvousEnds());
  }
}

Co<void> RendezvousSessions::Converse(std::shared_ptr<RendezvousSessions> self, SessionPtr session) {
  auto greeting = ReadRendezvousFrame(session->stream.get());
  CYLON_CO_ASSIGN_OR_RETURN(const RendezvousFrame hello, co_await greeting);
  CYLON_CO_RETURN_NOT_OK(self->Greet(session, hello));
  while (true) {
    auto reading = ReadRendezvousFrame(session->stream.get());
    CYLON_CO_ASSIGN_OR_RETURN(const RendezvousFrame frame, co_await reading);
    session->pulse->Heard();
    if (frame.op != RendezvousOp::kPing) {
      const TimePoint now = self->executor_.Now();
      const Duration wait = session->letters.Draw(now, 1, self->limits_.letters_per_second);
      if (wait > Duration::zero()) {
        auto sleeping = session->nap.Until(self->executor_, now + wait);
        CYLON_CO_RETURN_NOT_OK(co_await sleeping);
        if (session->ended) {
          co_return RendezvousEnds();
        }
      }
    }
    CYLON_CO_RETURN_NOT_OK(self->Handle(session, frame));
    if (session->outbox->bytes() > self->limits_.unread) {
      ++self->counters_->sessions_ended;
      co_return arrow::Status::CapacityError("this process does not read what it is sent");
    }
  }
}

/// The name is the session's from now on, unless it is somebody else's.
arrow::Status RendezvousSessions::Greet(const SessionPtr& session, const RendezvousFrame& hello) {
  if (hello.op != RendezvousOp::kHello) {
    return ProtocolError(session->stream->peer_name() + " began with message " +
                         std::to_string(static_cast<int>(hello.op)) + ", not with its name");
  }
  const auto at = named_.find(hello.name);
  if (at != named_.end() && (at->second->incarnation != hello.nonce || at->second->guest.job != session->guest.job)) {
    ++counters_->sessions_refused;
    return arrow::Status::AlreadyExists("the name ", hello.name,
                                        " belongs to another process that is here; draw another one");
  }
  if (at != named_.end()) {
    // The same process over a new connection: it knows that the old one is lost before the server does.
    const SessionPtr before = at->second;
    named_.erase(at);
    LeavePlace(before);
    session->token = before->token;
    session->shown_at = before->shown_at;
    session->seen = before->seen;
    if (!session->token.empty()) {
      tokens_[session->token] = session;
    }
    End(before, arrow::Status::Cancelled("this process has another connection by now"));
  }
  ARROW_RETURN_NOT_OK(TakePlace(session, hello.name));
  session->incarnation = hello.nonce;
  RendezvousFrame welcome{RendezvousOp::kWelcome};
  welcome.nonce = life_;
  welcome.ports = probe_ports_;
  session->Push(welcome);
  return arrow::Status::OK();
}

arrow::Status RendezvousSessions::TakePlace(const SessionPtr& session, const std::string& name) {
  const Guest& guest = session->guest;
  const auto of_job = of_job_.find(guest.job);
  const size_t there = of_job == of_job_.end() ? 0 : of_job->second;
  if (there >= guest.names()) {
    ++counters_->sessions_refused;
    return arrow::Status::CapacityError("job '", guest.job, "' has ", there,
                                        " sessions at the rendezvous server, two for each process that its ticket is "
                                        "for; end one of them, or ask the operator for a ticket for more");
  }
  if (named_.size() >= limits_.sessions) {
    ++counters_->sessions_refused;
    return arrow::Status::CapacityError("the rendezvous server has ", named_.size(), " sessions already, its limit");
  }
  session->name = name;
  named_[name] = session;
  lost_.erase(name);
  ++of_job_[guest.job];
  ++counters_->sessions;
  ++counters_->sessions_begun;
  return arrow::Status::OK();
}

/// Of one that had a name.
void RendezvousSessions::LeavePlace(const SessionPtr& session) {
  const auto of_job = of_job_.find(session->guest.job);
  if (--of_job->second == 0) {
    of_job_.erase(of_job);
  }
  --counters_->sessions;
}

/// A process that ends closes its connection. One that was lost, as by a gateway that was restarted, may be of a
/// process that lives, and has not noticed yet.
void RendezvousSessions::Remember(const SessionPtr& lost) {
  const TimePoint now = executor_.Now();
  while (!losses_.empty() && (losses_.front().first < now - kLossesRemembered || losses_.size() >= kMostLosses)) {
    const auto& [when, name] = losses_.front();
    if (const auto at = lost_.find(name); at != lost_.end() && at->second.when == when) {
      lost_.erase(at);
    }
    losses_.pop_front();
  }
  lost_[lost->name] = {lost->guest.job, now};
  losses_.emplace_back(now, lost->name);
}

arrow::Status RendezvousSessions::Handle(const SessionPtr& session, const RendezvousFrame& frame) {
  switch (frame.op) {
    case RendezvousOp::kPing:
      return arrow::Status::OK();
    case RendezvousOp::kTell: {
      const auto passed = PassOn(session, frame);
      ++(passed.ok() ? counters_->letters : counters_->letters_refused);
      session->Answer(frame.id, passed);
      return arrow::Status::OK();
    }
    case RendezvousOp::kDraw:
      return Draw(session, frame.id);
    default:
      return ProtocolError(session->stream->peer_name() + " sent message " +
                           std::to_string(static_cast<int>(frame.op)) + ", which is no client's");
  }
}

arrow::Status RendezvousSessions::PassOn(const SessionPtr& session, const RendezvousFrame& tell) {
  if (tell.text.size() > Courier::kMaxLetter) {
    return arrow::Status::Invalid("a letter of ", tell.text.size(), " bytes is too long; at most ", Courier::kMaxLetter,
                                  " are passed on");
  }
  const auto at = named_.find(tell.name);
  if (at == named_.end() || at->second->guest.job != session->guest.job) {
    const auto lost = lost_.find(tell.name);
    const auto age = lost == lost_.end() ? Duration{} : executor_.Now() - lost->second.when;
    if (lost != lost_.end() && lost->second.job == session->guest.job &&
        age < std::chrono::milliseconds(tell.patience_ms)) {
      return arrow::Status::IOError("the connection of ", tell.name, " to the rendezvous server was lost ",
                                    std::chrono::duration_cast<std::chrono::milliseconds>(age).count(),
                                    " ms ago, and it may come back");
    }
    return arrow::Status::KeyError("nobody of the name ", tell.name,
                                   " is at the rendezvous server; it has not come yet, or is gone");
  }
  if (*unread_ > limits_.unread_in_all) {
    return arrow::Status::CapacityError("the rendezvous server holds ", *unread_,
                                        " bytes that were not read, its limit; tell it again later");
  }
  RendezvousFrame letter{RendezvousOp::kLetter, tell.id, session->name};
  letter.seen = session->seen;
  letter.text = tell.text;
  const SessionPtr receiver = at->second;
  receiver->Push(letter);
  if (receiver->outbox->bytes() <= limits_.unread) {
    return arrow::Status::OK();
  }
  ++counters_->sessions_ended;
  End(receiver, arrow::Status::CapacityError("this process does not read what it is sent"));
  return arrow::Status::KeyError(tell.name, " does not read its letters, and was sent away");
}

arrow::Status RendezvousSessions::Draw(const SessionPtr& session, uint64_t id) {
  ARROW_ASSIGN_OR_RAISE(std::string token, RandomBytes(kRendezvousNonceBytes));
  tokens_.erase(session->token);
  session->token = std::move(token);
  session->shown_at.assign(1 + probe_ports_.size(), false);
  session->seen = {};
  tokens_[session->token] = session;
  RendezvousFrame drawn{RendezvousOp::kDrawn, id};
  drawn.nonce = session->token;
  session->Push(drawn);
  return arrow::Status::OK();
}

/// Tells why, where there is room for it, and closes.
void RendezvousSessions::End(const SessionPtr& session, const arrow::Status& why) {
  if (std::exchange(session->ended, true)) {
    return;
  }
  RendezvousFrame gone{RendezvousOp::kGone};
  gone.status = why;
  session->Push(gone);
  session->stream->Close();
  session->nap.Wake();
}

}  // namespace cylon
