// The one way to open a connection.
//
//   dialler                                          listener
//      | -- "CYLN", version (2 bytes), mode, zero -----> |    mode: 0 plain text, 1 TLS
//      | <------------------------------ verdict, reason |    of a Conversation; accepted has no reason
//      | <--------------- TLS, where mode says so ------> |
//      | <----------------- the handshake --------------> |
//
// The answer costs a round trip and makes every mismatch a sentence: without it one end would speak TLS to another that
// waits for a greeting, and each would call the other garbage. Who changes the mode on the way makes the handshake
// fail, as each end proves the kind of encryption that it sees.
#include "cylon/wire/secure.h"

#include <utility>

#include "cylon/wire/bytes.h"
#include "cylon/wire/conversation.h"
#include "cylon/wire/tls_stream.h"

namespace cylon {

namespace {

using internal::Conversation;
using internal::Verdict;

constexpr std::string_view kSecureMagic = "CYLN";
constexpr size_t kPreambleBytes = 8;

enum class Mode : uint8_t { kPlain = 0, kTls = 1 };

std::string Preamble(Mode mode) {
  ByteWriter out;
  out.Raw(kSecureMagic);
  out.Number(kHandshakeVersion);
  out.Number(static_cast<uint8_t>(mode));
  out.Number(uint8_t{0});
  return out.Take();
}

bool HasCertificates(const Security& security) {
  return !security.tls_ca.empty() || !security.tls_certificate.empty() || !security.tls_key.empty();
}

Identity WithEncryption(Identity self, const Security& security, Mode mode) {
  const std::string kind = mode == Mode::kPlain ? "none" : HasCertificates(security) ? "certificates" : "secret";
  self.options += (self.options.empty() ? "" : ";") + ("encryption=" + kind);
  return self;
}

TlsOptions ForTls(const Security& security, std::string host) {
  if (HasCertificates(security)) {
    return {"", security.tls_ca, security.tls_certificate, security.tls_key, std::move(host)};
  }
  return {security.secret, "", "", "", ""};
}

/// What the listener answers to a preamble.
arrow::Status JudgePreamble(const std::string& bytes, const Security& security, const Stream& stream, Mode* mode) {
  const std::string peer = stream.peer_name();
  ByteReader in(bytes);
  if (in.Raw(kSecureMagic.size()) != kSecureMagic) {
    return ProtocolError(peer + " does not speak Cylon's protocol; is it another program that dials here?");
  }
  const auto version = in.Number<uint16_t>();
  if (version != kHandshakeVersion) {
    return ProtocolError(peer + " speaks version " + std::to_string(version) + " of the protocol, this side version " +
                         std::to_string(kHandshakeVersion) + "; install the same Cylon everywhere");
  }
  *mode = static_cast<Mode>(in.Number<uint8_t>());
  if (*mode != Mode::kPlain && *mode != Mode::kTls) {
    return ProtocolError(peer + " asks for the unknown kind of encryption " + std::to_string(static_cast<int>(*mode)) +
                         "; install the same Cylon everywhere");
  }
  if (*mode == Mode::kTls && security.plain_text) {
    return arrow::Status::Invalid(peer, " encrypts its connection, and this side is told not to (CYLON_PLAIN_TEXT=1); ",
                                  "set CYLON_PLAIN_TEXT to the same value at all ranks");
  }
  if (*mode == Mode::kPlain && !security.plain_text && !stream.is_loopback()) {
    return arrow::Status::Invalid(
        peer, " wants to speak plain text (CYLON_PLAIN_TEXT=1 there), and this side encrypts ",
        "what leaves its machine (CYLON_PLAIN_TEXT=0); set CYLON_PLAIN_TEXT to the same value "
        "at all ranks, to 1 only where the network is trusted");
  }
  return arrow::Status::OK();
}

Co<Mode> GreetAsListener(Stream* stream, Executor* executor, const Security* security, TimePoint deadline,
                         std::string begun) {
  Conversation talk(stream, *executor, deadline);
  auto receive = talk.ReceiveRaw(kPreambleBytes - begun.size());
  CYLON_CO_ASSIGN_OR_RETURN(const std::string rest, co_await receive);
  Mode mode = Mode::kPlain;
  const auto judged = JudgePreamble(begun + rest, *security, *stream, &mode);
  if (!judged.ok()) {
    auto refuse = talk.Refuse(judged);
    auto told = co_await refuse;  // a stranger that does not listen changes nothing
    static_cast<void>(told);
    co_return judged;
  }
  auto accept = talk.Send(Verdict::kAccepted, "");
  CYLON_CO_RETURN_NOT_OK(co_await accept);
  co_return mode;
}

Co<void> GreetAsDialler(Stream* stream, Executor* executor, Mode mode, TimePoint deadline) {
  Conversation talk(stream, *executor, deadline);
  auto send = talk.SendRaw(Preamble(mode));
  CYLON_CO_RETURN_NOT_OK(co_await send);
  auto receive = talk.ReceiveVerdict();
  co_return (co_await receive).status();
}

}  // namespace

Security SecurityOf(const Options& options, std::string secret) {
  return {std::move(secret), options.plain_text, options.tls_ca, options.tls_certificate, options.tls_key};
}

void Opening::Close() {
  closed_ = true;
  if (stream_ != nullptr) {
    stream_->Close();
  }
}

/// Keeps what an Opening points to right while the stream changes hands.
class OpeningStream {
 public:
  OpeningStream(std::shared_ptr<Opening> opening, std::unique_ptr<Stream> stream)
      : opening_(std::move(opening)), stream_(std::move(stream)) {
    if (opening_ != nullptr) {
      opening_->stream_ = stream_.get();
      if (opening_->closed_) {
        stream_->Close();
      }
    }
  }
  ~OpeningStream() {
    if (opening_ != nullptr) {
      opening_->stream_ = nullptr;
    }
  }
  OpeningStream(const OpeningStream&) = delete;
  OpeningStream& operator=(const OpeningStream&) = delete;

