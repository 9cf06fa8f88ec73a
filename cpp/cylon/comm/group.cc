// One communicator at one rank.
#include "cylon/comm/group.h"

#include <algorithm>
#include <utility>

#include "cylon/comm/endpoint.h"

namespace cylon::internal {

namespace {

/// Until then the store has to have settled whose finding is the cause; survivors wait no longer.
constexpr auto kSettleWindow = std::chrono::milliseconds(500);
/// A launcher sees a process end as soon as its peers see the link go, and needs the store to say why.
constexpr auto kLauncherGrace = std::chrono::milliseconds(200);
/// Without a store: long enough for findings of others to arrive.
constexpr auto kFloodWindow = std::chrono::milliseconds(50);

}  // namespace

Group::Group(Endpoint* endpoint, uint32_t id, std::vector<Rank> members)
    : endpoint_(endpoint), id_(id), members_(std::move(members)) {
  for (size_t i = 0; i < members_.size(); ++i) {
    from_world_.emplace(members_[i], static_cast<Rank>(i));
  }
  rank_ = FromWorld(endpoint_->rank());
}

Rank Group::FromWorld(Rank world_rank) const {
  auto at = from_world_.find(world_rank);
  return at == from_world_.end() ? -1 : at->second;
}

arrow::Status Group::Check(const std::string& operation, uint64_t sequence) const {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!verdict_) {
    return arrow::Status::OK();
  }
  return StatusOf(*verdict_, operation.empty() ? operation_ : operation, sequence);
}

void Group::SetOperation(std::string operation) {
  std::lock_guard<std::mutex> lock(mutex_);
  operation_ = std::move(operation);
}

std::string Group::operation() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return operation_;
}

arrow::Status Group::StatusOf(const Verdict& verdict, const std::string& operation, uint64_t sequence) const {
  if (!verdict.closed.ok()) {
    return verdict.closed;
  }
  return ToStatus(verdict.finding, endpoint_->rank(), endpoint_->host(verdict.finding.rank), operation, sequence,
                  verdict.agreed);
}

ChannelId Group::Channel(ChannelKind kind, uint64_t sequence) const {
  return ChannelId{endpoint_->epoch(), id_, kind, sequence};
}

arrow::Status Group::Begin(const std::shared_ptr<Operation>& operation) {
  if (!Check().ok()) {  // asked first without the operation's name, which takes 0.3 us to write
    return Check(operation->text(), operation->sequence());
  }
  operations_.emplace(operation->sequence(), operation);
  operation->Begin();
  return arrow::Status::OK();
}

void Group::Retire(Operation& operation) {
  auto at = operations_.find(operation.sequence());
  if (at == operations_.end()) {
    return;
  }
  // In a task of its own: this may be a callback of the very channel.
  endpoint_->executor().Post([endpoint = endpoint_->weak_from_this(), operation = std::move(at->second)] {
    auto self = endpoint.lock();
    if (self && !self->closed()) {
      self->lanes().Close(operation->channel());
    }
  });
  operations_.erase(at);
}

Mailbox& Group::MailboxOf(uint64_t tag) {
  auto& mailbox = mailboxes_[tag];
  if (!mailbox) {
    mailbox = std::make_shared<Mailbox>(this, Channel(ChannelKind::kPointToPoint, tag));
  }
  return *mailbox;
}

