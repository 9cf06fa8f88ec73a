// Streams to and from every peer through a third, and how they end.
#include "cylon/net/mail/mail.h"

#include <tuple>
#include <utility>

#include "cylon/wire/bytes.h"

namespace cylon::internal {

std::string MailDirection(const std::string& purpose, const World& world, Rank from, Rank to) {
  ByteWriter out;
  out.Text(purpose);
  out.Text(world.job);
  out.Text(world.epoch);
  for (const Rank rank : {from, to}) {
    out.Number(rank);
    out.Text(world.cards[static_cast<size_t>(rank)].address);
  }
  return out.Take();
}

Mail::Mail(Executor& executor, World world, Duration timeout, int64_t most_of_rank, int64_t most_window)
    : executor_(executor),
      world_(std::move(world)),
      rank_(world_.rank),
      timeout_(timeout),
      limits_(LimitsOf(world_.size(), most_of_rank, most_window)),
      peers_(static_cast<size_t>(world_.size())) {}

Mail::~Mail() = default;

arrow::Status Mail::MakePeers(const MailWords& words, const std::string& scheme, const std::string& secret,
                              Outbox::Third third) {
  words_ = words;
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    if (!address(rank).starts_with(scheme)) {
      return arrow::Status::Invalid("rank ", rank, " is reached by '", address(rank), "', rank ", rank_, " by '",
                                    address(rank_), "'; set CYLON_TRANSPORT to the same at every rank");
    }
    if (rank != rank_) {
      auto& each = peer(rank);
      ARROW_ASSIGN_OR_RAISE(auto out, Seal::Make(secret, MailDirection(words.purpose, world_, rank_, rank)));
      ARROW_ASSIGN_OR_RAISE(auto in, Seal::Make(secret, MailDirection(words.purpose, world_, rank, rank_)));
      each.outbox.emplace(std::move(out), EnvelopeTo(rank), limits_, third);
      each.seal.emplace(std::move(in));
      each.frames.emplace(rank);
    }
  }
  return arrow::Status::OK();
}

arrow::Future<> Mail::Send(Rank to, Message message) {
  if (to < 0 || to >= world_.size() || to == rank_) {
    return arrow::Status::Invalid("rank ", rank_, " sent to rank ", to, "; there are ", world_.size(),
                                  " ranks, and a transport does not send to itself");
  }
  if (!started_ || closing_ || stopped_) {
    return arrow::Status::Cancelled("rank ", rank_, " sent while its transport is not open; start it first");
  }
  ARROW_RETURN_NOT_OK(failed_);
  if (peer(to).state != Peer::State::kThere) {
    return GoneRank(to, "it was lost before this send");
  }
  auto sent = sends_.Add(to);
  peer(to).outbox->Queue(sent.id, std::move(message));
  PumpSoon();
  return sent.done;
}

void Mail::PumpSoon() {
  if (!std::exchange(pumping_soon_, true)) {
    executor_.Post([weak = weak_from_this()] {
      if (const auto self = weak.lock()) {
        self->pumping_soon_ = false;
        self->Pump();
      }
    });
  }
}

void Mail::FinishSends(const std::vector<uint64_t>& ids) {
  for (const uint64_t id : ids) {
    sends_.Finish(id, arrow::Status::OK());
  }
}

void Mail::Take(Rank from, uint64_t number, std::string_view sealed) {
  const auto status = TakeSealed(from, number, sealed);
  if (open() && !status.ok()) {
    Drop(from, status);
  }
}

void Mail::Miss(Rank from) {
  Drop(from, arrow::Status::IOError(words_.entry, " ", peer(from).received + 1, " of rank ", from, " was lost ",
                                    words_.where, ", where rank ", from, " has put it; let nobody delete ",
                                    words_.left_alone, " there, and start the job again"));
}

