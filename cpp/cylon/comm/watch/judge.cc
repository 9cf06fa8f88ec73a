// What a rank makes of the heartbeats that it hears and of those that it does not.
#include "cylon/comm/watch/judge.h"

#include <algorithm>

#include "cylon/base/readable.h"

namespace cylon::internal {

namespace {

using namespace std::chrono_literals;

/// A tick that is later than so many beats says that this process did not run.
constexpr int kLateBeats = 2;
/// Whoever lives moves its sign in the store once a beat: so many beats after a case was opened it has moved.
constexpr int kBeatsToShowLife = 2;
/// A refusal from another machine may be that of a firewall: for so many beats anybody may object who hears the rank.
constexpr int kObjectionBeats = 2;
/// A connection that ended before it was proven is dialled again soon: its process is ending, or crowded.
constexpr Duration kBrokenPause = 10ms;

std::string InShort(Duration time) { return ReadableSeconds(std::chrono::duration<double>(time).count()); }

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
    if (at.neighbour && now - at.heard >= setup_.timeout * 7 / 10) {
      OpenCase(rank, now);
    }
    if (at.neighbour && !at.linked && (at.dials || at.sign)) {
      DialIfIdle(rank, now);
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
    if (!shown_ || now - *shown_ >= beat_) {
      shown_ = now;
      hands_->ShowLife();
    }
  }
  Decide(about, now);
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
  const bool silent =
      at.neighbour ? now - at.heard >= setup_.timeout / 2 : at.probed && now - *at.probed >= setup_.timeout / 5;
  return silent ? Testimony::kSilent : Testimony::kUnsure;
}

void Judge::OnQuestion(Rank from, Rank about, TimePoint stamp, TimePoint now) {
  Notice(now);
  if (about == setup_.own) {
    hands_->Tell(from, about, stamp, Testimony::kHears, Duration{});
    if (setup_.has_store && (!shown_ || now - *shown_ >= beat_)) {
      shown_ = now;
      hands_->ShowLife();  // it may not hear the answer
    }
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
  auto found = cases_.find(about);
  if (found == cases_.end() || !answers) {
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

/// Who has a sign of life, "" for nobody. After a lost data link or a refusal only what the peer sent later counts:
/// half a beat later, since what a witness heard may have been sent before.
std::string Judge::WhoHears(Rank about, const Case& open, TimePoint now) const {
  const auto& refused = peer(about).refused;
  for (const auto& [rank, witness] : open.witnesses) {
    const TimePoint heard = witness.asked - witness.age;  // at the earliest
    const bool fresh = (!open.data || heard > open.since + beat_ / 2) && (!refused || heard > *refused + beat_ / 2) &&
                       now - witness.asked <= 3 * beat_;
    if (witness.testimony == Testimony::kHears && fresh) {
      return "rank " + std::to_string(rank) + " hears it";
    }
  }
  return open.sign_moved ? "it shows signs of life in the store" : "";
}

std::vector<Rank> Judge::WhoElse(const Case& open, Testimony testimony, TimePoint now) const {
  std::vector<Rank> ranks;
  for (const auto& [rank, witness] : open.witnesses) {
    if (witness.testimony == testimony && now - witness.asked <= 3 * beat_) {
      ranks.push_back(rank);
    }
  }
  return ranks;
}

void Judge::Decide(Rank about, TimePoint now) {
  auto found = cases_.find(about);
  if (found == cases_.end() || !Open(about)) {
    return;
  }
  const Case& open = found->second;
  const auto& at = peer(about);
  const bool refused = at.refused && !at.linked;
  const std::string hearer = WhoHears(about, open, now);
  if (open.data && (open.answered || !hearer.empty())) {
    LoseLink(about, open.cause, now);
    return;
  }
  if (!open.data && !refused && now - at.heard < setup_.timeout / 2) {
    cases_.erase(found);  // heard again
    return;
  }
  if (refused && hearer.empty()) {
    const bool certain = setup_.here.contains(about) || !WhoElse(open, Testimony::kRefused, now).empty();
    if (certain || now - *at.refused >= kObjectionBeats * beat_) {
      Conclude(Finding{Finding::Source::kEnded, ErrorKind::kRankFailed, about,
                       "its process ended: the connections closed and nobody listens there any more"},
               now);
      return;
    }
  }
  if (now - at.heard >= setup_.timeout) {
    DecideSilence(about, open, now);
  }
}

void Judge::DecideSilence(Rank about, const Case& open, TimePoint now) {
  const std::string hearer = WhoHears(about, open, now);
  if (!hearer.empty()) {
    LoseLink(about, "nothing came through for " + Limit() + ", though " + hearer, now);
    return;
  }
  const std::string silent = "silent for " + Limit() + ": ";
  Finding finding{Finding::Source::kSilence, ErrorKind::kRankFailed, about, ""};
  auto witnesses = WhoElse(open, Testimony::kSilent, now);
  for (const Rank rank : WhoElse(open, Testimony::kRefused, now)) {
    witnesses.push_back(rank);
  }
  const std::string here = "no heartbeat at rank " + std::to_string(setup_.own);
  if (!witnesses.empty()) {
    witnesses.push_back(setup_.own);
    std::sort(witnesses.begin(), witnesses.end());
    finding.text = silent + "no heartbeat at " + ReadableRanks(witnesses);
  } else if (peer(about).unanswered) {
    finding.text = silent + here + ", and its machine takes connections that the process does not answer";
  } else if (open.store_answered && now - *open.store_answered <= 3 * beat_) {
    if (now - open.since < kBeatsToShowLife * beat_) {
      return;  // a lost data link may just have begun the case anew
    }
    finding.text = silent + here + ", and no sign of life in the store";
  } else if (!WhoElse(open, Testimony::kUnsure, now).empty()) {
    return;  // it will know
  } else {
    for (Rank rank = 0; rank < setup_.size; ++rank) {
      if (Open(rank) && peer(rank).sign && now - *peer(rank).sign < setup_.timeout / 2) {
        return;  // it can be asked
      }
    }
    finding = Finding{Finding::Source::kSilence, ErrorKind::kIsolated, setup_.own, ""};
    finding.text =
        "nothing came from rank " + std::to_string(about) + " for " + Limit() + ", and no other rank answers";
  }
  Conclude(std::move(finding), now);
}

void Judge::LoseLink(Rank about, const std::string& cause, TimePoint now) {
  Conclude(Finding{Finding::Source::kLink, ErrorKind::kLinkLost, std::min(about, setup_.own), cause,
                   std::max(about, setup_.own)},
           now);
}

void Judge::Conclude(Finding finding, TimePoint now) {
  if (awoke_ && now - *awoke_ < setup_.timeout) {
    finding.text +=
        " (rank " + std::to_string(setup_.own) + ", which says so, had itself not run for " + InShort(slept_) + ")";
  }
  if (finding.kind == ErrorKind::kIsolated) {
    for (auto& each : peers_) {
      each.settled = true;
    }
    cases_.clear();
  } else {
    OnSettled(finding.rank);
    OnSettled(finding.other);
  }
  hands_->Conclude(finding);
}

/// The limit that has passed, the same text at every watcher.
std::string Judge::Limit() const { return InShort(setup_.timeout); }

}  // namespace cylon::internal
