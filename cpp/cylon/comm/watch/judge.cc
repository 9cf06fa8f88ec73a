// What a rank makes of the heartbeats that it hears and of those that it does not.
#include "cylon/comm/watch/judge.h"

#include <algorithm>

namespace cylon::internal {

namespace {

using namespace std::chrono_literals;

/// A tick that is later than so many beats says that this process did not run.
constexpr int kLateBeats = 2;
/// A connection that ended before it was proven is dialled again soon: its process is ending, or crowded.
constexpr Duration kBrokenPause = 10ms;

}  // namespace

Duration BeatOf(Duration timeout) {
  constexpr int kBeatsInTimeout = 20;
  constexpr Duration kShortest = 50ms;
  constexpr Duration kLongest = 500ms;
  return std::clamp<Duration>(timeout / kBeatsInTimeout, kShortest, kLongest);
}

Judge::Judge(Setup setup, JudgeHands* hands)
    : setup_(std::move(setup)), hands_(hands), beat_(BeatOf(setup_.timeout)), peers_(static_cast<size_t>(setup_.size)) {
  for (const int step : {1, setup_.size - 1}) {
    const Rank neighbour = (setup_.own + step) % setup_.size;
    if (Known(neighbour)) {
      peer(neighbour).neighbour = true;
    }
  }
}

void Judge::Start(TimePoint now) {
  const Rank right = (setup_.own + 1) % setup_.size;
  for (Rank rank = 0; rank < setup_.size; ++rank) {
    if (peer(rank).neighbour) {
      peer(rank).heard = now + setup_.start_grace;
      peer(rank).grace_end = peer(rank).heard + setup_.timeout;
      // Two ranks both dial: one that died before it did would be waited for.
      peer(rank).dials = rank == right;
      if (peer(rank).dials) {
        DialIfIdle(rank, now);
      }
    }
  }
  next_tick_ = now + beat_;
}

void Judge::Tick(TimePoint now) {
  Notice(now);
  for (Rank rank = 0; rank < setup_.size; ++rank) {
    if (!Open(rank)) {
      continue;
    }
    auto& at = peer(rank);
    if (at.neighbour &&
        (now - MissedSince(at) >= setup_.timeout * 7 / 10 || Overdue(at, now + setup_.timeout * 3 / 10))) {
      OpenCase(rank, now);
    }
    if (at.neighbour && !at.linked && (at.dials || at.sign)) {
      DialIfIdle(rank, now);
    }
    if (at.neighbour && InGrace(at, now)) {
      ShowLife(now);
      if (at.met && setup_.has_store && now - at.looked >= beat_) {
        at.looked = now;
        hands_->LookForLife(rank);
      }
    }
    if (at.neighbour && at.linked && now - at.heard >= setup_.timeout / 4) {
      DialIfIdle(rank, now);  // a gateway on the way may have forgotten the connection, and let in another one
    }
  }
  for (auto askers = askers_.begin(); askers != askers_.end();) {
    const Rank about = askers->first;
    // Who is in doubt asks with every tick.
    std::erase_if(askers->second, [&](const auto& asker) { return now - asker.second.came > 4 * beat_; });
    if (askers->second.empty() || !Open(about)) {
      peer(about).probed.reset();
      askers = askers_.erase(askers);
      continue;
    }
    if (peer(about).linked) {
      hands_->Ask(about, about, now);
    } else {
      DialIfIdle(about, now);
    }
    ++askers;
  }
  for (const auto& [about, asker] : std::map(askers_)) {
    Answer(about, now);
  }
  for (const auto& [about, open] : std::map(cases_)) {
    Work(about, now);
  }
  next_tick_ = now + pause();
}

/// Whatever is the first to happen after this process did not run: nothing may be made of what it did not hear.
void Judge::Notice(TimePoint now) {
  if (next_tick_ && now > *next_tick_ + kLateBeats * beat_) {
    slept_ = now - *next_tick_;
    awoke_ = now;
    next_tick_ = now + beat_;
    Forget(now);
  }
}

/// The nearest rank in one direction that can still be asked, other than `but`.
Rank Judge::Next(Rank from, int step, Rank but) const {
  for (Rank rank = (from + step + setup_.size) % setup_.size; rank != from;
       rank = (rank + step + setup_.size) % setup_.size) {
    if (Open(rank) && rank != but) {
      return rank;
    }
  }
  return -1;
}

std::set<Rank> Judge::WitnessesOf(Rank about) const {
  std::set<Rank> witnesses;
  for (const int step : {1, -1}) {
    witnesses.insert(Next(about, step, -1));
    witnesses.insert(Next(setup_.own, step, about));
  }
  witnesses.erase(-1);
  witnesses.erase(about);
  return witnesses;
}

void Judge::DialIfIdle(Rank rank, TimePoint now) {
  auto& at = peer(rank);
  if (!at.dialling && now >= at.next_dial) {
    at.dialling = true;
    const Duration usual = std::max<Duration>(setup_.timeout / 5, 2 * beat_);
    hands_->Dial(rank, std::max(setup_.dial_patience, usual));
  }
}

/// In the store, where there is one, once a beat at most.
void Judge::ShowLife(TimePoint now) {
  if (setup_.has_store && (!shown_ || now - *shown_ >= beat_)) {
    shown_ = now;
    hands_->ShowLife();
  }
}

void Judge::OpenCase(Rank about, TimePoint now) {
  auto [at, first] = cases_.try_emplace(about);
  if (first) {
    at->second.since = now;
  }
}

void Judge::Investigate(Rank about, const std::string& cause, TimePoint now) {
  Notice(now);
  if (!Known(about) || peer(about).settled) {
    return;
  }
  if (peer(about).left) {
    Conclude(Finding{Finding::Source::kDeparture, ErrorKind::kRankFailed, about, "it left the job"}, now);
    return;
  }
  if (!peer(about).neighbour) {
    peer(about).heard = now;
  }
  OpenCase(about, now);
  auto& open = cases_[about];
  if (!open.data) {
    open.data = true;
    open.since = now;  // only what comes from now on says that it lives
    open.answered = false;
    open.witnesses.clear();
    open.sign.reset();
    open.sign_moved = false;
    open.cause = cause;
  }
  Work(about, now);
}

/// One round of finding out.
void Judge::Work(Rank about, TimePoint now) {
  auto found = cases_.find(about);
  if (found == cases_.end()) {
    return;
  }
  if (!Open(about)) {
    cases_.erase(found);
    return;
  }
  auto& at = peer(about);
  if (at.linked) {
    hands_->Ask(about, about, now);
  }
  if (!at.linked || !found->second.data) {
    DialIfIdle(about, now);  // a link that is silent may be one that leads nowhere any more
  }
  for (const Rank witness : WitnessesOf(about)) {
    if (peer(witness).linked) {
      hands_->Ask(witness, about, now);
    } else {
      DialIfIdle(witness, now);
    }
  }
  if (setup_.has_store && now - found->second.looked >= beat_ / 5) {
    found->second.looked = now;
    hands_->LookForLife(about);
    ShowLife(now);
  }
  Decide(about, now);
}

void Judge::OnMet(Rank from, TimePoint now) {
  Notice(now);
  if (Known(from) && peer(from).neighbour) {
    peer(from).met = true;
    peer(from).heard = std::min(peer(from).heard, now);
  }
}

void Judge::OnLink(Rank from, TimePoint now) {
  Notice(now);
  if (!Known(from)) {
    return;
  }
  auto& at = peer(from);
  at.linked = true;
  at.dialling = false;
  at.refused.reset();
  at.unanswered = false;
  OnHeard(from, now);
  if (cases_.contains(from)) {
    hands_->Ask(from, from, now);
  }
  for (const auto& [about, open] : std::map(cases_)) {
    if (WitnessesOf(about).contains(from)) {
      hands_->Ask(from, about, now);
    }
  }
}

void Judge::OnLinkEnd(Rank from, TimePoint now) {
  Notice(now);
  if (!Known(from)) {
    return;
  }
  auto& at = peer(from);
  at.linked = false;
  if (Open(from) && (at.neighbour || cases_.contains(from) || askers_.contains(from))) {
    at.next_dial = now;
    DialIfIdle(from, now);
  }
}

void Judge::OnDialFailed(Rank to, DialEnd how, TimePoint now) {
  Notice(now);
  if (!Known(to)) {
    return;
  }
  auto& at = peer(to);
  at.dialling = false;
  at.next_dial = now + (how == DialEnd::kBroken ? kBrokenPause : beat_ / 5);
  at.unanswered = how == DialEnd::kUnanswered;
  if (how != DialEnd::kRefused) {
    at.refused.reset();
  } else if (!at.refused) {
    at.refused = now;
  }
  if (!Open(to)) {
    return;
  }
  if (at.refused && !at.linked && at.neighbour) {
    const bool news = !cases_.contains(to);
    OpenCase(to, now);
    if (news) {
      Work(to, now);
    }
  }
  Answer(to, now);
  Decide(to, now);
}

void Judge::OnHeard(Rank from, TimePoint now) {
  Notice(now);
  if (!Known(from)) {
    return;
  }
  auto& at = peer(from);
  at.sign = now;
  at.heard = now;  // which ends the grace of the start, too
  Answer(from, now);
  Decide(from, now);
}

Testimony Judge::TestimonyOf(Rank about, TimePoint now, Duration* age) const {
  const auto& at = peer(about);
  *age = at.sign ? now - *at.sign : setup_.timeout;
  if (at.left) {
    return Testimony::kLeft;
  }
  if (at.refused && !at.linked) {
    return Testimony::kRefused;
  }
  if (at.sign && *age <= setup_.timeout / 4) {
    return Testimony::kHears;
  }
  // A neighbour's beats are missed by the dozen until then; another rank was dialled for so long, and did not answer.
  const bool silent = at.neighbour ? now - at.heard >= setup_.timeout / 2 && !InGrace(at, now)
                                   : at.probed && now - *at.probed >= setup_.timeout / 5;
  return silent ? Testimony::kSilent : Testimony::kUnsure;
}

void Judge::OnQuestion(Rank from, Rank about, TimePoint stamp, TimePoint now) {
  Notice(now);
  if (about == setup_.own) {
    hands_->Tell(from, about, stamp, Testimony::kHears, Duration{});
    ShowLife(now);  // it may not hear the answer
    return;
  }
  if (!Known(about)) {
    return;
  }
  auto& at = peer(about);
  Asker asker{stamp, now, Testimony::kUnsure};
  Duration age{};
  asker.told = TestimonyOf(about, now, &age);
  hands_->Tell(from, about, stamp, asker.told, age);
  if (!Open(about)) {
    return;
  }
  askers_[about][from] = asker;
  if (!at.neighbour && !at.probed) {
    at.probed = now;
  }
  if (!at.linked) {
    DialIfIdle(about, now);
  }
}

/// Tells who asked about a rank what has changed since.
void Judge::Answer(Rank about, TimePoint now) {
  auto found = askers_.find(about);
  if (found == askers_.end()) {
    return;
  }
  Duration age{};
  const auto testimony = TestimonyOf(about, now, &age);
  for (auto& [from, asker] : found->second) {
    if (asker.told != testimony) {
      asker.told = testimony;
      hands_->Tell(from, about, asker.stamp, testimony, age);
    }
  }
}

void Judge::OnAnswer(Rank from, Rank about, TimePoint asked, Testimony testimony, Duration age, TimePoint now) {
  Notice(now);
  auto found = cases_.find(about);
  if (found == cases_.end() || asked < found->second.since || asked > now) {
    return;
  }
  if (testimony == Testimony::kLeft) {
    const bool data = found->second.data;
    OnLeft(about);
    if (data) {
      Conclude(Finding{Finding::Source::kDeparture, ErrorKind::kRankFailed, about, "it left the job"}, now);
    }
    return;
  }
  if (from == about) {
    found->second.answered = true;
  } else {
    found->second.witnesses[from] = Witness{testimony, asked, age};
  }
  Decide(about, now);
}

void Judge::OnStore(Rank about, bool answers, const std::string& sign, TimePoint now) {
  Notice(now);
  if (!Known(about) || !answers) {
    return;
  }
  auto& at = peer(about);
  if (at.shown && *at.shown != sign) {
    at.alive = at.shown_at;
  }
  at.shown = sign;
  at.shown_at = now;
  auto found = cases_.find(about);
  if (found == cases_.end()) {
    return;
  }
  auto& open = found->second;
  open.store_answered = now;
  if (!open.sign) {
    open.sign = sign;
  } else if (*open.sign != sign) {
    open.sign_moved = true;
  }
  Decide(about, now);
}

void Judge::OnLeft(Rank from) {
  if (Known(from)) {
    peer(from).left = true;
    cases_.erase(from);
  }
}

void Judge::OnSettled(Rank about) {
  if (Known(about)) {
    peer(about).settled = true;
    cases_.erase(about);
  }
}

/// This process did not run: nothing that it did not hear meanwhile counts.
void Judge::Forget(TimePoint now) {
  for (Rank rank = 0; rank < setup_.size; ++rank) {
    auto& at = peer(rank);
    at.heard = std::max(at.heard, now);
    at.refused.reset();
    at.unanswered = false;
    if (at.probed) {
      at.probed = now;
    }
  }
  std::erase_if(cases_, [](const auto& open) { return !open.second.data; });
  for (auto& [about, open] : cases_) {
    open.since = now;
    open.answered = false;
    open.witnesses.clear();
    open.store_answered.reset();
    open.sign.reset();
    open.sign_moved = false;
  }
}

}  // namespace cylon::internal