arrow::Status Mail::TakeSealed(Rank from, uint64_t number, std::string_view sealed) {
  auto& each = peer(from);
  if (each.state != Peer::State::kThere || number <= each.received) {
    return arrow::Status::OK();  // put there again
  }
  const std::string what = words_.entry + " " + std::to_string(number) + " of rank " + std::to_string(from);
  if (number != each.received + 1) {
    return arrow::Status::IOError(what, " came after ", each.received, ": what lay between them was lost ",
                                  words_.where, "; let nobody delete ", words_.left_alone,
                                  " there, and start the job again");
  }
  auto text = each.seal->Open(number, sealed);
  if (!text.ok()) {
    return number == 1
               ? AuthenticationError("rank " + std::to_string(from) + " does not know the job's secret: " + what + " " +
                                     words_.where + " does not open (" + text.status().message() +
                                     "); set CYLON_SECRET_FILE to the same secret at every rank")
               : ProtocolError(what + " was changed " + words_.where + " (" + text.status().message() +
                                   "); let no other program write to " + words_.left_alone,
                               from);
  }
  ByteReader in(*text);
  const auto kind = static_cast<MailKind>(in.Number<uint8_t>());
  const auto acknowledged = in.Number<uint64_t>();
  std::vector<uint64_t> whole;
  if (!in.ok() || !each.outbox->Acknowledged(acknowledged, &whole)) {
    return ProtocolError(what + " acknowledges what was never sent; run the same version of Cylon at every rank", from);
  }
  each.received = number;
  Heard(from);
  FinishSends(whole);
  switch (kind) {
    case MailKind::kData:
      if (in.rest().empty()) {
        return arrow::Status::OK();
      }
      each.unacknowledged += CostOf(sealed.size());
      if (each.unacknowledged >= limits_.window_bytes / 4) {
        each.outbox->OweAcknowledgement();
      }
      return each.frames->Feed(in.rest(), sink_);
    case MailKind::kGoodbye:
      HearLoss(from, arrow::Status::OK());
      return arrow::Status::OK();
    case MailKind::kDropped:
      HearLoss(from, GoneRank(from, "it dropped the connection: " + std::string(in.rest())));
      return arrow::Status::OK();
  }
  return ProtocolError(what + " is of the unknown kind " + std::to_string(static_cast<int>(kind)), from);
}

arrow::Status Mail::GoneRank(Rank rank, const std::string& how) {
  return arrow::Status::IOError("rank ", rank, " is gone: ", how);
}

void Mail::HearLoss(Rank rank, const arrow::Status& cause) {
  auto& each = peer(rank);
  if (each.state != Peer::State::kThere) {
    return;
  }
  each.state = cause.ok() ? Peer::State::kLeft : Peer::State::kLost;
  each.writes = false;
  each.frames->Drop();
  Forget(rank);
  sends_.FailPeer(rank, cause.ok() ? arrow::Status::IOError("rank ", rank, " is gone: it said goodbye") : cause);
  if (sink_ != nullptr) {
    sink_->OnPeerLost(rank, cause);
  }
  PumpSoon();
}

void Mail::Drop(Rank rank, const arrow::Status& why) {
  auto& each = peer(rank);
  if (each.state != Peer::State::kThere) {
    return;
  }
  HearLoss(rank, why);
  if (open()) {
    each.outbox->QueueDropped(why.message());
    each.writes = true;
    each.dropped = true;
    PumpSoon();
  }
}

void Mail::Fail(const arrow::Status& why) {
  if (!open()) {
    return;
  }
  failed_ = why;
  const auto self = shared_from_this();  // who is told may let this go
  if (!start_.is_finished()) {
    start_.MarkFinished(why);
  }
  const auto cause = IsolatedError(rank_, why.message());
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    if (rank != rank_) {
      HearLoss(rank, cause);
    }
  }
  Stop(why);
}

arrow::Future<> Mail::Close() {
  if (closing_ || stopped_) {
    return close_;
  }
  closing_ = true;
  sink_ = nullptr;
  if (!started_) {
    Stop(arrow::Status::OK());
    return close_;
  }
  for (auto& each : peers_) {
    if (each.outbox && each.state == Peer::State::kThere) {
      each.frames->Drop();
      each.outbox->QueueGoodbye();
    }
  }
  Pump();
  return close_;
}

bool Mail::AllPut() const {
  for (const auto& each : peers_) {
    if (each.outbox && each.writes && !each.outbox->ended()) {
      return false;
    }
  }
  return true;
}

void Mail::Abort() {
  sink_ = nullptr;
  if (!stopped_ && started_ && failed_.ok()) {
    GiveUp();
  }
  Stop(arrow::Status::Cancelled("rank ", rank_, " closed its transport"));
}

void Mail::Stop(const arrow::Status& why) {
  if (std::exchange(stopped_, true)) {
    return;
  }
  const auto self = shared_from_this();
  CloseWays();
  const auto ended = why.ok() ? arrow::Status::Cancelled("rank ", rank_, " closed its transport") : why;
  if (!start_.is_finished()) {
    start_.MarkFinished(ended);
  }
  for (auto& each : peers_) {
    if (each.frames) {
      each.frames->Drop();
    }
  }
  sends_.FailAll(ended);
  if (!close_.is_finished()) {
    close_.MarkFinished(why);
  }
}

}  // namespace cylon::internal
