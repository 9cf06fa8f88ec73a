// The ranks of a world over links: dialling, being dialled, and which connection counts.
#include <algorithm>

#include "cylon/net/mesh/mesh.h"
#include "cylon/net/mesh/ways.h"

namespace cylon::internal {

namespace {

/// Between attempts to reach a peer.
constexpr Duration kFirstRetry = std::chrono::milliseconds(10);
constexpr Duration kLongestRetry = std::chrono::milliseconds(250);
/// A peer that was there is tried again this often, in its timeout: packets that are lost in silence cost one attempt.
constexpr int kAttempts = 4;

/// True where another attempt may end better. What a handshake refused, it refuses again; where nobody listens, nobody
/// will.
bool IsPassing(const arrow::Status& status) {
  return IsEndOfStream(status) || IsError(status, ErrorKind::kDeadline) || status.IsCancelled() ||
         (status.IsIOError() && GetErrorDetail(status) == nullptr && !IsNobodyListening(status));
}

}  // namespace

void Mesh::Attempt::Abandon() {
  if (!abandoned) {
    abandoned = true;
    opening->Close();
    if (claiming != nullptr) {
      claiming->Close();
    }
    stop.MarkFinished();
  }
}

Identity Mesh::Self(Rank wanted) const {
  return {world_.job, world_.epoch, world_.rank, "mesh", wanted, settings_.equal_options};
}

bool Mesh::Wants(const Peer& peer) const {
  return !aborted_ && !peer.lost && peer.settling == nullptr && (peer.link == nullptr || !peer.link->connected());
}

void Mesh::Dial(Rank rank) {
  auto& peer = PeerOf(rank);
  if (!peer.dialling && Wants(peer)) {
    peer.dialling = true;
    LinkOf(rank);
    if (!peer.met) {
      peer.limit = executor_.Now() + settings_.connect_deadline;
    }
    Detach(executor_, DialPeer(shared_from_this(), rank));
  }
}

void Mesh::Wake(Peer& peer) {
  if (peer.rest.is_valid() && !peer.rest.is_finished()) {
    peer.rest.MarkFinished();
  }
}

/// `instead` is the connection from now on, where there is one. (Abandoning an attempt resumes who waits for it, who
/// looks whether another one is wanted.)
void Mesh::StopDialling(Peer& peer, std::shared_ptr<Attempt> instead) {
  const auto dial = std::exchange(peer.dial, nullptr);
  const auto settling = std::exchange(peer.settling, std::move(instead));
  for (const auto& attempt : {dial, settling}) {
    if (attempt != nullptr) {
      attempt->Abandon();
    }
  }
  Wake(peer);
}

Co<void> Mesh::DialPeer(std::shared_ptr<Mesh> self, Rank rank) {
  auto& peer = self->PeerOf(rank);
  peer.pause = Duration{};
  while (self->Wants(peer)) {
    auto attempt = std::make_shared<Attempt>();
    peer.dial = attempt;
    auto dial = self->DialOnce(rank, attempt);
    const auto status = co_await dial;
    if (peer.dial == attempt) {
      peer.dial.reset();
    }
    if (!self->Wants(peer)) {
      break;
    }
    peer.pause = std::clamp(2 * peer.pause, kFirstRetry, kLongestRetry);
    self->CheckClock();
    if (!IsPassing(status) || self->executor_.Now() + peer.pause >= peer.limit) {
      self->GiveUp(rank, status);
      break;
    }
    peer.rest = arrow::Future<>::Make();
    self->executor_.PostAt(self->executor_.Now() + peer.pause, [rest = peer.rest]() mutable {
      if (!rest.is_finished()) {
        rest.MarkFinished();
      }
    });
    auto rest = peer.rest;
    CYLON_CO_RETURN_NOT_OK(co_await rest);
  }
  peer.dialling = false;
  co_return arrow::Status::OK();
}

void Mesh::GiveUp(Rank rank, const arrow::Status& last) {
  const auto& peer = PeerOf(rank);
  if (!peer.met) {
    return Lose(rank, last.WithMessage("cannot connect to ", Name(rank), ": ", last.message()));
  }
  const std::string what = "the connection to " + Name(rank) + " ended (" + peer.broke + ")";
  if (IsNobodyListening(last)) {
    return Lose(rank, last.WithMessage(what, ", and its process is gone: ", last.message()));
  }
  if (!IsPassing(last)) {
    return Lose(rank, last.WithMessage(what, " and is refused now: ", last.message()));
  }
  Lose(rank, arrow::Status::IOError(what, " and could not be made again within ", InSeconds(settings_.peer_timeout),
                                    " (CYLON_PEER_TIMEOUT): ", last.message(), "; check the network between the two"));
}

Co<void> Mesh::DialOnce(Rank rank, std::shared_ptr<Attempt> attempt) {
  auto& peer = PeerOf(rank);
  TimePoint deadline = peer.limit;
  if (peer.met) {
    deadline = std::min(deadline, executor_.Now() + settings_.peer_timeout / kAttempts);
  }
  const auto& card = world_.cards[static_cast<size_t>(rank)];
  auto connect = ConnectByAny(paths_, card.address, deadline, attempt->stop);
  CYLON_CO_ASSIGN_OR_RETURN(Reached reached, co_await connect);
  auto open = OpenAsDialler(std::move(reached.stream), executor_, settings_.security, Self(rank), card.host, deadline,
                            attempt->opening);
  CYLON_CO_ASSIGN_OR_RETURN(OpenedStream opened, co_await open);
  if (attempt->abandoned || !Wants(peer)) {
    co_return arrow::Status::Cancelled("nobody wants this connection any more");
  }
  attempt->claiming = opened.stream.get();
  attempt->asked = true;
  auto claim =
      ClaimLink(opened.stream.get(), executor_,
                {incarnation_, peer.incarnation, peer.number, ++peer.attempts, peer.link->received()}, deadline);
  const auto answer = co_await claim;
  attempt->claiming = nullptr;
  CYLON_CO_RETURN_NOT_OK(answer.status());
  if (attempt->abandoned || !Wants(peer)) {
    co_return arrow::Status::Cancelled("nobody wants this connection any more");
  }
  CYLON_CO_RETURN_NOT_OK(TakeAnswer(rank, *answer));
  if (peer.lost) {
    co_return arrow::Status::OK();
  }
  auto settle = Settle(rank, reached.path, std::move(opened.stream), /*dialler=*/true, answer->received, deadline);
  co_return co_await settle;
}

/// OK where the connection is agreed on, or the peer is known to have left.
arrow::Status Mesh::TakeAnswer(Rank rank, const LinkAnswer& answer) {
  auto& peer = PeerOf(rank);
  switch (answer.outcome) {
    case LinkAnswer::kTaken:
      break;
    case LinkAnswer::kBusy:
      return arrow::Status::IOError(Name(rank), " has another connection under way");
    case LinkAnswer::kLeft:
      Lose(rank, arrow::Status::OK());
      return arrow::Status::OK();
    case LinkAnswer::kRefused:
      return arrow::Status::Invalid(answer.reason);
  }
  if (peer.incarnation != 0 && peer.incarnation != answer.incarnation) {
    return arrow::Status::Invalid("another process is rank ", rank, " there than the one that was connected before; ",
                                  "was it started twice, or again?");
  }
  peer.incarnation = answer.incarnation;
  peer.number = answer.number;
  peer.by_me = true;
  return arrow::Status::OK();
}

// --- Being dialled ---

void Mesh::Accept(Path* path, std::unique_ptr<Stream> stream) {
  if (!aborted_) {
    Detach(executor_, Welcome(shared_from_this(), path, std::move(stream)));
  }
}

/// A guest's way through the opening, while which it counts as a stranger.
Co<OpenedStream> Mesh::OpenGuest(std::unique_ptr<Stream> stream, std::shared_ptr<Attempt> guest) {
  strangers_.Add(guest->opening.get());
  auto open = OpenAsListener(std::move(stream), executor_, settings_.security, Self(-1),
                             executor_.Now() + settings_.connect_deadline, guest->opening);
  auto opened = co_await open;
  strangers_.Remove(guest->opening.get());
  co_return opened;
}

Co<void> Mesh::Welcome(std::shared_ptr<Mesh> self, Path* path, std::unique_ptr<Stream> stream) {
  if (self->aborted_) {
    co_return arrow::Status::Cancelled("this rank is closing");  // since it was accepted
  }
  const auto guest = std::make_shared<Attempt>();
  self->guests_.insert(guest);
  auto open = self->OpenGuest(std::move(stream), guest);
  auto opened = co_await open;
  const TimePoint deadline = self->executor_.Now() + self->settings_.connect_deadline;
  arrow::Result<LinkClaim> claim = opened.ok() ? arrow::Status::Cancelled("this rank is closing") : opened.status();
  if (opened.ok() && !guest->abandoned) {
    guest->claiming = opened->stream.get();
    auto hear = HearClaim(opened->stream.get(), self->executor_, deadline);
    claim = co_await hear;
  }
  if (!claim.ok() || guest->abandoned) {
    self->guests_.erase(guest);
    if (claim.status().IsInvalid() || GetErrorDetail(claim.status()) != nullptr) {
      self->refused_ = claim.status().message();  // told should somebody be missed: it may have been a stranger
    }
    co_return claim.status();
  }
  const Rank rank = opened->peer.rank;
  const auto answer = self->Judge(rank, *claim, guest);
  const bool taken = answer.outcome == LinkAnswer::kTaken;
  auto tell = AnswerClaim(opened->stream.get(), self->executor_, answer, deadline);
  const auto told = co_await tell;
  self->guests_.erase(guest);
  guest->claiming = nullptr;
  if (!taken || self->PeerOf(rank).settling != guest) {
    co_return told;
  }
  arrow::Status status = told;
  if (status.ok()) {
    auto settle = self->Settle(rank, path, std::move(opened->stream), /*dialler=*/false, claim->received, deadline);
    status = co_await settle;
  } else {
    self->PeerOf(rank).settling.reset();
  }
  if (!status.ok() && self->Wants(self->PeerOf(rank))) {
    self->Broke(rank, status);
  }
  co_return status;
}

/// The answer to a proven claim. Where it is kTaken, the guest's connection is what is settling now, and what there was
/// before has been given up.
LinkAnswer Mesh::Judge(Rank rank, const LinkClaim& claim, const std::shared_ptr<Attempt>& guest) {
  const auto refuse = [](const std::string& reason) { return LinkAnswer{LinkAnswer::kRefused, 0, 0, 0, reason}; };
  if (rank < 0 || rank >= world_.size()) {
    return refuse("rank " + std::to_string(rank) + " is none of the " + std::to_string(world_.size()) +
                  " ranks of this world; start all of them with the same CYLON_WORLD_SIZE");
  }
  if (rank == world_.rank) {
    return refuse("this is rank " + std::to_string(rank) + " already; was it started twice?");
  }
  auto& peer = PeerOf(rank);
  if ((peer.lost && peer.cause.ok()) || (closing_ && !peer.met && peer.settling == nullptr)) {
    return {LinkAnswer::kLeft, incarnation_, 0, 0, ""};
  }
  if (peer.lost) {
    return refuse("rank " + std::to_string(world_.rank) + " has given up rank " + std::to_string(rank) + ": " +
                  peer.cause.message());
  }
  if ((peer.incarnation != 0 && peer.incarnation != claim.incarnation) ||
      (claim.known != 0 && claim.known != incarnation_)) {
    const Rank other = claim.known != 0 && claim.known != incarnation_ ? world_.rank : rank;
    return refuse("another process was rank " + std::to_string(other) + " on this link before; was it started twice, " +
                  "or again?");
  }
  auto& link = LinkOf(rank);
  bool fresh = true;
  if (link.connected() || peer.settling != nullptr) {
    fresh = peer.by_me ? claim.number >= peer.number : claim.attempt > peer.taken;
  } else if (peer.dial != nullptr && peer.dial->asked) {
    fresh = world_.rank > rank;
  }
  if (!fresh) {
    return {LinkAnswer::kBusy, incarnation_, 0, 0, ""};
  }
  peer.incarnation = claim.incarnation;
  peer.number = std::max(peer.number, claim.number) + 1;
  peer.by_me = false;
  peer.taken = claim.attempt;
  link.Detach();
  StopDialling(peer, guest);
  return {LinkAnswer::kTaken, incarnation_, peer.number, link.received(), ""};
}

// --- The connection that counts ---

Co<void> Mesh::Settle(Rank rank, Path* path, std::unique_ptr<Stream> stream, bool dialler, uint64_t peer_received,
                      TimePoint deadline) {
  auto& peer = PeerOf(rank);
  const auto token = std::make_shared<Attempt>();
  peer.settling = token;
  auto settle = path->Settle(std::move(stream), dialler, deadline);
  auto settled = co_await settle;
  if (peer.settling != token) {
    co_return arrow::Status::Cancelled("another connection has taken the place of this one");
  }
  peer.settling.reset();
  CYLON_CO_RETURN_NOT_OK(settled.status());
  peer.path = path;
  co_return Adopt(rank, std::move(*settled), peer_received);
}

arrow::Status Mesh::Adopt(Rank rank, std::unique_ptr<Stream> stream, uint64_t peer_received) {
  auto& peer = PeerOf(rank);
  const bool first = !std::exchange(peer.met, true);
  if (closing_) {
    peer.link->QueueGoodbye();
  }
  const auto attached = peer.link->Attach(std::move(stream), peer_received);
  if (!attached.ok()) {
    Lose(rank, attached);
  } else if (first && sink_ != nullptr && !closing_) {
    sink_->OnPeerMet(rank);
  }
  CheckStarted();
  return arrow::Status::OK();
}

}  // namespace cylon::internal
