/// The ranks of a world over links: who dials whom, which way, and what happens when both do.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/net/mesh/link.h"
#include "cylon/net/mesh/mesh_transport.h"
#include "cylon/net/mesh/path.h"
#include "cylon/net/send_tracker.h"
#include "cylon/wire/handshake.h"
#include "cylon/wire/strangers.h"

namespace cylon::internal {

/// One rank's end of the mesh. Between two ranks there is one connection:
///
///   dialler                      listener
///      | ---- mutual handshake ---- |
///      | <----- one byte ---------- |   1: taken; 0: refused, a connection dialled by the lower rank is there or
///      coming | <----- frames -----------> |
///
/// Ring neighbours connect at the start (each dials the next rank), the rest at the first message. When two ranks dial
/// each other at once, the lower one refuses the other's connection and the higher one waits for the lower one's.
class Mesh : public std::enable_shared_from_this<Mesh>, public LinkOwner {
 public:
  /// `paths` outlive it.
  Mesh(Executor& executor, const std::vector<std::unique_ptr<Path>>& paths, World world, MeshSettings settings);

  const World& world() const { return world_; }
  arrow::Future<> Start(Sink* sink);
  arrow::Future<> Send(Rank to, Message message);
  arrow::Future<> Flush() { return sends_.Flush(); }
  arrow::Future<> Close();
  void Abort();
  /// A connection that came by `path`.
  void Accept(Path* path, std::unique_ptr<Stream> stream);

  arrow::Result<Buffers> AllocateFor(Rank peer, const ChannelId& channel, const InlineBytes& header,
                                     const Sizes& sizes) override;
  void Arrived(Rank peer, Message message) override;
  void Left(Rank peer, uint64_t id, const arrow::Status& status) override;
  void Ended(Rank peer, const arrow::Status& cause) override;

 private:
  struct Waiting {
    uint64_t id;
    Message message;
  };
  struct Peer {
    std::shared_ptr<Link> link;
    std::vector<Waiting> waiting;  // messages before there is a link
    bool dialling = false;
    bool welcoming = false;  // its connection is being told that it is taken
    bool lost = false;
    arrow::Status cause;
  };

  Identity Self() const { return {world_.job, world_.epoch, world_.rank, "mesh"}; }
  std::string Name(Rank rank) const;
  void Dial(Rank rank);
  static Co<void> DialPeer(std::shared_ptr<Mesh> self, Rank rank);
  Co<bool> TryDial(Rank rank, std::unique_ptr<Stream>* stream);
  Co<bool> DialOnce(Rank rank, TimePoint deadline, std::unique_ptr<Stream>* stream);
  Co<Path*> Connect(Rank rank, TimePoint deadline, std::unique_ptr<Stream>* stream);
  Co<bool> AskFor(Rank rank, Stream* stream, TimePoint deadline);
  static Co<void> Welcome(std::shared_ptr<Mesh> self, Path* path, std::unique_ptr<Stream> stream);
  void Adopt(Rank rank, std::unique_ptr<Stream> stream);
  template <typename T>
  Co<T> Greeting(Stream* stream, Co<T> handshake);
  void Lose(Rank rank, const arrow::Status& cause);
  void ExpectNeighbours();
  void CheckStarted();
  void CheckClosed();

  Executor& executor_;
  const std::vector<std::unique_ptr<Path>>& paths_;
  const World world_;
  const MeshSettings settings_;
  const uint32_t epoch_;
  Sink* sink_ = nullptr;
  std::vector<Peer> peers_;
  SendTracker sends_;
  std::set<Stream*> greeting_;  // in their handshake
  Strangers strangers_;         // those of them that the listener accepted
  arrow::Future<> aborted_ = arrow::Future<>::Make();
  arrow::Future<> started_ = arrow::Future<>::Make();
  arrow::Future<> closed_ = arrow::Future<>::Make();
  bool closing_ = false;
};

/// Connections to a rank of such a world whose other side has not proven itself, at most: every other rank may dial at
/// once, and again when it was turned away.
size_t MostStrangers(int world_size);

/// The low 32 bits of an epoch in hexadecimal.
uint32_t EpochTag(const std::string& epoch);

}  // namespace cylon::internal
