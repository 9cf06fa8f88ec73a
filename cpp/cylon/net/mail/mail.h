/// One rank's end of a world whose messages go through a third party that is not trusted.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/mail/frame_assembler.h"
#include "cylon/net/mail/outbox.h"
#include "cylon/net/mail/seal.h"
#include "cylon/net/send_tracker.h"
#include "cylon/net/transport.h"

namespace cylon::internal {

/// How errors name a third party and what lies with it.
struct MailWords {
  std::string purpose;     ///< what its seals are for: other purposes have other keys
  std::string where;       ///< "in the Redis server at 127.0.0.1:6379"
  std::string entry;       ///< "entry"
  std::string left_alone;  ///< "keys that begin with cylon:": what no other program may touch
};

/// What tells what `from` says to `to` in this run from all else, for a seal's key to come of.
std::string MailDirection(const std::string& purpose, const World& world, Rank from, Rank to);

/// What does not depend on who the third is: streams to and from every peer, and how they end. All calls from the
/// rank's tasks. Who derives from this carries the outboxes' entries, and says what came, and who is gone.
class Mail : public std::enable_shared_from_this<Mail> {
 public:
  virtual ~Mail();
  Mail(const Mail&) = delete;
  Mail& operator=(const Mail&) = delete;

  virtual arrow::Future<> Start(Sink* sink) = 0;
  arrow::Future<> Send(Rank to, Message message);
  arrow::Future<> Flush() { return sends_.Flush(); }
  arrow::Future<> Close();
  void Abort();

 protected:
  struct Peer {
    enum class State : uint8_t { kThere, kLeft, kLost };
    State state = State::kThere;
    std::optional<Outbox> outbox;  // none: this rank itself
    bool writes = true;            // something may still go there
    bool dropped = false;          // it was this rank that ended it
    std::optional<Seal> seal;      // of what comes from there
    std::optional<FrameAssembler> frames;
    uint64_t received = 0;
    int64_t unacknowledged = 0;
  };

  /// `most_of_rank` and `most_window`: see LimitsOf.
  Mail(Executor& executor, World world, Duration timeout, int64_t most_of_rank, int64_t most_window);

  /// Seals and outboxes for all peers. `scheme` is what every card's address begins with; Invalid names one that does
  /// not.
  arrow::Status MakePeers(const MailWords& words, const std::string& scheme, const std::string& secret,
                          Outbox::Third third);
  /// Around what goes to `to`.
  virtual MailEnvelope EnvelopeTo(Rank to) const = 0;
  /// Carries what the outboxes have, where it may.
  virtual void Pump() = 0;
  /// Somebody was heard of by a message; is there no more, or was ended: need not be watched any longer.
  virtual void Heard(Rank rank) = 0;
  virtual void Forget(Rank rank) = 0;
  /// Leaves word that this rank gives up, where that can be done at once.
  virtual void GiveUp() = 0;
  /// Ends whatever is under way.
  virtual void CloseWays() = 0;

  Peer& peer(Rank rank) { return peers_[static_cast<size_t>(rank)]; }
  const std::string& address(Rank rank) const { return world_.cards[static_cast<size_t>(rank)].address; }
  /// Neither closed nor failed.
  bool open() const { return !stopped_ && failed_.ok(); }
  /// Once for all that is sent in this task: small messages share an entry.
  void PumpSoon();
  void FinishSends(const std::vector<uint64_t>& ids);
  /// What came from `from` as its entry `number`; an error of that peer ends it.
  void Take(Rank from, uint64_t number, std::string_view sealed);
  /// The next entry of `from` was put there, and is not to be found: ends that peer.
  void Miss(Rank from);
  /// Closing: everything that goes to the peers, their goodbyes too, lies with the third.
  bool AllPut() const;

  void HearLoss(Rank rank, const arrow::Status& cause);
  static arrow::Status GoneRank(Rank rank, const std::string& how);
  /// The third cannot be used: every peer is lost by it.
  void Fail(const arrow::Status& why);
  void Stop(const arrow::Status& why);

  Executor& executor_;
  const World world_;
  const Rank rank_;
  const Duration timeout_;
  const MailLimits limits_;
  MailWords words_;

  Sink* sink_ = nullptr;  // none: closing
  std::vector<Peer> peers_;
  bool started_ = false;
  bool closing_ = false;
  bool stopped_ = false;
  arrow::Future<> start_ = arrow::Future<>::Make();

 private:
  arrow::Status TakeSealed(Rank from, uint64_t number, std::string_view sealed);
  void Drop(Rank rank, const arrow::Status& why);

  SendTracker sends_;
  bool pumping_soon_ = false;
  arrow::Status failed_;
  arrow::Future<> close_ = arrow::Future<>::Make();
};

}  // namespace cylon::internal
