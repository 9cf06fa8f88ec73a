// Pairs of streams whose bytes a server copies.
//
// A pair has a pump for each direction: it reads into the one buffer that it has, waits until the job may send so much,
// writes, and only then reads on. So a slow reader slows its writer down through the sockets, and nothing grows.
#include "cylon/bootstrap/rendezvous_relay.h"

#include <algorithm>
#include <array>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/nap.h"
#include "cylon/bootstrap/token_bucket.h"
#include "cylon/wire/bytes.h"

namespace cylon {

namespace {

constexpr size_t kRelayBuffer = 64 << 10;
/// How long an end may take to say whom it wants.
constexpr Duration kAskPatience = std::chrono::seconds(10);
/// Of an end whose other is gone: closing over unread bytes would reset away what it was sent and has not read.
constexpr size_t kMostDiscarded = 4 << 20;
/// How long an end may be silent that has heard the end of the other.
constexpr Duration kFarewell = std::chrono::seconds(10);
/// Jobs whose bytes are counted, and for how long after their last pair.
constexpr size_t kMostJobs = 16384;
constexpr Duration kJobRemembered = std::chrono::hours(1);

std::string EncodeJoined(const arrow::Status& status) {
  RendezvousFrame joined{RendezvousOp::kJoined};
  joined.status = status;
  ByteWriter framed;
  framed.Text(EncodeRendezvousFrame(joined));
  return framed.Take();
}

Co<void> Answer(Stream* stream, arrow::Status status) {
  const std::string bytes = EncodeJoined(status);
  std::vector<std::span<const uint8_t>> parts;
  parts.emplace_back(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  auto writing = stream->Write(std::move(parts));
  co_return co_await writing;
}

arrow::Status RelayEnds() {
  return arrow::Status::Cancelled("the rendezvous server ends, and its relays with it; connect again");
}

}  // namespace

struct RendezvousRelay::Job {
  Job(double most_rate, double burst, uint64_t most) : rate(most_rate), bucket(burst), most_bytes(most) {}
  /// Whether what it has relayed still counts, while it has no pairs.
  bool Counts(TimePoint now) const { return now < std::max<TimePoint>(idle_since + kJobRemembered, ticket_ends); }

  const double rate;
  TokenBucket bucket;
  const uint64_t most_bytes;
  uint64_t bytes = 0;
  size_t pairs = 0;
  TimePoint idle_since{};
  TimePoint ticket_ends{};
};

struct RendezvousRelay::End {
  End(std::unique_ptr<Stream> from, Guest of)
      : stream(std::move(from)), guest(std::move(of)), buffer(kRelayBuffer, '\0') {}
  void Read() { reading = stream->ReadSome({reinterpret_cast<uint8_t*>(buffer.data()), buffer.size()}); }

