// TCP streams, dialled and accepted.
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <asio/connect.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <cerrno>

#include "cylon/base/error.h"
#include "cylon/wire/end_of_stream.h"
#include "cylon/wire/stream.h"

namespace cylon {

namespace {

using asio::ip::tcp;

/// Parts that one system call gathers: Linux takes 1024, the gain ends far earlier.
constexpr size_t kGather = 64;
/// What one direction of one stream moves before others have their turn, in bytes and in calls.
constexpr int64_t kTurnBytes = 4 << 20;
constexpr int kTurnCalls = 32;
/// Pause after a failed accept: the usual cause, too many open files, does not go away at once.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

HostPort FromEndpoint(const tcp::endpoint& endpoint) { return {endpoint.address().to_string(), endpoint.port()}; }

/// Shared with the handlers under way, so that these find memory whatever became of the stream. A socket is used for
/// waiting only; data moves by system calls straight from and to the caller's memory.
class TcpState : public std::enable_shared_from_this<TcpState> {
 public:
  TcpState(tcp::socket socket, const tcp::endpoint& remote) : socket_(std::move(socket)) {
    asio::error_code ignored;
    peer_name_ = FromEndpoint(remote).ToString();
    const auto local = socket_.local_endpoint(ignored);
    is_loopback_ = remote.address().is_loopback() && local.address().is_loopback();
    socket_.set_option(tcp::no_delay(true), ignored);
    socket_.non_blocking(true, ignored);
  }

  arrow::Future<int64_t> Read(std::span<uint8_t> into, bool all) {
    if (closed_) {
      return arrow::Future<int64_t>::MakeFinished(ClosedHere());
    }
    if (read_.has_value()) {
      return arrow::Future<int64_t>::MakeFinished(
          arrow::Status::Invalid("a read of ", peer_name_, " is under way; wait for it before the next one"));
    }
    auto done = arrow::Future<int64_t>::Make();
    read_ = done;
    into_ = into;
    got_ = 0;
    all_ = all;
    TryRead();
    return done;
  }

  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) {
    if (closed_) {
      return arrow::Future<>::MakeFinished(ClosedHere());
    }
    if (write_.has_value()) {
      return arrow::Future<>::MakeFinished(
          arrow::Status::Invalid("a write to ", peer_name_, " is under way; wait for it before the next one"));
    }
    auto done = arrow::Future<>::Make();
    write_ = done;
    parts_ = std::move(parts);
    next_part_ = 0;
    TryWrite();
    return done;
  }

  void Close() {
    if (closed_) {
      return;
    }
    auto self = shared_from_this();  // who waits below may let go of the stream
    closed_ = true;
    asio::error_code ignored;
    socket_.close(ignored);
    FinishRead(ClosedHere());
    FinishWrite(ClosedHere());
  }

  const std::string& peer_name() const { return peer_name_; }
  bool is_loopback() const { return is_loopback_; }

 private:
  arrow::Status ClosedHere() const { return arrow::Status::IOError("connection to ", peer_name_, " is closed"); }

  arrow::Status Failed(const char* what, int error) const {
    if (error == ECONNRESET || error == EPIPE || error == ECONNABORTED) {
      return EndOfStream(peer_name_);
    }
    return arrow::Status::IOError("cannot ", what, " ", peer_name_, ": ", std::strerror(error));
  }

  void FinishRead(arrow::Result<int64_t> result) {
    if (auto future = std::exchange(read_, std::nullopt)) {
      future->MarkFinished(std::move(result));
    }
  }
  void FinishWrite(const arrow::Status& status) {
    if (auto future = std::exchange(write_, std::nullopt)) {
      parts_.clear();
      future->MarkFinished(status);
    }
  }

  void TryRead() {
    int64_t turn = 0;
    while (got_ < into_.size() && turn < kTurnBytes && read_calls_++ < kTurnCalls) {
      const ssize_t count = ::recv(socket_.native_handle(), into_.data() + got_, into_.size() - got_, MSG_DONTWAIT);
      if (count > 0) {
        got_ += static_cast<size_t>(count);
        turn += count;
        if (!all_) {
          return FinishRead(count);
        }
      } else if (count == 0) {
        return FinishRead(all_ ? arrow::Result<int64_t>(EndOfStream(peer_name_)) : arrow::Result<int64_t>(0));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno != EINTR) {
        return FinishRead(Failed("read from", errno));
      }
    }
    if (got_ == into_.size()) {
      return FinishRead(static_cast<int64_t>(got_));
    }
    read_calls_ = 0;
    socket_.async_wait(tcp::socket::wait_read, [self = shared_from_this()](const asio::error_code& error) {
      if (self->closed_) {
        return;
      }
      if (error) {
        return self->FinishRead(self->Failed("read from", error.value()));
      }
      self->TryRead();
    });
  }

