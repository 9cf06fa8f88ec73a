// A store over TCP: the face of a StoreClient.
#include "cylon/bootstrap/tcp_store.h"

#include "cylon/base/random.h"
#include "cylon/bootstrap/dial_server.h"
#include "cylon/bootstrap/waits.h"

namespace cylon {

namespace {

class TcpStore : public Store {
 public:
  TcpStore(Executor& executor, std::shared_ptr<StoreClient> client, arrow::Future<> stop)
      : executor_(executor), client_(std::move(client)), stop_(std::move(stop)) {}
  ~TcpStore() override {
    RunNow(executor_, [client = client_, stop = stop_]() mutable {
      client->Close();
      stop.MarkFinished();
    });
  }
  TcpStore(const TcpStore&) = delete;
  TcpStore& operator=(const TcpStore&) = delete;

  arrow::Future<> Set(const std::string& key, const std::string& value, Duration time_to_live) override {
    return arrow::Future<>(Ask(StoreOp::kSet, key, value, time_to_live));
  }
  arrow::Future<std::string> SetIfAbsent(const std::string& key, const std::string& value,
                                         Duration time_to_live) override {
    return Ask(StoreOp::kSetIfAbsent, key, value, time_to_live);
  }
  arrow::Future<std::string> Get(const std::string& key, TimePoint deadline) override {
    return Ask(StoreOp::kGet, key, "", {}, deadline);
  }
  arrow::Future<std::string> TryGet(const std::string& key) override { return Ask(StoreOp::kTryGet, key, "", {}); }
  arrow::Future<int64_t> Add(const std::string& key, int64_t amount, Duration time_to_live) override {
    ByteWriter value;
    value.Number(amount);
    return Ask(StoreOp::kAdd, key, value.Take(), time_to_live)
        .Then([](const std::string& sum) -> arrow::Result<int64_t> { return ByteReader(sum).Number<int64_t>(); });
  }
  arrow::Future<> Delete(const std::string& key) override {
    return arrow::Future<>(Ask(StoreOp::kDelete, key, "", {}));
  }

 private:
  arrow::Future<std::string> Ask(StoreOp op, const std::string& key, const std::string& value, Duration time_to_live,
                                 TimePoint deadline = kNever) {
    auto wait = std::make_shared<Wait>();
    executor_.Post([client = client_, wait, op, key, value, time_to_live, deadline] {
      client->Ask(op, key, value, time_to_live, wait, deadline);
    });
    return wait->done;
  }

  Executor& executor_;
  std::shared_ptr<StoreClient> client_;
  arrow::Future<> stop_;
};

}  // namespace

arrow::Result<std::unique_ptr<Store>> OpenTcpStore(const HostPort& address, const Security& security,
                                                   AsioExecutor& executor, TimePoint deadline, Duration patience,
                                                   Duration keep_alive) {
  ARROW_ASSIGN_OR_RAISE(std::string session, RandomBytes(kStoreNonceBytes));
  auto stop = arrow::Future<>::Make();
  const auto connect = [&executor, address, security, stop, keep_alive](TimePoint until) {
    Identity self;
    self.purpose = kStorePurpose;
    return DialServer(&executor, address, security, std::move(self), stop, keep_alive, until);
  };
  auto client = std::make_shared<StoreClient>(executor, address.ToString(), connect, std::move(session), patience);
  auto store = std::make_unique<TcpStore>(executor, client, stop);  // closes the client, whatever comes
  auto opening = Spawn(executor, StoreClient::Open(client, deadline));
  ARROW_RETURN_NOT_OK(executor.Await(opening));
  return store;
}

}  // namespace cylon
