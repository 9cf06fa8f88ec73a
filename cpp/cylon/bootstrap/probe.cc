// Probes from a port that is given, and the server's answers.
#include "cylon/bootstrap/probe.h"

#include <sys/socket.h>

#include <asio/ip/tcp.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

#include "cylon/base/error.h"
#include "cylon/bootstrap/rendezvous_protocol.h"
#include "cylon/wire/conversation.h"
#include "cylon/wire/socket_stream.h"

namespace cylon {

namespace {

using asio::ip::tcp;

/// A socket that is being connected.
struct ProbeSocket {
  ProbeSocket(asio::io_context& io, std::string between) : socket(io), ends(std::move(between)) {}
  tcp::socket socket;
  const std::string ends;
  arrow::Future<> done = arrow::Future<>::Make();

  void Finish(const arrow::Status& status) {
    if (!done.is_finished()) {
      asio::error_code ignored;
      if (!status.ok()) {
        socket.close(ignored);
      }
      done.MarkFinished(status);
    }
  }
  arrow::Status Failed(const std::string& why) const {
    return arrow::Status::IOError("cannot probe ", ends, ": ", why,
                                  "; check that the server runs and that nothing blocks its ports for probes");
  }
  arrow::Status Late() const {
    return DeadlineError("cannot probe " + ends +
                         ": no answer before the deadline; check that nothing blocks the server's ports for probes");
  }
  /// Before it connects.
  arrow::Status Prepare(const tcp::endpoint& to, uint16_t local_port) {
    asio::error_code error;
    socket.open(to.protocol(), error);
    if (!error) {
      socket.set_option(tcp::socket::reuse_address(true), error);
    }
    const int on = 1;
    if (!error && ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
      return Failed(std::strerror(errno));
    }
    if (!error) {
      socket.bind(tcp::endpoint(to.protocol(), local_port), error);
    }
    return error ? Failed(error.message()) : arrow::Status::OK();
  }
};

/// One try, until `until`.
Co<std::shared_ptr<ProbeSocket>> Connect(AsioExecutor* executor, uint16_t local_port, HostPort looker, tcp::endpoint to,
                                         TimePoint until, arrow::Future<> stop) {
  const auto probe = std::make_shared<ProbeSocket>(
      executor->io(), looker.ToString() + " from the port " + std::to_string(local_port) + " of this machine");
  CYLON_CO_RETURN_NOT_OK(probe->Prepare(to, local_port));
  const std::weak_ptr<ProbeSocket> weak = probe;
  std::shared_ptr<Timer> timer;
  if (until != kNever) {
    timer = executor->PostAt(until, [weak] {
      if (const auto late = weak.lock()) {
        late->Finish(late->Late());
      }
    });
  }
  stop.AddCallback([weak](const arrow::Status&) {
    if (const auto left = weak.lock()) {
      left->Finish(arrow::Status::Cancelled("this side has given up the probe"));
    }
  });
  probe->socket.async_connect(to, [probe](const asio::error_code& error) {
    probe->Finish(error ? probe->Failed(error.message()) : arrow::Status::OK());
  });
  arrow::Future<> connected = probe->done;
  const arrow::Status status = co_await connected;
  if (timer) {
    timer->Cancel();
  }
  CYLON_CO_RETURN_NOT_OK(status);
  co_return probe;
}

}  // namespace

Co<HostPort> ProbeFrom(AsioExecutor* executor, uint16_t local_port, HostPort looker, std::string token,
                       Duration patience, TimePoint deadline, arrow::Future<> stop) {
  asio::error_code not_literal;
  const tcp::endpoint to(asio::ip::make_address(looker.host, not_literal), looker.port);
  if (not_literal) {
    co_return arrow::Status::Invalid("'", looker.host, "' is no address that can be probed; give a numeric one");
  }
  std::shared_ptr<ProbeSocket> probe;
  for (; probe == nullptr; patience *= 2) {
    const TimePoint now = executor->Now();
    const TimePoint until = patience < deadline - now ? now + patience : deadline;
    auto connecting = Connect(executor, local_port, looker, to, until, stop);
    auto connected = co_await connecting;
    if (connected.ok()) {
      probe = *connected;
    } else if (until == deadline || !IsError(connected.status(), ErrorKind::kDeadline)) {
      co_return connected.status();
    }
  }
  const auto stream = std::make_shared<internal::SocketStream<tcp::socket>>(std::move(probe->socket), looker.ToString(),
                                                                            to.address().is_loopback());
  stop.AddCallback([weak_stream = std::weak_ptr<Stream>(stream)](const arrow::Status&) {
    if (const auto left = weak_stream.lock()) {
      left->Close();
    }
  });
  internal::Conversation talk(stream.get(), *executor, deadline);
  auto showing = talk.SendRaw(std::string(kProbeMagic) + token);
  CYLON_CO_RETURN_NOT_OK(co_await showing);
  auto answer = talk.Receive();
  const auto text = co_await answer;
  if (!text.ok()) {
    co_return IsError(text.status(), ErrorKind::kDeadline) ? probe->Late() : probe->Failed(text.status().message());
  }
  // The server closes first, so that it is not here that the pair of ports stays taken for a minute.
  auto ending = talk.ReceiveRaw(1);
  static_cast<void>(co_await ending);  // its end is an error, and expected
  co_return HostPort::Parse(*text);
}

Co<bool> AnswerProbe(Stream* stream, Executor* executor, ProbeJudge judge) {
  internal::Conversation talk(stream, *executor, kNever);
  auto showing = talk.ReceiveRaw(kRendezvousNonceBytes);
  const auto token = co_await showing;
  CYLON_CO_ASSIGN_OR_RETURN(const HostPort from, SeenFrom(*stream));
  const bool good = token.ok() && judge(*token, from);
  if (good) {
    auto telling = talk.Send(std::nullopt, from.ToString());
    CYLON_CO_RETURN_NOT_OK(co_await telling);
  }
  stream->Close();
  co_return good;
}

arrow::Result<HostPort> SeenFrom(const Stream& stream) {
  ARROW_ASSIGN_OR_RAISE(HostPort from, HostPort::Parse(stream.peer_name()));
  asio::error_code error;
  const auto address = asio::ip::make_address(from.host, error);
  if (!error && address.is_v6() && address.to_v6().is_v4_mapped()) {
    from.host = asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).to_string();
  }
  return from;
}

}  // namespace cylon
