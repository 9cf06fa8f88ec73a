/// One process at a rendezvous server, over connections that may be lost.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/base/executor.h"
#include "cylon/bootstrap/courier.h"
#include "cylon/bootstrap/nap.h"
#include "cylon/bootstrap/rendezvous_protocol.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// With a server.
struct RendezvousPatience {
  Duration away = std::chrono::seconds(30);  ///< it may be: then who waits is told
  /// It may owe an answer and say nothing: then the connection is taken for one that a gateway has forgotten, and
  /// another is made. Twice as long each time that this changes nothing.
  Duration answer = std::chrono::seconds(2);
  /// After another's connection to the server was lost, not closed: so soon it has noticed, if it lives, and is back.
  Duration returns = std::chrono::seconds(1);
};

/// Makes a connection on which both ends have proven themselves.
using RendezvousConnector = std::function<Co<std::unique_ptr<Stream>>(TimePoint deadline)>;

/// Belongs to tasks. A lost connection is made anew (at once, then 10 ms later, then after twice as long each, up to
/// 1 s), under the same name; what was asked meanwhile waits, and is asked again under the ids that it had. When the
/// server has been away for longer than it may, what waits ends with IOError. Dialling goes on every 10 s, as letters
/// come only to who is there, and at once when something is asked.
class RendezvousClient : public std::enable_shared_from_this<RendezvousClient> {
 public:
  /// `server` is for messages. `name` and `incarnation` are this process's own, drawn by it.
  RendezvousClient(Executor& executor, std::string server, RendezvousConnector connect, std::string name,
                   std::string incarnation, RendezvousPatience patience = {});

  /// Connects; tries again until `deadline` while nobody answers, and then fails with a DeadlineError.
  static Co<void> Open(std::shared_ptr<RendezvousClient> self, TimePoint deadline);

  const std::string& name() const { return name_; }
  /// As Courier's.
  arrow::Future<> Tell(const std::string& to, const std::string& text);
  void OnLetter(std::function<void(const CourierLetter&)> on_letter);

  struct ProbeToken {
    std::string token;
    std::vector<HostPort> lookers;  ///< the server's addresses, each of which it is good for once
  };
  static Co<ProbeToken> DrawToken(std::shared_ptr<RendezvousClient> self, TimePoint deadline);

  /// Ends it all with Cancelled.
  void Close();

 private:
  struct Asked {
    RendezvousFrame frame;
    arrow::Future<std::string> done;
    std::shared_ptr<Timer> timer = nullptr;
  };
  struct Link;
  using LinkPtr = std::shared_ptr<Link>;

  arrow::Future<std::string> Ask(RendezvousFrame frame, TimePoint deadline = kNever);
  void Answer(uint64_t id, arrow::Result<std::string> answer);
  void Hear(const RendezvousFrame& letter);
  arrow::Status Take(const LinkPtr& link, const RendezvousFrame& frame);
  void Drop(const LinkPtr& link, const arrow::Status& why);
  void ExpectAnswer(const LinkPtr& link);
  void FailAll(const arrow::Status& why);
  void Connect();
  void GoOn(const LinkPtr& link);
  arrow::Status Gone() const;
  static Co<void> Reconnect(std::shared_ptr<RendezvousClient> self);
  static Co<LinkPtr> TryConnect(std::shared_ptr<RendezvousClient> self, TimePoint deadline);
  static Co<void> Read(std::shared_ptr<RendezvousClient> self, LinkPtr link);

  Executor& executor_;
  const std::string server_;
  const RendezvousConnector connect_;
  const std::string name_;
  const std::string incarnation_;
  const RendezvousPatience patience_;

  LinkPtr link_;     // or none
  LinkPtr joining_;  // before its first frame
  uint64_t next_id_ = 1;
  std::map<uint64_t, Asked> asked_;
  std::function<void(const CourierLetter&)> on_letter_;
  std::deque<CourierLetter> early_;                      // came before there was anybody to tell
  std::unordered_map<std::string, uint64_t> last_from_;  // the id of a sender's last letter
  Duration owed_;                                        // an answer, for so long at most
  TimePoint give_up_{};                                  // while connecting: until then who asks may wait
  std::string life_;                                     // of the server
  TimePoint others_due_{};  // until then others come back to a server that was started anew
  bool connecting_ = false;
  bool closed_ = false;
  std::string trouble_ = "it has not answered yet";
  Nap nap_;
};

}  // namespace cylon
