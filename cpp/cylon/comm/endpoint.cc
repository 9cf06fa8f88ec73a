// One rank's end of a world: findings in, findings out.
#include "cylon/comm/endpoint.h"

#include <algorithm>
#include <charconv>
#include <numeric>

#include "cylon/comm/launcher_word.h"

namespace cylon::internal {

namespace {

/// A goodbye may still be behind a send that failed because of it.
constexpr auto kGoodbyeGrace = std::chrono::milliseconds(10);

enum class Control : uint32_t { kLost = 1, kRevoked = 2 };

/// The low 32 bits of an epoch in hexadecimal; any other text counts by its bytes (FNV-1a).
uint32_t EpochNumber(const std::string& epoch) {
  uint32_t number = 0;
  const size_t from = epoch.size() < 8 ? 0 : epoch.size() - 8;
  const char* end = epoch.data() + epoch.size();
  auto [stop, error] = std::from_chars(epoch.data() + from, end, number, 16);
  if (error == std::errc() && stop == end) {
    return number;
  }
  number = 2166136261U;
  for (const char c : epoch) {
    number = (number ^ static_cast<uint8_t>(c)) * 16777619U;
  }
  return number;
}

}  // namespace

/// The header of a control message; the finding follows as its one segment.
struct Endpoint::ControlHeader {
  Control control;
  uint32_t communicator = 0;  // kRevoked: the group
  Rank leader = -1;           // and its lowest member
};

Endpoint::Endpoint(World world, Executor& executor, std::unique_ptr<Lanes> lanes, Store* store, bool launcher)
    : world_(std::move(world)),
      epoch_(EpochNumber(world_.epoch)),
      executor_(executor),
      lanes_(std::move(lanes)),
      store_(store),
      launcher_(launcher),
      everybody_(static_cast<size_t>(world_.size())) {
  std::iota(everybody_.begin(), everybody_.end(), 0);
}

const std::string& Endpoint::host(Rank world_rank) const {
  static const std::string kUnknown;
  return world_rank < 0 || world_rank >= world_.size() ? kUnknown : world_.cards[static_cast<size_t>(world_rank)].host;
}

arrow::Future<> Endpoint::Start() {
  world_group_ = MakeGroup(kWorldCommunicator, everybody_);
  auto started = lanes_->Start(this);
  if (store_ != nullptr && launcher_) {
    AwaitLauncherWord(0);
  }
  return started;
}

Endpoint::GroupKey Endpoint::KeyOf(const Group& group) {
  return {group.id(), *std::min_element(group.members().begin(), group.members().end())};
}

std::shared_ptr<Group> Endpoint::MakeGroup(uint32_t id, std::vector<Rank> members) {
  auto group = std::make_shared<Group>(this, id, std::move(members));
  const GroupKey key = KeyOf(*group);
  groups_.emplace(key, group);
  for (const Rank member : group->members()) {
    if (auto lost = lost_.find(member); lost != lost_.end()) {
      group->Propose(lost->second);
    }
  }
  if (end_) {
    group->End(*end_);
  }
  if (auto early = early_.find(key); early != early_.end()) {
    group->Report(early->second);
    early_.erase(early);
  }
  return group;
}

std::vector<std::shared_ptr<Group>> Endpoint::groups() const {
  std::vector<std::shared_ptr<Group>> all;
  for (const auto& [key, group] : groups_) {
    all.push_back(group);
  }
  return all;
}

void Endpoint::ForgetGroup(const std::shared_ptr<Group>& group) {
  group->Close(arrow::Status::Invalid("this communicator is no longer in use"));
  groups_.erase(KeyOf(*group));
}

void Endpoint::OnPeerLost(Rank peer, const arrow::Status& cause) {
  if (closed()) {
    return;
  }
  if (!cause.ok()) {
    ReportLost(Finding{SourceOfLoss(peer), ErrorKind::kRankFailed, peer, cause.message()});
    return;
  }
  left_.insert(peer);
  for (const auto& [key, group] : std::map(groups_)) {
    group->OnDeparture(peer);
  }
}

Finding::Source Endpoint::SourceOfLoss(Rank peer) const {
  return told_.contains(peer) ? Finding::Source::kAftermath : Finding::Source::kLink;
}

void Endpoint::OnMissed(Rank world_rank) {
  ReportLost(Finding{Finding::Source::kDeparture, ErrorKind::kRankFailed, world_rank, "it left the job"});
}

void Endpoint::OnSendFailed(Rank world_rank, const arrow::Status& status) {
  executor_.PostAt(executor_.Now() + kGoodbyeGrace, [weak = weak_from_this(), world_rank, status] {
    auto self = weak.lock();
    if (!self || self->closed() || self->lost_.contains(world_rank)) {
      return;
    }
    if (self->HasLeft(world_rank)) {
      self->OnMissed(world_rank);
    } else {
      self->ReportLost(Finding{self->SourceOfLoss(world_rank), ErrorKind::kRankFailed, world_rank, status.message()});
    }
  });
}

void Endpoint::GiveUp(const std::string& cause) {
  if (!closed()) {
    ReportLost(Finding{Finding::Source::kItself, ErrorKind::kRankFailed, rank(), cause});
  }
}

void Endpoint::ReportLost(const Finding& finding) {
  if (finding.rank < 0 || finding.rank >= world_size()) {
    return;
  }
  auto [known, first] = lost_.emplace(finding.rank, finding);
  if (!first) {
    if (!(finding < known->second)) {
      return;
    }
    known->second = finding;
  }
  Flood(ControlHeader{Control::kLost}, finding, everybody_);
  for (const auto& [key, group] : std::map(groups_)) {
    if (group->FromWorld(finding.rank) >= 0) {
      group->Propose(finding);
    }
  }
}

void Endpoint::FloodRevocation(const Group& group, const Finding& finding) {
  const auto [id, leader] = KeyOf(group);
  Flood(ControlHeader{Control::kRevoked, id, leader}, finding, group.members());
}

void Endpoint::Flood(const ControlHeader& header, const Finding& finding, const std::vector<Rank>& members) {
  std::shared_ptr<arrow::Buffer> text = arrow::Buffer::FromString(Encode(finding));
  for (const Rank to : members) {
    if (to != rank() && !lost_.contains(to) && !left_.contains(to)) {
      Message message;
      message.channel = ChannelId{epoch_, 0, ChannelKind::kControl, 0};
      message.header = InlineBytes::Of(header);
      message.segments = {text};
      (void)lanes_->Send(to, std::move(message));  // who cannot be told is lost, too
    }
  }
}

void Endpoint::OnControl(Rank from, Message message) {
  if (closed()) {
    return;
  }
  ControlHeader header{};
  arrow::Result<Finding> finding = arrow::Status::Invalid("");
  if (message.header.As(&header) && message.segments.size() == 1) {
    finding = DecodeFinding(message.segments[0]->ToString());
  }
  if (!finding.ok()) {
    ReportLost(Finding{Finding::Source::kDisagreement, ErrorKind::kRankFailed, from,
                       "it sent a control message that cannot be read"});
    return;
  }
  if (header.control == Control::kLost) {
    if (finding->rank != from) {
      told_.insert(from);
    }
    ReportLost(*finding);
    return;
  }
  if (finding->kind == ErrorKind::kDeadline && finding->rank < 0) {
    EndAll(*finding);  // of the whole job
    return;
  }
  const GroupKey key{header.communicator, header.leader};
  if (auto at = groups_.find(key); at != groups_.end()) {
    auto group = at->second;
    group->Report(*finding);
  } else if (header.communicator >= next_id_) {
    auto [early, first] = early_.emplace(key, *finding);
    if (!first && *finding < early->second) {
      early->second = *finding;
    }
  }
}

arrow::Future<std::string> Endpoint::SettleInStore(const Group& group, const Finding& finding) {
  const auto [id, leader] = KeyOf(group);
  const std::string key =
      world_.job + "/" + world_.epoch + "/revoked/" + std::to_string(id) + "/" + std::to_string(leader);
  return store_->SetIfAbsent(key, Encode(finding), kRunTimeToLive);
}

void Endpoint::AwaitLauncherWord(int64_t index) {
  store_->Get(LauncherWordKey(world_.job, world_.epoch, index), kNever)
      .AddCallback([weak = weak_from_this(), index](const arrow::Result<std::string>& text) {
        auto self = weak.lock();
        if (!self || self->closed() || !text.ok()) {
          return;  // closing, or the store is gone: the links are still watched
        }
        if (auto word = DecodeLauncherWord(*text); word.ok()) {
          self->ReportLost(Finding{Finding::Source::kLauncher, ErrorKind::kRankFailed, word->rank, word->cause});
        }
        self->AwaitLauncherWord(index + 1);
      });
}

std::vector<Rank> Endpoint::Gone() const {
  std::vector<Rank> gone(left_.begin(), left_.end());
  for (const auto& [rank, finding] : lost_) {
    if (finding.kind == ErrorKind::kRankFailed) {
      gone.push_back(rank);
    }
  }
  return gone;
}

void Endpoint::EndAll(const Finding& finding) {
  if (end_) {
    return;
  }
  if (world_group_ != nullptr) {
    // Told and settled for those whose clocks come a little later: they would see this rank go first.
    FloodRevocation(*world_group_, finding);
    if (has_store()) {
      SettleInStore(*world_group_, finding).AddCallback([](const arrow::Result<std::string>&) {});
    }
  }
  end_ = finding;
  for (const auto& [key, group] : std::map(groups_)) {
    group->End(finding);
  }
}

void Endpoint::Shutdown(const arrow::Status& why) {
  if (closed()) {
    return;
  }
  for (const auto& [key, group] : std::exchange(groups_, {})) {
    group->Close(why);
  }
  lanes_->Abort();
  lanes_.reset();
}

}  // namespace cylon::internal