arrow::Future<std::shared_ptr<arrow::Buffer>> Group::Receive(Rank from, uint64_t tag) {
  using Value = std::shared_ptr<arrow::Buffer>;
  if (!Check().ok()) {
    const std::string text = "Receive(from " + std::to_string(from) + ", tag " + std::to_string(tag) + ")";
    return arrow::Future<Value>::MakeFinished(Check(text, tag));
  }
  const bool known = mailboxes_.contains(tag);
  Mailbox& mailbox = MailboxOf(tag);
  auto message = mailbox.Receive(from);
  if (!message.is_finished()) {
    if (known) {
      endpoint_->lanes().Retry(mailbox.channel());
    } else {
      endpoint_->lanes().Open(mailbox.channel(), &mailbox);
    }
  }
  auto value = arrow::Future<Value>::Make();
  message.AddCallback([value](const arrow::Result<Message>& received) mutable {
    if (!received.ok()) {
      value.MarkFinished(received.status());
    } else if (received->segments.empty()) {
      value.MarkFinished(std::make_shared<arrow::Buffer>(nullptr, 0));
    } else {
      value.MarkFinished(received->segments[0]);
    }
  });
  return value;
}

arrow::Future<> Group::Send(Rank to, std::shared_ptr<arrow::Buffer> value, uint64_t tag) {
  if (!Check().ok()) {
    const std::string text = "Send(to " + std::to_string(to) + ", tag " + std::to_string(tag) + ")";
    return arrow::Future<>::MakeFinished(Check(text, tag));
  }
  if (doubtful()) {
    return revoked_;
  }
  if (!sender_) {
    sender_ = std::make_shared<Mailbox>(this, ChannelId{});
  }
  return sender_->SendOn(Channel(ChannelKind::kPointToPoint, tag), to, {}, {std::move(value)});
}

void Group::Report(const Finding& finding) {
  if (!verdict_ && (!proposed_ || finding < *proposed_)) {
    endpoint_->FloodRevocation(*this, finding);
  }
  Propose(finding);
}

void Group::Propose(const Finding& finding) {
  if (verdict_) {
    return;
  }
  const bool first = !proposed_;
  if (first || finding < *proposed_) {
    proposed_ = finding;
  }
  auto& executor = endpoint_->executor();
  if (first) {
    timers_.push_back(executor.PostAt(executor.Now() + kSettleWindow, [weak = weak_from_this()] {
      if (auto self = weak.lock(); self && self->proposed_) {
        self->Conclude(Verdict{arrow::Status::OK(), *self->proposed_, /*agreed=*/false});
      }
    }));
  }
  const bool certain =
      proposed_->source == Finding::Source::kLauncher || proposed_->source == Finding::Source::kDisagreement;
  if (endpoint_->has_store() && (certain || !endpoint_->has_launcher())) {
    Settle();
  } else if (first) {
    const Duration wait = endpoint_->has_store() ? kLauncherGrace : kFloodWindow;
    timers_.push_back(executor.PostAt(executor.Now() + wait, [weak = weak_from_this()] {
      if (auto self = weak.lock()) {
        self->Settle();
      }
    }));
  }
}

void Group::Settle() {
  if (verdict_ || settling_) {
    return;
  }
  settling_ = true;
  if (!endpoint_->has_store()) {
    // Nothing can be settled about a rank that all see alike; what was found by one alone is marked as such.
    Conclude(Verdict{arrow::Status::OK(), *proposed_, /*agreed=*/false});
    return;
  }
  endpoint_->SettleInStore(*this, *proposed_)
      .AddCallback([weak = weak_from_this()](const arrow::Result<std::string>& settled) {
        auto self = weak.lock();
        if (!self || self->verdict_) {
          return;
        }
        arrow::Result<Finding> finding = settled.ok() ? DecodeFinding(*settled) : settled.status();
        self->Conclude(Verdict{arrow::Status::OK(), finding.ok() ? *finding : *self->proposed_, finding.ok()});
      });
}

