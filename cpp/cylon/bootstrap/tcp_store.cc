// The client's side of a store over TCP.
#include "cylon/bootstrap/tcp_store.h"

#include <unordered_map>

#include "cylon/bootstrap/store_protocol.h"
#include "cylon/bootstrap/waits.h"
#include "cylon/wire/handshake.h"

namespace cylon {

namespace {

/// Between attempts to reach a server that is not up yet.
constexpr auto kFirstRetry = std::chrono::milliseconds(10);
constexpr auto kLongestRetry = std::chrono::milliseconds(250);

arrow::Future<> SleepUntil(Executor& executor, TimePoint when) {
  auto done = arrow::Future<>::Make();
  executor.PostAt(when, [done]() mutable { done.MarkFinished(); });
  return done;
}

/// One connection and the requests under way on it. Belongs to tasks.
struct Link {
  Link(Executor& on, std::unique_ptr<Stream> from, std::string at)
      : executor(on),
        stream(std::move(from)),
        outbox(std::make_shared<StoreOutbox>(stream.get())),
        address(std::move(at)) {}
  ~Link() { outbox->Detach(); }

  Executor& executor;
  std::unique_ptr<Stream> stream;
  std::shared_ptr<StoreOutbox> outbox;
  std::string address;
  uint64_t next_id = 1;
  std::unordered_map<uint64_t, std::shared_ptr<Wait>> waits;
  arrow::Status gone;

  void Fail(const arrow::Status& status) {
    if (!gone.ok()) {
      return;
    }
    gone = status;
    stream->Close();
    for (const auto& [id, wait] : std::exchange(waits, {})) {
      wait->Finish(gone);
    }
  }

  static Co<void> Read(std::shared_ptr<Link> self) {
    while (true) {
      auto reading = ReadStoreFrame(self->stream.get());
      auto frame = co_await reading;
      if (!frame.ok()) {
        self->Fail(arrow::Status::IOError("the store at ", self->address, " is gone: ", frame.status().message(),
                                          "; start the job again once its server runs"));
        co_return frame.status();
      }
      ByteReader in(*frame);
      const auto id = in.Number<uint64_t>();
      const auto ok = in.Number<uint8_t>();
      const auto found = self->waits.find(id);
      if (!in.ok() || found == self->waits.end()) {
        continue;  // of a get that has been given up
      }
      const auto wait = found->second;
      self->waits.erase(found);
      if (ok == 1) {
        wait->Finish(std::string(in.rest()));
      } else {
        arrow::Status refused;
        auto decoded = DecodeStatus(in.rest(), &refused);
        if (decoded.ok() && refused.ok()) {
          decoded = ProtocolError("the store at " + self->address + " refused a request without a reason");
        }
        wait->Finish(decoded.ok() ? refused : decoded);
      }
    }
  }
};

class TcpStore : public Store {
 public:
  TcpStore(Executor& executor, std::shared_ptr<Link> link) : executor_(executor), link_(std::move(link)) {}
  ~TcpStore() override {
    RunNow(executor_, [link = link_] { link->Fail(StoreClosed()); });
  }

  arrow::Future<> Set(const std::string& key, const std::string& value, Duration time_to_live) override {
    return arrow::Future<>(Write(StoreOp::kSet, key, value, time_to_live));
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value,
                                         Duration time_to_live) override {
    return Write(StoreOp::kSetIfAbsent, key, value, time_to_live);
  }
  arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) override {
    return Request(StoreOp::kGet, key, "", 0, deadline);
  }
  arrow::Future<std::string> TryGet(const std::string& key) override { return Request(StoreOp::kTryGet, key, "", 0); }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) override {
    ByteWriter value;
    value.Number(amount);
    return Write(StoreOp::kAdd, key, value.Take(), time_to_live)
        .Then([](const std::string& sum) -> arrow::Result<int64_t> { return ByteReader(sum).Number<int64_t>(); });
  }
  arrow::Future<> Delete(const std::string& key) override {
    return arrow::Future<>(Request(StoreOp::kDelete, key, "", 0));
  }

