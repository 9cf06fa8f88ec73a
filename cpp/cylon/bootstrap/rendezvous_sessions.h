/// What a rendezvous server knows of the processes that wait at it, and passes between them, apart from how they come.
#pragma once

#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/rendezvous_counters.h"
#include "cylon/bootstrap/rendezvous_guest.h"
#include "cylon/bootstrap/rendezvous_protocol.h"

namespace cylon {

struct RendezvousLimits {
  /// One takes 8 KiB, over TLS 24 KiB.
  size_t sessions = 10240;
  /// Letters of one session: so many at once, as a process may write to each of its world when it begins, and then so
  /// many per second. Who writes more is read more slowly; nothing is refused for it.
  size_t letters_at_once = 2048;
  double letters_per_second = 512;
  /// What one session, and all together, have been sent and not read. Who has more is closed.
  size_t unread = 4 << 20;
  size_t unread_in_all = 256 << 20;
};

/// Sessions by name. Belongs to tasks.
class RendezvousSessions : public std::enable_shared_from_this<RendezvousSessions> {
 public:
  /// `life` is what this server is told from others by: kRendezvousNonceBytes that nobody else has drawn.
  /// `probe_ports`: where probes come to besides the port that clients have dialled.
  RendezvousSessions(Executor& executor, std::string life, std::vector<uint16_t> probe_ports,
                     std::shared_ptr<RendezvousCounters> counters, RendezvousLimits limits = {});

  /// Answers over `stream`, whose other end is `guest`, until either side ends it. Who belongs to another job is nobody
  /// to it.
  static Co<void> Serve(std::shared_ptr<RendezvousSessions> self, std::unique_ptr<Stream> stream, Guest guest);

  /// Somebody at `from` has shown `token` at the port `looker`: 0 the one that is dialled, 1 the first of the others,
  /// and so on. False where no session has drawn it, or it was shown there before.
  bool Probed(size_t looker, const std::string& token, const HostPort& from);

  size_t jobs() const { return of_job_.size(); }
  /// What all sessions have been sent and have not read.
  size_t queued_bytes() const { return *unread_; }
  /// With those that have not said their name yet.
  size_t connections() const { return sessions_.size(); }
  /// Ends all sessions; later ones end at once.
  void Close();

 private:
  struct Session;
  using SessionPtr = std::shared_ptr<Session>;

  static Co<void> Converse(std::shared_ptr<RendezvousSessions> self, SessionPtr session);
  arrow::Status Greet(const SessionPtr& session, const RendezvousFrame& hello);
  arrow::Status TakePlace(const SessionPtr& session, const std::string& name);
  void LeavePlace(const SessionPtr& session);
  void Remember(const SessionPtr& lost);
  arrow::Status Handle(const SessionPtr& session, const RendezvousFrame& frame);
  arrow::Status PassOn(const SessionPtr& session, const RendezvousFrame& tell);
  arrow::Status Draw(const SessionPtr& session, uint64_t id);
  void End(const SessionPtr& session, const arrow::Status& why);

  Executor& executor_;
  const std::string life_;
  const std::vector<uint16_t> probe_ports_;
  const std::shared_ptr<RendezvousCounters> counters_;
  const RendezvousLimits limits_;
  std::list<SessionPtr> sessions_;
  std::unordered_map<std::string, SessionPtr> named_;
  std::unordered_map<std::string, size_t> of_job_;      // sessions with a name
  std::unordered_map<std::string, SessionPtr> tokens_;  // the one that a session has drawn last
  struct Lost {
    std::string job;
    TimePoint when;
  };
  std::unordered_map<std::string, Lost> lost_;            // names whose connection was not closed by them
  std::deque<std::pair<TimePoint, std::string>> losses_;  // oldest first
  std::shared_ptr<size_t> unread_ = std::make_shared<size_t>(0);
  bool closed_ = false;
};

}  // namespace cylon
