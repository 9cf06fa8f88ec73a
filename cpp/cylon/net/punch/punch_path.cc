// Processes behind gateways reach each other by holes that both make at once.
#include "cylon/net/punch/punch_path.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

#include "cylon/base/error.h"
#include "cylon/base/random.h"
#include "cylon/net/punch/announcer.h"
#include "cylon/net/punch/candidates.h"
#include "cylon/net/punch/either.h"
#include "cylon/net/punch/punch_engine.h"

namespace cylon::internal {

namespace {

constexpr std::string_view kPunchScheme = "punch://";
/// What a dial without a deadline counts as.
constexpr Duration kLongestDial = std::chrono::minutes(1);

arrow::Status PunchClosed() { return arrow::Status::Cancelled("this rank is closing"); }

arrow::Status BothSymmetric(const std::string& peer) {
  return arrow::Status::IOError("cannot punch a way to ", ShortName(peer),
                                ": the gateways of both ends give each destination a port of its own, so neither can "
                                "know where to dial; a relay is needed");
}

arrow::Status NoFamily(const std::string& peer) {
  return arrow::Status::IOError("cannot punch a way to ", ShortName(peer),
                                ": one end has addresses of IPv4 only and the other of IPv6 only; a relay is needed");
}

/// When the caller's first packet counts as lost. An answer came by the server, which is hardly ever shorter than the
/// straight way; twice its time, within these.
constexpr Duration kLeastAgain = std::chrono::milliseconds(100);
constexpr Duration kMostAgain = std::chrono::milliseconds(400);

/// Where one end only knows where to dial the other (its own gateway is symmetric, or the server has seen it in another
/// family), the other's gateway may let anybody in; whether it does shows in a round trip or two, and trying for
/// longer, or once more, changes nothing.
constexpr Duration kOneSidedRound = std::chrono::milliseconds(1500);

arrow::Status OneSided() {
  return arrow::Status::IOError(
      "only one end knows where to dial the other, whose gateway lets in nobody who was not dialled from behind it; a "
      "relay is needed");
}

/// Which ends of an attempt know where to dial the other. `own`: candidates of one end, and what the server has seen.
struct Chance {
  bool here;
  bool there;
};

std::vector<HostPort> Places(std::vector<HostPort> candidates, const SeenAddresses& seen) {
  candidates.insert(candidates.end(), seen.addresses.begin(), seen.addresses.end());
  return candidates;
}

Chance ChanceOf(const std::vector<HostPort>& own, const SeenAddresses& own_seen, const std::vector<HostPort>& theirs,
                const SeenAddresses& their_seen, bool loopback) {
  const auto here = Places(own, own_seen);
  const auto there = Places(theirs, their_seen);
  return {MaySendToAny(DialableCandidates(theirs, their_seen, here, loopback), here),
          MaySendToAny(DialableCandidates(own, own_seen, there, loopback), there)};
}

/// What one side does for one attempt.
struct Engagement {
  std::shared_ptr<PunchAttempt> attempt;
  std::string id;          // the attempt's secret
  bool called = false;     // else this side calls
  bool yielded = false;    // to a call of the other side
  bool one_sided = false;  // calling: one end only knows where to dial the other
  Letter answer;
  SeenAddresses seen;  // of who answered
  arrow::Future<> answered = arrow::Future<>::Make();
  arrow::Future<> over = arrow::Future<>::Make();  // called: OK where the connection was handed on
};

/// Outlives its path as long as something waits.
class Puncher : public std::enable_shared_from_this<Puncher> {
 public:
  Puncher(AsioExecutor& executor, std::shared_ptr<SealedLetters> letters, PunchOptions options)
      : executor_(executor),
        letters_(letters),
        loopback_(options.loopback),
        announcer_(std::make_shared<Announcer>(executor, std::move(letters), std::move(options))) {}

  void ReadLetters() {
    const auto weak = weak_from_this();
    letters_->Read(LetterKind::kCall, [weak](const auto& from, const auto& seen, const auto& letter) {
      if (auto self = weak.lock()) {
        self->OnCall(from, seen, letter);
      }
    });
    letters_->Read(LetterKind::kAnswer, [weak](const auto& from, const auto& seen, const auto& letter) {
      if (auto self = weak.lock()) {
        self->OnAnswer(from, seen, letter);
      }
    });
  }

