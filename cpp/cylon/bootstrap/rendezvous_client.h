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

/// How long the server may be away.
inline constexpr Duration kRendezvousPatience = std::chrono::seconds(30);

/// Makes a connection on which both ends have proven themselves.
using RendezvousConnector = std::function<Co<std::unique_ptr<Stream>>(TimePoint deadline)>;

/// Belongs to tasks. A lost connection is made anew (at once, then 10 ms later, then after twice as long each, up to
/// 1 s) for up to `patience`, under the same name; what was asked meanwhile waits, and is asked again under the ids
/// that it had. When that time is over, what waits ends with IOError, and the next that is asked begins anew.
class RendezvousClient : public std::enable_shared_from_this<RendezvousClient> {
 public:
  /// `server` is for messages. `name` and `incarnation` are this process's own, drawn by it.
  RendezvousClient(Executor& executor, std::string server, RendezvousConnector connect, std::string name,
                   std::string incarnation, Duration patience = kRendezvousPatience);

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
  const Duration patience_;

  LinkPtr link_;     // or none
  LinkPtr joining_;  // before its first frame
  uint64_t next_id_ = 1;
  std::map<uint64_t, Asked> asked_;
  std::function<void(const CourierLetter&)> on_letter_;
  std::deque<CourierLetter> early_;                      // came before there was anybody to tell
  std::unordered_map<std::string, uint64_t> last_from_;  // the id of a sender's last letter
  bool connecting_ = false;
  bool closed_ = false;
  std::string trouble_ = "it has not answered yet";
  Nap nap_;
};

}  // namespace cylon
