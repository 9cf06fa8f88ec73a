// Requests to a store server: asked again where the connection is lost, and what they wrote brought back where the
// server is.
#include "cylon/bootstrap/store_client.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/base/failpoint.h"
#include "cylon/bootstrap/crowded.h"

namespace cylon {

namespace {

/// Between attempts to reach a server that does not answer.
constexpr auto kFirstRetry = std::chrono::milliseconds(10);
constexpr auto kLongestRetry = std::chrono::milliseconds(250);
/// A connection over which nothing comes for so long, while an answer is owed, is taken for one that a gateway on the
/// way has forgotten.
constexpr auto kAnswerPatience = std::chrono::seconds(2);
/// How long the first frame may take.
constexpr auto kGreetingPatience = std::chrono::seconds(5);

std::string Describe(StoreOp op, const std::string& key) {
  const char* what = "reading";
  switch (op) {
    case StoreOp::kSet:
    case StoreOp::kSetIfAbsent:
      what = "setting";
      break;
    case StoreOp::kAdd:
    case StoreOp::kRaise:
      what = "adding to";
      break;
    case StoreOp::kDelete:
      what = "deleting";
      break;
    default:
      break;
  }
  return std::string(what) + " '" + key + "'";
}

std::string EncodeRequest(uint64_t id, uint64_t answered, StoreOp op, const std::string& key, int64_t live_ms,
                          std::string_view value) {
  ByteWriter out;
  out.Number(id);
  out.Number(answered);
  out.Number(static_cast<uint8_t>(op));
  out.Text(key);
  out.Number(live_ms);
  out.Raw(value);
  return out.Take();
}

/// True where another attempt cannot fare better.
bool IsFinal(const arrow::Status& status) {
  return IsError(status, ErrorKind::kAuthentication) || IsError(status, ErrorKind::kProtocol) || status.IsInvalid();
}

}  // namespace

struct StoreClient::Link {
  explicit Link(std::unique_ptr<Stream> from)
      : stream(std::move(from)), outbox(std::make_shared<FramedOutbox>(stream.get())) {}
  ~Link() { outbox->Detach(); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  std::unique_ptr<Stream> stream;
  std::shared_ptr<FramedOutbox> outbox;
  std::string life;
  uint64_t frames = 0;   // that have come
  bool expects = false;  // somebody looks whether more do
};

StoreClient::StoreClient(Executor& executor, std::string server, StoreConnector connect, std::string session,
                         Duration patience)
    : executor_(executor),
      server_(std::move(server)),
      connect_(std::move(connect)),
      session_(std::move(session)),
      patience_(patience) {}

Co<void> StoreClient::Open(std::shared_ptr<StoreClient> self, TimePoint deadline) {
  Executor& executor = self->executor_;
  Duration pause = kFirstRetry;
  std::optional<TimePoint> crowded_since;
  while (true) {
    auto trying = TryConnect(self, deadline);
    auto link = co_await trying;
    if (link.ok()) {
      self->GoOn(*link);
      co_return arrow::Status::OK();
    }
    const arrow::Status status = link.status();
    if (self->closed_ || IsFinal(status)) {
      co_return status;
    }
    const auto now = executor.Now();
    if (IsCrowded(status, now, &crowded_since)) {
      co_return NoPlace(status);
    }
    if (now >= deadline || (deadline != kNever && now + pause >= deadline)) {
      if (status.IsCapacityError()) {
        co_return NoPlace(status);
      }
      co_return DeadlineError("no store answered at " + self->server_ + " before the deadline (" + status.message() +
                              "); start the job by `cylon run`, or start cylon-rendezvous, and check CYLON_STORE");
    }
    auto sleeping = self->nap_.Until(executor, now + pause);
    CYLON_CO_RETURN_NOT_OK(co_await sleeping);
    pause = std::min<Duration>(2 * pause, kLongestRetry);
  }
}

void StoreClient::Ask(StoreOp op, const std::string& key, const std::string& value, Duration time_to_live,
                      std::shared_ptr<Wait> wait, TimePoint deadline) {
  auto status = closed_ ? StoreClosed() : CheckKeyAndValue(key, value);
  if (status.ok()) {
    status = CYLON_FAILPOINT_STATUS("store.request");
  }
  const bool writes = IsWrite(op);
  if (status.ok() && writes && op != StoreOp::kDelete) {
    status = CheckTimeToLive(key, time_to_live);
  }
  if (!status.ok()) {
    return wait->Finish(status);
  }
  const uint64_t id = next_id_++;
  const bool waits = op == StoreOp::kGet;
  const TimePoint end = waits ? deadline : executor_.Now() + patience_;
  if (end != kNever) {
    wait->timer = executor_.PostAt(end, [weak = weak_from_this(), id, wait, key, op] {
      const auto self = weak.lock();
      if (!self || wait->done.is_finished()) {
        return;
      }
      const bool linked = self->link_ != nullptr;
      self->asked_.erase(id);
      self->written_.erase(id);
      if (op != StoreOp::kGet) {
        if (linked) {
          // It takes what it is sent and says nothing: what waits may fare better over another connection.
          self->Drop(self->link_, arrow::Status::IOError("it owes an answer and is silent"));
        }
        return wait->Finish(self->Gone(Describe(op, key)));
      }
      if (linked) {
        ByteWriter target;
        target.Number(id);
        self->link_->outbox->Push(
            EncodeRequest(self->next_id_++, self->Answered(), StoreOp::kCancel, "", 0, target.bytes()));
      }
      wait->Finish(linked ? GetTooLate(key)
                          : DeadlineError("the store at " + self->server_ + " is gone (" + self->trouble_ +
                                          "), and the deadline of the wait for '" + key +
                                          "' has passed; start the job again once its server runs"));
    });
  }
  if (op == StoreOp::kDelete) {
    kept_.Erase(key);
  }
  Request request{op, key, value,
                  writes && op != StoreOp::kDelete
                      ? std::chrono::duration_cast<std::chrono::milliseconds>(time_to_live).count()
                      : 0,
                  std::move(wait)};
  auto& placed = (writes ? written_ : asked_).emplace(id, std::move(request)).first->second;
  if (link_) {
    Push(id, placed);
    ExpectAnswer(link_);
  } else {
    Connect();
  }
}

bool StoreClient::IsOwed() const {
  return !written_.empty() ||
         std::ranges::any_of(asked_, [](const auto& each) { return each.second.op != StoreOp::kGet; });
}

void StoreClient::ExpectAnswer(const LinkPtr& link) {
  // Pushing may have dropped it.
  if (link == nullptr || !IsOwed() || std::exchange(link->expects, true)) {
    return;
  }
  executor_.PostAt(executor_.Now() + kAnswerPatience,
                   [weak = weak_from_this(), late = std::weak_ptr<Link>(link), before = link->frames] {
                     const auto self = weak.lock();
                     const auto there = late.lock();
                     if (!self || !there || self->link_ != there) {
                       return;
                     }
                     there->expects = false;
                     if (there->frames == before && self->IsOwed()) {
                       self->Drop(there, arrow::Status::IOError("it owes an answer and is silent"));
                     } else {
                       self->ExpectAnswer(there);
                     }
                   });
}

void StoreClient::Close() {
  if (closed_) {
    return;
  }
  closed_ = true;
  for (const auto& link : {std::exchange(link_, nullptr), std::exchange(joining_, nullptr)}) {
    if (link) {
      link->stream->Close();
    }
  }
  FailAll(StoreClosed());
  nap_.Wake();
}

arrow::Status StoreClient::Gone(const std::string& what) const {
  const auto waited = std::chrono::ceil<std::chrono::milliseconds>(patience_);
  return arrow::Status::IOError("the store at ", server_, " is gone: ", trouble_, ", and it did not answer within ",
                                waited.count(), " ms for ", what, "; start the job again once its server runs");
}

uint64_t StoreClient::Answered() const { return written_.empty() ? next_id_ : written_.begin()->first; }

void StoreClient::Push(uint64_t id, const Request& request) {
  link_->outbox->Push(EncodeRequest(id, Answered(), request.op, request.key, request.live_ms, request.value));
}

void StoreClient::Answer(uint64_t id, arrow::Result<std::string> answer) {
  Request request;
  for (auto* open : {&asked_, &written_}) {
    if (const auto found = open->find(id); found != open->end()) {
      request = std::move(found->second);
      open->erase(found);
    }
  }
  if (request.wait == nullptr) {
    return;  // it has been given up
  }
  if (answer.ok()) {
    Keep(request, *answer);
  } else if (request.restores) {
    kept_.Erase(request.key);
  }
  if (request.restores && --restoring_ == 0) {
    life_ = next_life_;
  }
  request.wait->Finish(std::move(answer));
}

void StoreClient::Keep(const Request& request, const std::string& answer) {
  if (request.op == StoreOp::kDelete || !IsWrite(request.op)) {
    return;
  }
  const bool counts = request.op == StoreOp::kAdd || request.op == StoreOp::kRaise;
  if (request.op == StoreOp::kSetIfAbsent && answer != request.value) {
    kept_.Erase(request.key);  // another's
    return;
  }
  kept_.Put(executor_.Now(), request.key, counts ? answer : request.value, counts,
            std::chrono::milliseconds(request.live_ms));
}

void StoreClient::Drop(LinkPtr link, const arrow::Status& why) {
  if (link_ != link) {
    return;
  }
  link_ = nullptr;
  link->stream->Close();
  trouble_ = why.message();
  if (!asked_.empty() || !written_.empty()) {
    Connect();
  }
}

void StoreClient::FailAll(const arrow::Status& why) {
  restoring_ = 0;
  for (auto* open : {&asked_, &written_}) {
    for (const auto& [id, request] : std::exchange(*open, {})) {
      request.wait->Finish(why);
    }
  }
}

void StoreClient::Connect() {
  if (!connecting_ && !closed_) {
    connecting_ = true;
    internal::DriveVoid(Reconnect(shared_from_this()), arrow::Future<>::Make());
  }
}

Co<void> StoreClient::Reconnect(std::shared_ptr<StoreClient> self) {
  Executor& executor = self->executor_;
  const TimePoint give_up = executor.Now() + self->patience_;
  Duration pause = kFirstRetry;
  while (!self->closed_ && !(self->asked_.empty() && self->written_.empty())) {
    auto trying = TryConnect(self, give_up);
    auto link = co_await trying;
    if (self->closed_) {
      break;
    }
    if (link.ok()) {
      self->connecting_ = false;
      self->GoOn(*link);
      co_return arrow::Status::OK();
    }
    self->trouble_ = link.status().message();
    const auto now = executor.Now();
    if (IsFinal(link.status()) || now >= give_up) {
      self->connecting_ = false;
      self->FailAll(IsFinal(link.status()) ? link.status() : self->Gone("what was asked"));
      co_return link.status();
    }
    auto sleeping = self->nap_.Until(executor, now + pause);
    CYLON_CO_RETURN_NOT_OK(co_await sleeping);
    pause = std::min<Duration>(2 * pause, kLongestRetry);
  }
  self->connecting_ = false;
  co_return arrow::Status::OK();
}

Co<std::shared_ptr<StoreClient::Link>> StoreClient::TryConnect(std::shared_ptr<StoreClient> self, TimePoint deadline) {
  auto dialling = self->connect_(deadline);
  auto stream = co_await dialling;
  if (!stream.ok()) {
    const arrow::Status status = stream.status();
    co_return IsFinal(status) ? status.WithMessage("cannot use the store at ", self->server_, ": ", status.message())
                              : status;
  }
  if (self->closed_) {
    co_return StoreClosed();
  }
  auto link = std::make_shared<Link>(*std::move(stream));
  self->joining_ = link;
  const auto timer = self->executor_.PostAt(std::min<TimePoint>(deadline, self->executor_.Now() + kGreetingPatience),
                                            [weak = std::weak_ptr<Link>(link)] {
                                              if (const auto slow = weak.lock()) {
                                                slow->stream->Close();
                                              }
                                            });
  link->outbox->Push(self->session_);
  auto greeting = ReadStoreFrame(link->stream.get());
  auto life = co_await greeting;
  timer->Cancel();
  self->joining_ = nullptr;
  if (self->closed_) {
    co_return StoreClosed();
  }
  CYLON_CO_RETURN_NOT_OK(life.status());
  arrow::Status refused;
  if (life->size() > kStoreNonceBytes &&
      DecodeStatus(std::string_view(*life).substr(kStoreNonceBytes), &refused).ok() && !refused.ok()) {
    co_return refused.WithMessage("the store at ", self->server_, " takes no client: ", refused.message());
  }
  if (life->size() != kStoreNonceBytes) {
    co_return ProtocolError("the store at " + self->server_ + " began with " + std::to_string(life->size()) +
                            " bytes, not " + std::to_string(kStoreNonceBytes) + "; run the same version on both sides");
  }
  link->life = *std::move(life);
  co_return link;
}

void StoreClient::GoOn(LinkPtr link) {
  link_ = link;
  if (link->life != life_) {
    next_life_ = link->life;
    Restore();
  }
  for (auto* open : {&written_, &asked_}) {
    for (const auto& [id, request] : *open) {
      if (!request.restores) {
        Push(id, request);
      }
    }
  }
  ExpectAnswer(link);
  internal::DriveVoid(Read(shared_from_this(), link), arrow::Future<>::Make());
}

void StoreClient::Restore() {
  // Those of an attempt that broke off, too: they come before all else.
  std::erase_if(written_, [](const auto& entry) { return entry.second.restores; });
  restoring_ = 0;
  for (auto& kept : kept_.Standing(executor_.Now())) {
    const StoreOp op = kept.counts ? StoreOp::kRaise : StoreOp::kSetIfAbsent;
    Request request{op,
                    std::move(kept.key),
                    std::move(kept.value),
                    kept.live_ms,
                    std::make_shared<Wait>(),
                    /*restores=*/true};
    const uint64_t id = next_id_++;
    ++restoring_;
    Push(id, written_.emplace(id, std::move(request)).first->second);
  }
  if (restoring_ == 0) {
    life_ = next_life_;
  }
}

Co<void> StoreClient::Read(std::shared_ptr<StoreClient> self, LinkPtr link) {
  while (true) {
    auto reading = ReadStoreFrame(link->stream.get());
    auto frame = co_await reading;
    if (!frame.ok()) {
      self->Drop(link, frame.status());
      co_return frame.status();
    }
    ++link->frames;
    ByteReader in(*frame);
    const auto id = in.Number<uint64_t>();
    const auto ok = in.Number<uint8_t>();
    if (!in.ok()) {
      const auto bad = ProtocolError("the store at " + self->server_ + " sent an answer that cannot be read");
      self->Drop(link, bad);
      co_return bad;
    }
    if (ok == 1) {
      self->Answer(id, std::string(in.rest()));
      continue;
    }
    arrow::Status refused;
    auto decoded = DecodeStatus(in.rest(), &refused);
    if (decoded.ok() && refused.ok()) {
      decoded = ProtocolError("the store at " + self->server_ + " refused a request without a reason");
    }
    self->Answer(id, decoded.ok() ? refused : decoded);
  }
}

}  // namespace cylon
