// Messages between ranks that are threads.
#include "cylon/net/inproc/inproc.h"

#include <deque>
#include <mutex>
#include <vector>

#include "cylon/net/send_tracker.h"

namespace cylon {

namespace {

/// A rank's end. Its members belong to tasks of its executor.
struct End {
  enum class State { kNew, kRunning, kClosed };

  End(Rank own_rank, int world_size) : rank(own_rank), lost(static_cast<size_t>(world_size)) {}

  Rank rank;
  State state = State::kNew;
  Sink* sink = nullptr;
  internal::SendTracker sends;
  arrow::Future<> start = arrow::Future<>::Make();
  std::vector<bool> lost;  // peers of which the sink was told that they are gone

  void FinishStart(const arrow::Status& status) {
    if (!start.is_finished()) {
      start.MarkFinished(status);
    }
  }
};

/// Something that happens at a rank's end, in one of its tasks.
using Event = arrow::internal::FnOnce<void(End*)>;

arrow::Status Gone(Rank rank, const char* how) { return arrow::Status::IOError("rank ", rank, " is gone: it ", how); }

/// Where events go. Thread-safe.
class Hub {
 public:
  explicit Hub(int world_size) : places_(static_cast<size_t>(world_size)) {}

  int size() const { return static_cast<int>(places_.size()); }

  void Enter(std::shared_ptr<End> end, Executor* executor) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto& place = places_[end->rank];
    place.end = std::move(end);
    place.executor = executor;
  }

  /// From now on events reach `rank`; those that came before do first.
  void Start(Rank rank) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto& place = places_[rank];
    place.started = true;
    for (auto& event : place.early) {
      PostTo(place, std::move(event));
    }
    place.early.clear();
    if (++started_ == size()) {
      for (auto& each : places_) {
        if (!each.left) {
          PostTo(each, [](End* end) { end->FinishStart(arrow::Status::OK()); });
        }
      }
    }
  }

  /// `event` happens at `rank`'s end, after those that were sent there before. Dropped where the rank has left.
  void Send(Rank rank, Event event) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto& place = places_[rank];
    if (place.left) {
      return;
    }
    if (!place.started) {
      place.early.push_back(std::move(event));
    } else {
      PostTo(place, std::move(event));
    }
  }

  /// Nothing is posted to the rank's executor after this.
  void Leave(Rank rank) {
    std::deque<Event> early;
    std::shared_ptr<End> end;
    std::lock_guard<std::mutex> lock(mutex_);
    auto& place = places_[rank];
    place.left = true;
    place.executor = nullptr;
    early.swap(place.early);
    end.swap(place.end);
  }

 private:
  struct Place {
    std::shared_ptr<End> end;
    Executor* executor = nullptr;
    bool started = false;
    bool left = false;
    std::deque<Event> early;
  };

  static void PostTo(Place& place, Event event) {
    place.executor->Post([end = place.end, event = std::move(event)]() mutable { std::move(event)(end.get()); });
  }

  std::mutex mutex_;  // held while posting, so that no executor is posted to after its rank has left
  std::vector<Place> places_;
  int started_ = 0;
};

/// What is told to `end` about `peer`, once.
void HearLoss(End* end, Rank peer, const arrow::Status& cause) {
  if (end->lost[peer]) {
    return;
  }
  end->lost[peer] = true;
  const auto status = cause.ok() ? Gone(peer, "said goodbye") : cause;
  end->FinishStart(status);
  end->sends.FailPeer(peer, status);
  if (end->state == End::State::kRunning) {
    end->sink->OnPeerLost(peer, cause);
  }
}

