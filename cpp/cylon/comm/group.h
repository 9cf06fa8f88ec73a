/// One communicator at one rank: its members, what is under way, and whether it still stands.
#pragma once

#include <arrow/util/future.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cylon/comm/finding.h"
#include "cylon/comm/inbox.h"

namespace cylon::internal {

class Endpoint;

/// A finding is first *proposed*: told to all members and settled, so that every member raises the same one. Then the
/// group is *revoked*: whatever is under way fails, and so does every later call.
class Group : public std::enable_shared_from_this<Group> {
 public:
  /// `members` are ranks of the world, by rank of the group; `endpoint` outlives what is done here in tasks.
  Group(Endpoint* endpoint, uint32_t id, std::vector<Rank> members);

  // From any thread.

  uint32_t id() const { return id_; }
  Rank rank() const { return rank_; }
  int size() const { return static_cast<int>(members_.size()); }
  const std::vector<Rank>& members() const { return members_; }
  Rank ToWorld(Rank rank) const { return members_[static_cast<size_t>(rank)]; }
  Rank FromWorld(Rank world_rank) const;
  /// OK, or why the group is revoked, as seen from `operation` ("": the one that is set).
  arrow::Status Check(const std::string& operation = "", uint64_t sequence = 0) const;
  arrow::Future<> revoked() const { return revoked_; }
  void SetOperation(std::string operation);
  std::string operation() const;
  /// Messages of members so far: those of a barrier have no bytes that would show that something moves.
  int64_t messages() const { return messages_.load(std::memory_order_relaxed); }

  // From tasks.

  Endpoint& endpoint() { return *endpoint_; }
  ChannelId Channel(ChannelKind kind, uint64_t sequence) const;

  /// A finding is being settled: nothing new is begun until the group is revoked.
  bool doubtful() const { return proposed_.has_value() && !verdict_; }
  /// Registers and begins `operation`, or says why not.
  arrow::Status Begin(const std::shared_ptr<Operation>& operation);
  /// Forgets an operation and closes its channel.
  void Retire(Operation& operation);
  arrow::Future<std::shared_ptr<arrow::Buffer>> Receive(Rank from, uint64_t tag);
  arrow::Future<> Send(Rank to, std::shared_ptr<arrow::Buffer> value, uint64_t tag);

  /// A finding of this rank or told by another: told on, and settled.
  void Report(const Finding& finding);
  /// A finding that others learn without this group: settled.
  void Propose(const Finding& finding);
  void OnDeparture(Rank world_rank);
  void CountMessage() { messages_.fetch_add(1, std::memory_order_relaxed); }
  void OnMismatch(Rank from, const Call& theirs, const Call& own);
  void OnBrokenProtocol(Rank from, const std::string& what);
  void OnLocalFailure(const arrow::Status& status);

  /// Revoked at once by what every rank finds by itself, or this one alone.
  void End(const Finding& finding);
  /// This rank's first unfinished call, "" where there is none: that of the operator, else.
  std::string FirstUnfinished(uint64_t* sequence) const;
  /// Ranks of the group from which something is awaited, or to which something is on its way.
  std::set<Rank> Awaited() const;
  /// Adds the messages that are under way, by destination in the world.
  void AddInFlight(std::map<Rank, int>* messages) const;
  /// Ends everything with `why`, which is not a failure of the others: the context is closed.
  void Close(const arrow::Status& why);

 private:
  struct Verdict {
    arrow::Status closed;  // not OK: the context was closed; else
    Finding finding;
    bool agreed = true;
  };

  arrow::Status StatusOf(const Verdict& verdict, const std::string& operation, uint64_t sequence) const;
  Mailbox& MailboxOf(uint64_t tag);
  void Settle();
  void Conclude(Verdict verdict);

  Endpoint* endpoint_;
  uint32_t id_;
  std::vector<Rank> members_;
  std::map<Rank, Rank> from_world_;
  Rank rank_;
  arrow::Future<> revoked_ = arrow::Future<>::Make();

  std::atomic<int64_t> messages_{0};
  std::map<uint64_t, std::shared_ptr<Operation>> operations_;
  std::map<uint64_t, std::shared_ptr<Mailbox>> mailboxes_;  // by tag
  std::shared_ptr<Mailbox> sender_;  // never opened: holds the sends with a tag that are under way
  std::optional<Finding> proposed_;  // the best so far
  bool settling_ = false;            // the store was asked
  std::vector<std::shared_ptr<Timer>> timers_;

  mutable std::mutex mutex_;  // callers read what follows while tasks write it
  std::optional<Verdict> verdict_;
  std::string operation_;
};

}  // namespace cylon::internal
