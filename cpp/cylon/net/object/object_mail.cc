// Entries as objects: out, in, and away again.
#include "cylon/net/object/object_mail.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "cylon/net/object/object_lease.h"

namespace cylon::internal {

namespace {

/// Of a rank's, so many bytes lie in the store at most; objects of 4 MiB, for each is a request that is paid for.
constexpr int64_t kMostObjectsOfRank = 64 << 20;
constexpr int64_t kMostObjectWindow = 16 << 20;
/// Calls at once: a call takes tens of milliseconds, nearly all of them waiting.
constexpr size_t kFewestCalls = 4;
constexpr size_t kMostGets = 16;
constexpr size_t kMostPuts = 8;
constexpr ObjectStore::Width kPresenceWidth{2, 1, 1};
/// While large objects come, the ones behind are asked for too.
constexpr size_t kAskedAhead = 4;
/// Between looks for an object that is not there; at the longest, a rank of many looks 100 times a second in vain, and
/// one of few every 50 ms.
constexpr Duration kFirstObjectNap = std::chrono::milliseconds(2);
constexpr Duration kLeastLongestNap = std::chrono::milliseconds(50);
constexpr Duration kLongestNapOfEach = std::chrono::milliseconds(10);
constexpr Duration kMostLongestNap = std::chrono::seconds(1);
/// What a crash has left is deleted by a later run when its last beat is so old.
constexpr Duration kLeastLease = std::chrono::minutes(2);
constexpr int kLeaseInTimeouts = 4;

}  // namespace

ObjectMail::ObjectMail(Executor& executor, World world, Duration timeout)
    : Mail(executor, std::move(world), timeout, kMostObjectsOfRank, kMostObjectWindow),
      longest_nap_(std::clamp<Duration>((world_.size() - 1) * kLongestNapOfEach, kLeastLongestNap, kMostLongestNap)),
      naps_(static_cast<size_t>(world_.size())) {}

arrow::Status ObjectMail::Prepare(const ObjectPlace& place, const std::string& secret) {
  MailWords words;
  words.purpose = "cylon: messages through an object store";
  words.where = "in the object store " + place.name;
  words.entry = "object";
  words.left_alone = "objects of this job";
  ARROW_RETURN_NOT_OK(MakePeers(words, std::string(kObjectScheme), secret, Outbox::Third::kKeeps));
  names_ = std::make_shared<const ObjectNames>(world_);
  std::vector<std::string> beats;
  for (Rank rank = 0; rank < world_.size(); ++rank) {
    beats.push_back(names_->Beat(rank));
  }
  const auto peers = 2 * static_cast<size_t>(world_.size() - 1);
  ObjectStore::Width width{};
  width.gets = std::clamp(peers, kFewestCalls, kMostGets);
  width.puts = width.deletes = std::clamp(peers, kFewestCalls, kMostPuts);
  store_ = std::make_shared<ObjectStore>(executor_, place, width, timeout_);
  ObjectPresence::Told told;
  told.lost = [this](Rank rank, const std::string& cause) { HearLoss(rank, GoneRank(rank, cause)); };
  told.failed = [this](const arrow::Status& status) { Fail(status); };
  told.stored = [this] {
    std::vector<uint64_t> stored;
    for (const auto& each : peers_) {
      stored.push_back(each.outbox ? each.outbox->stored() : 0);
    }
    return stored;
  };
  told.misses = [this](Rank rank, uint64_t stored) { return stored > peer(rank).received; };
  told.gap = [this](Rank rank) { Miss(rank); };
  presence_ = std::make_shared<ObjectPresence>(
      executor_, std::make_shared<ObjectStore>(executor_, place, kPresenceWidth, timeout_), rank_, std::move(beats),
      timeout_, std::move(told));
  return arrow::Status::OK();
}

/// An object is an entry and nothing else.
MailEnvelope ObjectMail::EnvelopeTo(Rank /*to*/) const {
  return {[](uint64_t, size_t) { return std::string(); }, ""};
}

arrow::Future<> ObjectMail::Start(Sink* sink) {
  sink_ = sink;
  started_ = true;
  presence_->Start().AddCallback([weak = weak_from_this()](const arrow::Status& status) {
    const auto self = std::static_pointer_cast<ObjectMail>(weak.lock());
    if (self && status.ok() && self->open() && !self->start_.is_finished()) {
      self->start_.MarkFinished();
      if (self->rank_ == 0) {
        internal::DriveVoid(KeepLease(self), arrow::Future<>::Make());
      }
    }
  });
  reading_ = world_.size() - 1;
  for (Rank from = 0; from < world_.size(); ++from) {
    if (from != rank_) {
      internal::DriveVoid(ReadLoop(Shared(), from), arrow::Future<>::Make());
    }
  }
  return start_;
}

/// At the start, and when what a predecessor left a moment ago has run out too.
Co<void> ObjectMail::KeepLease(std::shared_ptr<ObjectMail> self) {
  const Duration lease = std::max<Duration>(kLeastLease, kLeaseInTimeouts * self->timeout_);
  for (int round = 0; round < 2 && self->open() && !self->closing_; ++round) {
    auto deleting = DeleteExpired(self->store_, self->names_, lease);
    const arrow::Status deleted = co_await deleting;
    if (!deleted.ok()) {
      self->Fail(deleted);
      co_return deleted;
    }
    if (self->open() && !self->closing_) {
      auto sleeping = self->lease_.Until(self->executor_, self->executor_.Now() + lease);
      std::ignore = co_await sleeping;
    }
  }
  co_return arrow::Status::OK();
}

void ObjectMail::Pump() {
  if (!open() || !started_) {
    return;
  }
  for (Rank to = 0; to < world_.size(); ++to) {
    auto& each = peer(to);
    while (each.outbox && each.writes && open()) {
      auto entry = each.outbox->Next(each.received);
      if (!entry.ok()) {
        return Fail(entry.status());
      }
      if (entry->bytes == nullptr) {
        break;
      }
      each.unacknowledged = 0;
      internal::DriveVoid(Put(Shared(), to, *std::move(entry)), arrow::Future<>::Make());
    }
  }
  if (closing_ && !put_end_ && open() && AllPut()) {
    put_end_ = true;
    for (auto& nap : naps_) {
      nap.Wake();
    }
    lease_.Wake();
    EndSoon();
  }
}

Co<void> ObjectMail::Put(std::shared_ptr<ObjectMail> self, Rank to, Outbox::Entry entry) {
  const auto sent = self->under_way_.Add(to);
  const std::string name = self->names_->Entry(self->rank_, to, entry.number);
  auto putting = self->store_->Put(name, std::move(entry.bytes));
  const auto put = co_await putting;
  self->under_way_.Finish(sent.id, put.status());
  if (!self->open()) {
    co_return put.status();
  }
  if (!put.ok()) {
    self->Fail(put.status());
    co_return put.status();
  }
  if (*put > 1) {
    self->repeated_.emplace_back(to, entry.number);
  }
  self->FinishSends(self->peer(to).outbox->Stored(entry.number));
  self->nap(to).Wake();  // an answer may come
  self->Pump();
  co_return arrow::Status::OK();
}

ObjectMail::Asked ObjectMail::Ask(Rank from, uint64_t number) {
  return {store_->Get(names_->Entry(from, rank_, number), limits_.entry_bytes + static_cast<int64_t>(kSealBytes) + 64),
          number > peer(from).received + 1, put_end_, executor_.Now()};
}

Co<void> ObjectMail::ReadLoop(std::shared_ptr<ObjectMail> self, Rank from) {
  auto& peer = self->peer(from);
  std::deque<Asked> ahead;  // from the next one on
  size_t most = 1;
  Duration nap = kFirstObjectNap;
  while (self->open() && peer.state == Peer::State::kThere) {
    while (ahead.size() < most) {
      ahead.push_back(self->Ask(from, peer.received + 1 + ahead.size()));
    }
    const auto front = ahead.front();
    const auto object = co_await front.object;
    if (!self->open() || peer.state != Peer::State::kThere) {
      break;
    }
    if (object.ok()) {
      const uint64_t number = peer.received + 1;
      ahead.pop_front();
      most = 2 * (*object)->size() > self->limits_.entry_bytes ? kAskedAhead : 1;
      nap = kFirstObjectNap;
      self->Take(from, number, std::string_view(**object));
      if (peer.received == number) {
        self->Delete(self->names_->Entry(from, self->rank_, number));
      }
      self->PumpSoon();
      continue;
    }
    if (!object.status().IsKeyError()) {
      self->Fail(object.status());
      break;
    }
    if (front.last) {
      break;  // whoever puts something there from now on finds this rank's goodbye, and deletes it
    }
    if (!front.early && !self->put_end_) {
      most = 1;
      const uint64_t sent = peer.outbox->last();
      // A store that answers slowly is not asked more often than it answers.
      nap = std::clamp<Duration>(self->executor_.Now() - front.when, nap, std::max(nap, self->longest_nap_));
      auto sleeping = self->nap(from).Until(self->executor_, self->executor_.Now() + nap);
      std::ignore = co_await sleeping;
      nap = peer.outbox->last() == sent ? std::min<Duration>(2 * nap, self->longest_nap_) : kFirstObjectNap;
      if (!self->open() || peer.state != Peer::State::kThere) {
        break;
      }
    }
    ahead.front() = self->Ask(from, peer.received + 1);
  }
  --self->reading_;
  self->EndSoon();
  co_return arrow::Status::OK();
}

void ObjectMail::Delete(const std::string& name) {
  const auto sent = under_way_.Add(rank_);
  store_->Delete(name).AddCallback([weak = weak_from_this(), id = sent.id](const arrow::Result<int>& deleted) {
    const auto self = std::static_pointer_cast<ObjectMail>(weak.lock());
    if (self) {
      self->under_way_.Finish(id, deleted.status());
    }
    if (self && !deleted.ok()) {
      self->Fail(deleted.status());
    }
  });
}

void ObjectMail::Forget(Rank rank) {
  presence_->Forget(rank);
  nap(rank).Wake();
}

void ObjectMail::EndSoon() {
  if (put_end_ && reading_ == 0 && open() && !std::exchange(ending_, true)) {
    internal::DriveVoid(CleanUp(Shared()), arrow::Future<>::Make());
  }
}

/// Nothing more is put or read.
Co<void> ObjectMail::CleanUp(std::shared_ptr<ObjectMail> self) {
  auto putting = self->under_way_.Flush();
  std::ignore = co_await putting;
  for (Rank to = 0; to < self->world_.size() && self->open(); ++to) {
    const auto& each = self->peer(to);
    // One that was dropped is still to read why.
    if (each.outbox && each.state != Peer::State::kThere && !each.dropped) {
      for (uint64_t number = each.outbox->first_unread(); number <= each.outbox->last(); ++number) {
        self->Delete(self->names_->Entry(self->rank_, to, number));
      }
    }
  }
  for (const auto& [to, number] : self->repeated_) {
    if (number < self->peer(to).outbox->first_unread()) {
      self->Delete(self->names_->Entry(self->rank_, to, number));
    }
  }
  auto deleting = self->under_way_.Flush();
  std::ignore = co_await deleting;
  if (self->open()) {
    auto leaving = self->presence_->Leave();
    const auto left = co_await leaving;
    self->Stop(left);
  }
  co_return arrow::Status::OK();
}

void ObjectMail::CloseWays() {
  presence_->Stop();
  store_->Stop();
  lease_.Wake();
  for (auto& nap : naps_) {
    nap.Wake();
  }
}

}  // namespace cylon::internal
