// TCP streams, and those that are accepted.
#include "cylon/wire/tcp_stream.h"

#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>

#include "cylon/wire/socket_stream.h"
#include "cylon/wire/stream.h"

namespace cylon {

namespace {

using asio::ip::tcp;

/// Pause after a failed accept: the usual cause, too many open files, does not go away at once.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

/// A listener for both families sees IPv4 addresses as IPv6 ones ("::ffff:192.0.2.1"), which nobody else would know.
asio::ip::address Plain(const asio::ip::address& address) {
  return address.is_v6() && address.to_v6().is_v4_mapped()
             ? asio::ip::address(asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()))
             : address;
}

/// Whoever is gone without a word shows after as many of them as the kernel sends, nine. Where it cannot be set the
/// connection is as good.
void KeepAlive(int socket, Duration idle) {
  constexpr int64_t kLongest = 32767;  // the kernel's
  const int on = 1;
  const int seconds = static_cast<int>(
      std::clamp<int64_t>(std::chrono::duration_cast<std::chrono::seconds>(idle).count(), 1, kLongest));
  static_cast<void>(::setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)));
  static_cast<void>(::setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds)));
  static_cast<void>(::setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds)));
}

/// Who dials and dies in silence, as a machine does that loses its power, is noticed by the kernel in half a minute,
/// where nobody above asks: an accepted connection takes a place at its server.
void EndWhereNobodyAnswers(tcp::socket& socket) {
  asio::error_code ignored;
  socket.set_option(tcp::socket::keep_alive(true), ignored);
  for (const auto& [option, value] :
       {std::pair(TCP_KEEPIDLE, 15), std::pair(TCP_KEEPINTVL, 5), std::pair(TCP_KEEPCNT, 3)}) {
    static_cast<void>(::setsockopt(socket.native_handle(), IPPROTO_TCP, option, &value, sizeof(value)));
  }
}

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
          EndWhereNobodyAnswers(socket);
          state->on_stream(internal::MakeTcpStream(std::move(socket), remote, kKeepAlive));
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

HostPort internal::FromEndpoint(const tcp::endpoint& endpoint) {
  return {Plain(endpoint.address()).to_string(), endpoint.port()};
}

std::unique_ptr<Stream> internal::MakeTcpStream(tcp::socket socket, const tcp::endpoint& remote, Duration keep_alive) {
  asio::error_code ignored;
  const auto local = socket.local_endpoint(ignored);
  const bool is_loopback = Plain(remote.address()).is_loopback() && Plain(local.address()).is_loopback();
  socket.set_option(tcp::no_delay(true), ignored);
  KeepAlive(socket.native_handle(), keep_alive);
  return std::make_unique<internal::SocketStream<tcp::socket>>(std::move(socket), FromEndpoint(remote).ToString(),
                                                               is_loopback);
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
  const HostPort actual = internal::FromEndpoint(acceptor.local_endpoint(error));
  return std::make_unique<TcpListener>(std::move(acceptor), actual, std::move(on_stream));
}

}  // namespace cylon
