// Ranks that reach each other over TCP.
#include "cylon/net/tcp/tcp_path.h"

#include <utility>

namespace cylon {

namespace {

constexpr std::string_view kTcpScheme = "tcp://";

class TcpPath : public Path {
 public:
  explicit TcpPath(AsioExecutor& executor) : executor_(executor) {}

  arrow::Status Open(const std::string& bind_host) {
    const auto admit = [door = door_](std::unique_ptr<Stream> stream) {
      if (door->accept) {
        door->accept(std::move(stream));
      }
    };
    ARROW_ASSIGN_OR_RAISE(listener_, ListenTcp(executor_.io(), {bind_host, 0}, admit));
    return arrow::Status::OK();
  }

  std::string name() const override { return "tcp"; }
  std::string address() const override { return std::string(kTcpScheme) + listener_->address().ToString(); }

  void Accept(std::function<void(std::unique_ptr<Stream>)> accept) override { door_->accept = std::move(accept); }

  bool Reaches(const std::string& address) const override { return address.starts_with(kTcpScheme); }

  Co<std::unique_ptr<Stream>> Dial(std::string address, TimePoint deadline, arrow::Future<> stop) override {
    CYLON_CO_ASSIGN_OR_RETURN(const HostPort where, HostPort::Parse(address));
    auto connect = ConnectTcp(executor_.io(), executor_, where, deadline, std::move(stop));
    co_return co_await connect;
  }

  Co<std::unique_ptr<Stream>> Settle(std::unique_ptr<Stream> proven, bool, TimePoint) override {
    co_return std::move(proven);
  }

  void Close() override { listener_->Close(); }

 private:
  /// What the listener's callback keeps. Who comes before anybody accepts is turned away, and dials again.
  struct Door {
    std::function<void(std::unique_ptr<Stream>)> accept;
  };

  AsioExecutor& executor_;
  std::shared_ptr<Door> door_ = std::make_shared<Door>();
  std::unique_ptr<Listener> listener_;
};

}  // namespace

arrow::Result<std::unique_ptr<Path>> MakeTcpPath(AsioExecutor& executor, const std::string& bind_host) {
  auto path = std::make_unique<TcpPath>(executor);
  ARROW_RETURN_NOT_OK(path->Open(bind_host));
  return std::unique_ptr<Path>(std::move(path));
}

}  // namespace cylon
