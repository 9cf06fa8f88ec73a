/// A world of byte streams on a virtual clock that lose connections at any byte and deliver late, by a seed.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "cylon/net/conformance.h"
#include "cylon/net/mesh/path.h"
#include "cylon/wire/end_of_stream.h"

namespace cylon::testing {

/// How hostile the network is.
struct ByteWeather {
  int cuts = 20;                                    ///< connections that end at a random byte, in the whole world
  int64_t longest_life = 200 << 10;                 ///< bytes of one of those, at most
  Duration latest = std::chrono::milliseconds(20);  ///< delay of a chunk or a connection, at most
  /// As through holes in gateways: of two that dial each other at once one has a connection, and which does not go by
  /// rank; the other is told that it came to it.
  enum class Crossing : uint8_t { kBothConnect, kLowerRank, kHigherRank } crossing = Crossing::kBothConnect;
};

/// The wires between all ranks. One rank of a SimWorld runs at a time, so nothing here is locked.
class ByteNet : public std::enable_shared_from_this<ByteNet> {
 public:
  ByteNet(SimWorld& world, uint64_t seed, ByteWeather weather) : world_(world), random_(seed), weather_(weather) {}

  std::unique_ptr<Path> MakePath(Rank rank);

  /// From now on nothing passes between `a` and `b`, and nobody is told.
  void Sever(Rank a, Rank b) { severed_.emplace_back(a, b); }
  void Mend() { severed_.clear(); }
  /// Ends all connections of `a` with `b`.
  void CutAll(Rank a, Rank b);
  int connections() const { return connections_; }
  /// The longest time between two chunks that one end of a connection has sent.
  Duration longest_quiet() const { return longest_quiet_; }
  int cuts() const { return cuts_; }

 private:
  struct End;
  class ByteStream;
  class BytePath;
  /// What both ends of a connection share.
  struct Life {
    int64_t left;  // bytes until it is cut
    bool cut = false;
  };
  struct Door {
    Rank rank;
    std::function<void(std::unique_ptr<Stream>)> accept;
  };

  uint64_t Random(uint64_t below) { return random_() % below; }
  Duration Delay() {
    return Duration(static_cast<int64_t>(Random(static_cast<uint64_t>(weather_.latest.count()) + 1)));
  }
  bool Severed(Rank a, Rank b) const {
    return std::ranges::any_of(
        severed_, [&](const auto& pair) { return pair == std::make_pair(a, b) || pair == std::make_pair(b, a); });
  }
  /// A dial of `to` that is under way and that one of `from` gives way to; or none.
  std::optional<arrow::Future<>> DialToYieldTo(Rank from, Rank to) const {
    const bool yields =
        weather_.crossing == (to < from ? ByteWeather::Crossing::kLowerRank : ByteWeather::Crossing::kHigherRank);
    const auto theirs = dials_.find({to, from});
    return yields && theirs != dials_.end() ? std::optional(theirs->second) : std::nullopt;
  }
  std::pair<std::shared_ptr<End>, std::shared_ptr<End>> Connect(Rank from, Rank to);
  void Cut(const std::shared_ptr<End>& end);

  SimWorld& world_;
  std::mt19937_64 random_;
  ByteWeather weather_;
  std::map<std::string, Door> doors_;
  std::map<std::pair<Rank, Rank>, arrow::Future<>> dials_;  // under way
  std::vector<std::pair<Rank, Rank>> severed_;
  std::vector<std::weak_ptr<End>> ends_;
  int connections_ = 0;
  int cuts_ = 0;
  Duration longest_quiet_{};
};

struct ByteNet::End : std::enable_shared_from_this<ByteNet::End> {
  ByteNet* net;
  Rank rank;
  Rank other_rank;
  std::weak_ptr<End> other;
  std::shared_ptr<Life> life;
  TimePoint arrival{};               // of the last chunk that was sent to the other end
  std::optional<TimePoint> written;  // last
  std::string inbox;
  bool over = false;  // nothing more comes
  bool closed = false;
  std::optional<arrow::Future<int64_t>> read;
  std::span<uint8_t> into;
  size_t got = 0;
  bool all = false;
  std::optional<arrow::Future<>> write;