  std::unique_ptr<Stream> stream;
  const Guest guest;
  std::string buffer;
  arrow::Future<int64_t> reading;
  Nap nap;              // until the other end comes, or until its job may send more
  bool joined = false;  // a pair has it
};

struct RendezvousRelay::Pair {
  std::array<EndPtr, 2> ends;
  std::shared_ptr<Job> job;
  bool half = false;  // one end has said all
  bool over = false;  // nothing more is passed on
  TimePoint moved{};  // the last bytes
  std::shared_ptr<Timer> idle;
};

RendezvousRelay::RendezvousRelay(Executor& executor, std::shared_ptr<RendezvousCounters> counters, RelayLimits limits)
    : executor_(executor), counters_(std::move(counters)), limits_(limits) {}

Co<void> RendezvousRelay::Serve(std::shared_ptr<RendezvousRelay> self, std::unique_ptr<Stream> stream, Guest guest) {
  if (self->closed_) {
    co_return RelayEnds();
  }
  const std::string job = guest.job;
  auto end = std::make_shared<End>(std::move(stream), std::move(guest));
  self->asking_.insert(end);
  const auto timer = self->executor_.PostAt(self->executor_.Now() + kAskPatience, [weak = std::weak_ptr<End>(end)] {
    if (const auto slow = weak.lock()) {
      slow->stream->Close();
    }
  });
  auto asking = ReadRendezvousFrame(end->stream.get());
  const auto frame = co_await asking;
  timer->Cancel();
  self->asking_.erase(end);
  if (self->closed_) {
    co_return RelayEnds();
  }
  const auto asked = self->Check(frame);
  if (!asked.ok()) {
    auto refusing = Refuse(self, end, asked.status());
    co_return co_await refusing;
  }
  const auto other = self->waiting_.find({job, asked->to, asked->name, asked->nonce});
  if (other != self->waiting_.end()) {
    const EndPtr first = other->second;
    self->waiting_.erase(other);
    --self->counters_->relays_waiting;
    first->joined = true;
    first->nap.Wake();
    auto joining = Join(self, first, end);
    co_return co_await joining;
  }
  if (self->waiting_.size() >= self->limits_.waiting) {
    auto refusing = Refuse(self, end,
                           arrow::Status::CapacityError("at the rendezvous server ", self->waiting_.size(),
                                                        " streams wait for their other end already, its limit"));
    co_return co_await refusing;
  }
  const Duration patience =
      std::min<Duration>(self->limits_.patience, std::chrono::milliseconds(int64_t{asked->patience_ms}));
  auto waiting = WaitFor(self, end, {job, asked->name, asked->to, asked->nonce}, patience);
  co_return co_await waiting;
}

arrow::Result<RendezvousFrame> RendezvousRelay::Check(const arrow::Result<RendezvousFrame>& asked) const {
  ARROW_RETURN_NOT_OK(asked.status());
  if (asked->op != RendezvousOp::kAskRelay) {
    return ProtocolError("a relay began with message " + std::to_string(static_cast<int>(asked->op)) +
                         ", not with whom it wants");
  }
  if (asked->name == asked->to) {
    return arrow::Status::Invalid(asked->name, " wants a relay to itself; name the other end");
  }
  return asked;
}

Co<void> RendezvousRelay::Refuse(std::shared_ptr<RendezvousRelay> self, EndPtr end, arrow::Status why) {
  ++self->counters_->relays_refused;
  auto answering = Answer(end->stream.get(), why);
  const auto told = co_await answering;  // one that is gone is told nothing
  end->stream->Close();
  co_return told.ok() ? why : told;
}

Co<void> RendezvousRelay::WaitFor(std::shared_ptr<RendezvousRelay> self, EndPtr end, Key key, Duration patience) {
  auto& place = self->waiting_[key];
  const EndPtr before = std::exchange(place, end);
  if (before != nullptr) {
    before->nap.Wake();  // the same process has dialled again
  } else {
    ++self->counters_->relays_waiting;
  }
  auto sleeping = end->nap.Until(self->executor_, self->executor_.Now() + patience);
  // It has nothing to say before the other is there: what comes is its end, or against the protocol.
  end->Read();
  end->reading.AddCallback([weak = std::weak_ptr<End>(end)](const arrow::Result<int64_t>&) {
    if (const auto alone = weak.lock(); alone && !alone->joined) {
      alone->nap.Wake();
    }
  });
  CYLON_CO_RETURN_NOT_OK(co_await sleeping);
  if (end->joined) {
    co_return arrow::Status::OK();
  }
  const auto at = self->waiting_.find(key);
  const bool replaced = at == self->waiting_.end() || at->second != end;
  if (!replaced) {
    self->waiting_.erase(at);
    --self->counters_->relays_waiting;
  }
  if (replaced || self->closed_ || end->reading.is_finished()) {
    ++self->counters_->relays_refused;
    end->stream->Close();
    co_return self->closed_ ? RelayEnds() : arrow::Status::IOError("an end of a relay has left before the other came");
  }
  const auto waited = std::chrono::ceil<std::chrono::milliseconds>(patience);
  auto refusing =
      Refuse(self, end,
             DeadlineError("the other end of a relay did not come within " + std::to_string(waited.count()) + " ms"));
  co_return co_await refusing;
}

Co<void> RendezvousRelay::RefuseBoth(std::shared_ptr<RendezvousRelay> self, PairPtr pair, arrow::Status why) {
  for (const auto& end : pair->ends) {
    auto refusing = Refuse(self, end, why);
    static_cast<void>(co_await refusing);  // it has been counted; each end is told on its own
  }
  co_return why;
}

Co<void> RendezvousRelay::Join(std::shared_ptr<RendezvousRelay> self, EndPtr first, EndPtr second) {
  const auto pair = std::make_shared<Pair>();
  pair->ends = {first, second};
  pair->job = self->JobOf(first->guest);
  arrow::Status refused;
  if (self->pairs_.size() >= self->limits_.pairs || pair->job == nullptr) {
    refused = arrow::Status::CapacityError("the rendezvous server relays ", self->pairs_.size(),
                                           " pairs already, its limit; start another server");
  } else if (pair->job->bytes >= pair->job->most_bytes) {
    refused = arrow::Status::CapacityError(
        "the rendezvous server has relayed ", pair->job->bytes, " bytes for job '", first->guest.job, "', ",
        first->guest.ticket ? "as many as its ticket allows; ask the operator for a ticket for more" : "its limit");
  }
  if (!refused.ok()) {
    auto refusing = RefuseBoth(self, pair, std::move(refused));
    co_return co_await refusing;
  }
  self->pairs_.insert(pair);
  self->active_jobs_ += pair->job->pairs++ == 0 ? 1 : 0;
  ++self->counters_->relays;
  ++self->counters_->relays_joined;
  for (const auto& end : pair->ends) {
    auto answering = Answer(end->stream.get(), arrow::Status::OK());
    const auto told = co_await answering;
    if (!told.ok()) {
      end->stream->Close();  // its pump finds that out
    }
  }
  second->Read();
  pair->moved = self->executor_.Now();
  self->WatchIdle(pair);
  auto one_way = arrow::Future<>::Make();
  internal::DriveVoid(Pump(self, pair, 0), one_way);
  auto other_way = Pump(self, pair, 1);
  const auto status = co_await other_way;
  const auto first_status = co_await one_way;
  pair->idle->Cancel();
  for (const auto& end : pair->ends) {
    end->stream->Close();
  }
  self->pairs_.erase(pair);
  --self->counters_->relays;
  if (--pair->job->pairs == 0) {
    --self->active_jobs_;
    pair->job->idle_since = self->executor_.Now();
  }
  co_return status& first_status;
}

/// Copies what the end `side` says to the other until it says no more, which the other is told behind it: that one may
/// still have to say something.
Co<void> RendezvousRelay::Pump(std::shared_ptr<RendezvousRelay> self, PairPtr pair, size_t side) {
  End& from = *pair->ends[side];
  End& to = *pair->ends[1 - side];
  bool copies = true;
  size_t discarded = 0;
  arrow::Status status;
  arrow::Status limit;  // that its job has reached
  while (!pair->over && discarded < kMostDiscarded) {
    auto reading = from.reading;
    const auto got = co_await reading;
    if (!got.ok() || *got == 0) {
      status = IsEndOfStream(got.status()) ? arrow::Status::OK() : got.status();
      break;
    }
    if (copies) {
      auto passing = PassOn(self, pair, side, static_cast<size_t>(*got));
      const auto passed = co_await passing;
      copies = passed.ok() && *passed;
      limit &= passed.status();
    } else {
      discarded += static_cast<size_t>(*got);  // the other end is gone: its own pump says so to this one
    }
    from.Read();
  }
  if (pair->over) {
    to.stream->Close();
    to.nap.Wake();
  } else {
    to.stream->EndWrites();
  }
  if (pair->over || discarded >= kMostDiscarded) {
    from.stream->Close();
  }
  if (!std::exchange(pair->half, true)) {
    pair->moved = self->executor_.Now();
    pair->idle->Cancel();
    self->WatchIdle(pair);
  }
  co_return limit& status;
}

/// False where no more can be passed on; CapacityError where no more may be.
Co<bool> RendezvousRelay::PassOn(std::shared_ptr<RendezvousRelay> self, PairPtr pair, size_t side, size_t bytes) {
  Job& job = *pair->job;
  End& from = *pair->ends[side];
  job.bytes += bytes;
  if (job.bytes > job.most_bytes) {
    pair->over = true;
    co_return arrow::Status::CapacityError("the relay has ended: ", job.most_bytes, " bytes were relayed for job '",
                                           from.guest.job, "', its limit");
  }
  const double share = self->limits_.rate / static_cast<double>(std::max<size_t>(1, self->active_jobs_));
  const TimePoint now = self->executor_.Now();
  const Duration wait = job.bucket.Draw(now, static_cast<double>(bytes), std::min(job.rate, share));
  if (wait > Duration::zero()) {
    auto sleeping = from.nap.Until(self->executor_, now + wait);
    CYLON_CO_RETURN_NOT_OK(co_await sleeping);
    if (pair->over) {
      co_return false;
    }
  }
  std::vector<std::span<const uint8_t>> parts;
  parts.emplace_back(reinterpret_cast<const uint8_t*>(from.buffer.data()), bytes);
  auto writing = pair->ends[1 - side]->stream->Write(std::move(parts));
  const arrow::Status written = co_await writing;
  if (written.ok()) {
    self->counters_->relayed_bytes += bytes;
    pair->moved = self->executor_.Now();
  }
  co_return written.ok();
}

void RendezvousRelay::WatchIdle(const PairPtr& pair) {
  const Duration most = pair->half ? std::min(limits_.idle, kFarewell) : limits_.idle;
  pair->idle = executor_.PostAt(pair->moved + most, [weak = std::weak_ptr<Pair>(pair), relay = weak_from_this(), most] {
    const auto idle = weak.lock();
    const auto self = relay.lock();
    if (!idle || !self) {
      return;
    }
    if (self->executor_.Now() - idle->moved < most) {
      return self->WatchIdle(idle);
    }
    for (const auto& end : idle->ends) {
      end->stream->Close();
    }
  });
}

/// nullptr where too many jobs have pairs.
std::shared_ptr<RendezvousRelay::Job> RendezvousRelay::JobOf(const Guest& guest) {
  const TimePoint now = executor_.Now();
  const std::string& name = guest.ticket ? guest.ticket->id : guest.job;
  if (jobs_.size() >= kMostJobs && !jobs_.contains(name)) {
    const auto idle = std::find_if(jobs_.begin(), jobs_.end(), [&](const auto& each) {
      // What a ticket allows is never begun anew while it is good.
      return each.second->pairs == 0 && now >= each.second->ticket_ends;
    });
    if (idle == jobs_.end()) {
      return nullptr;
    }
    jobs_.erase(idle);
  }
  auto& job = jobs_[name];
  if (job == nullptr || (job->pairs == 0 && !job->Counts(now))) {
    const double rate =
        guest.ticket ? std::min(limits_.job_rate, static_cast<double>(guest.ticket->relay_rate)) : limits_.job_rate;
    job = std::make_shared<Job>(rate, std::min(limits_.job_burst, rate),
                                guest.ticket ? guest.ticket->relay_bytes : limits_.job_bytes);
    job->idle_since = now;
    job->ticket_ends = guest.ticket ? guest.ticket_ends : TimePoint{};
  }
  return job;
}

void RendezvousRelay::Close() {
  closed_ = true;
  for (const auto& end : std::set<EndPtr>(asking_)) {
    end->stream->Close();
  }
  for (const auto& [key, end] : std::map<Key, EndPtr>(waiting_)) {
    end->nap.Wake();
  }
  for (const auto& pair : std::set<PairPtr>(pairs_)) {
    pair->over = true;
    for (const auto& end : pair->ends) {
      end->stream->Close();
      end->nap.Wake();
    }
  }
}

}  // namespace cylon
