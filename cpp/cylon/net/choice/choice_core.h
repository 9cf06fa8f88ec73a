/// What stands behind a ChoiceTransport, shared with the coroutines that measure.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/net/choice/choice_transport.h"

namespace cylon::internal {

/// All in tasks, but Uses.
class ChoiceCore : public std::enable_shared_from_this<ChoiceCore> {
 public:
  ChoiceCore(Executor& executor, Rank rank, int world_size, std::vector<Channel> channels, ChoiceSettings settings);

  const Traits& traits() const { return traits_; }
  arrow::Future<> Start(Sink* sink);
  arrow::Future<> Send(Rank to, Message message);
  void Progress();
  arrow::Future<> Flush();
  arrow::Future<> Close();
  void Abort();
  /// The transports go, and everything that waits ends.
  void TearDown();
  std::vector<ChannelUse> Uses() const;
  std::string way(Rank peer) const;

 private:
  /// A channel's word, passed on with its number.
  class ChannelSink : public Sink {
   public:
    ChannelSink(ChoiceCore* core, int channel) : core_(core), channel_(channel) {}
    arrow::Result<Buffers> Allocate(Rank from, const ChannelId& id, const InlineBytes& header,
                                    const Sizes& sizes) override;
    void OnMessage(Rank from, Message message) override { core_->OnMessage(channel_, from, std::move(message)); }
    void OnPeerMet(Rank peer) override { core_->OnPeerMet(peer); }
    void OnPeerLost(Rank peer, const arrow::Status& cause) override { core_->OnPeerLost(channel_, peer, cause); }

   private:
    ChoiceCore* core_;
    int channel_;
  };

  enum class PeerState : uint8_t { kThere, kLeft, kLost };
  struct Peer {
    PeerState state = PeerState::kThere;
    arrow::Status cause;  ///< of kLost
  };
  struct Member {
    Channel channel;
    std::unique_ptr<ChannelSink> sink;
    std::vector<Peer> peers;
    bool closed = false;  ///< no pair takes it
  };
  struct Held {
    Rank to;
    Message message;
    arrow::Future<> done;
  };
  enum class Phase : uint8_t { kNew, kPlanning, kRunning, kClosed };
  struct ProbeHeader;
  using ProbeKey = std::tuple<int, Rank, uint64_t>;

  /// What `channel` takes for what is sent to `peer` now; relays come and go.
  int WayTo(Rank peer, int channel) const;
  /// By the plan.
  int ChannelTo(Rank peer, Traffic traffic) const {
    return ways_[static_cast<size_t>(plan_.Of(rank_, peer, traffic))].channel;
  }
  int channels() const { return static_cast<int>(members_.size()); }
  Member& MemberAt(int channel) { return members_[static_cast<size_t>(channel)]; }
  Peer& PeerAt(int channel, Rank peer) { return MemberAt(channel).peers[static_cast<size_t>(peer)]; }

  // Measuring.
  Co<void> Prepare();
  Co<void> MeasureChannel(int channel);
  Co<void> MeasurePeer(int channel, Rank peer);
  Co<Plan> Agree();
  Co<Plan> Decide();
  /// Sends a probe of `type`; finishes with the answer.
  arrow::Future<> Ask(int channel, Rank peer, uint32_t type);
  void Answer(const ProbeKey& key, const arrow::Status& status);
  arrow::Future<> SendProbe(int channel, Rank peer, uint32_t type, uint64_t number, Buffers segments);
  /// The first channel on which `peer` has answered; -1 for none.
  int FirstTo(Rank peer) const;
  void OnProbe(int channel, Rank from, const Message& message);
  void Begin(Plan plan);
  /// Ends everything that waits; nothing is told or sent from now on.
  void Fail(const arrow::Status& status);
  arrow::Status Closed() const;

  arrow::Result<Buffers> AllocateProbe(Rank from, const Sizes& sizes) const;
  void OnMessage(int channel, Rank from, Message message);
  void OnPeerMet(Rank peer);
  void OnPeerLost(int channel, Rank peer, const arrow::Status& cause);
  /// Tells the sink where nothing will come from `peer` any more.
  void LookAt(Rank peer);
  void Tell(Rank peer, const arrow::Status& cause);
  void CloseUnused();
  arrow::Future<> SendNow(Rank to, Message message);

  Executor& executor_;
  const Rank rank_;
  const int size_;
  const ChoiceSettings settings_;
  Traits traits_;
  std::vector<Member> members_;
  std::vector<Way> ways_;
  Phase phase_ = Phase::kNew;
  Sink* sink_ = nullptr;
  arrow::Future<> started_ = arrow::Future<>::Make();
  arrow::Future<> measured_by_ = arrow::Future<>::Make();  ///< finishes when measuring has to be over
  arrow::Future<> planned_by_ = arrow::Future<>::Make();
  Measurement own_;
  std::map<ProbeKey, arrow::Future<>> asked_;
  uint64_t next_probe_ = 1;
  std::map<Rank, arrow::Future<Measurement>> reports_;  ///< at rank 0
  bool decided_ = false;                                ///< at rank 0: there is a plan, or there can be none
  arrow::Future<Plan> told_ = arrow::Future<Plan>::Make();
  std::vector<Held> held_;  ///< until there is a plan
  std::vector<bool> lost_;  ///< of whom the sink was told
  Plan plan_;

  mutable std::mutex mutex_;      ///< of uses_
  std::vector<ChannelUse> uses_;  ///< by way
};

}  // namespace cylon::internal