  Executor& executor() const { return net->world_.executor(rank); }
  std::string name() const { return "rank" + std::to_string(other_rank); }

  void FinishRead(const arrow::Result<int64_t>& result) {
    if (auto future = std::exchange(read, std::nullopt)) {
      future->MarkFinished(result);
    }
  }
  void FinishWrite(const arrow::Status& status) {
    if (auto future = std::exchange(write, std::nullopt)) {
      future->MarkFinished(status);
    }
  }
  void TryRead() {
    if (!read.has_value()) {
      return;
    }
    const size_t count = std::min(inbox.size(), into.size() - got);
    std::memcpy(into.data() + got, inbox.data(), count);
    inbox.erase(0, count);
    got += count;
    if (got == into.size() || (!all && got > 0)) {
      FinishRead(static_cast<int64_t>(got));
    } else if (over) {
      FinishRead(all ? arrow::Result<int64_t>(EndOfStream(name())) : arrow::Result<int64_t>(0));
    }
  }
  /// Runs `what` at the other end, after all that was sent there before.
  template <typename F>
  void AtOther(F what) {
    auto there = other.lock();
    if (there == nullptr) {
      return;
    }
    arrival = std::max(arrival, executor().Now() + net->Delay());
    there->executor().PostAt(arrival, [there, what]() mutable {
      if (!there->closed && !there->net->Severed(there->rank, there->other_rank)) {
        what(there.get());
      }
    });
  }
  void Hang() {
    over = true;
    TryRead();
    FinishWrite(EndOfStream(name()));
  }
  void Close() {
    if (!std::exchange(closed, true)) {
      const auto self = shared_from_this();
      AtOther([](End* there) { there->Hang(); });
      FinishRead(arrow::Status::IOError("closed"));
      FinishWrite(arrow::Status::IOError("closed"));
    }
  }
};

class ByteNet::ByteStream : public Stream {
 public:
  explicit ByteStream(std::shared_ptr<End> end) : end_(std::move(end)) {}
  ~ByteStream() override { end_->Close(); }

  arrow::Future<> Read(std::span<uint8_t> into) override { return arrow::Future<>(Begin(into, true)); }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override { return Begin(into, false); }

  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    auto end = end_;
    if (end->closed || end->over) {
      return arrow::Future<>::MakeFinished(EndOfStream(end->name()));
    }
    std::string bytes;
    for (const auto part : parts) {
      bytes.append(part.begin(), part.end());
    }
    auto& net = *end->net;
    const TimePoint now = end->executor().Now();
    net.longest_quiet_ = std::max(net.longest_quiet_, now - end->written.value_or(now));
    end->written = now;
    const auto all = static_cast<int64_t>(bytes.size());
    bytes.resize(static_cast<size_t>(std::clamp<int64_t>(end->life->left, 0, all)));
    end->life->left -= all;
    auto done = arrow::Future<>::Make();
    end->write = done;
    for (size_t at = 0; at < bytes.size();) {
      const size_t size = std::min<size_t>(bytes.size() - at, 1 + net.Random(net.Random(4) == 0 ? 100 : 100000));
      end->AtOther([chunk = bytes.substr(at, size)](End* there) {
        there->inbox += chunk;
        there->TryRead();
      });
      at += size;
    }
    if (end->life->left < 0) {
      net.Cut(end);
    }
    if (net.Random(2) == 0) {
      end->FinishWrite(arrow::Status::OK());
    } else {
      end->executor().PostAt(end->executor().Now() + net.Delay(), [end] { end->FinishWrite(arrow::Status::OK()); });
    }
    return done;
  }

  void Close() override {
    auto end = end_;
    end->Close();
  }
  std::string peer_name() const override { return end_->name(); }
  bool is_loopback() const override { return true; }

 private:
  arrow::Future<int64_t> Begin(std::span<uint8_t> into, bool all) {
    auto end = end_;
    if (end->closed) {
      return arrow::Future<int64_t>::MakeFinished(arrow::Status::IOError("closed"));
    }
    auto done = arrow::Future<int64_t>::Make();
    end->read = done;
    end->into = into;
    end->got = 0;
    end->all = all;
    end->TryRead();
    return done;
  }