  std::string name() const { return letters_->courier().name(); }
  void Accept(std::function<void(std::unique_ptr<Stream>)> accept) { accept_ = std::move(accept); }

  static Co<std::unique_ptr<Stream>> Dial(std::shared_ptr<Puncher> self, std::string peer, TimePoint deadline,
                                          arrow::Future<> stop);

  void Close() {
    if (std::exchange(closed_, true)) {
      return;
    }
    accept_ = nullptr;
    closing_.MarkFinished();
    for (const auto& [peer, engagement] : std::exchange(engaged_, {})) {
      engagement->attempt->End(PunchClosed());
    }
    announcer_->Close();
    letters_->Leave();
  }

 private:
  std::shared_ptr<Engagement> EngagedWith(const std::string& peer) const {
    const auto at = engaged_.find(peer);
    return at == engaged_.end() ? nullptr : at->second;
  }
  void Disengage(const std::string& peer, const std::shared_ptr<Engagement>& engagement) {
    if (EngagedWith(peer) == engagement) {
      engaged_.erase(peer);
    }
  }

  static Co<void> Call(std::shared_ptr<Puncher> self, std::string peer, std::shared_ptr<PunchPort> port, bool fresh,
                       TimePoint until, std::shared_ptr<Engagement> engagement);
  static Co<void> Answer(std::shared_ptr<Puncher> self, std::string peer, std::shared_ptr<PunchPort> port,
                         SeenAddresses seen, Letter call, TimePoint until, std::shared_ptr<Engagement> engagement);
  static Co<void> CheckPresence(std::shared_ptr<Puncher> self, std::string peer, std::string call, TimePoint until,
                                arrow::Future<> stop);
  static Co<void> AwaitTheirs(std::shared_ptr<Puncher> self, std::string peer, std::shared_ptr<Engagement> theirs,
                              TimePoint until, arrow::Future<> stop);
  void OnCall(const std::string& from, const SeenAddresses& seen, const Letter& call);
  void OnAnswer(const std::string& from, const SeenAddresses& seen, const Letter& answer);

