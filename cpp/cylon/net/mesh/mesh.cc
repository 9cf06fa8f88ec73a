// The ranks of a world over links: from start to close, and what counts as a loss. (Connections: mesh_dial.cc.)
#include "cylon/net/mesh/mesh.h"

#include <algorithm>
#include <random>

namespace cylon::internal {

namespace {

/// Ticks in a peer's timeout: a loss by silence is told this part of it late at most.
constexpr int kTicks = 20;
/// A sign of life is asked for at every fifth tick, a quarter of the timeout at most: two may be lost before half of it
/// is over, which is when a connection is given up. Both ends do so, as a gateway may forget what its own side does not
/// speak on.
constexpr int kTicksOfPing = 5;
constexpr Duration kShortestTick = std::chrono::milliseconds(5);

uint64_t NewIncarnation() {
  std::random_device random;
  return (uint64_t{random()} << 32 | random()) | 1;
}

}  // namespace

size_t MostStrangers(int world_size) { return std::max<size_t>(kStrangersAtOnce, 2 * static_cast<size_t>(world_size)); }

std::string InSeconds(Duration duration) {
  const auto tenths = std::chrono::duration_cast<std::chrono::milliseconds>(duration).count() / 100;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

uint32_t EpochTag(const std::string& epoch) {
  uint32_t tag = 0;
  for (const char c : epoch) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 0;
    tag = tag << 4 | static_cast<uint32_t>(digit);
  }
  return tag;
}

Mesh::Mesh(Executor& executor, const std::vector<std::unique_ptr<Path>>& paths, World world, MeshSettings settings)
    : executor_(executor),
      paths_(paths),
      world_(std::move(world)),
      settings_(std::move(settings)),
      epoch_(EpochTag(world_.epoch)),
      incarnation_(NewIncarnation()),
      interval_(std::max<Duration>(std::min(settings_.peer_timeout / kTicks, settings_.keep_alive / kTicksOfPing),
                                   kShortestTick)),
      peers_(static_cast<size_t>(world_.size())),
      strangers_(MostStrangers(world_.size())) {}

std::string Mesh::Name(Rank rank) const {
  return "rank " + std::to_string(rank) + " (" + world_.cards[static_cast<size_t>(rank)].host + ", " +
         world_.cards[static_cast<size_t>(rank)].address + ")";
}

std::string Mesh::WayTo(Rank rank) const {
  const auto& peer = peers_[static_cast<size_t>(rank)];
  return peer.link != nullptr && peer.link->connected() ? peer.path->name() : "";
}

Link& Mesh::LinkOf(Rank rank) {
  auto& peer = PeerOf(rank);
  if (peer.link == nullptr) {
    peer.link = std::make_shared<Link>(executor_, this, rank, epoch_);
    if (sink_ != nullptr) {
      peer.link->Start();
    }
  }
  return *peer.link;
}

arrow::Future<> Mesh::Start(Sink* sink) {
  sink_ = sink;
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    auto& peer = PeerOf(rank);
    if (peer.link != nullptr) {
      peer.link->Start();
    }
    if (peer.met) {
      sink_->OnPeerMet(rank);
    }
  }
  const int size = world_.size();
  if (size == 1) {
    started_.MarkFinished();
    return started_;
  }
  ticked_ = executor_.Now();
  Tick();
  // In a world of two, rank 0's connection is the ring.
  if (size > 2 || world_.rank == 0) {
    Dial((world_.rank + 1) % size);
  }
  const Rank previous = (world_.rank + size - 1) % size;
  executor_.PostAt(executor_.Now() + settings_.connect_deadline, [weak = weak_from_this(), previous] {
    auto self = weak.lock();
    if (self && !self->PeerOf(previous).met && !self->closing_) {
      const std::string hint = self->refused_.empty() ? "" : ". The last connection that was refused here: ";
      self->Lose(previous, DeadlineError(self->Name(previous) + " did not connect in time; is it reachable, and does " +
                                             "its machine keep up?" + hint + self->refused_,
                                         previous));
    }
  });
  CheckStarted();
  return started_;
}

void Mesh::CheckStarted() {
  if (started_.is_finished()) {
    return;
  }
  const int size = world_.size();
  for (const Rank neighbour : {(world_.rank + 1) % size, (world_.rank + size - 1) % size}) {
    // A neighbour that was there and has left since is a loss, which the sink was told, and no failed start.
    const auto& peer = PeerOf(neighbour);
    if (!peer.met) {
      if (peer.lost) {
        started_.MarkFinished(peer.cause);
      }
      return;
    }
  }
  started_.MarkFinished();
}

arrow::Future<> Mesh::Send(Rank to, Message message) {
  auto& peer = PeerOf(to);
  if (peer.lost || closing_) {
    return arrow::Future<>::MakeFinished(
        peer.lost
            ? arrow::Status::IOError(Name(to), " is gone: ", peer.cause.ok() ? "it said goodbye" : peer.cause.message())
            : arrow::Status::Cancelled("this rank is closing"));
  }
  auto sent = sends_.Add(to);
  LinkOf(to).Queue(sent.id, std::move(message));
  Dial(to);
  return sent.done;
}