  std::shared_ptr<End> end_;
};

inline std::pair<std::shared_ptr<ByteNet::End>, std::shared_ptr<ByteNet::End>> ByteNet::Connect(Rank from, Rank to) {
  ++connections_;
  const bool short_lived = cuts_ < weather_.cuts && Random(3) != 0;
  // Many ends fall into the opening, which has some 500 bytes.
  const int64_t longest = Random(3) == 0 ? 600 : weather_.longest_life;
  auto life = std::make_shared<Life>(
      Life{short_lived ? static_cast<int64_t>(Random(static_cast<uint64_t>(longest))) : INT64_MAX / 2});
  auto near = std::make_shared<End>();
  auto far = std::make_shared<End>();
  near->net = far->net = this;
  near->life = far->life = life;
  near->rank = far->other_rank = from;
  far->rank = near->other_rank = to;
  near->other = far;
  far->other = near;
  ends_.emplace_back(near);
  ends_.emplace_back(far);
  return {near, far};
}

inline void ByteNet::Cut(const std::shared_ptr<End>& end) {
  if (std::exchange(end->life->cut, true)) {
    return;
  }
  ++cuts_;
  end->AtOther([](End* there) { there->Hang(); });
  if (auto there = end->other.lock()) {
    there->AtOther([](End* here) { here->Hang(); });
  }
}

inline void ByteNet::CutAll(Rank a, Rank b) {
  for (const auto& weak : ends_) {
    if (auto end = weak.lock(); end != nullptr && !end->closed && end->rank == a && end->other_rank == b) {
      end->life->left = 0;
      Cut(end);
    }
  }
}

class ByteNet::BytePath : public Path {
 public:
  BytePath(std::shared_ptr<ByteNet> net, Rank rank)
      : net_(std::move(net)), rank_(rank), address_("bytes://" + std::to_string(rank)) {}
  ~BytePath() override { Close(); }

  std::string name() const override { return "bytes"; }
  std::string address() const override { return address_; }
  void Accept(std::function<void(std::unique_ptr<Stream>)> accept) override {
    net_->doors_[address_] = {rank_, std::move(accept)};
  }
  bool Reaches(const std::string& address) const override { return address.starts_with("bytes://"); }

  Co<std::unique_ptr<Stream>> Dial(std::string address, TimePoint deadline, arrow::Future<> stop) override {
    auto done = arrow::Future<>::Make();
    auto finish = [done](const arrow::Status& status) mutable {
      if (!done.is_finished()) {
        done.MarkFinished(status);
      }
    };
    stop.AddCallback([finish](const arrow::Status&) mutable { finish(arrow::Status::Cancelled("stopped")); });
    auto& executor = net_->world_.executor(rank_);
    auto timer = executor.PostAt(deadline, [finish]() mutable { finish(DeadlineError("no answer from there")); });
    const Rank to = std::stoi(address.substr(8));
    const Dialling dialling(net_, {rank_, to});
    if (!net_->Severed(rank_, to)) {
      const bool blocked = net_->cuts_ < net_->weather_.cuts && net_->Random(10) == 0;
      executor.PostAt(executor.Now() + net_->Delay(), [finish, blocked]() mutable {
        finish(blocked ? arrow::Status::IOError("no route to there") : arrow::Status::OK());
      });
    }
    const auto status = co_await done;
    timer->Cancel();
    CYLON_CO_RETURN_NOT_OK(status);
    if (!net_->doors_.contains(address)) {
      co_return NobodyListens("nobody listens at " + address);
    }
    if (auto theirs = net_->DialToYieldTo(rank_, to)) {
      auto over = arrow::Future<>::Make();
      auto end = [over]() mutable {
        if (!over.is_finished()) {
          over.MarkFinished();
        }
      };
      theirs->AddCallback([&executor, end](const arrow::Status&) { executor.Post(end); });  // in a task of this rank
      stop.AddCallback([end](const arrow::Status&) mutable { end(); });
      auto late = executor.PostAt(deadline, end);
      CYLON_CO_RETURN_NOT_OK(co_await over);
      late->Cancel();
      co_return arrow::Status::IOError("it has found a way to here at the same time");
    }
    auto [near, far] = net_->Connect(rank_, to);
    // The other side may accept long after this one has given up.
    auto& there = net_->world_.executor(to);
    there.PostAt(there.Now() + net_->Delay(), [net = net_, address, end = far] {
      auto stream = std::make_unique<ByteStream>(end);
      if (auto door = net->doors_.find(address); door != net->doors_.end()) {
        auto accept = door->second.accept;
        accept(std::move(stream));
      }
    });
    co_return std::make_unique<ByteStream>(near);
  }

