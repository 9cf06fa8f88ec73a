// One rank's watch: the judge over a wire, with a clock.
#include "cylon/comm/watch/watch.h"

#include <utility>

namespace cylon::internal {

/// Lives in tasks of the watch's executor.
class Watch::Core : public WatchWireSink, public JudgeHands, public std::enable_shared_from_this<Watch::Core> {
 public:
  Core(Executor& executor, std::shared_ptr<WatchWire> wire, Judge::Setup setup, std::function<Report()> describe,
       std::weak_ptr<WatchOwner> owner, Executor& owner_executor)
      : executor_(executor),
        wire_(std::move(wire)),
        describe_(std::move(describe)),
        own_(setup.own),
        size_(setup.size),
        judge_(std::move(setup), this),
        owner_(std::move(owner)),
        owner_executor_(owner_executor) {}

  void Begin() {
    wire_->Start(this);
    judge_.Start(executor_.Now());
    next_beat_ = executor_.Now();
    Tick();
  }

  void End() {
    ended_ = true;
    if (timer_) {
      timer_->Cancel();
    }
    inquiries_.clear();
    wire_->Close();
  }

  bool ended() const { return ended_; }
  Judge& judge() { return judge_; }
  TimePoint now() const { return executor_.Now(); }

  void SendToAll(const WatchMessage& message) {
    for (Rank rank = 0; rank < size_; ++rank) {
      if (rank != own_ && wire_->Linked(rank)) {
        wire_->Send(rank, message);
      }
    }
  }

  void Inquire(const std::set<Rank>& ranks, Duration patience, std::function<void(std::map<Rank, Sighting>)> then) {
    auto inquiry = std::make_shared<Inquiry>();
    for (const Rank rank : ranks) {
      if (rank >= 0 && rank < size_ && rank != own_) {
        inquiry->missing.insert(rank);
      }
    }
    inquiry->then = std::move(then);
    inquiries_.push_back(inquiry);
    for (const Rank rank : inquiry->missing) {
      if (wire_->Linked(rank)) {
        Ask(rank, rank, now());
      } else {
        wire_->Dial(rank, patience);
      }
    }
    executor_.PostAt(now() + patience, [weak = weak_from_this(), inquiry] {
      if (auto self = weak.lock(); self && !self->ended_) {
        self->Finish(inquiry);
      }
    });
    if (inquiry->missing.empty()) {
      Finish(inquiry);
    }
  }

  // What the wire tells.
  void OnLink(Rank peer) override {
    wire_->Send(peer, Beat());
    judge_.OnLink(peer, now());
    for (const auto& inquiry : inquiries_) {
      if (inquiry->missing.contains(peer)) {
        Ask(peer, peer, now());
        break;
      }
    }
  }
  void OnLinkEnd(Rank peer) override { judge_.OnLinkEnd(peer, now()); }
  void OnDialFailed(Rank peer, DialEnd how) override { judge_.OnDialFailed(peer, how, now()); }

  void OnMessage(Rank from, const WatchMessage& message) override {
    switch (message.type) {
      case WatchMessage::Type::kBeat:
        reports_[from] = message.report;
        NoteGap(from);
        break;
      case WatchMessage::Type::kQuestion:
        judge_.OnQuestion(from, message.about, message.stamp, now());
        break;
      case WatchMessage::Type::kAnswer:
        if (message.about == from && message.has_report) {
          reports_[from] = message.report;
          OnReport(from);
        }
        judge_.OnAnswer(from, message.about, message.stamp, message.testimony, message.age, now());
        break;
      case WatchMessage::Type::kFlood:
        ToOwner([from, text = message.text](WatchOwner& owner) { owner.OnFlood(from, text); });
        break;
      case WatchMessage::Type::kGoodbye:
        judge_.OnLeft(from);
        break;
    }
    judge_.OnHeard(from, now());
  }

  // What the judge has done.
  void Dial(Rank peer, Duration patience) override { wire_->Dial(peer, patience); }

  void Ask(Rank witness, Rank about, TimePoint stamp) override {
    WatchMessage message;
    message.type = WatchMessage::Type::kQuestion;
    message.about = about;
    message.stamp = stamp;
    wire_->Send(witness, message);
  }

  void Tell(Rank asker, Rank about, TimePoint stamp, Testimony testimony, Duration age) override {
    WatchMessage message;
    message.type = WatchMessage::Type::kAnswer;
    message.about = about;
    message.stamp = stamp;
    message.testimony = testimony;
    message.age = age;
    if (about == own_) {
      message.has_report = true;
      message.report = describe_();
    } else if (auto at = reports_.find(about); at != reports_.end()) {
      message.has_report = true;
      message.report = at->second;
    }
    wire_->Send(asker, message);
  }

  void ShowLife() override {
    ToOwner([](WatchOwner& owner) { owner.ShowLife(); });
  }
  void LookForLife(Rank about) override {
    ToOwner([about](WatchOwner& owner) { owner.LookForLife(about); });
  }
  void Conclude(const Finding& finding) override {
    ToOwner([finding](WatchOwner& owner) { owner.OnFinding(finding); });
  }

  std::pair<Duration, Rank> largest_gap() const { return largest_gap_; }

 private:
  struct Inquiry {
    std::set<Rank> missing;
    std::map<Rank, Sighting> found;
    std::function<void(std::map<Rank, Sighting>)> then;
  };

  template <typename Function>
  void ToOwner(Function function) {
    owner_executor_.Post([owner = owner_, function = std::move(function)]() mutable {
      if (auto self = owner.lock()) {
        function(*self);
      }
    });
  }

  WatchMessage Beat() {
    WatchMessage beat;
    beat.type = WatchMessage::Type::kBeat;
    beat.counter = ++beats_;
    beat.report = describe_();
    return beat;
  }

