/// Requests to a store server that outlive its connections.
#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "cylon/base/co.h"
#include "cylon/bootstrap/kept_values.h"
#include "cylon/bootstrap/nap.h"
#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// How long a request outlasts its connection, and how long an answer may take: as with a Redis server.
inline constexpr Duration kStorePatience = std::chrono::seconds(10);

/// Makes a connection on which both ends have proven themselves.
using StoreConnector = std::function<Co<std::unique_ptr<Stream>>(TimePoint deadline)>;

/// Belongs to tasks. A lost connection is made anew (at once, then 10 ms later, then after twice as long each, up to
/// 250 ms) while something waits for an answer, and what was not answered is asked again under the ids that it had.
///
/// A server that was started anew has lost its keys. What this client had put there (by Set, by a SetIfAbsent that it
/// won, by Add) stands again then, before anything else is asked: values where nobody else has set the key meanwhile,
/// counters at least where this client saw them; each for the time that it had left. So a job that is just being
/// joined goes on, as every rank brings back what it had said.
class StoreClient : public std::enable_shared_from_this<StoreClient> {
 public:
  StoreClient(Executor& executor, std::string server, StoreConnector connect, std::string session,
              Duration patience = kStorePatience);

  /// Connects; tries again until `deadline` while nobody answers, and then fails with a DeadlineError.
  static Co<void> Open(std::shared_ptr<StoreClient> self, TimePoint deadline);

  /// Finishes `wait` with the answer. A get ends at `deadline`; whatever is asked ends with IOError where the server
  /// does not answer in `patience`, or has been gone for so long.
  void Ask(StoreOp op, const std::string& key, const std::string& value, Duration time_to_live,
           std::shared_ptr<Wait> wait, TimePoint deadline = kNever);

  /// Ends all that is under way with Cancelled.
  void Close();

 private:
  struct Request {
    StoreOp op;
    std::string key;
    std::string value;
    int64_t live_ms = 0;
    std::shared_ptr<Wait> wait;
    bool restores = false;
  };
  struct Link;
  using LinkPtr = std::shared_ptr<Link>;

  static bool IsWrite(StoreOp op) { return op != StoreOp::kGet && op != StoreOp::kTryGet && op != StoreOp::kCancel; }
  uint64_t Answered() const;
  void Push(uint64_t id, const Request& request);
  void Answer(uint64_t id, arrow::Result<std::string> answer);
  void Keep(const Request& request, const std::string& answer);
  void Drop(LinkPtr link, const arrow::Status& why);
  /// More than what waits for somebody else.
  bool IsOwed() const;
  void ExpectAnswer(const LinkPtr& link);
  void FailAll(const arrow::Status& why);
  void Connect();
  void GoOn(LinkPtr link);
  void Restore();
  arrow::Status Gone(const std::string& what) const;
  static Co<void> Reconnect(std::shared_ptr<StoreClient> self);
  static Co<LinkPtr> TryConnect(std::shared_ptr<StoreClient> self, TimePoint deadline);
  static Co<void> Read(std::shared_ptr<StoreClient> self, LinkPtr link);

  Executor& executor_;
  const std::string server_;
  const StoreConnector connect_;
  const std::string session_;
  const Duration patience_;

  LinkPtr link_;           // or none
  LinkPtr joining_;        // before its first frame
  std::string life_;       // of the server in which all that is kept stands; empty: of none yet
  std::string next_life_;  // of the server in which it is being put
  size_t restoring_ = 0;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Request> asked_;
  std::map<uint64_t, Request> written_;
  KeptValues kept_;
  bool connecting_ = false;
  bool closed_ = false;
  std::string trouble_ = "it has not answered yet";
  Nap nap_;
};

}  // namespace cylon
