// Unix sockets in the abstract namespace.
#include "cylon/net/shm/unix_socket.h"

#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <asio/steady_timer.hpp>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <optional>

#include "cylon/base/error.h"
#include "cylon/base/random.h"

namespace cylon::internal {

namespace {

using asio::local::stream_protocol;

/// Bits of a name that nobody can guess, as bytes.
constexpr size_t kNameBytes = 16;
/// As many as the system allows (net.core.somaxconn).
constexpr int kBacklog = 4096;
/// While a listener's queue is full, which says nothing when it has room again.
constexpr auto kConnectPause = std::chrono::milliseconds(5);
/// After a failed accept: the usual cause, too many open files, does not go away at once.
constexpr auto kAcceptPause = std::chrono::milliseconds(100);
/// Descriptors that are taken from one message, to be closed where there is more than one.
constexpr size_t kMostDescriptors = 8;

struct Address {
  sockaddr_un bytes{};
  socklen_t size = 0;
};

arrow::Result<Address> MakeAddress(const std::string& name) {
  Address address;
  address.bytes.sun_family = AF_UNIX;
  if (name.empty() || name.size() + 1 > sizeof(address.bytes.sun_path)) {
    return arrow::Status::Invalid("the name of a socket has ", name.size(), " bytes; expected 1 to ",
                                  sizeof(address.bytes.sun_path) - 1);
  }
  std::memcpy(address.bytes.sun_path + 1, name.data(), name.size());  // after a zero: abstract
  address.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return address;
}

const sockaddr* Generic(const Address& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address.bytes));
}

/// The process on the other side; Invalid where it is of another user.
arrow::Result<pid_t> PeerProcess(int socket) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    return arrow::Status::IOError("cannot ask who is on the other side of a socket: ", std::strerror(errno));
  }
  if (peer.uid != ::geteuid()) {
    return arrow::Status::IOError("process ", peer.pid, " on the other side belongs to user ", peer.uid, ", not ",
                                  ::geteuid(), "; run all ranks of a host as one user, or set CYLON_TRANSPORT=tcp");
  }
  return peer.pid;
}

arrow::Result<std::unique_ptr<UnixStream>> MakeStream(AsioExecutor& executor, Descriptor descriptor) {
  ARROW_ASSIGN_OR_RAISE(const pid_t process, PeerProcess(descriptor.number()));
  stream_protocol::socket socket(executor.io());
  asio::error_code error;
  socket.assign(stream_protocol(), descriptor.number(), error);
  if (error) {
    return arrow::Status::IOError("cannot watch a socket: ", error.message(), "; raise the limit of descriptors");
  }
  descriptor.Release();
  return std::make_unique<UnixStream>(std::move(socket), "process " + std::to_string(process) + " of this host",
                                      /*is_loopback=*/true);
}

/// A wait that several things may end.
struct Pause {
  arrow::Future<> over = arrow::Future<>::Make();
  void End() {
    if (!over.is_finished()) {
      over.MarkFinished();
    }
  }
};

void EndWith(arrow::Future<> event, const std::shared_ptr<Pause>& pause) {
  event.AddCallback([weak = std::weak_ptr<Pause>(pause)](const arrow::Status&) {
    if (auto waiting = weak.lock()) {
      waiting->End();
    }
  });
}

class OpenListener : public UnixListener {
 public:
  OpenListener(AsioExecutor& executor, std::string name)
      : state_(std::make_shared<State>(executor)), name_(std::move(name)) {}
  ~OpenListener() override { state_->Close(); }

  arrow::Status Open() {
    ARROW_ASSIGN_OR_RAISE(const Address address, MakeAddress(name_));
    Descriptor descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    asio::error_code error;
    if (descriptor.number() < 0 || ::bind(descriptor.number(), Generic(address), address.size) != 0 ||
        ::listen(descriptor.number(), kBacklog) != 0) {
      return arrow::Status::IOError("cannot listen for ranks of this host: ", std::strerror(errno),
                                    "; raise the limit of descriptors, or set CYLON_TRANSPORT=tcp");
    }
    state_->acceptor.assign(stream_protocol(), descriptor.number(), error);
    if (error) {
      return arrow::Status::IOError("cannot watch a socket: ", error.message(), "; raise the limit of descriptors");
    }
    descriptor.Release();
    return arrow::Status::OK();
  }

  const std::string& name() const override { return name_; }
  void Accept(std::function<void(std::unique_ptr<UnixStream>)> on_stream) override {
    const bool first = state_->on_stream == nullptr;
    state_->on_stream = std::move(on_stream);
    if (first) {
      state_->Watch();
    }
  }
  void Close() override { state_->Close(); }

 private:
  struct State : std::enable_shared_from_this<State> {
    explicit State(AsioExecutor& own) : executor(own), acceptor(own.io()), pause(own.io()) {}
    AsioExecutor& executor;
    stream_protocol::acceptor acceptor;
    asio::steady_timer pause;
    std::function<void(std::unique_ptr<UnixStream>)> on_stream;
    bool closed = false;

    void Watch() {
      acceptor.async_wait(asio::socket_base::wait_read, [self = shared_from_this()](const asio::error_code&) {
        if (!self->closed) {
          self->AcceptOne();
        }
      });
    }

    void AcceptOne() {
      // Not by asio, whose sockets would be left open in programs that this one starts.
      Descriptor descriptor(::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (descriptor.number() >= 0) {
        auto stream = MakeStream(executor, std::move(descriptor));
        if (stream.ok()) {
          on_stream(stream.MoveValueUnsafe());
        }
        if (!closed) {
          Watch();
        }
      } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ECONNABORTED) {
        Watch();
      } else {
        pause.expires_after(kAcceptPause);
        pause.async_wait([self = shared_from_this()](const asio::error_code&) {
          if (!self->closed) {
            self->Watch();
          }
        });
      }
    }