  AsioExecutor& executor_;
  const std::shared_ptr<SealedLetters> letters_;
  const bool loopback_;
  const std::shared_ptr<Announcer> announcer_;
  std::function<void(std::unique_ptr<Stream>)> accept_;
  std::map<std::string, std::shared_ptr<Engagement>> engaged_;
  std::set<std::string> punched_;  // with whom there was a connection
  bool closed_ = false;
  arrow::Future<> closing_ = arrow::Future<>::Make();
};

/// One round of the caller: the attempt is done when this is.
Co<void> Puncher::Call(std::shared_ptr<Puncher> self, std::string peer, std::shared_ptr<PunchPort> port, bool fresh,
                       TimePoint until, std::shared_ptr<Engagement> engagement) {
  auto attempt = engagement->attempt;
  auto own_seen = std::make_shared<SeenAddresses>();
  auto own_told = std::make_shared<std::vector<HostPort>>();
  auto told_at = std::make_shared<TimePoint>();
  const auto write = [=](const SeenAddresses& own, const std::vector<HostPort>& candidates) {
    *told_at = self->executor_.Now();
    *own_seen = own;
    *own_told = candidates;
    return Letter{LetterKind::kCall, engagement->id, until - self->executor_.Now(), own.symmetric, false, fresh,
                  candidates};
  };
  auto announced = StartNow(Announcer::Announce(self->announcer_, port, peer, until, write));
  CYLON_CO_RETURN_NOT_OK(co_await Either(announced, attempt->done()));
  CYLON_CO_RETURN_NOT_OK(co_await Either(engagement->answered, attempt->done()));
  if (!attempt->done().is_finished()) {
    const auto chance =
        ChanceOf(*own_told, *own_seen, engagement->answer.candidates, engagement->seen, self->loopback_);
    if (engagement->answer.declined) {
      const bool told = !Places(engagement->answer.candidates, engagement->seen).empty();
      co_return own_seen->symmetric && engagement->answer.symmetric ? BothSymmetric(peer)
      : told && !(chance.here || chance.there)
          ? NoFamily(peer)
          : arrow::Status::IOError("cannot punch a way to ", ShortName(peer), ": it has no port to do so");
    }
    engagement->one_sided = own_seen->symmetric || engagement->answer.symmetric || chance.here != chance.there;
    if (engagement->one_sided) {
      self->executor_.PostAt(self->executor_.Now() + kOneSidedRound, [weak = std::weak_ptr<PunchAttempt>(attempt)] {
        if (auto late = weak.lock()) {
          late->End(OneSided());
        }
      });
    }
    const Duration answered_in = self->executor_.Now() - *told_at;
    attempt->Dial(DialableCandidates(engagement->answer.candidates, engagement->seen, Places(*own_told, *own_seen),
                                     self->loopback_),
                  std::clamp<Duration>(2 * answered_in, kLeastAgain, kMostAgain));
  }
  auto done = attempt->done();
  co_return co_await done;
}

Co<std::unique_ptr<Stream>> Puncher::Dial(std::shared_ptr<Puncher> self, std::string peer, TimePoint deadline,
                                          arrow::Future<> stop) {
  if (peer == self->name()) {
    co_return arrow::Status::Invalid("the address ", kPunchScheme, peer, " is this process' own");
  }
  if (!stop.is_valid()) {
    stop = arrow::Future<>::Make();
  }
  const TimePoint start = self->executor_.Now();
  const Duration all = std::clamp<Duration>(deadline - start, Duration{}, kLongestDial);
  arrow::Status last = arrow::Status::IOError("there was no time to punch a way to ", ShortName(peer));
  bool waited = false;  // for a call of the peer
  // Where a connection stood that is lost, one end or the other may still hold its pair of ports; and a way that was
  // cut is to be made anew soon, by the relay if it has to be.
  const bool again = self->punched_.contains(peer);
  for (int round = 0; round < (again ? 1 : 2); ++round) {
    const auto share = round == 0 ? kFirstRoundShare : kSecondRoundShare;
    const Duration span = std::min(std::chrono::duration_cast<Duration>(share * all), kLongestRound);
    const TimePoint now = self->executor_.Now();
    const TimePoint until = std::min(now + span, start + all);
    if (self->closed_ || stop.is_finished()) {
      co_return self->closed_ ? PunchClosed() : arrow::Status::Cancelled("this side has given up the connection");
    }
    if (now >= until) {
      break;
    }
    if (auto theirs = self->EngagedWith(peer); theirs != nullptr && theirs->called && !waited) {
      waited = true;
      auto await = AwaitTheirs(self, peer, theirs, until, stop);
      last = co_await await;
      if (!last.IsKeyError()) {
        co_return last;
      }
      continue;
    }
    const bool fresh = again || round > 0;
    auto port = self->announcer_->Port(fresh);
    CYLON_CO_RETURN_NOT_OK(port.status());
    auto engagement = std::make_shared<Engagement>();
    CYLON_CO_ASSIGN_OR_RETURN(engagement->id, RandomBytes(kAttemptBytes));
    engagement->attempt = PunchAttempt::Start(self->executor_, *port, {engagement->id, PunchRole::kCaller, until});
    if (auto before = std::exchange(self->engaged_[peer], engagement)) {
      before->attempt->End(arrow::Status::Cancelled("it was dialled anew from here"));
    }
    stop.AddCallback([weak = std::weak_ptr<PunchAttempt>(engagement->attempt)](const arrow::Status&) {
      if (auto attempt = weak.lock()) {
        attempt->End(arrow::Status::Cancelled("this side has given up the connection"));
      }
    });
    auto call = Call(self, peer, *port, fresh, until, engagement);
    last = co_await call;
    const bool was_answered = engagement->answered.is_finished();
    engagement->attempt->End(last);
    if (fresh) {
      (*port)->Close();
    }
    self->Disengage(peer, engagement);
    if (last.ok()) {
      self->punched_.insert(peer);
      co_return engagement->attempt->TakeWinner();
    }
    if (engagement->yielded) {
      --round;  // to wait for theirs, in the time of this one
      continue;
    }
    if (last.IsCancelled() || IsNobodyListening(last) || (was_answered && engagement->answer.declined)) {
      co_return last;
    }
    if (!was_answered && IsError(last, ErrorKind::kDeadline)) {
      auto look = CheckPresence(self, peer, engagement->id, start + all, stop);
      CYLON_CO_RETURN_NOT_OK(co_await look);
      last = arrow::Status::IOError("it did not answer a call; is it stopped, or overloaded?");
    }
    if (engagement->one_sided) {
      break;
    }
  }
  // Not a DeadlineError, after which no other address would be tried.
  co_return arrow::Status::IOError("cannot punch a way to ", ShortName(peer), ": ", last.message());
}

/// Of a peer that did not answer: NobodyListens where it is not at the server any more, which may have passed the call
/// on to a process that was dead already. Until `until` at most; Cancelled where this is closed or given up meanwhile.
Co<void> Puncher::CheckPresence(std::shared_ptr<Puncher> self, std::string peer, std::string call, TimePoint until,
                                arrow::Future<> stop) {
  auto late = arrow::Future<>::Make();
  auto timer = self->executor_.PostAt(until, [late]() mutable { late.MarkFinished(); });
  // An answer to no call of theirs is nothing to those who live.
  auto asked = self->letters_->Tell(peer, Letter{LetterKind::kAnswer, std::move(call), {}, false, true});
  auto over = Either(Either(self->closing_, stop), Either(asked, late));
  static_cast<void>(co_await over);
  timer->Cancel();
  if (self->closed_ || stop.is_finished()) {
    co_return self->closed_ ? PunchClosed() : arrow::Status::Cancelled("this side has given up the connection");
  }
  co_return asked.is_finished() && asked.status().IsKeyError()
      ? NobodyListens("nobody of the name " + peer +
                      " is at the server any more, and it did not answer a call before: " + asked.status().message())
      : arrow::Status::OK();
}

/// While the peer's own call is under way here: KeyError where that came to nothing, and a call from here makes sense.
Co<void> Puncher::AwaitTheirs(std::shared_ptr<Puncher> self, std::string peer, std::shared_ptr<Engagement> theirs,
                              TimePoint until, arrow::Future<> stop) {
  auto late = arrow::Future<>::Make();
  auto timer = self->executor_.PostAt(until, [late]() mutable { late.MarkFinished(); });
  const auto gave_up = Either(stop, late);
  auto outcome = co_await Either(theirs->over, gave_up);
  if (outcome.ok() && theirs->over.is_finished() && !gave_up.is_finished()) {
    // The connection is with whoever accepts, and is most likely what is wanted: then this dial is stopped.
    CYLON_CO_RETURN_NOT_OK(co_await gave_up);
  }
  timer->Cancel();
  if (stop.is_finished()) {
    co_return arrow::Status::Cancelled("this side has given up the connection");
  }
  if (theirs->over.is_finished() && theirs->over.status().ok()) {
    co_return arrow::Status::IOError(ShortName(peer), " punched a way to here at the same time");
  }
  co_return arrow::Status::KeyError("the call of ", ShortName(peer), " came to nothing");
}

void Puncher::OnCall(const std::string& from, const SeenAddresses& seen, const Letter& call) {
  if (accept_ == nullptr) {
    return;
  }
  const auto before = EngagedWith(from);
  if (before != nullptr && !before->called && name() < from) {
    return;  // the own call to it stands, and it will see that
  }
  const TimePoint until = executor_.Now() + std::min(call.left, kLongestRound);
  auto port = announcer_->Port(call.fresh);
  if (!port.ok()) {
    // Without a port it is told at once, and goes another way.
    static_cast<void>(letters_->Tell(from, Letter{LetterKind::kAnswer, call.attempt, {}, false, /*declined=*/true}));
    return;
  }
  auto engagement = std::make_shared<Engagement>();
  engagement->id = call.attempt;
  engagement->called = true;
  engagement->attempt = PunchAttempt::Start(executor_, *port, {call.attempt, PunchRole::kCalled, until});
  engaged_[from] = engagement;
  if (before != nullptr) {
    before->yielded = true;
    before->attempt->End(arrow::Status::Cancelled("another call takes its place"));
  }
  static_cast<void>(
      Spawn(executor_, Answer(shared_from_this(), from, *port, seen, call, until, std::move(engagement))));
}

/// One round of the called side.
Co<void> Puncher::Answer(std::shared_ptr<Puncher> self, std::string peer, std::shared_ptr<PunchPort> port,
                         SeenAddresses seen, Letter call, TimePoint until, std::shared_ptr<Engagement> engagement) {
  auto attempt = engagement->attempt;
  const auto write = [=](const SeenAddresses& own, const std::vector<HostPort>& candidates) {
    const auto chance = ChanceOf(candidates, own, call.candidates, seen, self->loopback_);
    const bool symmetric = own.symmetric && call.symmetric;
    const bool declined = symmetric || !(chance.here || chance.there);
    if (declined) {
      attempt->End(symmetric ? BothSymmetric(peer) : NoFamily(peer));
    } else {
      attempt->Dial(DialableCandidates(call.candidates, seen, Places(candidates, own), self->loopback_), Duration{});
    }
    return Letter{LetterKind::kAnswer, call.attempt, {}, own.symmetric, declined, call.fresh, candidates};
  };
  auto announced = StartNow(Announcer::Announce(self->announcer_, port, peer, until, write));
  auto status = co_await Either(announced, attempt->done());
  if (status.ok()) {
    auto done = attempt->done();
    status = co_await done;
  }
  attempt->End(status);
  if (call.fresh) {
    port->Close();
  }
  self->Disengage(peer, engagement);
  auto winner = attempt->TakeWinner();
  if (winner != nullptr && self->accept_ != nullptr) {
    self->punched_.insert(peer);
    const auto accept = self->accept_;
    accept(std::move(winner));
  } else if (status.ok()) {
    status = PunchClosed();
  }
  engagement->over.MarkFinished(status);
  co_return status;
}

void Puncher::OnAnswer(const std::string& from, const SeenAddresses& seen, const Letter& answer) {
  const auto engagement = EngagedWith(from);
  if (engagement == nullptr || engagement->called || engagement->id != answer.attempt ||
      engagement->answered.is_finished()) {
    return;  // to a call that is over
  }
  engagement->answer = answer;
  engagement->seen = seen;
  engagement->answered.MarkFinished();
}

class PunchPath : public Path {
 public:
  explicit PunchPath(std::shared_ptr<Puncher> puncher)
      : puncher_(std::move(puncher)), address_(std::string(kPunchScheme) + puncher_->name()) {}
  ~PunchPath() override { puncher_->Close(); }

