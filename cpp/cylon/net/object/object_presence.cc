// Heartbeats as objects.
#include "cylon/net/object/object_presence.h"

#include <algorithm>
#include <charconv>
#include <tuple>
#include <utility>

namespace cylon::internal {

namespace {

/// A beat is a request that is paid for: five of them in the time after which a rank counts as lost.
constexpr int kObjectBeatsInTimeout = 5;
constexpr Duration kShortestObjectBeat = std::chrono::milliseconds(50);
constexpr Duration kLongestObjectBeat = std::chrono::seconds(2);
/// Of each number in a beat.
constexpr int64_t kMostBeatDigits = 21;
/// What a rank's object holds when it has given up.
constexpr std::string_view kObjectGaveUp = "gave up";

}  // namespace

std::string EncodeObjectBeat(const ObjectBeat& beat) {
  std::string out = std::to_string(beat.count);
  for (const uint64_t stored : beat.stored) {
    out += " " + std::to_string(stored);
  }
  return out;
}

std::optional<ObjectBeat> DecodeObjectBeat(std::string_view text, size_t ranks) {
  std::vector<uint64_t> numbers;
  for (bool more = true; more && numbers.size() <= ranks;) {
    uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc()) {
      return std::nullopt;
    }
    text.remove_prefix(static_cast<size_t>(end - text.data()));
    numbers.push_back(number);
    more = text.starts_with(' ') && numbers.size() <= ranks;
    text.remove_prefix(more ? 1 : 0);
  }
  if (!text.empty() || numbers.size() != ranks + 1) {
    return std::nullopt;
  }
  return ObjectBeat{numbers[0], {numbers.begin() + 1, numbers.end()}};
}

ObjectPresence::ObjectPresence(Executor& executor, std::shared_ptr<ObjectStore> store, Rank own,
                               std::vector<std::string> names, Duration timeout, Told told)
    : executor_(executor),
      store_(std::move(store)),
      own_(static_cast<size_t>(own)),
      names_(std::move(names)),
      timeout_(timeout),
      interval_(std::clamp<Duration>(timeout / kObjectBeatsInTimeout, kShortestObjectBeat, kLongestObjectBeat)),
      told_(std::move(told)),
      peers_(names_.size()) {}

arrow::Future<> ObjectPresence::Start() {
  beat_ended_ = arrow::Future<>::Make();
  internal::DriveVoid(Beat(shared_from_this()), beat_ended_);
  internal::DriveVoid(Watch(shared_from_this()), arrow::Future<>::Make());
  return started_;
}

arrow::Future<> ObjectPresence::Leave() {
  auto left = arrow::Future<>::Make();
  internal::DriveVoid(GoQuietly(shared_from_this(), left), arrow::Future<>::Make());
  return left;
}

Co<void> ObjectPresence::GoQuietly(std::shared_ptr<ObjectPresence> self, arrow::Future<> left) {
  self->stopped_ = true;
  self->told_ = {};
  self->between_beats_.Wake();
  self->between_looks_.Wake();
  // A beat that is under way would be there again.
  auto beating = self->beat_ended_;
  std::ignore = co_await beating;
  auto deleting = self->store_->Delete(self->names_[self->own_]);
  const auto deleted = co_await deleting;
  left.MarkFinished(deleted.status());
  co_return arrow::Status::OK();
}

void ObjectPresence::Stop() {
  if (std::exchange(ended_, true)) {
    return;  // what is left to be put is what GiveUp says
  }
  const auto self = shared_from_this();  // who sleeps may be all that holds this
  stopped_ = true;
  told_ = {};
  between_beats_.Wake();
  between_looks_.Wake();
  store_->Stop();
}

void ObjectPresence::GiveUp() {
  Stop();
  store_->PutLast(names_[own_], std::string(kObjectGaveUp));
}

void ObjectPresence::Failed(const arrow::Status& status) {
  if (!started_.is_finished()) {
    started_.MarkFinished(status);
  }
  if (!stopped_ && told_.failed) {
    const auto failed = told_.failed;
    failed(status);
  }
}

