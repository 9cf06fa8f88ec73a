/// The ranks of a world over links: who dials whom, which way, and what happens when connections end.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/mesh/claim.h"
#include "cylon/net/mesh/link.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/mesh/path.h"
#include "cylon/net/send_tracker.h"
#include "cylon/wire/secure.h"
#include "cylon/wire/strangers.h"

namespace cylon::internal {

/// One rank's end of the mesh. Between two ranks there is one link, over one connection after another:
///
///   dialler                      listener
///      | ---- secure opening -----> |   wire/secure.h: who it is, and that it may
///      | ---- claim to the link --> |   claim.h: which connection this is, and what was received over the ones before
///      | <--- answer -------------- |
///      | <--- Path::Settle -------> |
///      | <--- frames -------------> |   link.h
///
/// Ring neighbours connect at the start (each dials the next rank), the rest at the first message; both ends dial again
/// when a connection ends without a goodbye. Two that dial each other at once keep the lower rank's connection: once
/// its claim is made it calls the other one's busy, and before that it gives up its own. Of two claims one after the
/// other the later one holds, whose maker has nothing else; a claim that is overtaken on its way is told by its
/// numbers:
///  - the connection there is was dialled from here: whoever claims has taken it up, so its number is at least as
///  large;
///  - it was dialled by who claims: that one counts its attempts.
///
/// Where nobody listens at any address any more, the peer is gone, and told at once. Else dialling goes on, with
/// pauses, until nothing has come for `peer_timeout`; then the way to the peer cannot be restored, whatever has become
/// of it.
class Mesh : public std::enable_shared_from_this<Mesh>, public LinkOwner {
 public:
  /// `paths` outlive it.
  Mesh(Executor& executor, const std::vector<std::unique_ptr<Path>>& paths, World world, MeshSettings settings);

  const World& world() const { return world_; }
  arrow::Future<> Start(Sink* sink);
  arrow::Future<> Send(Rank to, Message message);
  arrow::Future<> Flush() { return sends_.Flush(); }
  /// The name of the path of the connection to `rank`; "" while there is none.
  std::string WayTo(Rank rank) const;
  arrow::Future<> Close();
  void Abort();
  /// A connection that came by `path`.
  void Accept(Path* path, std::unique_ptr<Stream> stream);

  arrow::Result<Buffers> AllocateFor(Rank peer, const ChannelId& channel, const InlineBytes& header,
                                     const Sizes& sizes) override;
  void Arrived(Rank peer, Message message) override;
  void Sent(Rank peer, uint64_t id) override;
  void Broke(Rank peer, const arrow::Status& cause) override;
  void Ended(Rank peer, const arrow::Status& cause) override;

 private:
  /// A connection that is being made. Whoever has no use for it any more abandons it.
  struct Attempt {
    arrow::Future<> stop = arrow::Future<>::Make();
    std::shared_ptr<Opening> opening = std::make_shared<Opening>();
    Stream* claiming = nullptr;  // proven, and belongs to the coroutine that keeps this
    bool asked = false;          // its claim is on its way: the other end may have taken it
    bool abandoned = false;
    void Abandon();
  };
  struct Peer {
    std::shared_ptr<Link> link;         // from the first use on
    std::shared_ptr<Attempt> dial;      // own, under way
    std::shared_ptr<Attempt> settling;  // taken by both, and not the link's yet
    bool dialling = false;              // the loop of attempts runs
    arrow::Future<> rest;               // its pause
    Duration pause{};
    const Path* path = nullptr;  // of the last connection
    bool met = false;            // has had a connection
    uint64_t incarnation = 0;    // of the process that this rank is; 0: not known
    uint32_t number = 0;         // of the last connection
    bool by_me = false;          // it was dialled from here
    uint32_t taken = 0;          // else by this attempt of the other
    uint32_t attempts = 0;       // own, so far
    TimePoint limit = kNever;    // for the next connection
    std::string broke;           // why the last one ended
    bool lost = false;
    arrow::Status cause;
  };

  Identity Self(Rank wanted) const;
  std::string Name(Rank rank) const;
  Peer& PeerOf(Rank rank) { return peers_[static_cast<size_t>(rank)]; }
  Link& LinkOf(Rank rank);

  // Dialling and being dialled: mesh_dial.cc.
  bool Wants(const Peer& peer) const;
  void Dial(Rank rank);
  static Co<void> DialPeer(std::shared_ptr<Mesh> self, Rank rank);
  Co<void> DialOnce(Rank rank, std::shared_ptr<Attempt> attempt);
  arrow::Status TakeAnswer(Rank rank, const LinkAnswer& answer);
  void GiveUp(Rank rank, const arrow::Status& last);
  static Co<void> Welcome(std::shared_ptr<Mesh> self, Path* path, std::unique_ptr<Stream> stream);
  Co<OpenedStream> OpenGuest(std::unique_ptr<Stream> stream, std::shared_ptr<Attempt> guest);
  LinkAnswer Judge(Rank rank, const LinkClaim& claim, const std::shared_ptr<Attempt>& guest);
  Co<void> Settle(Rank rank, Path* path, std::unique_ptr<Stream> stream, bool dialler, uint64_t peer_received,
                  TimePoint deadline);
  arrow::Status Adopt(Rank rank, std::unique_ptr<Stream> stream, uint64_t peer_received);
  static void StopDialling(Peer& peer, std::shared_ptr<Attempt> instead = nullptr);
  static void Wake(Peer& peer);

  void Lose(Rank rank, const arrow::Status& cause);
  void Tick();
  void CheckClock();
  void CheckStarted();
  void CheckClosed();

  Executor& executor_;
  const std::vector<std::unique_ptr<Path>>& paths_;
  const World world_;
  const MeshSettings settings_;
  const uint32_t epoch_;
  const uint64_t incarnation_;
  const Duration interval_;  // of ticks
  TimePoint ticked_;
  int ticks_ = 0;
  Sink* sink_ = nullptr;
  std::vector<Peer> peers_;
  SendTracker sends_;
  std::set<std::shared_ptr<Attempt>> guests_;  // who has come, until it is the link's or refused
  Strangers<Opening> strangers_;               // those of them that have not proven themselves
  arrow::Future<> started_ = arrow::Future<>::Make();
  arrow::Future<> closed_ = arrow::Future<>::Make();
  std::string refused_;  // why the last guest was refused that did not prove itself or did not fit; "": none was
  bool closing_ = false;
  bool aborted_ = false;
};

/// Connections to a rank of such a world whose other side has not proven itself, at most: every other rank may dial at
/// once, and again when it was turned away.
size_t MostStrangers(int world_size);

/// "9.5 s".
std::string InSeconds(Duration duration);

/// The low 32 bits of an epoch in hexadecimal.
uint32_t EpochTag(const std::string& epoch);

}  // namespace cylon::internal
