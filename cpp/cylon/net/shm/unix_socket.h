/// Unix sockets in the abstract namespace: streams within one host, on which descriptors can be passed.
#pragma once

#include <arrow/result.h>

#include <asio/local/stream_protocol.hpp>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/asio_executor.h"
#include "cylon/base/co.h"
#include "cylon/net/shm/ring_memory.h"
#include "cylon/wire/socket_stream.h"

namespace cylon::internal {

using UnixStream = SocketStream<asio::local::stream_protocol::socket>;

/// Connects to the abstract socket `name`. NobodyListens where there is none (here: another network namespace has names
/// of its own), IOError where it belongs to another user, DeadlineError at `deadline`, Cancelled when `stop` finishes.
Co<std::unique_ptr<UnixStream>> ConnectUnix(AsioExecutor& executor, std::string name, TimePoint deadline,
                                            arrow::Future<> stop);

/// Listens on an abstract socket, whose name ends with it: nothing is left in the file system.
class UnixListener {
 public:
  /// A name nobody can guess. Processes of other users are turned away.
  static arrow::Result<std::unique_ptr<UnixListener>> Listen(AsioExecutor& executor);
  virtual ~UnixListener() = default;
  virtual const std::string& name() const = 0;
  /// Gives `on_stream` each connection from now on, those that wait already too.
  virtual void Accept(std::function<void(std::unique_ptr<UnixStream>)> on_stream) = 0;
  virtual void Close() = 0;
};

/// Sends `bytes` with a descriptor in one piece. IOError where they do not go at once: they are few, and the first.
arrow::Status SendDescriptor(UnixStream& stream, const Descriptor& descriptor, std::span<const uint8_t> bytes);

/// Fills `into`, and returns the one descriptor that comes with its first byte. ProtocolError where there is none or
/// more than one (all are closed); EndOfStream where the other end closes. It ends with `ended`, which has to finish
/// when this end closes the stream.
Co<Descriptor> ReceiveDescriptor(UnixStream* stream, std::span<uint8_t> into, arrow::Future<> ended);

}  // namespace cylon::internal