  void Tick() {
    judge_.Tick(now());
    if (now() >= next_beat_) {
      // From now on, not from when it was due: after a stop there is nothing to make up for.
      next_beat_ = now() + judge_.beat();
      SendToAll(Beat());
      ToOwner([](WatchOwner& owner) { owner.OnBeat(); });
    }
    const TimePoint next = std::min(now() + judge_.pause(), next_beat_);
    timer_ = executor_.PostAt(next, [weak = weak_from_this()] {
      if (auto self = weak.lock(); self && !self->ended_) {
        self->Tick();
      }
    });
  }

  void NoteGap(Rank from) {
    if (auto [last, first] = last_beats_.emplace(from, now()); !first) {
      largest_gap_ = std::max(largest_gap_, {now() - last->second, from});
      last->second = now();
    }
  }

  void OnReport(Rank from) {
    for (const auto& inquiry : std::vector(inquiries_)) {
      if (inquiry->missing.erase(from) > 0) {
        inquiry->found[from] = Sighting{reports_[from], Duration{}};
        if (inquiry->missing.empty()) {
          Finish(inquiry);
        }
      }
    }
  }

  void Finish(const std::shared_ptr<Inquiry>& inquiry) {
    if (std::erase(inquiries_, inquiry) > 0) {
      owner_executor_.Post(
          [then = std::move(inquiry->then), found = std::move(inquiry->found)]() mutable { then(std::move(found)); });
    }
  }

  Executor& executor_;
  std::shared_ptr<WatchWire> wire_;
  std::function<Report()> describe_;
  const Rank own_;
  const int size_;
  Judge judge_;
  std::weak_ptr<WatchOwner> owner_;
  Executor& owner_executor_;
  std::map<Rank, Report> reports_;
  std::map<Rank, TimePoint> last_beats_;
  std::pair<Duration, Rank> largest_gap_{Duration{}, -1};
  std::vector<std::shared_ptr<Inquiry>> inquiries_;
  std::shared_ptr<Timer> timer_;
  TimePoint next_beat_{};
  uint64_t beats_ = 0;
  bool ended_ = false;
};

Watch::Watch(std::unique_ptr<Executor> own_executor, Executor& executor, std::shared_ptr<WatchWire> wire)
    : own_executor_(std::move(own_executor)), executor_(&executor), wire_(std::move(wire)) {}

Watch::~Watch() { Stop(); }

void Watch::Start(Judge::Setup setup, std::function<Report()> describe, std::weak_ptr<WatchOwner> owner,
                  Executor& owner_executor) {
  core_ = std::make_shared<Core>(*executor_, wire_, std::move(setup), std::move(describe), std::move(owner),
                                 owner_executor);
  executor_->Post([core = core_] {
    if (!core->ended()) {
      core->Begin();
    }
  });
}

template <typename Function>
void Watch::Post(Function function) {
  if (core_ == nullptr) {
    return;
  }
  executor_->Post([weak = std::weak_ptr<Core>(core_), function = std::move(function)]() mutable {
    if (auto core = weak.lock(); core && !core->ended()) {
      function(*core);
    }
  });
}

void Watch::OnMet(Rank peer) {
  Post([peer](Core& core) { core.judge().OnMet(peer, core.now()); });
}

void Watch::Investigate(Rank peer, const std::string& cause) {
  Post([peer, cause](Core& core) { core.judge().Investigate(peer, cause, core.now()); });
}

void Watch::OnStore(Rank about, bool answers, const std::string& sign) {
  Post([about, answers, sign](Core& core) { core.judge().OnStore(about, answers, sign, core.now()); });
}

void Watch::OnLeft(Rank peer) {
  Post([peer](Core& core) { core.judge().OnLeft(peer); });
}

void Watch::OnSettled(Rank peer) {
  Post([peer](Core& core) { core.judge().OnSettled(peer); });
}

void Watch::Flood(const std::string& text) {
  if (text.size() > kMaxWatchBody) {
    return;  // an error with a long text, which the lanes carry
  }
  Post([text](Core& core) {
    WatchMessage message;
    message.type = WatchMessage::Type::kFlood;
    message.text = text;
    core.SendToAll(message);
  });
}

void Watch::Inquire(std::set<Rank> ranks, Duration patience, std::function<void(std::map<Rank, Sighting>)> then) {
  Post([ranks = std::move(ranks), patience, then = std::move(then)](Core& core) mutable {
    core.Inquire(ranks, patience, std::move(then));
  });
}

std::pair<Duration, Rank> Watch::LargestGap() {
  std::pair<Duration, Rank> gap{Duration{}, -1};
  auto read = [this, &gap] {
    gap = core_->largest_gap();
    return arrow::Status::OK();
  };
  if (core_ != nullptr && !stopped_ && !executor_->InTask()) {
    (void)executor_->RunTask(read);  // not where the executor runs no tasks any more: then nothing is known
  }
  return gap;
}

void Watch::Leave() {
  Post([](Core& core) {
    WatchMessage message;
    message.type = WatchMessage::Type::kGoodbye;
    core.SendToAll(message);
  });
}

void Watch::Stop() {
  if (std::exchange(stopped_, true)) {
    return;
  }
  auto stop = [this] {
    if (core_ != nullptr) {
      core_->End();
    } else {
      wire_->Close();
    }
    return arrow::Status::OK();
  };
  // A killed rank's simulated executor runs no tasks: then nothing else is running either.
  if (executor_->InTask() || !executor_->RunTask(stop).ok()) {
    (void)stop();
  }
  core_.reset();
  wire_.reset();
  own_executor_.reset();
}

}  // namespace cylon::internal
