/// A connected, ordered, reliable byte stream: plain TCP now; TLS, Unix and punched sockets behind the same face.
#pragma once

#include <arrow/result.h>

#include <asio/io_context.hpp>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cylon/base/co.h"
#include "cylon/base/export.h"

namespace cylon {

/// All calls from tasks of the executor whose io_context it was made on. At most one Read and one Write under way.
class CYLON_EXPORT Stream {
 public:
  virtual ~Stream();

  /// Fills all of `into`. An end of stream before that is IOError "connection closed by ..." (EndOfStream() below).
  virtual arrow::Future<> Read(std::span<uint8_t> into) = 0;
  /// Reads at least one byte, at most into.size(); 0 means end of stream.
  virtual arrow::Future<int64_t> ReadSome(std::span<uint8_t> into) = 0;
  /// Writes all parts, in order, as they lie; the caller keeps them alive until the future is finished.
  virtual arrow::Future<> Write(std::vector<std::span<const uint8_t>> parts) = 0;
  /// Writes nothing more, and no write is under way: the other side reads the end of the stream behind what was
  /// written, and may go on writing. A kind of stream that has no such thing closes.
  virtual void EndWrites();
  /// Ends both directions now; reads and writes under way fail.
  virtual void Close() = 0;

  /// "127.0.0.1:4711" of the other side, for messages.
  virtual std::string peer_name() const = 0;
  /// True where both ends are on a loopback address.
  virtual bool is_loopback() const = 0;
  /// Bytes that only the two ends of this very connection share, where it is encrypted; else "". A proof that covers
  /// them cannot be passed on by somebody in between.
  virtual std::string binding() const;
};

/// True where `status` says that the other side closed or reset the connection.
CYLON_EXPORT bool IsEndOfStream(const arrow::Status& status);
/// True where it was reset. The system of a process that ends closes its connections, unless something there was not
/// read; a gateway that has forgotten one resets it.
CYLON_EXPORT bool IsReset(const arrow::Status& status);

/// IOError with this text: nobody listens at an address that was dialled, which its machine said at once. Where that is
/// so of all addresses of a process, it is gone.
CYLON_EXPORT arrow::Status NobodyListens(const std::string& message);
CYLON_EXPORT bool IsNobodyListening(const arrow::Status& status);

/// A host and a port, IPv4 or IPv6.
struct CYLON_EXPORT HostPort {
  std::string host;
  uint16_t port = 0;
  bool operator==(const HostPort&) const = default;
  /// "host:port", "[v6]:port", with or without "tcp://". Invalid says what is wrong with the text.
  static arrow::Result<HostPort> Parse(std::string_view text);
  std::string ToString() const;
};

/// What the system sends over a TCP connection that was idle for so long: gateways forget those that are silent, many
/// after a minute. In whole seconds, at least one.
inline constexpr Duration kKeepAlive = std::chrono::seconds(15);

/// Connects to `address`. Of a name with several addresses, or where an answer is late, several dials are under way at
/// once (RFC 8305), and the first that is answered wins: a listener may see others, which are closed at once.
/// DeadlineError at `deadline`; a failure is IOError that names the address, and NobodyListens where each of them
/// refused. Cancelled when `stop`, where it is given, finishes first.
CYLON_EXPORT Co<std::unique_ptr<Stream>> ConnectTcp(asio::io_context& io, Executor& executor, HostPort address,
                                                    TimePoint deadline, arrow::Future<> stop = {},
                                                    Duration keep_alive = kKeepAlive);

/// Accepts connections until destroyed.
class CYLON_EXPORT Listener {
 public:
  virtual ~Listener();
  /// Where it listens; the port is the real one where 0 was asked for.
  virtual HostPort address() const = 0;
  /// Stops accepting.
  virtual void Close() = 0;
};

/// Listens on `address` and calls `on_stream` for each connection, in tasks of the executor that runs `io`. A busy port
/// is IOError that names it and says what to do.
CYLON_EXPORT arrow::Result<std::unique_ptr<Listener>> ListenTcp(asio::io_context& io, const HostPort& address,
                                                                std::function<void(std::unique_ptr<Stream>)> on_stream);

}  // namespace cylon