  void TryWrite() {
    int64_t turn = 0;
    while (turn < kTurnBytes) {
      std::array<iovec, kGather> gather;
      size_t count = 0;
      for (; next_part_ < parts_.size() && parts_[next_part_].empty(); ++next_part_) {
      }
      for (size_t i = next_part_; i < parts_.size() && count < kGather; ++i) {
        if (!parts_[i].empty()) {
          gather[count++] = {const_cast<uint8_t*>(parts_[i].data()), parts_[i].size()};
        }
      }
      if (count == 0) {
        return FinishWrite(arrow::Status::OK());
      }
      msghdr message{};
      message.msg_iov = gather.data();
      message.msg_iovlen = count;
      const ssize_t sent = ::sendmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent >= 0) {
        turn += sent;
        Advance(static_cast<size_t>(sent));
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        break;
      } else if (errno != EINTR) {
        return FinishWrite(Failed("write to", errno));
      }
    }
    socket_.async_wait(tcp::socket::wait_write, [self = shared_from_this()](const asio::error_code& error) {
      if (self->closed_) {
        return;
      }
      if (error) {
        return self->FinishWrite(self->Failed("write to", error.value()));
      }
      self->TryWrite();
    });
  }

  void Advance(size_t sent) {
    while (sent > 0) {
      auto& part = parts_[next_part_];
      const size_t taken = std::min(sent, part.size());
      part = part.subspan(taken);
      sent -= taken;
      if (part.empty()) {
        ++next_part_;
      }
    }
  }

  tcp::socket socket_;
  std::string peer_name_;
  bool is_loopback_ = false;
  bool closed_ = false;

  std::optional<arrow::Future<int64_t>> read_;
  std::span<uint8_t> into_;
  size_t got_ = 0;
  bool all_ = false;
  int read_calls_ = 0;  // since others had their turn

  std::optional<arrow::Future<>> write_;
  std::vector<std::span<const uint8_t>> parts_;
  size_t next_part_ = 0;
};

class TcpStream : public Stream {
 public:
  TcpStream(tcp::socket socket, const tcp::endpoint& remote)
      : state_(std::make_shared<TcpState>(std::move(socket), remote)) {}
  ~TcpStream() override { state_->Close(); }

  arrow::Future<> Read(std::span<uint8_t> into) override {
    auto done = state_->Read(into, /*all=*/true);
    return done.is_finished() ? arrow::Future<>::MakeFinished(done.status()) : arrow::Future<>(done);
  }
  arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) override { return state_->Read(into, /*all=*/false); }
  arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) override {
    return state_->Write(std::move(parts));
  }
  void Close() override {
    auto state = state_;
    state->Close();
  }
  std::string peer_name() const override { return state_->peer_name(); }
  bool is_loopback() const override { return state_->is_loopback(); }

 private:
  std::shared_ptr<TcpState> state_;
};

/// One attempt to resolve or connect, ended by its deadline.
struct Attempt {
  Attempt(asio::io_context& io, const std::string& to) : resolver(io), socket(io), address(to) {}
  tcp::resolver resolver;
  tcp::socket socket;
  std::string address;
  arrow::Future<> done = arrow::Future<>::Make();

  void Finish(const arrow::Status& status) {
    if (!done.is_finished()) {
      done.MarkFinished(status);
    }
  }
  void Expire() {
    End(DeadlineError("cannot connect to " + address +
                      ": no answer before the deadline; check the address, and that nothing blocks the way there"));
  }
  void End(const arrow::Status& status) {
    asio::error_code ignored;
    resolver.cancel();
    socket.close(ignored);
    ended = true;
    Finish(status);
  }
  arrow::Status Outcome(const asio::error_code& error) const {
    const std::string text = "cannot connect to " + address + ": " + error.message() + "; check that its listener runs";
    return !error                                        ? arrow::Status::OK()
           : error == asio::error::connection_refused ? NobodyListens(text)
                                                         : arrow::Status::IOError(text);
  }
  bool ended = false;  // by the deadline or the caller: no other address is tried
};

class TcpListener : public Listener {
 public:
  TcpListener(tcp::acceptor acceptor, HostPort address, std::function<void(std::unique_ptr<Stream>)> on_stream)
      : state_(std::make_shared<State>(std::move(acceptor), std::move(on_stream))), address_(std::move(address)) {
    Accept(state_);
  }
  ~TcpListener() override { Close(); }
  HostPort address() const override { return address_; }
  void Close() override {
    auto state = state_;
    asio::error_code ignored;
    state->closed = true;
    state->acceptor.close(ignored);
    state->pause.cancel();
  }

 private:
  struct State {
    State(tcp::acceptor from, std::function<void(std::unique_ptr<Stream>)> tell)
        : acceptor(std::move(from)), pause(acceptor.get_executor()), on_stream(std::move(tell)) {}
    tcp::acceptor acceptor;
    asio::steady_timer pause;
    std::function<void(std::unique_ptr<Stream>)> on_stream;
    bool closed = false;
  };

