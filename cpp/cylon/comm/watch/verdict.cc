// What a case comes to: the rank has failed, the link to it is lost, or this rank is cut off.
#include <algorithm>

#include "cylon/base/readable.h"
#include "cylon/comm/watch/judge.h"

namespace cylon::internal {

namespace {

/// Whoever lives moves its sign in the store once a beat: so many beats after a case was opened it has moved.
constexpr int kBeatsToShowLife = 2;
/// A refusal from another machine may be that of a firewall: for so many beats anybody may object who hears the rank.
constexpr int kObjectionBeats = 2;

std::string InShort(Duration time) { return ReadableSeconds(std::chrono::duration<double>(time).count()); }

}  // namespace

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
  if (Overdue(at, now) && !hearer.empty()) {
    LoseLink(about, "nothing came through since the start, though " + hearer, now);
    return;
  }
  if (!open.data && !refused && now - MissedSince(at) < setup_.timeout / 2 &&
      !Overdue(at, now + setup_.timeout * 3 / 10)) {
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
  const bool in_grace = InGrace(peer(about), now);
  if (!hearer.empty() && in_grace) {
    return;
  }
  if (!hearer.empty()) {
    LoseLink(about, "nothing came through for " + Limit() + ", though " + hearer, now);
    return;
  }
  if (now - peer(about).alive < setup_.timeout) {
    return;  // only nothing comes through
  }
  const std::string silent = "silent for " + Limit() + ": ";
  Finding finding{Finding::Source::kSilence, ErrorKind::kRankFailed, about, ""};
  std::vector<Rank> witnesses;
  if (!in_grace) {
    witnesses = WhoElse(open, Testimony::kSilent, now);
    for (const Rank rank : WhoElse(open, Testimony::kRefused, now)) {
      witnesses.push_back(rank);
    }
  }
  const std::string here = "no heartbeat at rank " + std::to_string(setup_.own);
  if (!witnesses.empty()) {
    witnesses.push_back(setup_.own);
    std::sort(witnesses.begin(), witnesses.end());
    finding.text = silent + "no heartbeat at " + ReadableRanks(witnesses);
  } else if (peer(about).unanswered && !in_grace) {
    finding.text = silent + here + ", and its machine takes connections that the process does not answer";
  } else if (open.store_answered && now - *open.store_answered <= 3 * beat_) {
    if (now - open.since < kBeatsToShowLife * beat_) {
      return;  // a lost data link may just have begun the case anew
    }
    finding.text = silent + here + ", and no sign of life in the store";
  } else if ((in_grace && !open.data) || !WhoElse(open, Testimony::kUnsure, now).empty()) {
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