 private:
  arrow::Future<std::string> Write(StoreOp op, const std::string& key, const std::string& value,
                                   Duration time_to_live) {
    const auto checked = CheckTimeToLive(key, time_to_live);
    if (!checked.ok()) {
      return arrow::Future<std::string>::MakeFinished(checked);
    }
    return Request(op, key, value, std::chrono::duration_cast<std::chrono::milliseconds>(time_to_live).count());
  }

  arrow::Future<std::string> Request(StoreOp op, const std::string& key, const std::string& value, int64_t live_ms,
                                     TimePoint deadline = kNever) {
    auto wait = std::make_shared<Wait>();
    executor_.Post([link = link_, wait, op, key, value, live_ms, deadline] {
      auto status = link->gone.ok() ? CheckKeyAndValue(key, value) : link->gone;
      if (!status.ok()) {
        return wait->Finish(status);
      }
      const uint64_t id = link->next_id++;
      link->waits.emplace(id, wait);
      if (deadline != kNever) {
        wait->timer = link->executor.PostAt(deadline, [weak = std::weak_ptr<Link>(link), wait, key, id] {
          auto late = weak.lock();
          if (late && late->waits.erase(id) > 0) {
            ByteWriter target;
            target.Number(id);
            late->outbox->Push(Encode(late->next_id++, StoreOp::kCancel, "", 0, target.bytes()));
          }
          wait->Finish(GetTooLate(key));
        });
      }
      link->outbox->Push(Encode(id, op, key, live_ms, value));
    });
    return wait->done;
  }

  static std::string Encode(uint64_t id, StoreOp op, const std::string& key, int64_t live_ms,
                            const std::string& value) {
    ByteWriter out;
    out.Number(id);
    out.Number(static_cast<uint8_t>(op));
    out.Text(key);
    out.Number(live_ms);
    out.Raw(value);
    return out.Take();
  }

  Executor& executor_;
  std::shared_ptr<Link> link_;
};

/// One attempt: a connection and its handshake.
Co<std::shared_ptr<Link>> TryConnect(AsioExecutor* executor, HostPort address, std::string secret, TimePoint deadline) {
  auto dialling = ConnectTcp(executor->io(), *executor, address, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, co_await dialling);
  Identity self;
  self.purpose = kStorePurpose;
  auto proving = HandshakeAsDialler(stream.get(), *executor, self, secret, deadline);
  auto peer = co_await proving;
  CYLON_CO_RETURN_NOT_OK(peer.status());
  auto link = std::make_shared<Link>(*executor, std::move(stream), address.ToString());
  internal::DriveVoid(Link::Read(link), arrow::Future<>::Make());
  co_return link;
}

Co<std::shared_ptr<Link>> Connect(AsioExecutor* executor, HostPort address, std::string secret, TimePoint deadline) {
  Duration pause = kFirstRetry;
  while (true) {
    auto trying = TryConnect(executor, address, secret, deadline);
    auto link = co_await trying;
    if (link.ok()) {
      co_return link;
    }
    const arrow::Status status = link.status();
    if (IsError(status, ErrorKind::kAuthentication) || IsError(status, ErrorKind::kProtocol) || status.IsInvalid()) {
      co_return status.WithMessage("cannot use the store at ", address.ToString(), ": ", status.message());
    }
    const auto now = executor->Now();
    if (now >= deadline || (deadline != kNever && now + pause >= deadline)) {
      co_return DeadlineError("no store answered at " + address.ToString() + " before the deadline (" +
                              status.message() +
                              "); start the job by `cylon run`, or start cylon-rendezvous, and check CYLON_STORE");
    }
    auto sleeping = SleepUntil(*executor, now + pause);
    std::ignore = co_await sleeping;
    pause = std::min<Duration>(2 * pause, kLongestRetry);
  }
}

}  // namespace

arrow::Result<std::unique_ptr<Store>> OpenTcpStore(const HostPort& address, const std::string& secret,
                                                   AsioExecutor& executor, TimePoint deadline) {
  auto connecting = Spawn(executor, Connect(&executor, address, secret, deadline));
  ARROW_ASSIGN_OR_RAISE(auto link, executor.Await(connecting));
  return std::make_unique<TcpStore>(executor, std::move(link));
}

}  // namespace cylon