  Stream* get() const { return stream_.get(); }
  /// For a layer above it, which owns it from now on; an Opening still closes the stream below.
  std::unique_ptr<Stream> Give() { return std::move(stream_); }
  arrow::Status Take(arrow::Result<std::unique_ptr<Stream>> layered) {
    if (opening_ != nullptr) {
      opening_->stream_ = layered.ok() ? layered->get() : nullptr;
    }
    ARROW_ASSIGN_OR_RAISE(stream_, std::move(layered));
    return arrow::Status::OK();
  }
  arrow::Result<OpenedStream> Done(Identity peer) {
    if (opening_ != nullptr && opening_->closed_) {
      return arrow::Status::Cancelled("this side has given up the connection");
    }
    return OpenedStream{std::move(stream_), std::move(peer)};
  }

 private:
  std::shared_ptr<Opening> opening_;
  std::unique_ptr<Stream> stream_;
};

Co<OpenedStream> OpenAsDialler(std::unique_ptr<Stream> below, Executor& executor, Security security, Identity self,
                               std::string host, TimePoint deadline, std::shared_ptr<Opening> opening) {
  OpeningStream stream(std::move(opening), std::move(below));
  const Mode mode = stream.get()->is_loopback() || security.plain_text ? Mode::kPlain : Mode::kTls;
  auto greet = GreetAsDialler(stream.get(), &executor, mode, deadline);
  CYLON_CO_RETURN_NOT_OK(co_await greet);
  if (mode == Mode::kTls) {
    auto tls = TlsAsDialler(stream.Give(), executor, ForTls(security, std::move(host)), deadline);
    CYLON_CO_RETURN_NOT_OK(stream.Take(co_await tls));
  }
  auto prove = HandshakeAsDialler(stream.get(), executor, WithEncryption(std::move(self), security, mode),
                                  security.secret, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(Identity peer, co_await prove);
  co_return stream.Done(std::move(peer));
}

Co<OpenedStream> OpenAsListener(std::unique_ptr<Stream> below, Executor& executor, Security security, Identity self,
                                TimePoint deadline, std::shared_ptr<Opening> opening, std::string begun) {
  OpeningStream stream(std::move(opening), std::move(below));
  auto greet = GreetAsListener(stream.get(), &executor, &security, deadline, std::move(begun));
  CYLON_CO_ASSIGN_OR_RETURN(const Mode mode, co_await greet);
  if (mode == Mode::kTls) {
    auto tls = TlsAsListener(stream.Give(), executor, ForTls(security, ""), deadline);
    CYLON_CO_RETURN_NOT_OK(stream.Take(co_await tls));
  }
  auto prove = HandshakeAsListener(stream.get(), executor, WithEncryption(std::move(self), security, mode),
                                   security.secret, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(Identity peer, co_await prove);
  co_return stream.Done(std::move(peer));
}

}  // namespace cylon
