/// The watch's network over paths of its own, as TCP or holes in gateways: authenticated connections beside those for
/// data.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cylon/base/executor.h"
#include "cylon/bootstrap/membership.h"
#include "cylon/comm/watch/wire.h"
#include "cylon/net/mesh/path.h"
#include "cylon/wire/secure.h"

namespace cylon::internal {

/// Any rank may connect to any other; two connections between one pair, dialled by both at once, are both used.
class PathWire final : public WatchWire, public std::enable_shared_from_this<PathWire> {
 public:
  /// `paths`, the best first, are of `executor`.
  PathWire(Executor& executor, std::vector<std::unique_ptr<Path>> paths, int world_size);
  ~PathWire() override;

  /// In a task. Connections are kept until Start.
  void Listen();
  /// Those of all paths, separated by blanks.
  const std::string& address() const { return address_; }
  /// Before Start. World::cards have the addresses of all watches.
  void Join(World world, Security security);

  void Start(WatchWireSink* sink) override;
  void Dial(Rank peer, Duration patience) override;
  void Send(Rank to, const WatchMessage& message) override;
  bool Linked(Rank peer) const override { return links_.contains(peer); }
  void Close() override;

 private:
  struct Link {
    std::unique_ptr<Stream> stream;
    Rank peer;
    TimePoint heard{};
    std::deque<std::string> queue;
    std::vector<uint8_t> leaving;
    bool writing = false;
    bool ended = false;
  };
  using LinkPtr = std::shared_ptr<Link>;

  /// `wanted`: whom a dialler wants.
  Identity Self(Rank wanted = -1) const;
  void Admit(std::unique_ptr<Stream> stream);
  static Co<void> Welcome(std::shared_ptr<PathWire> self, std::unique_ptr<Stream> stream,
                          std::shared_ptr<Opening> opening);
  static Co<void> DialPeer(std::shared_ptr<PathWire> self, Rank peer, TimePoint deadline, arrow::Future<> stop);
  static void EndDial(arrow::Future<> stop);
  static Co<void> ReadLoop(std::shared_ptr<PathWire> self, LinkPtr link);
  void Adopt(Rank peer, std::unique_ptr<Stream> stream);
  void Pump(const LinkPtr& link);
  void EndSoon(const LinkPtr& link);
  void End(const LinkPtr& link);
  void FailDial(Rank peer, DialEnd how);

  Executor& executor_;
  std::vector<std::unique_ptr<Path>> paths_;  // none once it is closed
  std::string address_;
  std::vector<std::unique_ptr<Stream>> early_;  // before Start
  World world_;
  Security security_;
  WatchWireSink* sink_ = nullptr;
  std::map<Rank, std::vector<LinkPtr>> links_;      // oldest first; no empty ones
  std::map<Rank, arrow::Future<>> dialling_;        // and what stops each
  std::set<std::shared_ptr<Opening>> diallings_;    // closed by Close, so that nobody stays suspended in one
  std::deque<std::shared_ptr<Opening>> strangers_;  // the same of those who came, oldest first
  const size_t most_strangers_;
  bool closed_ = false;
};

}  // namespace cylon::internal