  Co<std::unique_ptr<Stream>> Settle(std::unique_ptr<Stream> proven, bool, TimePoint) override {
    auto rested = arrow::Future<>::Make();
    auto& executor = net_->world_.executor(rank_);
    executor.PostAt(executor.Now() + net_->Delay(), [rested]() mutable { rested.MarkFinished(); });
    CYLON_CO_RETURN_NOT_OK(co_await rested);
    co_return std::move(proven);
  }

  void Close() override { net_->doors_.erase(address_); }

 private:
  /// That one is under way, for those that cross it.
  struct Dialling {
    Dialling(std::shared_ptr<ByteNet> of, std::pair<Rank, Rank> ends) : net(std::move(of)), way(std::move(ends)) {
      net->dials_.insert_or_assign(way, over);
    }
    ~Dialling() {
      net->dials_.erase(way);
      over.MarkFinished();
    }
    Dialling(const Dialling&) = delete;
    Dialling& operator=(const Dialling&) = delete;
    std::shared_ptr<ByteNet> net;
    std::pair<Rank, Rank> way;
    arrow::Future<> over = arrow::Future<>::Make();
  };

  std::shared_ptr<ByteNet> net_;
  Rank rank_;
  std::string address_;
};

inline std::unique_ptr<Path> ByteNet::MakePath(Rank rank) {
  return std::make_unique<BytePath>(shared_from_this(), rank);
}

/// Ranks of a simulation, over a mesh of links on such a network.
class ByteConformanceWorld : public ConformanceWorld {
 public:
  ByteConformanceWorld(int ranks, uint64_t seed, ByteWeather weather = {},
                       Duration peer_timeout = std::chrono::seconds(10), Duration keep_alive = kKeepAlive)
      : sim(ranks, seed),
        net(std::make_shared<ByteNet>(sim, seed, weather)),
        peer_timeout_(peer_timeout),
        keep_alive_(keep_alive) {
    world_.job = "bytes";
    world_.epoch = "00000001";  // the epoch of TestChannel
    for (Rank rank = 0; rank < ranks; ++rank) {
      std::vector<std::unique_ptr<Path>> paths;
      paths.push_back(net->MakePath(rank));
      listeners_.push_back(MeshTransport::Listen(sim.executor(rank), std::move(paths), ranks));
      world_.cards.push_back({"host", rank, listeners_.back()->address()});
    }
  }
  ~ByteConformanceWorld() override { listeners_.clear(); }

  Executor& executor(Rank rank) override { return sim.executor(rank); }
  std::unique_ptr<Transport> MakeTransport(Rank rank) override {
    auto world = world_;
    world.rank = rank;
    return listeners_[static_cast<size_t>(rank)]->Join(std::move(world), MeshSettings{.security = {"a secret"},
                                                                                      .connect_deadline = peer_timeout_,
                                                                                      .peer_timeout = peer_timeout_,
                                                                                      .keep_alive = keep_alive_});
  }
  arrow::Status Run(const std::function<arrow::Status(Rank)>& body) override { return sim.Run(body); }

  SimWorld sim;
  std::shared_ptr<ByteNet> net;

 private:
  Duration peer_timeout_;
  Duration keep_alive_;
  World world_;
  std::vector<std::unique_ptr<MeshTransport>> listeners_;
};

inline Subject ByteSubject() {
  return {"bytes", [](int ranks, uint64_t seed) { return std::make_unique<ByteConformanceWorld>(ranks, seed); },
          LongTests() ? 1000 : 10, 4 << 20, kSanitized ? 300 : 2000};
}

}  // namespace cylon::testing
