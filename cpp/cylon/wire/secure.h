/// The one way to open a connection: encrypted where it leaves the machine, and both ends proven.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "cylon/base/co.h"
#include "cylon/base/export.h"
#include "cylon/base/options.h"
#include "cylon/wire/handshake.h"
#include "cylon/wire/stream.h"

namespace cylon {

/// What a listener makes of the ticket that a dialler shows.
struct Admission {
  std::string secret;                                                 ///< the dialler has to know it
  std::function<arrow::Status(const Identity& dialler)> admits = {};  ///< as Identity::admits
};
/// Asked about bytes that anybody may have sent. What is not OK is told to the dialler.
using TicketReader = std::function<arrow::Result<Admission>(std::string_view ticket)>;
inline constexpr size_t kMaxTicketBytes = 512;

/// What secures the connections of a rank. Files are PEM.
struct CYLON_EXPORT Security {
  std::string secret = {};           ///< the job's, or the ticket's: every end proves that it knows it
  bool plain_text = false;           ///< off loopback too, nothing is encrypted: the same at both ends
  std::string tls_ca = {};           ///< with any of these three, TLS goes by certificates, else by the secret
  std::string tls_certificate = {};  ///< (see TlsOptions)
  std::string tls_key = {};
  std::string ticket = {};        ///< of a dialler: shown first, in clear; says to the listener which secret it knows
  TicketReader read_ticket = {};  ///< of a listener that lets in by tickets, and by no secret of its own
};

/// What `options` say, with the job's secret as bytes.
CYLON_EXPORT Security SecurityOf(const Options& options, std::string secret);

/// A connection that is being opened, for whoever may have to end that: a listener with too many of them, a rank that
/// gives up. All calls in tasks.
class CYLON_EXPORT Opening {
 public:
  /// Closes the connection; what opens it fails, soon or in this call. After it is open this does nothing.
  void Close();

 private:
  friend class OpeningStream;
  Stream* stream_ = nullptr;
  bool closed_ = false;
};

struct OpenedStream {
  std::unique_ptr<Stream> stream;
  Identity peer;
  std::string ticket = {};  ///< of a listener that lets in by tickets: the one that the peer has proven to have
};

/// Opens `below` as its dialler, who connected to the machine named `host` (which a certificate has to be for). Over
/// TLS 1.3, unless both ends are on loopback or `plain_text` is set, both ends make the handshake of wire/handshake.h,
/// which covers the kind of encryption as well. The errors are those of TlsAsDialler and HandshakeAsDialler; Invalid,
/// naming the option at both ends, where one of them has plain_text and the other has not, and where one has a ticket
/// and the other takes none, or wants one; AuthenticationError for a ticket that the listener has not signed;
/// ProtocolError naming both versions where they are not the same. After an error `below` is closed. All within
/// `deadline`, and 5 s for each step at most.
CYLON_EXPORT Co<OpenedStream> OpenAsDialler(std::unique_ptr<Stream> below, Executor& executor, Security security,
                                            Identity self, std::string host, TimePoint deadline,
                                            std::shared_ptr<Opening> opening = nullptr);

/// The listener's end of the same. `begun`: what has been read of the connection already, at most 8 bytes, by whoever
/// had to see what it is.
CYLON_EXPORT Co<OpenedStream> OpenAsListener(std::unique_ptr<Stream> below, Executor& executor, Security security,
                                             Identity self, TimePoint deadline,
                                             std::shared_ptr<Opening> opening = nullptr, std::string begun = "");

}  // namespace cylon