void Group::Conclude(Verdict verdict) {
  auto self = shared_from_this();
  if (verdict_) {
    return;
  }
  for (const auto& timer : timers_) {
    timer->Cancel();
  }
  timers_.clear();
  if (const auto& end = endpoint_->end(); end && verdict.closed.ok() && verdict.finding.rank == ToWorld(rank_)) {
    verdict.finding = *end;  // what the others have settled on is how this rank left: it knows why
  }
  // Every call that fails now names this rank's first unfinished operation.
  uint64_t sequence = 0;
  const std::string operation = FirstUnfinished(&sequence);
  const auto status = StatusOf(verdict, operation, sequence);
  {
    std::lock_guard<std::mutex> lock(mutex_);
    verdict_ = std::move(verdict);
  }
  auto operations = std::exchange(operations_, {});
  auto mailboxes = std::exchange(mailboxes_, {});
  for (const auto& [number, each] : operations) {
    each->Fail(status);
  }
  for (const auto& [tag, mailbox] : mailboxes) {
    mailbox->Fail(status);
  }
  if (sender_) {
    sender_->Fail(status);
  }
  revoked_.MarkFinished(status);
  // Peers that still send on this communicator are let go: their messages are discarded. In a task of its own, as
  // above; it also holds the receivers until then.
  endpoint_->executor().Post([endpoint = endpoint_->weak_from_this(), self, operations, mailboxes] {
    auto owner = endpoint.lock();
    if (owner && !owner->closed()) {
      owner->lanes().CloseCommunicator(self->id());
    }
  });
}

void Group::OnDeparture(Rank world_rank) {
  const Rank from = FromWorld(world_rank);
  if (from < 0 || verdict_) {
    return;
  }
  for (const auto& [number, operation] : operations_) {
    operation->OnDeparture(from);
  }
  for (const auto& [tag, mailbox] : mailboxes_) {
    mailbox->OnDeparture(from);
  }
}

void Group::OnMismatch(Rank from, const Call& theirs, const Call& own) {
  Finding finding;
  finding.source = Finding::Source::kDisagreement;
  finding.kind = ErrorKind::kCollectiveMismatch;
  finding.rank = ToWorld(from);
  auto called = [](Rank rank, const Call& call) { return "rank " + std::to_string(rank) + " called " + ToText(call); };
  const Rank here = endpoint_->rank();
  finding.text = finding.rank < here ? called(finding.rank, theirs) + " but " + called(here, own)
                                     : called(here, own) + " but " + called(finding.rank, theirs);
  finding.text += "; every rank has to make the same calls in the same order";
  Report(finding);
}

void Group::OnBrokenProtocol(Rank from, const std::string& what) {
  Finding finding;
  finding.source = Finding::Source::kDisagreement;
  finding.kind = ErrorKind::kProtocol;
  finding.rank = ToWorld(from);
  finding.text = "rank " + std::to_string(finding.rank) + " broke the protocol: " + what;
  Report(finding);
}

void Group::OnLocalFailure(const arrow::Status& status) {
  Finding finding;
  finding.source = Finding::Source::kDisagreement;
  finding.kind = ErrorKind::kRemote;
  finding.rank = endpoint_->rank();
  finding.text = EncodeStatus(status);
  Report(finding);
}

std::string Group::FirstUnfinished(uint64_t* sequence) const {
  for (const auto& [number, candidate] : operations_) {
    if (!candidate->ended()) {
      *sequence = number;
      return candidate->text();
    }
  }
  *sequence = 0;
  return operation();
}

std::set<Rank> Group::Awaited() const {
  std::set<Rank> ranks;
  for (const auto& [number, each] : operations_) {
    each->AddAwaited(&ranks);
  }
  for (const auto& [tag, mailbox] : mailboxes_) {
    mailbox->AddAwaited(&ranks);
  }
  if (sender_) {
    sender_->AddAwaited(&ranks);
  }
  return ranks;
}

void Group::End(const Finding& finding) { Conclude(Verdict{arrow::Status::OK(), finding, /*agreed=*/true}); }

void Group::AddInFlight(std::map<Rank, int>* messages) const {
  for (const auto& [number, each] : operations_) {
    each->AddInFlight(messages);
  }
  if (sender_) {
    sender_->AddInFlight(messages);
  }
}

void Group::Close(const arrow::Status& why) { Conclude(Verdict{why, {}, true}); }

}  // namespace cylon::internal