  static void Accept(const std::shared_ptr<State>& state) {
    state->acceptor.async_accept([state](const asio::error_code& error, tcp::socket socket) {
      if (state->closed) {
        return;
      }
      if (!error) {
        asio::error_code gone;
        const auto remote = socket.remote_endpoint(gone);
        if (!gone) {
          state->on_stream(std::make_unique<TcpStream>(std::move(socket), remote));
        }
        if (!state->closed) {
          Accept(state);
        }
        return;
      }
      state->pause.expires_after(kAcceptPause);
      state->pause.async_wait([state](const asio::error_code&) {
        if (!state->closed) {
          Accept(state);
        }
      });
    });
  }

  std::shared_ptr<State> state_;
  HostPort address_;
};

}  // namespace

Co<std::unique_ptr<Stream>> ConnectTcp(asio::io_context& io, Executor& executor, HostPort address, TimePoint deadline,
                                       arrow::Future<> stop) {
  auto attempt = std::make_shared<Attempt>(io, address.ToString());
  if (stop.is_valid()) {
    stop.AddCallback([weak = std::weak_ptr<Attempt>(attempt)](const arrow::Status&) {
      if (auto abandoned = weak.lock()) {
        abandoned->End(arrow::Status::Cancelled("this side has given up the connection"));
      }
    });
  }
  std::shared_ptr<Timer> timer;
  if (deadline != kNever) {
    timer = executor.PostAt(deadline, [weak = std::weak_ptr<Attempt>(attempt)] {
      if (auto late = weak.lock()) {
        late->Expire();
      }
    });
  }
  const auto stop_timer = [&] {
    if (timer) {
      timer->Cancel();
    }
  };
  std::vector<tcp::endpoint> endpoints;
  asio::error_code not_literal;
  const auto literal = asio::ip::make_address(address.host, not_literal);
  if (!not_literal) {
    endpoints.emplace_back(literal, address.port);
  } else {
    auto found = std::make_shared<std::vector<tcp::endpoint>>();
    attempt->resolver.async_resolve(
        address.host, std::to_string(address.port),
        [attempt, found](const asio::error_code& error, const tcp::resolver::results_type& results) {
          for (const auto& entry : results) {
            found->push_back(entry.endpoint());
          }
          attempt->Finish(error ? arrow::Status::IOError("cannot resolve the host of ", attempt->address, ": ",
                                                         error.message(), "; check its name")
                                : arrow::Status::OK());
        });
    arrow::Future<> resolved = attempt->done;
    const arrow::Status status = co_await resolved;
    if (!status.ok()) {
      stop_timer();
      co_return status;
    }
    endpoints = *found;
  }
  arrow::Status last = arrow::Status::IOError("the host of ", attempt->address, " has no address; check its name");
  if (attempt->ended) {
    stop_timer();
    co_return attempt->done.status();  // given up before it began
  }
  bool nobody = true;  // listens at any of them
  for (const auto& endpoint : endpoints) {
    asio::error_code ignored;
    attempt->socket.close(ignored);
    attempt->done = arrow::Future<>::Make();
    attempt->socket.async_connect(endpoint, [attempt](const asio::error_code& error) {
      attempt->Finish(attempt->Outcome(error));
    });
    arrow::Future<> connected = attempt->done;
    last = co_await connected;
    // Dialling a free port of the range that the system draws from can meet itself.
    if (last.ok() && attempt->socket.local_endpoint(ignored) == endpoint) {
      attempt->socket.close(ignored);
      last = attempt->Outcome(asio::error::connection_refused);
    }
    nobody = nobody && IsNobodyListening(last);
    if (last.ok()) {
      stop_timer();
      co_return std::make_unique<TcpStream>(std::move(attempt->socket), endpoint);
    }
    if (attempt->ended) {
      break;
    }
  }
  stop_timer();
  co_return !nobody && IsNobodyListening(last) ? arrow::Status::IOError(last.message()) : last;
}

arrow::Result<std::unique_ptr<Listener>> ListenTcp(asio::io_context& io, const HostPort& address,
                                                   std::function<void(std::unique_ptr<Stream>)> on_stream) {
  asio::error_code error;
  auto host = asio::ip::make_address(address.host, error);
  if (error) {
    tcp::resolver resolver(io);
    const auto results = resolver.resolve(address.host, std::to_string(address.port), tcp::resolver::passive, error);
    if (error || results.empty()) {
      return arrow::Status::IOError("cannot listen on ", address.ToString(), ": ", error.message(),
                                    "; give an address of this machine");
    }
    host = results.begin()->endpoint().address();
  }
  const tcp::endpoint endpoint(host, address.port);
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) {
    // A port whose last owner has just ended may be taken again; one that is listened on may not.
    acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  }
  if (!error) {
    acceptor.bind(endpoint, error);
  }
  if (!error) {
    acceptor.listen(tcp::acceptor::max_listen_connections, error);
  }
  if (error) {
    return arrow::Status::IOError("cannot listen on ", address.ToString(), ": ", error.message(),
                                  error == asio::error::address_in_use
                                      ? "; end the program that has the port, or choose another (0: any free one)"
                                      : "; give an address of this machine");
  }
  const HostPort actual = FromEndpoint(acceptor.local_endpoint(error));
  return std::make_unique<TcpListener>(std::move(acceptor), actual, std::move(on_stream));
}

}  // namespace cylon