void Mesh::Lose(Rank rank, const arrow::Status& cause) {
  const auto self = shared_from_this();  // who is told may drop the transport
  auto& peer = PeerOf(rank);
  if (peer.lost) {
    return;
  }
  peer.lost = true;
  peer.cause = cause;
  StopDialling(peer);
  if (peer.link != nullptr) {
    peer.link->Close();
  }
  sends_.FailPeer(rank,
                  arrow::Status::IOError(Name(rank), " is gone: ", cause.ok() ? "it said goodbye" : cause.message()));
  CheckStarted();
  if (closing_) {
    CheckClosed();
  } else if (sink_ != nullptr) {
    sink_->OnPeerLost(rank, cause);
  }
}

arrow::Result<Buffers> Mesh::AllocateFor(Rank peer, const ChannelId& channel, const InlineBytes& header,
                                         const Sizes& sizes) {
  if (closing_) {
    // Nobody wants it, but it has to be read: what comes behind it is wanted.
    Buffers scratch;
    for (const int64_t size : sizes) {
      ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(size));
      scratch.push_back(std::move(buffer));
    }
    return scratch;
  }
  return sink_->Allocate(peer, channel, header, sizes);
}

void Mesh::Arrived(Rank peer, Message message) {
  if (!closing_) {
    sink_->OnMessage(peer, std::move(message));
  }
}

void Mesh::Sent(Rank, uint64_t id) { sends_.Finish(id, arrow::Status::OK()); }

void Mesh::Broke(Rank rank, const arrow::Status& cause) {
  auto& peer = PeerOf(rank);
  peer.broke = cause.message();
  peer.limit = executor_.Now() + settings_.peer_timeout;
  peer.pause = Duration{};
  Wake(peer);
  Dial(rank);
}

void Mesh::Ended(Rank peer, const arrow::Status& cause) {
  Lose(peer, cause.ok() ? cause : cause.WithMessage(cause.message(), " (", Name(peer), ")"));
}

// --- Silence ---

/// A clock of one's own that comes late (this process was stopped, or starved) says nothing of the others: what it
/// seems to have seen meanwhile is forgotten.
void Mesh::CheckClock() {
  const TimePoint now = executor_.Now();
  if (now - ticked_ <= 3 * interval_) {
    return;
  }
  ticked_ = now;
  for (auto& peer : peers_) {
    if (peer.link != nullptr && !peer.lost) {
      peer.link->ForgetSilence();
      if (peer.met && !peer.link->connected()) {
        peer.limit = now + settings_.peer_timeout;
      }
    }
  }
}

void Mesh::Tick() {
  if (aborted_) {
    return;
  }
  CheckClock();
  const TimePoint now = executor_.Now();
  ticked_ = now;
  const bool ping = ++ticks_ % kTicksOfPing == 0;
  const auto self = shared_from_this();
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    auto& peer = PeerOf(rank);
    if (peer.lost || peer.link == nullptr || !peer.link->connected()) {
      continue;
    }
    const Duration silence = now - peer.link->heard();
    if (silence >= settings_.peer_timeout / 2) {
      peer.link->Break(arrow::Status::IOError("nothing came over it for ", InSeconds(silence)));
      peer.limit -= silence;  // the peer has been silent for so long already
    } else if (ping) {
      peer.link->Ping();
    }
  }
  executor_.PostAt(now + interval_, [weak = weak_from_this()] {
    if (auto mesh = weak.lock()) {
      mesh->Tick();
    }
  });
}

// --- The end ---

arrow::Future<> Mesh::Close() {
  if (closing_) {
    return closed_;
  }
  closing_ = true;
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    auto& peer = PeerOf(rank);
    if (peer.lost || peer.link == nullptr) {
      continue;
    }
    if (peer.met || peer.settling != nullptr) {
      peer.link->QueueGoodbye();
    } else {
      // What waited for a connection will have none.
      StopDialling(peer);
      peer.link->Close();
      sends_.FailPeer(rank, arrow::Status::Cancelled("this rank is closing"));
    }
  }
  CheckClosed();
  return closed_;
}

void Mesh::CheckClosed() {
  for (const auto& peer : peers_) {
    if (peer.link != nullptr && !peer.lost && (peer.met || peer.settling != nullptr)) {
      return;
    }
  }
  if (!closed_.is_finished()) {
    closed_.MarkFinished();
  }
}

void Mesh::Abort() {
  const auto self = shared_from_this();
  closing_ = aborted_ = true;
  for (const auto& guest : std::set(guests_)) {
    guest->Abandon();
  }
  for (auto& peer : peers_) {
    peer.lost = true;
    StopDialling(peer);
    if (peer.link != nullptr) {
      peer.link->Close();
      peer.link.reset();
    }
  }
  sends_.FailAll(arrow::Status::Cancelled("this rank has given up its connections"));
  for (auto* future : {&started_, &closed_}) {
    if (!future->is_finished()) {
      future->MarkFinished(future == &started_ ? arrow::Status::Cancelled("this rank has given up its connections")
                                               : arrow::Status::OK());
    }
  }
}

}  // namespace cylon::internal