    void Close() {
      asio::error_code ignored;
      closed = true;
      acceptor.close(ignored);
      pause.cancel();
    }
  };

  std::shared_ptr<State> state_;
  std::string name_;
};

/// The first byte, with what comes beside it; nothing while there is none yet.
arrow::Result<std::optional<Descriptor>> TakeDescriptor(UnixStream* stream, std::span<uint8_t> first) {
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(kMostDescriptors * sizeof(int))> control{};
  iovec part{first.data(), first.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t count = ::recvmsg(stream->socket().native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
    return std::nullopt;
  }
  if (count == 0 || (count < 0 && (errno == ECONNRESET || errno == EPIPE))) {
    return EndOfStream(stream->peer_name());
  }
  if (count < 0) {
    return arrow::Status::IOError("cannot read from ", stream->peer_name(), ": ", std::strerror(errno));
  }
  std::vector<Descriptor> passed;
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each)) {
    if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_RIGHTS) {
      const size_t numbers = (each->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      for (size_t i = 0; i < numbers; ++i) {
        int number = -1;
        std::memcpy(&number, CMSG_DATA(each) + i * sizeof(int), sizeof(int));
        passed.emplace_back(number);
      }
    }
  }
  if (passed.size() != 1 || (message.msg_flags & MSG_CTRUNC) != 0) {
    const std::string many = std::to_string(passed.size()) + ((message.msg_flags & MSG_CTRUNC) != 0 ? " or more" : "");
    return ProtocolError(stream->peer_name() + " passed " + many +
                         " descriptors where one is due; the connection is dropped. Check that all ranks run the same "
                         "version of Cylon");
  }
  return std::optional<Descriptor>(std::move(passed[0]));
}

}  // namespace

Co<std::unique_ptr<UnixStream>> ConnectUnix(AsioExecutor& executor, std::string name, TimePoint deadline,
                                            arrow::Future<> stop) {
  CYLON_CO_ASSIGN_OR_RETURN(const Address address, MakeAddress(name));
  while (true) {
    if (stop.is_valid() && stop.is_finished()) {
      co_return arrow::Status::Cancelled("this side has given up the connection");
    }
    Descriptor descriptor(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (descriptor.number() < 0) {
      co_return arrow::Status::IOError("cannot make a socket: ", std::strerror(errno),
                                       "; raise the limit of descriptors");
    }
    if (::connect(descriptor.number(), Generic(address), address.size) == 0) {
      co_return MakeStream(executor, std::move(descriptor));
    }
    if (errno == ECONNREFUSED || errno == ENOENT) {
      co_return NobodyListens("cannot connect to the socket " + name +
                              " of this host: nobody listens there; check that the rank runs, and in the same network "
                              "namespace");
    }
    // A queue that is full says so at once, and not when it has room.
    if (errno != EAGAIN && errno != EINTR) {
      co_return arrow::Status::IOError("cannot connect to the socket ", name, " of this host: ", std::strerror(errno));
    }
    if (executor.Now() >= deadline) {
      co_return DeadlineError("cannot connect to the socket " + name +
                              " of this host: its queue was full until the deadline; check that its rank runs");
    }
    auto pause = std::make_shared<Pause>();
    auto timer = executor.PostAt(std::min(deadline, executor.Now() + kConnectPause), [pause] { pause->End(); });
    if (stop.is_valid()) {
      EndWith(stop, pause);
    }
    CYLON_CO_RETURN_NOT_OK(co_await pause->over);
    timer->Cancel();
  }
}

arrow::Result<std::unique_ptr<UnixListener>> UnixListener::Listen(AsioExecutor& executor) {
  ARROW_ASSIGN_OR_RAISE(const std::string random, RandomBytes(kNameBytes));
  auto listener = std::make_unique<OpenListener>(executor, "cylon-" + HexEncode(random));
  ARROW_RETURN_NOT_OK(listener->Open());
  return listener;
}

arrow::Status SendDescriptor(UnixStream& stream, const Descriptor& descriptor, std::span<const uint8_t> bytes) {
  alignas(cmsghdr) std::array<uint8_t, CMSG_SPACE(sizeof(int))> control{};
  iovec part{const_cast<uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int number = descriptor.number();
  std::memcpy(CMSG_DATA(header), &number, sizeof(int));
  ssize_t sent = -1;
  do {
    sent = ::sendmsg(stream.socket().native_handle(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
    return EndOfStream(stream.peer_name());
  }
  if (sent != static_cast<ssize_t>(bytes.size())) {
    return arrow::Status::IOError("cannot pass memory to ", stream.peer_name(), ": ",
                                  sent < 0 ? std::strerror(errno) : "its socket is full");
  }
  return arrow::Status::OK();
}

Co<Descriptor> ReceiveDescriptor(UnixStream* stream, std::span<uint8_t> into, arrow::Future<> ended) {
  while (true) {
    if (ended.is_finished()) {
      co_return arrow::Status::IOError("connection to ", stream->peer_name(), " is closed");
    }
    CYLON_CO_ASSIGN_OR_RETURN(auto taken, TakeDescriptor(stream, into.first(1)));
    if (taken.has_value()) {
      auto rest = stream->Read(into.subspan(1));
      CYLON_CO_RETURN_NOT_OK(co_await rest);
      co_return std::move(*taken);
    }
    auto pause = std::make_shared<Pause>();
    stream->socket().async_wait(asio::socket_base::wait_read, [pause](const asio::error_code&) { pause->End(); });
    EndWith(ended, pause);
    CYLON_CO_RETURN_NOT_OK(co_await pause->over);
  }
}

}  // namespace cylon::internal
