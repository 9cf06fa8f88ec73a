// Messages between ranks that are threads.
#include "cylon/net/inproc/inproc.h"

#include <deque>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "cylon/net/send_tracker.h"

namespace cylon {

namespace {

/// A message on its way: its buffers are the sender's, who may want them back at once when it gives up.
struct Parcel {
  explicit Parcel(Message sent) : message(std::move(sent)) {}

  /// No reader has the buffers after this.
  void Revoke() {
    std::lock_guard<std::mutex> lock(mutex);
    revoked = true;
    message.segments.clear();
  }
  /// Into `landing`, which has their sizes. False where they were taken back.
  bool CopyTo(const Buffers& landing) {
    std::lock_guard<std::mutex> lock(mutex);
    for (size_t i = 0; i < landing.size() && !revoked; ++i) {
      const auto& source = message.segments[i];
      if (source->size() > 0) {
        std::memcpy(landing[i]->mutable_data(), source->data(), static_cast<size_t>(source->size()));
      }
    }
    message.segments.clear();  // before the sender hears: its pool may go next
    return !revoked;
  }

  std::mutex mutex;
  bool revoked = false;
  Message message;
};

/// A rank's end. Its members belong to tasks of its executor.
struct End {
  enum class State { kNew, kRunning, kClosed };

  End(Rank own_rank, int world_size) : rank(own_rank), lost(static_cast<size_t>(world_size)) {}

  Rank rank;
  State state = State::kNew;
  Sink* sink = nullptr;
  internal::SendTracker sends;
  std::map<uint64_t, std::pair<Rank, std::shared_ptr<Parcel>>> parcels;  // by id of the send
  arrow::Future<> start = arrow::Future<>::Make();
  std::vector<bool> lost;  // peers of which the sink was told that they are gone

  void FinishSend(uint64_t id) {
    parcels.erase(id);
    sends.Finish(id, arrow::Status::OK());
  }
  void RevokeFor(Rank to) {
    std::erase_if(parcels, [to](auto& entry) {
      const bool revoked = to < 0 || entry.second.first == to;
      if (revoked) {
        entry.second.second->Revoke();
      }
      return revoked;
    });
  }

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
    std::shared_ptr<Line> line;  // events that no task will take, and which may hold this hub
    std::lock_guard<std::mutex> lock(mutex_);
    auto& place = places_[rank];
    place.left = true;
    place.executor = nullptr;
    early.swap(place.early);
    end.swap(place.end);
    line.swap(place.line);
  }

 private:
  /// Events of one rank, in the order in which they were sent.
  struct Line {
    Event Next() {
      std::lock_guard<std::mutex> lock(mutex);
      Event event = std::move(events.front());
      events.pop_front();
      return event;
    }
    std::mutex mutex;
    std::deque<Event> events;
  };
  struct Place {
    std::shared_ptr<End> end;
    std::shared_ptr<Line> line = std::make_shared<Line>();
    Executor* executor = nullptr;
    bool started = false;
    bool left = false;
    std::deque<Event> early;
  };

  /// An executor keeps the order of one thread's posts only: what it is given inside one of its own tasks may come
  /// behind what another thread posts later. So a task runs whichever event is first in line.
  static void PostTo(Place& place, Event event) {
    {
      std::lock_guard<std::mutex> lock(place.line->mutex);
      place.line->events.push_back(std::move(event));
    }
    place.executor->Post([end = place.end, line = place.line] { line->Next()(end.get()); });
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
  end->RevokeFor(peer);
  end->sends.FailPeer(peer, status);
  if (end->state == End::State::kRunning) {
    end->sink->OnPeerLost(peer, cause);
  }
}

/// Runs in a task of the receiver: takes the memory, copies, hands over, and tells the sender that it may go on.
void Arrive(Hub& hub, End* end, Rank from, uint64_t id, Parcel& parcel, const Sizes& sizes) {
  if (end->lost[from]) {
    return;  // the sender hears of it by its own loss
  }
  if (end->state == End::State::kRunning) {
    auto landing = end->sink->Allocate(from, parcel.message.channel, parcel.message.header, sizes);
    if (!landing.ok()) {
      hub.Send(from, [rank = end->rank](End* sender) {
        HearLoss(sender, rank, Gone(rank, "refused a message and closed the connection"));
      });
      HearLoss(end, from, landing.status());
      return;
    }
    if (!parcel.CopyTo(*landing)) {
      return;  // the loss of its sender comes next
    }
    end->sink->OnMessage(from, Message{parcel.message.channel, parcel.message.header, landing.MoveValueUnsafe()});
  } else {
    parcel.Revoke();
  }
  hub.Send(from, [id](End* sender) { sender->FinishSend(id); });
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
    Sizes sizes;
    sizes.reserve(message.segments.size());
    for (const auto& segment : message.segments) {
      sizes.push_back(segment->size());
    }
    auto parcel = std::make_shared<Parcel>(std::move(message));
    end_->parcels.emplace(sent.id, std::make_pair(to, parcel));
    hub_->Send(to, [hub = hub_, rank, id = sent.id, parcel, sizes = std::move(sizes)](End* receiver) {
      Arrive(*hub, receiver, rank, id, *parcel, sizes);
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
    end_->RevokeFor(-1);
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
