// One local port that dials and listens at once.
#include "cylon/net/punch/punch_port.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <list>
#include <map>
#include <utility>

#include "cylon/base/co.h"
#include "cylon/wire/conversation.h"
#include "cylon/wire/strangers.h"

namespace cylon::internal {

namespace {

using asio::ip::tcp;

/// After a failed accept: the usual cause, too many open files, does not go away at once.
constexpr auto kAcceptAgain = std::chrono::milliseconds(100);

/// Bound to `port` (0: any) on all addresses. Not by asio, whose sockets would be left open in programs that this one
/// starts.
arrow::Result<tcp::socket> BindShared(asio::io_context& io, const tcp& protocol, uint16_t port) {
  const int number = ::socket(protocol.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (number < 0) {
    return arrow::Status::IOError("cannot make a socket: ", std::strerror(errno), "; raise the limit of descriptors");
  }
  tcp::socket socket(io);
  asio::error_code error;
  socket.assign(protocol, number, error);
  if (error) {
    ::close(number);
    return arrow::Status::IOError("cannot watch a socket: ", error.message(), "; raise the limit of descriptors");
  }
  const int on = 1;
  bool set = ::setsockopt(number, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
             ::setsockopt(number, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) == 0;
  if (protocol == tcp::v6()) {
    set = set && ::setsockopt(number, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) == 0;
  }
  if (!set) {
    return arrow::Status::IOError("cannot share a port: ", std::strerror(errno));
  }
  socket.bind(tcp::endpoint(protocol, port), error);
  if (error) {
    return arrow::Status::IOError("cannot use port ", port, ": ", error.message(),
                                  "; end the program that has it, or widen net.ipv4.ip_local_port_range");
  }
  return socket;
}

class OpenPort : public PunchPort {
 public:
  explicit OpenPort(AsioExecutor& executor) : state_(std::make_shared<State>(executor)) {}
  ~OpenPort() override { state_->Close(); }

  arrow::Status Listen() {
    ARROW_ASSIGN_OR_RAISE(auto v4, BindShared(state_->executor.io(), tcp::v4(), 0));
    asio::error_code error;
    number_ = v4.local_endpoint(error).port();
    state_->listeners.push_back(std::make_unique<Listening>(std::move(v4)));
    // A host without IPv6 does without, and so does one where another user has this port of it.
    auto v6 = BindShared(state_->executor.io(), tcp::v6(), number_);
    if (v6.ok()) {
      state_->listeners.push_back(std::make_unique<Listening>(std::move(*v6)));
    }
    for (const auto& each : state_->listeners) {
      if (::listen(each->socket.native_handle(), SOMAXCONN) != 0) {
        return arrow::Status::IOError("cannot listen on port ", number_, ": ", std::strerror(errno));
      }
      State::Watch(state_, each.get());
    }
    return arrow::Status::OK();
  }

  uint16_t number() const override { return number_; }
  arrow::Result<tcp::socket> MakeSocket(const tcp::endpoint& to) override {
    return BindShared(state_->executor.io(), to.protocol(), number_);
  }
  void Expect(const std::string& tag, Taker taker) override { state_->takers[tag] = std::move(taker); }
  void Forget(const std::string& tag) override { state_->takers.erase(tag); }
  void Close() override { state_->Close(); }

 private:
  struct Listening {
    explicit Listening(tcp::socket from) : socket(std::move(from)), pause(socket.get_executor()) {}
    tcp::socket socket;
    asio::steady_timer pause;
  };

  struct State {
    explicit State(AsioExecutor& own) : executor(own) {}
    AsioExecutor& executor;
    std::vector<std::unique_ptr<Listening>> listeners;
    std::map<std::string, Taker> takers;
    std::list<PunchedStream*> strangers;  // oldest first
    bool closed = false;

    static void Watch(const std::shared_ptr<State>& self, Listening* door) {
      door->socket.async_wait(asio::socket_base::wait_read, [self, door](const asio::error_code&) {
        if (!self->closed) {
          AcceptOne(self, door);
        }
      });
    }

    static void AcceptOne(const std::shared_ptr<State>& self, Listening* door) {
      sockaddr_storage from{};
      socklen_t size = sizeof(from);
      void* bytes = &from;
      const int number =
          ::accept4(door->socket.native_handle(), static_cast<sockaddr*>(bytes), &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (number >= 0) {
        self->Admit(self, number, from, size);
      } else if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ECONNABORTED) {
        door->pause.expires_after(kAcceptAgain);
        door->pause.async_wait([self, door](const asio::error_code&) {
          if (!self->closed) {
            Watch(self, door);
          }
        });
        return;
      }
      if (!self->closed) {
        Watch(self, door);
      }
    }

    void Admit(const std::shared_ptr<State>& self, int number, const sockaddr_storage& from, socklen_t size) {
      tcp::endpoint remote;
      std::memcpy(remote.data(), &from, std::min<size_t>(size, remote.capacity()));
      tcp::socket socket(executor.io());
      asio::error_code error;
      socket.assign(remote.protocol(), number, error);
      if (error) {
        ::close(number);  // too many descriptors: it dials again
        return;
      }
      static_cast<void>(Spawn(executor, Welcome(self, MakePunchedStream(std::move(socket), remote))));
    }

    /// Reads which attempt is meant.
    static Co<void> Welcome(std::shared_ptr<State> self, std::unique_ptr<PunchedStream> stream) {
      if (self->closed) {
        co_return arrow::Status::Cancelled("the port was closed on this side");
      }
      while (self->strangers.size() >= kStrangersAtOnce) {
        PunchedStream* oldest = self->strangers.front();
        self->strangers.pop_front();
        oldest->Close();
      }
      self->strangers.push_back(stream.get());
      arrow::Result<std::string> bytes = arrow::Status::Cancelled("nothing was read");
      {
        Conversation talk(stream.get(), self->executor, self->executor.Now() + kStrangerPatience);
        auto receive = talk.ReceiveRaw(kPunchHelloBytes);
        bytes = co_await receive;
      }
      self->strangers.remove(stream.get());
      CYLON_CO_RETURN_NOT_OK(bytes.status());
      CYLON_CO_ASSIGN_OR_RETURN(const PunchHello hello, DecodePunchHello(*bytes));
      const auto at = self->takers.find(hello.tag);
      if (self->closed || at == self->takers.end()) {
        co_return arrow::Status::Invalid(stream->peer_name(), " means an attempt that is not, or not any more, made");
      }
      const auto taker = at->second;  // which may forget itself
      taker(std::move(stream), hello);
      co_return arrow::Status::OK();
    }

    void Close() {
      closed = true;
      takers.clear();
      asio::error_code ignored;
      for (const auto& door : listeners) {
        door->socket.close(ignored);
        door->pause.cancel();
      }
      while (!strangers.empty()) {
        PunchedStream* one = strangers.front();
        strangers.pop_front();
        one->Close();
      }
    }
  };

  std::shared_ptr<State> state_;
  uint16_t number_ = 0;
};

}  // namespace

arrow::Result<std::shared_ptr<PunchPort>> PunchPort::Open(AsioExecutor& executor) {
  auto port = std::make_shared<OpenPort>(executor);
  ARROW_RETURN_NOT_OK(port->Listen());
  return std::shared_ptr<PunchPort>(std::move(port));
}

std::unique_ptr<PunchedStream> MakePunchedStream(tcp::socket socket, const tcp::endpoint& remote) {
  asio::error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::linger(true, 0), ignored);
  const HostPort peer{remote.address().to_string(), remote.port()};
  return std::make_unique<PunchedStream>(std::move(socket), peer.ToString(), /*is_loopback=*/false);
}

void KeepPunched(PunchedStream& stream) {
  asio::error_code ignored;
  stream.socket().set_option(asio::socket_base::linger(false, 0), ignored);
}

}  // namespace cylon::internal
