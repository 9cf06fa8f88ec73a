// An all-to-all over plain TCP sockets.
#include "raw_sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace cylon::bench {

namespace {

arrow::Status Failed(const char* what) {
  return arrow::Status::IOError(what, " failed: ", std::strerror(errno),
                                "; the raw-socket ceiling needs TCP between the ranks");
}

sockaddr_in Ipv4(const std::string& host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  (void)::inet_pton(AF_INET, host.c_str(), &address.sin_addr);  // 0.0.0.0 where that is none: nothing answers there
  return address;
}

/// The socket calls take any address as a sockaddr.
const sockaddr* AsSockaddr(const sockaddr_in* address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(address));
}

}  // namespace

RawSockets::~RawSockets() {
  for (const int socket : sockets_) {
    if (socket >= 0) {
      ::close(socket);
    }
  }
  if (listener_ >= 0) {
    ::close(listener_);
  }
}

arrow::Status RawSockets::Listen(int* port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = Ipv4(*port == 0 ? "127.0.0.1" : "0.0.0.0", *port);
  if (listener_ < 0 || ::bind(listener_, AsSockaddr(&address), sizeof(address)) != 0 ||
      ::listen(listener_, SOMAXCONN) != 0) {
    return Failed("listening");
  }
  socklen_t size = sizeof(address);
  if (::getsockname(listener_, static_cast<sockaddr*>(static_cast<void*>(&address)), &size) != 0) {
    return Failed("getsockname");
  }
  *port = ntohs(address.sin_port);
  return arrow::Status::OK();
}

arrow::Status RawSockets::ConnectAll(Context& context, RawPlace place) {
  ARROW_RETURN_NOT_OK(Listen(&place.port));
  auto& communicator = context.communicator();
  ARROW_ASSIGN_OR_RAISE(const auto hosts, communicator.AllGather(arrow::Buffer::FromString(place.host)));
  ARROW_ASSIGN_OR_RAISE(const auto ports,
                        communicator.AllGather(arrow::Buffer::FromString(std::to_string(place.port))));
  const int own = context.rank();
  sockets_.assign(context.world_size(), -1);
  // Higher ranks connect to lower ones and say who they are.
  for (int peer = 0; peer < own; ++peer) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockets_[peer] = socket;
    const sockaddr_in address = Ipv4(hosts[peer]->ToString(), std::stoi(ports[peer]->ToString()));
    const int32_t hello = own;
    if (socket < 0 || ::connect(socket, AsSockaddr(&address), sizeof(address)) != 0 ||
        ::send(socket, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello)) {
      return Failed("connecting");
    }
  }
  for (int peer = own + 1; peer < context.world_size(); ++peer) {
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    int32_t hello = -1;
    if (socket < 0 || ::recv(socket, &hello, sizeof(hello), MSG_WAITALL) != sizeof(hello) || hello <= own ||
        hello >= context.world_size() || sockets_[hello] >= 0) {
      return Failed("accepting");
    }
    sockets_[hello] = socket;
  }
  for (const int socket : sockets_) {
    const int on = 1;
    if (socket >= 0 && ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0) {
      return Failed("setting up a socket");
    }
  }
  return arrow::Status::OK();
}

arrow::Result<std::unique_ptr<RawSockets>> RawSockets::Connect(Context& context, int64_t bytes, const RawPlace& own) {
  auto sockets = std::make_unique<RawSockets>();
  ARROW_RETURN_NOT_OK(sockets->ConnectAll(context, own));
  sockets->outgoing_.assign(bytes, 1);  // written, so touched
  sockets->incoming_.resize(context.world_size());
  for (int peer = 0; peer < context.world_size(); ++peer) {
    if (peer != context.rank()) {
      sockets->incoming_[peer].assign(bytes, 2);
    }
  }
  return sockets;
}

arrow::Status RawSockets::Send(int peer, const void* data, int64_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  while (bytes > 0) {
    const auto put = ::send(sockets_[peer], from, bytes, MSG_NOSIGNAL);
    if (put < 0) {
      return Failed("sending");
    }
    from += put;
    bytes -= put;
  }
  return arrow::Status::OK();
}

arrow::Status RawSockets::Receive(int peer, void* data, int64_t bytes) {
  auto* to = static_cast<uint8_t*>(data);
  while (bytes > 0) {
    const auto got = ::recv(sockets_[peer], to, bytes, 0);
    if (got <= 0) {
      return Failed("receiving");
    }
    to += got;
    bytes -= got;
  }
  return arrow::Status::OK();
}

arrow::Status RawSockets::AllToAll(int64_t bytes) {
  struct Progress {
    int64_t sent = 0;
    int64_t received = 0;
  };
  std::vector<Progress> progress(sockets_.size());
  const auto send_some = [&](size_t peer) {
    auto& sent = progress[peer].sent;
    const auto put = ::send(sockets_[peer], outgoing_.data() + sent, bytes - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    sent += std::max<int64_t>(put, 0);
    return put >= 0 || errno == EAGAIN;
  };
  // Most often there is room for what goes out first, and asking for it would cost a system call.
  for (size_t peer = 0; peer < sockets_.size(); ++peer) {
    if (sockets_[peer] >= 0 && !send_some(peer)) {
      return Failed("sending");
    }
  }
  std::vector<pollfd> polled;
  std::vector<size_t> peers;
  while (true) {
    polled.clear();
    peers.clear();
    for (size_t peer = 0; peer < sockets_.size(); ++peer) {
      const auto events = static_cast<int16_t>((progress[peer].sent < bytes ? POLLOUT : 0) |
                                               (progress[peer].received < bytes ? POLLIN : 0));
      if (sockets_[peer] >= 0 && events != 0) {
        polled.push_back({sockets_[peer], events, 0});
        peers.push_back(peer);
      }
    }
    if (polled.empty()) {
      return arrow::Status::OK();
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) {
      return Failed("poll");
    }
    for (size_t i = 0; i < polled.size(); ++i) {
      auto& [sent, received] = progress[peers[i]];
      if ((polled[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0 && received < bytes) {
        const auto got = ::recv(polled[i].fd, incoming_[peers[i]].data() + received, bytes - received, MSG_DONTWAIT);
        if (got == 0 || (got < 0 && errno != EAGAIN)) {
          return Failed("receiving");
        }
        received += std::max<int64_t>(got, 0);
      }
      if ((polled[i].revents & POLLOUT) != 0 && sent < bytes && !send_some(peers[i])) {
        return Failed("sending");
      }
    }
  }
}

}  // namespace cylon::bench