/// Runs in a task of the receiver: takes the memory, copies, hands over, and tells the sender that it may go on.
void Arrive(Hub& hub, End* end, Rank from, uint64_t id, Message message) {
  if (end->lost[from]) {
    return;  // the sender hears of it by its own loss
  }
  if (end->state == End::State::kRunning) {
    Sizes sizes;
    sizes.reserve(message.segments.size());
    for (const auto& segment : message.segments) {
      sizes.push_back(segment->size());
    }
    auto landing = end->sink->Allocate(from, message.channel, message.header, sizes);
    if (!landing.ok()) {
      hub.Send(from, [rank = end->rank](End* sender) {
        HearLoss(sender, rank, Gone(rank, "refused a message and closed the connection"));
      });
      HearLoss(end, from, landing.status());
      return;
    }
    Message arrived{message.channel, message.header, landing.MoveValueUnsafe()};
    for (size_t i = 0; i < sizes.size(); ++i) {
      if (sizes[i] > 0) {
        std::memcpy(arrived.segments[i]->mutable_data(), message.segments[i]->data(), static_cast<size_t>(sizes[i]));
      }
    }
    message.segments.clear();
    end->sink->OnMessage(from, std::move(arrived));
  }
  hub.Send(from, [id](End* sender) { sender->sends.Finish(id, arrow::Status::OK()); });
}

class InprocTransport : public Transport {
 public:
  InprocTransport(std::shared_ptr<Hub> hub, Rank rank, Executor& executor)
      : hub_(std::move(hub)), end_(std::make_shared<End>(rank, hub_->size())) {
    hub_->Enter(end_, &executor);
  }

  ~InprocTransport() override {
    if (!told_) {
      Abort();
    }
    hub_->Leave(end_->rank);
    Silence();
  }

  const Traits& traits() const override { return traits_; }

  arrow::Future<> Start(Sink* sink) override {
    end_->sink = sink;
    end_->state = End::State::kRunning;
    hub_->Start(end_->rank);
    return end_->start;
  }

  arrow::Future<> Send(Rank to, Message message) override {
    const Rank rank = end_->rank;
    if (to < 0 || to >= hub_->size() || to == rank) {
      return arrow::Status::Invalid("rank ", rank, " sent to rank ", to, "; there are ", hub_->size(),
                                    " ranks, and a transport does not send to itself");
    }
    if (end_->state != End::State::kRunning) {
      return arrow::Status::Cancelled("rank ", rank, " sent while its transport is not open; start it first");
    }
    if (end_->lost[to]) {
      return Gone(to, "was lost before this send");
    }
    auto sent = end_->sends.Add(to);
    hub_->Send(to, [hub = hub_, rank, id = sent.id, message = std::move(message)](End* receiver) mutable {
      Arrive(*hub, receiver, rank, id, std::move(message));
    });
    return sent.done;
  }

  arrow::Future<> Flush() override { return end_->sends.Flush(); }

  arrow::Future<> Close() override {
    if (!told_) {
      TellAll(arrow::Status::OK());  // behind what was sent before
      end_->state = End::State::kClosed;
    }
    return end_->sends.Flush();
  }

  void Abort() override {
    if (!told_) {
      TellAll(Gone(end_->rank, "closed its transport without a goodbye"));
    }
    Silence();
  }

 private:
  void Silence() {
    const auto cancelled = arrow::Status::Cancelled("rank ", end_->rank, " closed its transport");
    end_->state = End::State::kClosed;
    end_->FinishStart(cancelled);
    end_->sends.FailAll(cancelled);
  }

  void TellAll(const arrow::Status& cause) {
    told_ = true;
    for (Rank peer = 0; peer < hub_->size(); ++peer) {
      if (peer != end_->rank) {
        hub_->Send(peer, [rank = end_->rank, cause](End* end) { HearLoss(end, rank, cause); });
      }
    }
  }

  std::shared_ptr<Hub> hub_;
  std::shared_ptr<End> end_;
  Traits traits_;
  bool told_ = false;  // peers know that nothing more comes
};

}  // namespace

class InprocHub::Impl {
 public:
  explicit Impl(int world_size) : hub(std::make_shared<Hub>(world_size)) {}
  std::shared_ptr<Hub> hub;
};

InprocHub::InprocHub(int world_size) : impl_(std::make_shared<Impl>(world_size)) {}
InprocHub::~InprocHub() = default;

std::unique_ptr<Transport> InprocHub::MakeTransport(Rank rank, Executor& executor) {
  return std::make_unique<InprocTransport>(impl_->hub, rank, executor);
}

}  // namespace cylon
