// One rank's end of a world: findings in, findings out.
#include "cylon/comm/endpoint.h"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstring>
#include <numeric>

#include "cylon/base/readable.h"
#include "cylon/comm/launcher_word.h"
#include "cylon/wire/stream.h"

namespace cylon::internal {

namespace {

/// A goodbye may still be behind a send that failed because of it.
constexpr auto kGoodbyeGrace = std::chrono::milliseconds(10);

enum class Control : uint32_t { kLost = 1, kRevoked = 2 };

/// Until a rank's first beat, where it may not be silent for so long: it has joined, but may be slow to begin.
constexpr auto kStartGrace = std::chrono::seconds(10);
/// What a rank that leaves alone says to the others has so long to leave: much may be on its way to a slow one.
constexpr auto kFarewell = std::chrono::milliseconds(500);
/// Of those whom a rank waits for, so many are named in a warning: of more, the first say what there is to say.
constexpr size_t kMostNamed = 8;
/// Of communicators that others have made and this rank has not, so many may have ended: more were never made.
constexpr size_t kMostEarly = 4096;
constexpr auto kInquiryPatience = std::chrono::seconds(1);

std::string TimeText(Duration time) { return ReadableSeconds(std::chrono::duration<double>(time).count()); }

std::string OperationText(const std::string& operation, uint64_t sequence) {
  return operation + " (operation " + std::to_string(sequence) + ")";
}

/// "computes since 41 s, was last in Join (operation 7)".
std::string SightingText(const Report& report) {
  std::string text = (report.waits ? "waits for " : "computes since ") + TimeText(report.since);
  if (!report.operation.empty()) {
    text += (report.waits ? " in " : ", was last in ") + OperationText(report.operation, report.sequence);
  }
  return text + ", has sent " + ReadableBytes(report.bytes_sent) + " and received " +
         ReadableBytes(report.bytes_received);
}

bool IsLoopback(const std::string& address) {
  const auto parsed = HostPort::Parse(address);
  return parsed.ok() && (parsed->host.starts_with("127.") || parsed->host == "::1" || parsed->host == "localhost");
}

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

struct Endpoint::Traffic {
  std::atomic<int64_t> sent{0};
  std::atomic<int64_t> received{0};
};

/// The header of a control message; the finding follows as its one segment.
struct Endpoint::ControlHeader {
  Control control;
  uint32_t communicator = 0;  // kRevoked: the group
  Rank leader = -1;           // and its lowest member
};

Endpoint::Endpoint(World world, Executor& executor, std::unique_ptr<Lanes> lanes, Store* store, bool launcher,
                   WatchSetup watch)
    : world_(std::move(world)),
      epoch_(EpochNumber(world_.epoch)),
      executor_(executor),
      lanes_(std::move(lanes)),
      store_(store),
      launcher_(launcher),
      setup_(std::move(watch)),
      watch_(std::move(setup_.watch)),
      traffic_(std::make_shared<Traffic>()),
      everybody_(static_cast<size_t>(world_.size())) {
  std::iota(everybody_.begin(), everybody_.end(), 0);
  if (store_ != nullptr) {
    signs_.emplace(store_, world_);
  }
}

const std::string& Endpoint::host(Rank world_rank) const {
  static const std::string kUnknown;
  return world_rank < 0 || world_rank >= world_.size() ? kUnknown : world_.cards[static_cast<size_t>(world_rank)].host;
}

arrow::Future<> Endpoint::Start() {
  world_group_ = MakeGroup(kWorldCommunicator, everybody_);
  if (watch_ != nullptr) {
    StartWatch();
  }
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
  for (const auto& [ends, lost] : lost_links_) {
    if (group->FromWorld(ends.first) >= 0 && group->FromWorld(ends.second) >= 0) {
      group->Propose(lost);
    }
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

void Endpoint::OnPeerMet(Rank peer) {
  if (!closed() && watch_ != nullptr) {
    watch_->OnMet(peer);
  }
}

void Endpoint::OnPeerLost(Rank peer, const arrow::Status& cause) {
  if (closed()) {
    return;
  }
  if (IsError(cause, ErrorKind::kIsolated)) {
    // It is this rank that reaches nobody: there is nobody to accuse, to tell, or to settle it with.
    for (const auto& [key, group] : std::map(groups_)) {
      group->Close(cause);
    }
    return;
  }
  if (!cause.ok()) {
    if (IsError(cause, ErrorKind::kProtocol)) {
      ReportLost(Finding{Finding::Source::kDisagreement, ErrorKind::kProtocol, peer, cause.message()});
    } else if (watch_ != nullptr) {
      watch_->Investigate(peer, cause.message());
    } else {
      ReportLost(BrokenLink(peer, cause.message()));
    }
    return;
  }
  left_.insert(peer);
  if (watch_ != nullptr) {
    watch_->OnLeft(peer);
  }
  for (const auto& [key, group] : std::map(groups_)) {
    group->OnDeparture(peer);
  }
}

/// What the end of a link is worth: who told of another's loss mostly ends because of it.
Finding Endpoint::BrokenLink(Rank peer, const std::string& cause) const {
  const auto source = told_.contains(peer) ? Finding::Source::kAftermath : Finding::Source::kLink;
  return Finding{source, ErrorKind::kRankFailed, peer, cause};
}

void Endpoint::OnFinding(const Finding& finding) {
  if (closed()) {
    return;
  }
  Finding found = finding;
  if (found.kind == ErrorKind::kIsolated) {
    // There is nobody whom it could be told, and no store to settle it.
    end_ = found;
    for (const auto& [key, group] : std::map(groups_)) {
      group->End(found);
    }
    return;
  }
  if (found.kind == ErrorKind::kRankFailed && told_.contains(found.rank)) {
    found.source = Finding::Source::kAftermath;
  }
  found.kind == ErrorKind::kLinkLost ? ReportLink(found) : ReportLost(found);
}

void Endpoint::StartWatch() {
  Judge::Setup setup;
  setup.own = rank();
  setup.size = world_size();
  setup.timeout = setup_.peer_timeout;
  setup.start_grace = std::max<Duration>(kStartGrace - setup_.peer_timeout, Duration{});
  if (const auto& own = world_.cards[static_cast<size_t>(rank())].watch; !own.empty() && !HostPort::Parse(own).ok()) {
    setup.dial_patience = setup_.peer_timeout / 2;  // it is not one address that is dialled: a way has to be made first
  }
  for (Rank peer = 0; peer < world_size(); ++peer) {
    if (IsLoopback(world_.cards[static_cast<size_t>(peer)].watch)) {
      setup.here.insert(peer);
    }
  }
  setup.has_store = store_ != nullptr;
  auto describe = [report = report_, traffic = traffic_] {
    Report own;
    if (report != nullptr) {
      const auto doing = report->Now();
      own.waits = doing.waits;
      own.since = doing.since;
      own.sequence = doing.sequence;
      own.operation = doing.operation;
    }
    own.bytes_sent = traffic->sent.load();
    own.bytes_received = traffic->received.load();
    return own;
  };
  watch_->Start(std::move(setup), std::move(describe), weak_from_this(), executor_);
}

void Endpoint::OnBeat() {
  if (!closed()) {
    traffic_->sent.store(lanes_->bytes_sent());
    traffic_->received.store(lanes_->bytes_received());
    WarnOfSlowRanks();
  }
}

/// A wait of slow_warning, and again whenever it has doubled.
void Endpoint::WarnOfSlowRanks() {
  if (report_ == nullptr || setup_.log == nullptr || setup_.slow_warning <= Duration{}) {
    return;
  }
  const auto doing = report_->Now();
  const Duration wait = doing.waits ? doing.since : Duration{};
  if (wait < last_wait_ || next_warning_ == Duration{}) {
    next_warning_ = setup_.slow_warning;  // another wait
  }
  last_wait_ = wait;
  if (wait < next_warning_) {
    return;
  }
  next_warning_ = 2 * next_warning_;
  std::set<Rank> awaited = report_->Awaited();
  while (awaited.size() > kMostNamed) {
    awaited.erase(std::prev(awaited.end()));
  }
  watch_->Inquire(awaited, kInquiryPatience, [weak = weak_from_this(), awaited, doing](const auto& found) {
    if (auto self = weak.lock(); self && !self->closed()) {
      std::string text = "this rank waits for " + TimeText(doing.since) +
                         (doing.operation.empty() ? "" : " in " + OperationText(doing.operation, doing.sequence));
      for (const Rank rank : awaited) {
        const auto at = found.find(rank);
        const std::string& host = self->host(rank);
        text += "; rank " + std::to_string(rank) + (host.empty() ? "" : " on " + host) +
                (at == found.end() ? " does not answer" : " lives, " + SightingText(at->second.report));
      }
      self->setup_.log->warn(text);
    }
  });
}

void Endpoint::ShowLife() {
  if (!closed()) {
    signs_->Show();
  }
}

void Endpoint::LookForLife(Rank about) {
  if (closed()) {
    return;
  }
  signs_->Look(about, [weak = weak_from_this(), about](const LifeSign& sign) {
    auto self = weak.lock();
    if (!self || self->closed()) {
      return;
    }
    if (sign.lost) {
      self->ReportLink(*sign.lost);
    }
    self->watch_->OnStore(about, sign.answered, sign.text);
  });
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
    } else if (self->watch_ != nullptr) {
      self->watch_->Investigate(world_rank, status.message());
    } else {
      self->ReportLost(self->BrokenLink(world_rank, status.message()));
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
  if (watch_ != nullptr) {
    watch_->OnSettled(finding.rank);
  }
  Flood(ControlHeader{Control::kLost}, finding, everybody_);
  for (const auto& [key, group] : std::map(groups_)) {
    if (group->FromWorld(finding.rank) >= 0) {
      group->Propose(finding);
    }
  }
}

/// The same of a link: it concerns the communicators that contain both its ends.
void Endpoint::ReportLink(const Finding& finding) {
  if (finding.rank < 0 || finding.other <= finding.rank || finding.other >= world_size() ||
      !lost_links_.emplace(std::pair(finding.rank, finding.other), finding).second) {
    return;
  }
  if (watch_ != nullptr && (finding.rank == rank() || finding.other == rank())) {
    watch_->OnSettled(finding.rank == rank() ? finding.other : finding.rank);
    if (signs_) {
      signs_->ShowLost(finding);
    }
  }
  Flood(ControlHeader{Control::kLost}, finding, everybody_);
  for (const auto& [key, group] : std::map(groups_)) {
    if (group->FromWorld(finding.rank) >= 0 && group->FromWorld(finding.other) >= 0) {
      group->Propose(finding);
    }
  }
}

void Endpoint::FloodRevocation(const Group& group, const Finding& finding) {
  const auto [id, leader] = KeyOf(group);
  Flood(ControlHeader{Control::kRevoked, id, leader}, finding, group.members());
}

void Endpoint::Flood(const ControlHeader& header, const Finding& finding, const std::vector<Rank>& members) {
  const std::string encoded = Encode(finding);
  std::shared_ptr<arrow::Buffer> text = arrow::Buffer::FromString(encoded);
  for (const Rank to : members) {
    if (to != rank() && !lost_.contains(to) && !left_.contains(to)) {
      Message message;
      message.channel = ChannelId{epoch_, 0, ChannelKind::kControl, 0};
      message.header = InlineBytes::Of(header);
      message.segments = {text};
      (void)lanes_->Send(to, std::move(message));  // who cannot be told is lost, too
    }
  }
  if (watch_ != nullptr) {
    // Past a data link that is broken, and to the very rank that is given up: it may only have been stopped.
    std::string bytes(sizeof(header), '\0');
    std::memcpy(bytes.data(), &header, sizeof(header));
    watch_->Flood(bytes + encoded);
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
  OnTold(from, header, *finding);
}

void Endpoint::OnFlood(Rank from, const std::string& text) {
  ControlHeader header{};
  if (closed() || text.size() < sizeof(header)) {
    return;
  }
  std::memcpy(&header, text.data(), sizeof(header));
  // What cannot be read came from another version of the library, which the lanes refuse aloud.
  if (auto finding = DecodeFinding(std::string_view(text).substr(sizeof(header))); finding.ok()) {
    OnTold(from, header, *finding);
  }
}

void Endpoint::OnTold(Rank from, const ControlHeader& header, const Finding& finding) {
  if (end_) {
    return;  // how it ends here is settled, and what others find of this rank follows from that
  }
  if (header.control == Control::kLost) {
    if (finding.rank != from) {
      told_.insert(from);
    }
    finding.kind == ErrorKind::kLinkLost ? ReportLink(finding) : ReportLost(finding);
    return;
  }
  if (finding.kind == ErrorKind::kDeadline && finding.rank < 0) {
    EndAll(finding);  // of the whole job
    return;
  }
  const GroupKey key{header.communicator, header.leader};
  if (auto at = groups_.find(key); at != groups_.end()) {
    auto group = at->second;
    group->Report(finding);
  } else if (header.communicator >= next_id_) {
    if (early_.size() >= kMostEarly && !early_.contains(key)) {
      ReportLost(Finding{
          Finding::Source::kDisagreement, ErrorKind::kRankFailed, from,
          "it told of the ends of more than " + std::to_string(kMostEarly) + " communicators that are not made here"});
      return;
    }
    auto [early, first] = early_.emplace(key, finding);
    if (!first && finding < early->second) {
      early->second = finding;
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

void Endpoint::EndAlone(const std::string& cause, const Finding& finding) {
  if (end_ || closed()) {
    return;
  }
  end_ = finding;
  const Finding lost{Finding::Source::kItself, ErrorKind::kRankFailed, rank(), cause};
  lost_.emplace(rank(), lost);
  Flood(ControlHeader{Control::kLost}, lost, everybody_);
  // The caller unwinds with the error, and what has not left by then would not leave any more.
  const auto end = [weak = weak_from_this(), finding] {
    if (auto self = weak.lock(); self && !self->closed()) {
      for (const auto& [key, group] : std::map(self->groups_)) {
        group->End(finding);
      }
    }
  };
  lanes_->Flush().AddCallback([end](const arrow::Status&) { end(); });
  executor_.PostAt(executor_.Now() + kFarewell, end);
}

arrow::Future<> Endpoint::Leave() {
  auto gone = arrow::Future<>::Make();
  lanes_->Shutdown().AddCallback([weak = weak_from_this(), gone](const arrow::Status& status) mutable {
    if (auto self = weak.lock(); self && self->watch_ != nullptr && status.ok()) {
      self->watch_->Leave();
    }
    gone.MarkFinished(status);
  });
  return gone;
}

void Endpoint::Shutdown(const arrow::Status& why) {
  if (closed()) {
    return;
  }
  // First: while it answers, it says that this rank lives, and a peer whose link ends would believe it.
  if (watch_ != nullptr) {
    if (const auto [gap, whose] = watch_->LargestGap(); whose >= 0 && setup_.log != nullptr) {
      setup_.log->info("the longest time between two heartbeats was {:.3f} s, of rank {}; the limit is {:.3f} s",
                       std::chrono::duration<double>(gap).count(), whose,
                       std::chrono::duration<double>(setup_.peer_timeout).count());
    }
    watch_->Stop();
  }
  for (const auto& [key, group] : std::exchange(groups_, {})) {
    group->Close(why);
  }
  lanes_->Abort();
  lanes_.reset();
}

}  // namespace cylon::internal
