// The watch's network over paths.
#include "cylon/comm/watch/path_wire.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cylon/net/mesh/ways.h"
#include "cylon/wire/strangers.h"

namespace cylon::internal {

namespace {

/// Connections of one pair: both may dial at once, and again when a link is silent. One more, and the oldest goes.
constexpr size_t kLinksOfAPair = 4;
/// Messages that a link has not taken. A beat is dropped before there is even one: the next says the same.
constexpr size_t kMostQueued = 64;
/// Every link of a pair has every message: one that has had none for so long while another had some leads nowhere any
/// more. Two of the rarest beats.
constexpr Duration kStaleLink = std::chrono::seconds(1);

}  // namespace

PathWire::PathWire(Executor& executor, std::vector<std::unique_ptr<Path>> paths, int world_size)
    : executor_(executor),
      paths_(std::move(paths)),
      most_strangers_(std::max(kStrangersAtOnce, 2 * static_cast<size_t>(world_size))) {
  for (const auto& path : paths_) {
    address_ += (address_.empty() ? "" : " ") + path->address();
  }
}

PathWire::~PathWire() = default;

void PathWire::Listen() {
  for (const auto& path : paths_) {
    path->Accept([weak = weak_from_this()](std::unique_ptr<Stream> stream) {
      if (auto self = weak.lock()) {
        self->Admit(std::move(stream));
      }
    });
  }
}

void PathWire::Join(World world, Security security) {
  world_ = std::move(world);
  security_ = std::move(security);
}

Identity PathWire::Self(Rank wanted) const {
  Identity self;
  self.job = world_.job;
  self.epoch = world_.epoch;
  self.rank = world_.rank;
  self.purpose = "watch";
  self.wanted = wanted;
  return self;
}

void PathWire::Start(WatchWireSink* sink) {
  sink_ = sink;
  for (auto& stream : std::exchange(early_, {})) {
    Admit(std::move(stream));
  }
}

void PathWire::Admit(std::unique_ptr<Stream> stream) {
  if (closed_) {
    return;
  }
  if (sink_ == nullptr) {
    if (early_.size() >= kStrangersAtOnce) {
      early_.erase(early_.begin());
    }
    early_.push_back(std::move(stream));
    return;
  }
  if (strangers_.size() >= most_strangers_) {
    const auto oldest = strangers_.front();  // it has had its chance
    strangers_.pop_front();
    oldest->Close();
  }
  strangers_.push_back(std::make_shared<Opening>());
  static_cast<void>(Spawn(executor_, Welcome(shared_from_this(), std::move(stream), strangers_.back())));
}

Co<void> PathWire::Welcome(std::shared_ptr<PathWire> self, std::unique_ptr<Stream> stream,
                           std::shared_ptr<Opening> opening) {
  auto open = OpenAsListener(std::move(stream), self->executor_, self->security_, self->Self(),
                             self->executor_.Now() + kStrangerPatience, opening);
  auto opened = co_await open;
  std::erase(self->strangers_, opening);
  CYLON_CO_RETURN_NOT_OK(opened.status());  // a stranger: dropped, nobody is told
  const Rank rank = opened->peer.rank;
  if (!self->closed_ && rank >= 0 && rank < self->world_.size() && rank != self->world_.rank) {
    self->Adopt(rank, std::move(opened->stream));
  }
  co_return arrow::Status::OK();
}

void PathWire::Dial(Rank peer, Duration patience) {
  if (closed_ || dialling_.contains(peer)) {
    return;
  }
  const auto stop = dialling_.emplace(peer, arrow::Future<>::Make()).first->second;
  static_cast<void>(Spawn(executor_, DialPeer(shared_from_this(), peer, executor_.Now() + patience, stop)));
}

Co<void> PathWire::DialPeer(std::shared_ptr<PathWire> self, Rank peer, TimePoint deadline, arrow::Future<> stop) {
  const auto& card = self->world_.cards[static_cast<size_t>(peer)];
  auto connect = ConnectByAny(self->paths_, card.watch, deadline, stop);
  auto connected = co_await connect;
  if (!connected.ok()) {
    self->FailDial(peer, IsNobodyListening(connected.status()) ? DialEnd::kRefused : DialEnd::kUnreachable);
    co_return connected.status();
  }
  if (self->closed_) {
    co_return arrow::Status::OK();
  }
  const auto opening = std::make_shared<Opening>();
  self->diallings_.insert(opening);
  auto open = OpenAsDialler(std::move(connected->stream), self->executor_, self->security_, self->Self(peer), card.host,
                            deadline, opening);
  auto proven = co_await open;
  self->diallings_.erase(opening);
  if (!proven.ok() || proven->peer.rank != peer) {
    // Whoever has the port now knows nothing of this job: its rank is gone, as if nobody listened.
    const bool stranger = proven.ok() || proven.status().IsInvalid() ||
                          IsError(proven.status(), ErrorKind::kAuthentication) ||
                          IsError(proven.status(), ErrorKind::kProtocol);
    self->FailDial(peer, IsError(proven.status(), ErrorKind::kDeadline) ? DialEnd::kUnanswered
                         : stranger                                     ? DialEnd::kRefused
                                                                        : DialEnd::kBroken);
    co_return proven.status();
  }
  self->dialling_.erase(peer);
  if (!self->closed_) {
    self->Adopt(peer, std::move(proven->stream));
  }
  co_return arrow::Status::OK();
}

void PathWire::FailDial(Rank peer, DialEnd how) {
  dialling_.erase(peer);
  if (!closed_) {
    sink_->OnDialFailed(peer, how);
  }
}

void PathWire::Adopt(Rank peer, std::unique_ptr<Stream> stream) {
  auto link = std::make_shared<Link>();
  link->stream = std::move(stream);
  link->peer = peer;
  link->heard = executor_.Now();
  auto& links = links_[peer];
  links.push_back(link);
  if (links.size() > kLinksOfAPair) {
    EndSoon(links.front());
  }
  static_cast<void>(Spawn(executor_, ReadLoop(shared_from_this(), link)));
  sink_->OnLink(peer);
  if (const auto own = dialling_.find(peer); own != dialling_.end()) {
    EndDial(own->second);  // it was wanted, and the peer's came first
  }
}

void PathWire::EndDial(arrow::Future<> stop) {
  if (!stop.is_finished()) {
    stop.MarkFinished();
  }
}

Co<void> PathWire::ReadLoop(std::shared_ptr<PathWire> self, LinkPtr link) {
  while (!link->ended && !self->closed_) {
    std::array<uint8_t, kWatchHeaderBytes> bytes;
    auto read_header = link->stream->Read(bytes);
    auto status = co_await read_header;
    auto header = status.ok() ? DecodeWatchHeader(bytes) : status;
    if (!header.ok()) {
      break;
    }
    std::vector<uint8_t> body(header->length);
    auto read_body = link->stream->Read(body);
    status = co_await read_body;
    auto message = status.ok() ? DecodeWatchBody(header->type, std::string(body.begin(), body.end())) : status;
    if (!message.ok() || link->ended || self->closed_) {
      break;
    }
    link->heard = self->executor_.Now();
    for (const auto& other : self->links_.at(link->peer)) {
      if (link->heard - other->heard > kStaleLink) {
        self->EndSoon(other);
      }
    }
    self->sink_->OnMessage(link->peer, *message);
  }
  self->End(link);
  co_return arrow::Status::OK();
}

void PathWire::Send(Rank to, const WatchMessage& message) {
  auto found = links_.find(to);
  if (found == links_.end()) {
    return;
  }
  const std::string bytes = Encode(message);
  const bool beat = message.type == WatchMessage::Type::kBeat;
  for (const auto& link : std::vector<LinkPtr>(found->second)) {
    const bool full = beat ? link->writing : link->queue.size() >= kMostQueued;
    if (!full && !link->ended) {
      link->queue.push_back(bytes);
      Pump(link);
    }
  }
}

/// Writes at once what the socket takes: a goodbye leaves before the stop that follows it.
void PathWire::Pump(const LinkPtr& link) {
  while (!link->writing && !link->ended && !link->queue.empty()) {
    link->leaving.assign(link->queue.front().begin(), link->queue.front().end());
    link->queue.pop_front();
    link->writing = true;
    auto written = link->stream->Write({std::span<const uint8_t>(link->leaving)});
    if (!written.is_finished()) {
      written.AddCallback([weak = weak_from_this(), link](const arrow::Status& status) {
        link->writing = false;
        auto self = weak.lock();
        if (self && !self->closed_) {
          status.ok() ? self->Pump(link) : self->EndSoon(link);
        }
      });
      return;
    }
    link->writing = false;
    if (!written.status().ok()) {
      EndSoon(link);
      return;
    }
  }
}

/// In a task of its own: who sends does not expect to be told of an end inside.
void PathWire::EndSoon(const LinkPtr& link) {
  executor_.Post([weak = weak_from_this(), link] {
    if (auto self = weak.lock()) {
      self->End(link);
    }
  });
}

void PathWire::End(const LinkPtr& link) {
  if (std::exchange(link->ended, true)) {
    return;
  }
  link->stream->Close();
  if (closed_) {
    return;
  }
  auto found = links_.find(link->peer);
  std::erase(found->second, link);
  if (found->second.empty()) {
    links_.erase(found);
    sink_->OnLinkEnd(link->peer);
  }
}

void PathWire::Close() {
  if (std::exchange(closed_, true)) {
    return;
  }
  early_.clear();
  for (const auto& [peer, stop] : std::map(dialling_)) {
    EndDial(stop);
  }
  paths_.clear();  // here, in a task: this may be let go in another thread
  for (const auto& opening : std::set(diallings_)) {
    opening->Close();
  }
  for (const auto& opening : std::deque(strangers_)) {
    opening->Close();
  }
  for (const auto& [peer, links] : std::exchange(links_, {})) {
    for (const auto& link : links) {
      End(link);
    }
  }
}

}  // namespace cylon::internal
