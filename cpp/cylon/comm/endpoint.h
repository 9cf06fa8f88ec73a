/// One rank's end of a world: the lanes, the communicators over them, and what is known of lost ranks.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cylon/base/log.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/bootstrap/store.h"
#include "cylon/comm/finding.h"
#include "cylon/comm/group.h"
#include "cylon/comm/life_signs.h"
#include "cylon/comm/rank_report.h"
#include "cylon/comm/watch/watch.h"
#include "cylon/net/lanes.h"

namespace cylon::internal {

/// How the first communicator, of all ranks, is called; those of Split follow.
inline constexpr uint32_t kWorldCommunicator = 1;

/// How a rank is watched, and watches.
struct WatchSetup {
  std::unique_ptr<Watch> watch;  ///< or none
  Duration peer_timeout{};
  Duration slow_warning{};  ///< a wait of so long is logged, and again whenever it has doubled; zero: never
  Logger* log = nullptr;    ///< or none; outlives Shutdown
};

/// A finding floods: who learns of one tells everybody whom it does not know to be gone, once, so that it arrives
/// wherever a path of living links is left. Then each communicator that it concerns settles its own verdict (see
/// Group).
///
/// Where there is a watch, a lost link is a question to it: is it the peer, or the way there? Without one (ranks that
/// are threads of one process) the transport's word is the answer.
class Endpoint final : public LanesObserver, public WatchOwner, public std::enable_shared_from_this<Endpoint> {
 public:
  /// `store` may be nullptr: findings are then settled by what the ranks tell each other. `launcher`: something may set
  /// the launcher's word. Both `store` and `executor` outlive Shutdown.
  Endpoint(World world, Executor& executor, std::unique_ptr<Lanes> lanes, Store* store, bool launcher,
           WatchSetup watch = {});

  // From any thread.
  Rank rank() const { return world_.rank; }
  int world_size() const { return world_.size(); }
  uint32_t epoch() const { return epoch_; }
  const std::string& host(Rank world_rank) const;
  bool has_store() const { return store_ != nullptr; }
  bool has_launcher() const { return launcher_; }
  Executor& executor() { return executor_; }

  // From tasks.

  /// What the calling thread does, for the beats of the watch; before Start.
  void SetReport(std::shared_ptr<RankReport> report) { report_ = std::move(report); }
  /// Begins to receive; finishes when the first links stand. The group of all ranks is there at once.
  arrow::Future<> Start();
  const std::shared_ptr<Group>& world_group() const { return world_group_; }
  Lanes& lanes() { return *lanes_; }
  bool closed() const { return lanes_ == nullptr; }

  /// All that are there, for reports.
  std::vector<std::shared_ptr<Group>> groups() const;
  std::shared_ptr<Group> MakeGroup(uint32_t id, std::vector<Rank> members);
  void ForgetGroup(const std::shared_ptr<Group>& group);
  /// No communicator with an id from here on contains this rank.
  uint32_t next_id() const { return next_id_; }
  void ReserveIds(uint32_t next) { next_id_ = std::max(next_id_, next); }

  /// Ranks that failed or have left.
  std::vector<Rank> Gone() const;
  bool HasLeft(Rank world_rank) const { return left_.contains(world_rank); }
  /// Somebody needs a rank that has left.
  void OnMissed(Rank world_rank);
  void OnSendFailed(Rank world_rank, const arrow::Status& status);
  /// This rank gives up (a wait was interrupted): the others are told, every communicator here is revoked.
  void GiveUp(const std::string& cause);

  void FloodRevocation(const Group& group, const Finding& finding);
  /// The finding that the store keeps for `group`: this one, if it is the first.
  arrow::Future<std::string> SettleInStore(const Group& group, const Finding& finding);

  /// The whole job is over, as every rank finds sooner or later: every communicator here is revoked at once, those too
  /// that are made later, and the others are told.
  void EndAll(const Finding& finding);
  /// This rank's part is over: the others are told that it failed because of `cause`, and then every communicator here
  /// is revoked by `finding`.
  void EndAlone(const std::string& cause, const Finding& finding);

  /// How this rank ends, once EndAll or EndAlone has said so.
  const std::optional<Finding>& end() const { return end_; }

  /// Leaves in order: finishes when every peer has been told goodbye.
  arrow::Future<> Leave();
  /// Ends everything here. Peers see a loss, unless Leave() has finished.
  void Shutdown(const arrow::Status& why);

  void OnPeerMet(Rank peer) override;
  void OnPeerLost(Rank peer, const arrow::Status& cause) override;
  void OnControl(Rank from, Message message) override;

  void OnFinding(const Finding& finding) override;
  void OnFlood(Rank from, const std::string& text) override;
  void OnBeat() override;
  void ShowLife() override;
  void LookForLife(Rank about) override;

 private:
  /// Two groups of one id have no member in common, so the lowest member tells them apart.
  using GroupKey = std::pair<uint32_t, Rank>;
  struct ControlHeader;

  static GroupKey KeyOf(const Group& group);
  void ReportLost(const Finding& finding);
  void ReportLink(const Finding& finding);
  void Flood(const ControlHeader& header, const Finding& finding, const std::vector<Rank>& members);
  void OnTold(Rank from, const ControlHeader& header, const Finding& finding);
  Finding BrokenLink(Rank peer, const std::string& cause) const;
  void StartWatch();
  void WarnOfSlowRanks();
  void AwaitLauncherWord(int64_t index);

  World world_;
  uint32_t epoch_;
  Executor& executor_;
  std::unique_ptr<Lanes> lanes_;
  Store* store_;
  std::optional<LifeSigns> signs_;  // where there is a store
  bool launcher_;
  WatchSetup setup_;
  std::unique_ptr<Watch> watch_;
  std::shared_ptr<RankReport> report_;  // or none
  struct Traffic;
  std::shared_ptr<Traffic> traffic_;  // as of the last beat
  Duration last_wait_{};              // at the last beat
  Duration next_warning_{};
  std::vector<Rank> everybody_;
  std::map<GroupKey, std::shared_ptr<Group>> groups_;
  std::shared_ptr<Group> world_group_;
  std::map<GroupKey, Finding> early_;  // of groups that are not made here yet
  uint32_t next_id_ = kWorldCommunicator + 1;
  std::map<Rank, Finding> lost_;
  std::map<std::pair<Rank, Rank>, Finding> lost_links_;
  std::set<Rank> left_;         // said goodbye
  std::set<Rank> told_;         // of another rank's loss
  std::optional<Finding> end_;  // of EndAll and EndAlone
};

}  // namespace cylon::internal
