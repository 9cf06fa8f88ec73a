/// The receiving end of one channel of a communicator: a queue for each source, and who waits on it.
#pragma once

#include <arrow/util/future.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "cylon/comm/call.h"
#include "cylon/net/lanes.h"

namespace cylon::internal {

class Group;

/// Used in tasks of the executor only, like everything here. Ranks are those of the group.
class Inbox : public Receiver, public std::enable_shared_from_this<Inbox> {
 public:
  Inbox(Group* group, ChannelId channel);

  const ChannelId& channel() const { return channel_; }
  Group& group() { return *group_; }

  /// The next message of `from`. Fails when the inbox does.
  arrow::Future<Message> Receive(Rank from);

  /// Finishes when the buffers of the message may be reused; fails when the inbox does. `channel` is most often its
  /// own.
  arrow::Future<> SendOn(const ChannelId& channel, Rank to, const InlineBytes& header, Buffers segments);

  /// Ends everything that waits, now and later, with `status`.
  void Fail(const arrow::Status& status);
  bool failed() const { return failure_.has_value(); }

  /// Adds whose messages are awaited, and who has not taken what was sent.
  void AddAwaited(std::set<Rank>* ranks) const;
  /// Adds the messages that are under way, by destination in the world.
  void AddInFlight(std::map<Rank, int>* messages) const;

  /// `from` said goodbye: nothing that has not arrived yet will come.
  void OnDeparture(Rank from);

  void OnMessage(Rank world_from, Message message) override;
  void OnReceiveError(Rank world_from, const arrow::Status& status) override;

 protected:
  /// A message of a member of the group.
  virtual void OnMemberMessage(Rank from, Message message) { Deliver(from, std::move(message)); }
  void Deliver(Rank from, Message message);
  bool Awaits(Rank from) const;

 private:
  struct Source {
    std::list<Message> arrived;  // lists: most channels have one message, and an empty deque has memory already
    std::list<arrow::Future<Message>> waiting;
  };

  Group* group_;
  ChannelId channel_;
  std::map<Rank, Source> sources_;
  std::map<uint64_t, std::pair<Rank, arrow::Future<>>> sends_;  // under way
  uint64_t next_send_ = 0;
  std::optional<arrow::Status> failure_;
};

/// One collective under way. It lives, and keeps its group, until the call has ended here and the left ring neighbour
/// has told its own call: a ring of equal neighbours is a world of equal calls, so every disagreement is seen by
/// somebody, even among ranks that would only wait for each other.
class Operation final : public Inbox {
 public:
  Operation(std::shared_ptr<Group> group, ChannelId channel, Call call);

  const Call& call() const { return call_; }
  uint64_t sequence() const { return channel().sequence; }
  std::string text() const { return ToText(call_); }
  Rank rank() const;
  int size() const;

  /// Opens the channel, and tells the right ring neighbour of the call where its algorithm does not.
  void Begin();
  /// The call has ended.
  void End();
  bool ended() const { return ended_; }

  /// Sends data; what of it is still under way is waited for by Sent.
  void Send(Rank to, Buffers segments);
  /// Finishes when the buffers of everything sent so far may be reused.
  arrow::Future<> Sent();

 protected:
  void OnMemberMessage(Rank from, Message message) override;

 private:
  void RetireWhenDone();

  std::shared_ptr<Group> keeps_;
  Call call_;
  std::vector<arrow::Future<>> sent_;
  bool ended_ = false;
  bool heard_left_ = false;
};

/// The messages of one tag. Large ones are admitted when somebody asks for them, so that a sender cannot fill memory.
class Mailbox final : public Inbox {
 public:
  using Inbox::Inbox;
  bool Admit(Rank world_from, int64_t bytes) override;
};

}  // namespace cylon::internal