arrow::Future<int> ObjectPresence::Put() {
  const ObjectBeat beat{++beats_, told_.stored()};
  return store_->Put(names_[own_], std::make_shared<const std::string>(EncodeObjectBeat(beat)));
}

Co<void> ObjectPresence::Beat(std::shared_ptr<ObjectPresence> self) {
  while (!self->stopped_) {
    auto putting = self->Put();
    const auto put = co_await putting;
    if (!put.ok()) {
      self->Failed(put.status());
      co_return put.status();
    }
    if (!self->started_.is_finished()) {
      self->started_.MarkFinished();
    }
    auto sleeping = self->between_beats_.Until(self->executor_, self->executor_.Now() + self->interval_);
    std::ignore = co_await sleeping;
  }
  co_return arrow::Status::OK();
}

Co<void> ObjectPresence::Watch(std::shared_ptr<ObjectPresence> self) {
  TimePoint looked = self->executor_.Now();
  while (!self->stopped_) {
    auto sleeping = self->between_looks_.Until(self->executor_, self->executor_.Now() + self->interval_);
    std::ignore = co_await sleeping;
    std::vector<std::pair<size_t, arrow::Future<std::shared_ptr<arrow::Buffer>>>> looks;
    for (size_t i = 0; i < self->peers_.size() && !self->stopped_; ++i) {
      auto& peer = self->peers_[i];
      if (i == self->own_ || !peer.watched) {
        continue;
      }
      if (std::exchange(peer.heard, false)) {
        peer.silence = peer.missing = Duration::zero();
      } else {
        const auto numbers = static_cast<int64_t>(self->peers_.size()) + 1;
        looks.emplace_back(i, self->store_->Get(self->names_[i], kMostBeatDigits * numbers));
      }
    }
    // Two intervals without a look are no more than two: in the rest it was this rank, or the store, that was late.
    const TimePoint now = self->executor_.Now();
    const Duration passed = std::min<Duration>(now - std::exchange(looked, now), 2 * self->interval_);
    for (auto& [peer, looking] : looks) {
      const auto count = co_await looking;
      if (self->stopped_) {
        co_return arrow::Status::OK();
      }
      const auto status = self->Look(peer, count, passed);
      if (!status.ok()) {
        self->Failed(status);
        co_return status;
      }
    }
  }
  co_return arrow::Status::OK();
}

arrow::Status ObjectPresence::Look(size_t i, const arrow::Result<std::shared_ptr<arrow::Buffer>>& count,
                                   Duration passed) {
  if (!count.ok() && !count.status().IsKeyError()) {
    return count.status();
  }
  auto& peer = peers_[i];
  if (!peer.watched) {
    return arrow::Status::OK();
  }
  const std::string text = count.ok() ? (*count)->ToString() : "";
  const auto beat = DecodeObjectBeat(text, peers_.size());
  const bool moved = beat && beat->count > peer.count;
  peer.silence = moved ? Duration::zero() : peer.silence + passed;
  peer.count = moved ? beat->count : peer.count;
  const auto rank = static_cast<Rank>(i);
  peer.missing = beat && told_.misses(rank, beat->stored[own_]) ? peer.missing + passed : Duration::zero();
  if (peer.missing >= timeout_ && !peer.heard) {
    peer.watched = false;
    const auto gap = told_.gap;
    gap(rank);
    return arrow::Status::OK();
  }
  std::string why;
  if (text == kObjectGaveUp) {
    why = "it closed its transport without a goodbye";
  } else if (peer.silence >= timeout_ && !peer.heard) {
    why = "its heartbeat in the object store " + store_->name() + " has stood still for " +
          std::to_string(std::chrono::ceil<std::chrono::milliseconds>(timeout_).count()) + " ms";
  }
  if (!why.empty()) {
    peer.watched = false;
    const auto lost = told_.lost;
    lost(rank, why);
  }
  return arrow::Status::OK();
}

}  // namespace cylon::internal