  std::string name() const override { return "punch"; }
  std::string address() const override { return address_; }
  void Accept(std::function<void(std::unique_ptr<Stream>)> accept) override { puncher_->Accept(std::move(accept)); }
  bool Reaches(const std::string& address) const override { return address.starts_with(kPunchScheme); }

  Co<std::unique_ptr<Stream>> Dial(std::string address, TimePoint deadline, arrow::Future<> stop) override {
    if (!Reaches(address)) {
      co_return arrow::Status::Invalid("the address ", address, " is not one of ", kPunchScheme);
    }
    auto dial = Puncher::Dial(puncher_, address.substr(kPunchScheme.size()), deadline, std::move(stop));
    co_return co_await dial;
  }

  Co<std::unique_ptr<Stream>> Settle(std::unique_ptr<Stream> proven, bool, TimePoint) override {
    co_return std::move(proven);
  }

  void Close() override { puncher_->Close(); }

 private:
  const std::shared_ptr<Puncher> puncher_;
  const std::string address_;
};

}  // namespace

std::unique_ptr<Path> MakePunchPath(AsioExecutor& executor, std::shared_ptr<SealedLetters> letters,
                                    PunchOptions options) {
  auto puncher = std::make_shared<Puncher>(executor, std::move(letters), std::move(options));
  puncher->ReadLetters();
  return std::make_unique<PunchPath>(std::move(puncher));
}

}  // namespace cylon::internal
