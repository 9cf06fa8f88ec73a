/// One local port that dials and listens at once: what gateways let out from it, they let in to it.
#pragma once

#include <arrow/result.h>

#include <asio/ip/tcp.hpp>
#include <functional>
#include <memory>
#include <string>

#include "cylon/base/asio_executor.h"
#include "cylon/net/punch/punch_proof.h"
#include "cylon/wire/socket_stream.h"

namespace cylon::internal {

using PunchedStream = SocketStream<asio::ip::tcp::socket>;

/// All attempts of a process share one. Sockets have SO_REUSEADDR and SO_REUSEPORT, which only programs of the same
/// user can join. Who dials it has kStrangerPatience to say which attempt it means, and of kStrangersAtOnce who have
/// not said it yet the oldest gives way. All calls in tasks.
class PunchPort {
 public:
  /// A stream on which the other side has said hello. It has not proven anything.
  using Taker = std::function<void(std::unique_ptr<PunchedStream>, const PunchHello&)>;

  /// Any free port, of IPv4 and, where this host has it, of IPv6. IOError where there is none.
  static arrow::Result<std::shared_ptr<PunchPort>> Open(AsioExecutor& executor);
  virtual ~PunchPort() = default;

  virtual uint16_t number() const = 0;
  /// A socket that is bound to this port, to reach `to` with: not connected, and connects without blocking.
  virtual arrow::Result<asio::ip::tcp::socket> MakeSocket(const asio::ip::tcp::endpoint& to) = 0;
  /// `taker` gets who says `tag`, until it is forgotten.
  virtual void Expect(const std::string& tag, Taker taker) = 0;
  virtual void Forget(const std::string& tag) = 0;
  /// Accepts nothing more, and closes whom nobody has taken.
  virtual void Close() = 0;
};

/// The stream over a socket that is connected to `remote`. Until KeepPunched, closing it resets it: what is given up
/// must not keep two ports from each other for a minute (TIME_WAIT). It is never on loopback, even if it is: what comes
/// by gateways is encrypted from end to end, and tests on one host see that too.
std::unique_ptr<PunchedStream> MakePunchedStream(asio::ip::tcp::socket socket, const asio::ip::tcp::endpoint& remote);
void KeepPunched(PunchedStream& stream);

}  // namespace cylon::internal
