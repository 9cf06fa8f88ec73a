/// What a rank makes of the heartbeats that it hears and of those that it does not: no clock, no thread, no socket.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/comm/finding.h"

namespace cylon::internal {

/// What became of a connection that was dialled and does not stand.
enum class DialEnd : uint8_t {
  kRefused,      ///< the machine says that nobody listens there
  kBroken,       ///< it ended before both had proven themselves: strangers crowd the port, or its process is ending
  kUnanswered,   ///< the machine took it and the process says nothing: stopped, or starved
  kUnreachable,  ///< nothing came back at all
};

/// What a witness says of a rank.
enum class Testimony : uint8_t {
  kUnsure = 0,
  kHears = 1,    ///< a sign of life, `age` ago
  kSilent = 2,   ///< nothing for so long that it should have been heard
  kRefused = 3,  ///< nobody listens there
  kLeft = 4,     ///< it said goodbye
};

/// What a judge has done. Calls come from inside its own.
class JudgeHands {
 public:
  virtual ~JudgeHands() = default;
  /// The outcome comes by OnLink or OnDialFailed, within `patience`.
  virtual void Dial(Rank peer, Duration patience) = 0;
  /// Asks `witness`, to which a link stands, what it knows of `about`.
  virtual void Ask(Rank witness, Rank about, TimePoint now) = 0;
  /// Answers the question that `asker` asked at `stamp`, a time on its own clock.
  virtual void Tell(Rank asker, Rank about, TimePoint stamp, Testimony testimony, Duration age) = 0;
  /// Moves this rank's sign of life in the store.
  virtual void ShowLife() = 0;
  /// Reads another's; the outcome comes by OnStore.
  virtual void LookForLife(Rank about) = 0;
  virtual void Conclude(const Finding& finding) = 0;
};

/// Between two heartbeats, where a peer may be silent for `timeout`: a twentieth of it, from 50 to 500 ms.
Duration BeatOf(Duration timeout);

/// How it decides. Each rank hears a beat of both its ring neighbours, every BeatOf(`timeout`). One that is not heard
/// for 0.7 `timeout` is *suspected*: its watch is dialled again, and *witnesses* (those next to it and next to this
/// rank) are asked; the store is a witness too, in which whoever hears nothing of a neighbour shows that it lives. At
/// `timeout`:
///
///   somebody hears it                              -> the link is lost, both its ends live
///   a witness hears nothing either, or its machine
///   answers and it does not, or the store does and
///   it shows no life there                         -> the rank has failed
///   no rank and no store answers                   -> this rank is isolated, and accuses nobody
///
/// A watch whose connections end and where nobody listens any more belongs to a process that has ended: that is told at
/// once, where it is on this machine, and else when a witness has seen the same or none objects. A lost data link (see
/// Investigate) is settled the same way, but at once, if the peer answers.
///
/// A rank that was never heard is missed after `start_grace` only: it may not have begun, or the way to its watch may
/// not be made yet. Once a data link to it stands it runs, and shows life in the store until it hears its neighbours:
/// from then on it is missed when that stands still. Where it shows life and was not heard when the grace has ended,
/// the link is lost.
///
/// A tick that comes two beats late says that this process did not run: what it did not hear meanwhile says nothing.
class Judge {
 public:
  struct Setup {
    Rank own = 0;
    int size = 1;
    Duration timeout{};
    Duration dial_patience{};  ///< for one connection; zero: a fifth of the timeout, two beats at least
    Duration start_grace{};    ///< on top of the timeout, for the first beat
    std::set<Rank> here;       ///< whose refusal is that of this machine, with no network between
    bool has_store = false;
  };

  Judge(Setup setup, JudgeHands* hands);

  /// Between two beats: 50 ms at least, where a busy machine can keep them; 500 ms at most.
  Duration beat() const { return beat_; }
  /// Until the next Tick: less while something is to be found out.
  Duration pause() const { return cases_.empty() && askers_.empty() ? beat_ : beat_ / 5; }

  void Start(TimePoint now);
  void Tick(TimePoint now);

