// The ranks of a world over links.
#include "cylon/net/mesh/mesh.h"

#include <algorithm>
#include <array>
#include <sstream>

namespace cylon::internal {

namespace {

constexpr uint8_t kTaken = 1;
constexpr uint8_t kRefused = 0;
/// Before a connection that was closed in its handshake is dialled again.
constexpr Duration kFirstRetry = std::chrono::milliseconds(10);
constexpr Duration kLongestRetry = std::chrono::milliseconds(250);

}  // namespace

size_t MostStrangers(int world_size) { return std::max<size_t>(kStrangersAtOnce, 2 * static_cast<size_t>(world_size)); }

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
      peers_(static_cast<size_t>(world_.size())),
      strangers_(MostStrangers(world_.size())) {}

std::string Mesh::Name(Rank rank) const {
  return "rank " + std::to_string(rank) + " (" + world_.cards[static_cast<size_t>(rank)].host + ", " +
         world_.cards[static_cast<size_t>(rank)].address + ")";
}

arrow::Future<> Mesh::Start(Sink* sink) {
  sink_ = sink;
  for (auto& peer : peers_) {
    if (peer.link != nullptr) {
      peer.link->Start();
    }
  }
  const int size = world_.size();
  if (size == 1) {
    started_.MarkFinished();
    return started_;
  }
  // In a world of two, rank 0's connection is the ring.
  if (size > 2 || world_.rank == 0) {
    Dial((world_.rank + 1) % size);
  }
  const Rank previous = (world_.rank + size - 1) % size;
  executor_.PostAt(executor_.Now() + settings_.connect_deadline, [weak = weak_from_this(), previous] {
    auto self = weak.lock();
    if (self && self->peers_[static_cast<size_t>(previous)].link == nullptr && !self->closing_) {
      self->Lose(previous, DeadlineError(self->Name(previous) + " did not connect in time; is it reachable, and does "
                                                                "its machine keep up?",
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
    const auto& peer = peers_[static_cast<size_t>(neighbour)];
    if (peer.link == nullptr) {
      if (peer.lost) {
        started_.MarkFinished(peer.cause);
      }
      return;
    }
  }
  started_.MarkFinished();
}

arrow::Future<> Mesh::Send(Rank to, Message message) {
  auto& peer = peers_[static_cast<size_t>(to)];
  if (peer.lost || closing_) {
    return arrow::Future<>::MakeFinished(
        peer.lost
            ? arrow::Status::IOError(Name(to), " is gone: ", peer.cause.ok() ? "it said goodbye" : peer.cause.message())
            : arrow::Status::Cancelled("this rank is closing"));
  }
  auto sent = sends_.Add(to);
  if (peer.link != nullptr) {
    peer.link->Queue(sent.id, std::move(message));
  } else {
    peer.waiting.push_back({sent.id, std::move(message)});
    Dial(to);
  }
  return sent.done;
}

void Mesh::Dial(Rank rank) {
  auto& peer = peers_[static_cast<size_t>(rank)];
  if (!peer.dialling && !peer.welcoming) {
    peer.dialling = true;
    Detach(executor_, DialPeer(shared_from_this(), rank));
  }
}

Co<void> Mesh::DialPeer(std::shared_ptr<Mesh> self, Rank rank) {
  if (self->closing_) {
    co_return arrow::Status::OK();  // since this was begun: the paths are gone
  }
  std::unique_ptr<Stream> stream;
  auto dial = self->TryDial(rank, &stream);
  auto taken = co_await dial;
  auto& peer = self->peers_[static_cast<size_t>(rank)];
  peer.dialling = false;
  if (self->closing_ || peer.lost || peer.link != nullptr) {
    // Meanwhile the other side's connection was taken, or nobody wants one any more.
    co_return arrow::Status::OK();
  }
  if (!taken.ok()) {
    self->Lose(rank,
               taken.status().WithMessage("cannot connect to ", self->Name(rank), ": ", taken.status().message()));
  } else if (*taken) {
    self->Adopt(rank, std::move(stream));
  } else {
    // Refused: the lower rank's own connection is on its way. Should it never come, that is a loss too.
    self->executor_.PostAt(self->executor_.Now() + self->settings_.connect_deadline, [weak = self->weak_from_this(),
                                                                                      rank] {
      auto mesh = weak.lock();
      if (mesh && mesh->peers_[static_cast<size_t>(rank)].link == nullptr && !mesh->closing_) {
        mesh->Lose(rank, DeadlineError(mesh->Name(rank) + " refused a connection and did not make one itself", rank));
      }
    });
  }
  co_return arrow::Status::OK();
}

/// A peer whose port strangers crowd closes connections before they are proven: those are dialled again. One that is
/// gone refuses the next, which ends this.
Co<bool> Mesh::TryDial(Rank rank, std::unique_ptr<Stream>* stream) {
  const TimePoint deadline = executor_.Now() + settings_.connect_deadline;
  Duration pause = kFirstRetry;
  while (true) {
    auto dialling = DialOnce(rank, deadline, stream);
    auto taken = co_await dialling;
    if (taken.ok() || !IsEndOfStream(taken.status()) || closing_ || executor_.Now() + pause >= deadline) {
      co_return taken;
    }
    auto resting = arrow::Future<>::Make();
    auto wake = [resting]() mutable {
      if (!resting.is_finished()) {
        resting.MarkFinished();
      }
    };
    executor_.PostAt(executor_.Now() + pause, wake);
    aborted_.AddCallback([wake](const arrow::Status&) mutable { wake(); });
    CYLON_CO_RETURN_NOT_OK(co_await resting);
    if (closing_) {
      co_return taken;
    }
    pause = std::min(2 * pause, kLongestRetry);
  }
}

Co<bool> Mesh::DialOnce(Rank rank, TimePoint deadline, std::unique_ptr<Stream>* stream) {
  auto connect = Connect(rank, deadline, stream);
  CYLON_CO_ASSIGN_OR_RETURN(Path* const path, co_await connect);
  auto ask = Greeting(stream->get(), AskFor(rank, stream->get(), deadline));
  CYLON_CO_ASSIGN_OR_RETURN(const bool taken, co_await ask);
  if (taken) {
    auto settle = path->Settle(std::move(*stream), /*dialler=*/true, deadline);
    CYLON_CO_ASSIGN_OR_RETURN(*stream, co_await settle);
  }
  co_return taken;
}

/// By the first of the rank's addresses that can be had from here. NobodyListens where that is so of all.
Co<Path*> Mesh::Connect(Rank rank, TimePoint deadline, std::unique_ptr<Stream>* stream) {
  const std::string& addresses = world_.cards[static_cast<size_t>(rank)].address;
  std::string failures;
  bool nobody = true;
  std::istringstream words(addresses);
  for (std::string address; words >> address;) {
    const auto path =
        std::find_if(paths_.begin(), paths_.end(), [&](const auto& way) { return way->Reaches(address); });
    if (path == paths_.end()) {
      continue;
    }
    auto dial = (*path)->Dial(address, deadline, aborted_);
    auto dialled = co_await dial;
    if (dialled.ok()) {
      *stream = std::move(*dialled);
      co_return path->get();
    }
    failures += (failures.empty() ? "" : "; ") + dialled.status().message();
    nobody = nobody && IsNobodyListening(dialled.status());
  }
  if (failures.empty()) {
    std::string ways;
    for (const auto& path : paths_) {
      ways += (ways.empty() ? "" : ", ") + path->name();
    }
    co_return arrow::Status::Invalid("none of its addresses ('", addresses,
                                     "') can be reached over what this rank has (", ways,
                                     "); give all ranks the same CYLON_TRANSPORT");
  }
  co_return nobody ? NobodyListens(failures) : arrow::Status::IOError(failures);
}

Co<bool> Mesh::AskFor(Rank rank, Stream* stream, TimePoint deadline) {
  auto handshake = HandshakeAsDialler(stream, executor_, Self(), settings_.secret, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(const Identity identity, co_await handshake);
  if (identity.rank != rank) {
    co_return ProtocolError("the process there is rank " + std::to_string(identity.rank), rank);
  }
  std::array<uint8_t, 1> verdict{};
  auto read = stream->Read(verdict);
  CYLON_CO_RETURN_NOT_OK(co_await read);
  co_return verdict[0] == kTaken;
}

/// Runs a handshake whose stream Abort closes, so that nobody is left suspended in it.
template <typename T>
Co<T> Mesh::Greeting(Stream* stream, Co<T> handshake) {
  greeting_.insert(stream);
  auto outcome = co_await handshake;
  greeting_.erase(stream);
  co_return outcome;
}

void Mesh::Accept(Path* path, std::unique_ptr<Stream> stream) {
  if (!closing_) {
    Detach(executor_, Welcome(shared_from_this(), path, std::move(stream)));
  }
}

Co<void> Mesh::Welcome(std::shared_ptr<Mesh> self, Path* path, std::unique_ptr<Stream> stream) {
  if (self->closing_) {
    co_return arrow::Status::Cancelled("this rank is closing");  // since it was accepted
  }
  self->strangers_.Add(stream.get());
  auto handshake = self->Greeting(
      stream.get(), HandshakeAsListener(stream.get(), self->executor_, self->Self(), self->settings_.secret,
                                        self->executor_.Now() + self->settings_.connect_deadline));
  auto proven = co_await handshake;
  self->strangers_.Remove(stream.get());
  CYLON_CO_ASSIGN_OR_RETURN(const Identity identity, std::move(proven));  // a stranger: dropped, nobody is told
  const Rank rank = identity.rank;
  if (self->closing_ || rank < 0 || rank >= self->world_.size() || rank == self->world_.rank) {
    co_return arrow::Status::Invalid("a connection that nobody wants");
  }
  auto& peer = self->peers_[static_cast<size_t>(rank)];
  const bool refuse =
      peer.lost || peer.link != nullptr || peer.welcoming || (peer.dialling && self->world_.rank < rank);
  const std::array<uint8_t, 1> verdict{refuse ? kRefused : kTaken};
  std::vector<std::span<const uint8_t>> parts{std::span<const uint8_t>(verdict)};
  if (refuse) {
    auto write = stream->Write(std::move(parts));
    co_return co_await write;
  }
  // Taken is a promise: until it is kept nothing else may become the connection, or each side would keep another one.
  peer.welcoming = true;
  auto write = stream->Write(std::move(parts));
  auto status = co_await write;
  if (status.ok()) {
    auto settle =
        path->Settle(std::move(stream), /*dialler=*/false, self->executor_.Now() + self->settings_.connect_deadline);
    auto settled = co_await settle;
    status = settled.status();
    stream = settled.ok() ? std::move(*settled) : nullptr;
  }
  peer.welcoming = false;
  if (self->closing_ || peer.lost || peer.link != nullptr) {
    co_return arrow::Status::OK();
  }
  if (status.ok()) {
    self->Adopt(rank, std::move(stream));
  } else if (!peer.waiting.empty()) {
    self->Dial(rank);
  }
  co_return arrow::Status::OK();
}

void Mesh::Adopt(Rank rank, std::unique_ptr<Stream> stream) {
  auto& peer = peers_[static_cast<size_t>(rank)];
  peer.link = std::make_shared<Link>(std::move(stream), executor_, this, rank, epoch_);
  if (sink_ != nullptr) {
    peer.link->Start();  // else by Start: there is nobody yet to take what it reads
  }
  for (auto& waiting : peer.waiting) {
    peer.link->Queue(waiting.id, std::move(waiting.message));
  }
  peer.waiting.clear();
  CheckStarted();
}

void Mesh::Lose(Rank rank, const arrow::Status& cause) {
  const auto self = shared_from_this();  // who is told may drop the transport
  auto& peer = peers_[static_cast<size_t>(rank)];
  if (peer.lost) {
    return;
  }
  peer.lost = true;
  peer.cause = cause;
  peer.waiting.clear();
  if (peer.link != nullptr) {
    peer.link->Disown();
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
    // Nobody wants it, but it has to be read: closing with unread bytes would reset what the peer has not read yet.
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

void Mesh::Left(Rank, uint64_t id, const arrow::Status& status) { sends_.Finish(id, status); }

void Mesh::Ended(Rank peer, const arrow::Status& cause) {
  Lose(peer, cause.ok() ? cause : cause.WithMessage(cause.message(), " (", Name(peer), ")"));
}

arrow::Future<> Mesh::Close() {
  if (closing_) {
    return closed_;
  }
  closing_ = true;
  for (auto& peer : peers_) {
    if (peer.link != nullptr && !peer.lost) {
      peer.link->QueueGoodbye();
    }
    peer.waiting.clear();
  }
  // What waited for a connection will have none.
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    if (peers_[static_cast<size_t>(rank)].link == nullptr) {
      sends_.FailPeer(rank, arrow::Status::Cancelled("this rank is closing"));
    }
  }
  CheckClosed();
  return closed_;
}

void Mesh::CheckClosed() {
  // A peer closes its end when it has read the goodbye; closing ours before would reset what it has not read yet.
  for (const auto& peer : peers_) {
    if (peer.link != nullptr && !peer.lost) {
      return;
    }
  }
  if (!closed_.is_finished()) {
    closed_.MarkFinished();
  }
}

void Mesh::Abort() {
  const auto self = shared_from_this();
  closing_ = true;
  if (!aborted_.is_finished()) {
    aborted_.MarkFinished();
  }
  for (Stream* stream : std::set<Stream*>(greeting_)) {
    if (greeting_.contains(stream)) {  // closing one may end another
      stream->Close();
    }
  }
  for (auto& peer : peers_) {
    if (peer.link != nullptr) {
      peer.link->Disown();
      peer.link->Close();
      peer.link.reset();
    }
    peer.waiting.clear();
    peer.lost = true;
  }
  sends_.FailAll(arrow::Status::Cancelled("this rank has given up its connections"));
  if (!started_.is_finished()) {
    started_.MarkFinished(arrow::Status::Cancelled("this rank has given up its connections"));
  }
  if (!closed_.is_finished()) {
    closed_.MarkFinished();
  }
}

}  // namespace cylon::internal
