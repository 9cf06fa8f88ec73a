// Queues for each source, collectives under way, and tags.
#include "cylon/comm/inbox.h"

#include <utility>

#include "cylon/base/co.h"
#include "cylon/comm/endpoint.h"
#include "cylon/comm/group.h"

namespace cylon::internal {

namespace {

/// What a rank sent before its goodbye has arrived by then, but may still be on its way through this rank's own queues.
/// In a simulation the clock stands while anything can happen, so there any time is enough.
constexpr auto kDepartureGrace = std::chrono::milliseconds(50);

/// Calls in which every rank sends data to its right ring neighbour anyway.
bool TellsRightNeighbour(const Call& call, int size) {
  switch (call.kind) {
    case CallKind::kAllReduce:
      return size == 2 && !call.invalid;  // elsewhere every second rank begins with its left neighbour
    case CallKind::kBarrier:
    case CallKind::kAllGather:
    case CallKind::kAllToAll:
    case CallKind::kAgree:
    case CallKind::kSplit:
      return !call.invalid;
    default:
      return false;
  }
}

}  // namespace

Inbox::Inbox(Group* group, ChannelId channel) : group_(group), channel_(channel) {}

arrow::Future<Message> Inbox::Receive(Rank from) {
  if (failure_) {
    return arrow::Future<Message>::MakeFinished(*failure_);
  }
  Source& source = sources_[from];
  if (source.waiting.empty() && !source.arrived.empty()) {
    auto message = std::move(source.arrived.front());
    source.arrived.pop_front();
    return arrow::Future<Message>::MakeFinished(std::move(message));
  }
  auto future = arrow::Future<Message>::Make();
  source.waiting.push_back(future);
  if (group_->endpoint().HasLeft(group_->ToWorld(from))) {
    OnDeparture(from);
  }
  return future;
}

arrow::Future<> Inbox::SendOn(const ChannelId& channel, Rank to, const InlineBytes& header, Buffers segments) {
  if (failure_) {
    return arrow::Future<>::MakeFinished(*failure_);
  }
  Message message;
  message.channel = channel;
  message.header = header;
  message.segments = std::move(segments);
  const Rank world_to = group_->ToWorld(to);
  auto sent = group_->endpoint().lanes().Send(world_to, std::move(message));
  if (sent.is_finished() && sent.status().ok()) {
    return sent;
  }
  // The caller's future ends when the communicator is revoked, too: a message that nobody takes any more must not hold
  // it.
  auto out = arrow::Future<>::Make();
  const uint64_t id = next_send_++;
  sends_.emplace(id, std::pair(to, out));
  sent.AddCallback([weak = weak_from_this(), id, world_to](const arrow::Status& status) {
    auto self = weak.lock();
    if (!self || self->failure_) {
      return;
    }
    if (!status.ok()) {
      self->group_->endpoint().OnSendFailed(world_to, status);
      return;
    }
    auto at = self->sends_.find(id);
    if (at != self->sends_.end()) {
      auto finished = std::move(at->second.second);
      self->sends_.erase(at);
      finished.MarkFinished();
    }
  });
  return out;
}

void Inbox::Fail(const arrow::Status& status) {
  if (failure_) {
    return;
  }
  auto self = shared_from_this();  // whoever waits may let go of this
  failure_ = status;
  auto sources = std::exchange(sources_, {});
  auto sends = std::exchange(sends_, {});
  for (auto& [from, source] : sources) {
    for (auto& waiting : source.waiting) {
      waiting.MarkFinished(status);
    }
  }
  for (auto& [id, send] : sends) {
    send.second.MarkFinished(status);
  }
}

void Inbox::AddAwaited(std::set<Rank>* ranks) const {
  for (const auto& [from, source] : sources_) {
    if (!source.waiting.empty()) {
      ranks->insert(from);
    }
  }
  for (const auto& [id, send] : sends_) {
    ranks->insert(send.first);
  }
}

void Inbox::AddInFlight(std::map<Rank, int>* messages) const {
  for (const auto& [id, send] : sends_) {
    ++(*messages)[group_->ToWorld(send.first)];
  }
}

bool Inbox::Awaits(Rank from) const {
  auto at = sources_.find(from);
  return at != sources_.end() && !at->second.waiting.empty();
}

void Inbox::OnDeparture(Rank from) {
  if (failure_ || !Awaits(from)) {
    return;
  }
  auto& executor = group_->endpoint().executor();
  executor.PostAt(executor.Now() + kDepartureGrace, [weak = weak_from_this(), from] {
    auto self = weak.lock();
    if (self && !self->failed() && self->Awaits(from)) {
      self->group_->endpoint().OnMissed(self->group_->ToWorld(from));
    }
  });
}

void Inbox::OnMessage(Rank world_from, Message message) {
  auto self = shared_from_this();
  const Rank from = group_->FromWorld(world_from);
  if (failure_ || from < 0) {
    return;
  }
  group_->CountMessage();
  OnMemberMessage(from, std::move(message));
}

void Inbox::OnReceiveError(Rank, const arrow::Status& status) {
  auto self = shared_from_this();
  group_->OnLocalFailure(status);
}

void Inbox::Deliver(Rank from, Message message) {
  Source& source = sources_[from];
  if (source.waiting.empty()) {
    source.arrived.push_back(std::move(message));
    return;
  }
  auto waiting = std::move(source.waiting.front());
  source.waiting.pop_front();
  waiting.MarkFinished(std::move(message));
}

Operation::Operation(std::shared_ptr<Group> group, ChannelId channel, Call call)
    : Inbox(group.get(), channel), keeps_(std::move(group)), call_(std::move(call)) {}

Rank Operation::rank() const { return keeps_->rank(); }
int Operation::size() const { return keeps_->size(); }

void Operation::Begin() {
  keeps_->endpoint().lanes().Open(channel(), this);
  if (!TellsRightNeighbour(call_, size()) && !failed()) {
    const Rank right = (rank() + 1) % size();
    // One that has left has made all its calls; whoever needs it finds out.
    if (!keeps_->endpoint().HasLeft(keeps_->ToWorld(right))) {
      Message message;
      message.channel = channel();
      message.header = Encode(CallHeader{call_, sequence(), /*announcement=*/true});
      (void)keeps_->endpoint().lanes().Send(keeps_->ToWorld(right), std::move(message));
    }
  }
}

void Operation::End() {
  ended_ = true;
  RetireWhenDone();
}

void Operation::Send(Rank to, Buffers segments) {
  const auto header = Encode(CallHeader{call_, sequence(), /*announcement=*/false});
  auto sent = SendOn(channel(), to, header, std::move(segments));
  if (!sent.is_finished() || !sent.status().ok()) {
    sent_.push_back(std::move(sent));
  }
}

arrow::Future<> Operation::Sent() {
  auto sent = std::exchange(sent_, {});
  return sent.empty() ? Done() : arrow::AllFinished(sent);
}

void Operation::OnMemberMessage(Rank from, Message message) {
  auto header = DecodeCallHeader(message.header);
  if (!header.ok()) {
    group().OnBrokenProtocol(from, header.status().message());
    return;
  }
  if (!SameCall(header->call, call_)) {
    group().OnMismatch(from, header->call, call_);
    return;
  }
  if (from == (rank() + size() - 1) % size()) {
    heard_left_ = true;
  }
  if (!header->announcement) {
    Deliver(from, std::move(message));
  }
  RetireWhenDone();
}

void Operation::RetireWhenDone() {
  if (ended_ && (heard_left_ || failed())) {
    keeps_->Retire(*this);
  }
}

bool Mailbox::Admit(Rank world_from, int64_t) {
  const Rank from = group().FromWorld(world_from);
  return from < 0 || Awaits(from);
}

}  // namespace cylon::internal