  /// A data link to `peer` stands for the first time.
  void OnMet(Rank peer, TimePoint now);
  void OnLink(Rank peer, TimePoint now);
  /// The last connection to `peer` has ended.
  void OnLinkEnd(Rank peer, TimePoint now);
  void OnDialFailed(Rank peer, DialEnd how, TimePoint now);
  /// Any message.
  void OnHeard(Rank peer, TimePoint now);
  void OnQuestion(Rank from, Rank about, TimePoint stamp, TimePoint now);
  /// `asked`: when this judge asked.
  void OnAnswer(Rank from, Rank about, TimePoint asked, Testimony testimony, Duration age, TimePoint now);
  /// What LookForLife found: the sign that stands there ("": none), or that the store does not answer.
  void OnStore(Rank about, bool answers, const std::string& sign, TimePoint now);
  void OnLeft(Rank peer);
  /// Somebody has found what there is to find about `peer`, or about the link to it.
  void OnSettled(Rank peer);
  /// The data link to `peer` is lost because of `cause`: is it the peer?
  void Investigate(Rank peer, const std::string& cause, TimePoint now);

 private:
  struct Peer {
    bool neighbour = false;
    bool dials = false;  // this rank makes the first connection
    bool left = false;
    bool settled = false;
    bool linked = false;
    bool dialling = false;
    std::optional<TimePoint> sign;     // when it was heard
    TimePoint heard{};                 // the same, or when counting began anew: what its silence is counted from
    TimePoint grace_end{};             // until when it may be that it was never heard, though it lives
    bool met = false;                  // a data link to it has stood
    TimePoint looked{};                // in the store, while it is met and was never heard
    std::optional<std::string> shown;  // what stood there last
    TimePoint shown_at{};              // when that was seen
    TimePoint alive{};                 // it has shown life since, as what stood there has changed
    TimePoint next_dial{};
    std::optional<TimePoint> refused;  // since when
    bool unanswered = false;           // what the last dial came to
    std::optional<TimePoint> probed;   // asked about by another rank since; it is no neighbour
  };
  struct Witness {
    Testimony testimony = Testimony::kUnsure;
    TimePoint asked{};
    Duration age{};
  };
  struct Case {
    TimePoint since{};
    bool data = false;  // a data link was lost
    std::string cause;
    bool answered = false;  // by the suspect, after the case was opened
    std::map<Rank, Witness> witnesses;
    TimePoint looked{};  // when the store was asked last
    std::optional<TimePoint> store_answered;
    std::optional<std::string> sign;
    bool sign_moved = false;
  };
  struct Asker {
    TimePoint stamp{};
    TimePoint came{};
    Testimony told = Testimony::kUnsure;
  };

  bool Known(Rank rank) const { return rank >= 0 && rank < setup_.size && rank != setup_.own; }
  Peer& peer(Rank rank) { return peers_[static_cast<size_t>(rank)]; }
  const Peer& peer(Rank rank) const { return peers_[static_cast<size_t>(rank)]; }
  /// From when on it is missed. One that was never heard may have shown life nevertheless.
  static TimePoint MissedSince(const Peer& peer) { return peer.sign ? peer.heard : std::max(peer.heard, peer.alive); }
  static bool InGrace(const Peer& peer, TimePoint now) { return !peer.sign && now < peer.grace_end; }
  /// Whether `peer` runs, was never heard, and should have been by `now`.
  static bool Overdue(const Peer& peer, TimePoint now) { return peer.met && !peer.sign && now >= peer.grace_end; }
  bool Open(Rank rank) const { return Known(rank) && !peer(rank).left && !peer(rank).settled; }
  Rank Next(Rank from, int step, Rank but) const;
  std::set<Rank> WitnessesOf(Rank about) const;
  void ShowLife(TimePoint now);
  void OpenCase(Rank about, TimePoint now);
  void Work(Rank about, TimePoint now);
  void Decide(Rank about, TimePoint now);
  void DecideSilence(Rank about, const Case& open, TimePoint now);
  void DialIfIdle(Rank rank, TimePoint now);
  void Notice(TimePoint now);
  void Forget(TimePoint now);
  Testimony TestimonyOf(Rank about, TimePoint now, Duration* age) const;
  void Answer(Rank about, TimePoint now);
  std::string WhoHears(Rank about, const Case& open, TimePoint now) const;
  std::vector<Rank> WhoElse(const Case& open, Testimony testimony, TimePoint now) const;
  void Conclude(Finding finding, TimePoint now);
  void LoseLink(Rank about, const std::string& cause, TimePoint now);
  std::string Limit() const;

  const Setup setup_;
  JudgeHands* hands_;
  const Duration beat_;
  std::vector<Peer> peers_;
  std::map<Rank, Case> cases_;
  std::map<Rank, std::map<Rank, Asker>> askers_;  // about whom, by whom
  std::optional<TimePoint> next_tick_;
  std::optional<TimePoint> shown_;  // when this rank last showed that it lives
  std::optional<TimePoint> awoke_;  // when it had not run
  Duration slept_{};                // for so long
};

}  // namespace cylon::internal
