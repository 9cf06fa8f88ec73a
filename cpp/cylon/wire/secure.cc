// The one way to open a connection.
//
//   dialler                                                listener
//      | -- "CYLN", version (2 bytes), mode, shows --------> |    mode: 0 plain text, 1 TLS; shows: 1 where a ticket
//      | -- ticket, as a message of a Conversation --------> |    follows, else 0
//      | <------------------------------------ verdict, reason |  accepted has no reason
//      | <--------------- TLS, where mode says so ---------> |
//      | <----------------- the handshake -----------------> |
//
// The answer costs a round trip and makes every mismatch a sentence: without it one end would speak TLS to another that
// waits for a greeting, and each would call the other garbage. Who changes the mode on the way makes the handshake
// fail, as each end proves the kind of encryption that it sees. Who changes the ticket makes it fail as well: another
// ticket has another secret.
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

std::string Preamble(Mode mode, const std::string& ticket) {
  ByteWriter out;
  out.Raw(kSecureMagic);
  out.Number(kHandshakeVersion);
  out.Number(static_cast<uint8_t>(mode));
  out.Number(static_cast<uint8_t>(ticket.empty() ? 0 : 1));
  std::string bytes = out.Take();
  if (!ticket.empty()) {
    internal::PutShortText(&bytes, ticket);
  }
  return bytes;
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

/// What has been said before anything is proven.
struct Greeting {
  Mode mode = Mode::kPlain;
  bool shows = false;  // a ticket, which comes next
  std::string ticket = {};
  Admission admission = {};
};

/// What the listener makes of the first bytes.
arrow::Status JudgePreamble(const std::string& bytes, const Security& security, const Stream& stream,
                            Greeting* greeting) {
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
  const auto mode = static_cast<Mode>(in.Number<uint8_t>());
  const auto shows = in.Number<uint8_t>();
  if ((mode != Mode::kPlain && mode != Mode::kTls) || shows > 1) {
    return ProtocolError(peer + " asks for the unknown kind of connection " + std::to_string(static_cast<int>(mode)) +
                         ", " + std::to_string(static_cast<int>(shows)) + "; install the same Cylon everywhere");
  }
  greeting->mode = mode;
  greeting->shows = shows == 1;
  if (mode == Mode::kTls && security.plain_text) {
    return arrow::Status::Invalid(peer, " encrypts its connection, and this side is told not to (CYLON_PLAIN_TEXT=1); ",
                                  "set CYLON_PLAIN_TEXT to the same value at all ranks");
  }
  if (mode == Mode::kPlain && !security.plain_text && !stream.is_loopback()) {
    return arrow::Status::Invalid(
        peer, " wants to speak plain text (CYLON_PLAIN_TEXT=1 there), and this side encrypts ",
        "what leaves its machine (CYLON_PLAIN_TEXT=0); set CYLON_PLAIN_TEXT to the same value "
        "at all ranks, to 1 only where the network is trusted");
  }
  return arrow::Status::OK();
}

/// What the listener makes of the ticket that was shown, or was not. The secret goes on to be proven.
Co<Admission> JudgeTicket(Conversation* talk, const Security* security, Greeting* greeting) {
  if (greeting->shows) {
    auto receive = talk->Receive();
    CYLON_CO_ASSIGN_OR_RETURN(greeting->ticket, co_await receive);
  }
  if (greeting->shows != static_cast<bool>(security->read_ticket)) {
    co_return arrow::Status::Invalid(
        talk->peer(),
        greeting->shows
            ? " shows a ticket, and this server lets in who knows the job's secret; unset CYLON_TICKET and "
              "CYLON_TICKET_FILE, or start the server with an operator's key"
            : " shows no ticket, and this server lets in by tickets; ask its operator for one for the job, and set "
              "CYLON_TICKET_FILE to a file with mode 0600 that holds it");
  }
  if (!greeting->shows) {
    co_return Admission{security->secret};
  }
  if (greeting->ticket.size() > kMaxTicketBytes) {
    co_return ProtocolError(talk->peer() + " shows a ticket of " + std::to_string(greeting->ticket.size()) +
                            " bytes; at most " + std::to_string(kMaxTicketBytes) + " are read");
  }
  co_return security->read_ticket(greeting->ticket);
}

Co<Greeting> ReadGreeting(Conversation* talk, const Stream* stream, const Security* security, std::string begun) {
  auto receive = talk->ReceiveRaw(kPreambleBytes - begun.size());
  CYLON_CO_ASSIGN_OR_RETURN(const std::string rest, co_await receive);
  Greeting greeting;
  CYLON_CO_RETURN_NOT_OK(JudgePreamble(begun + rest, *security, *stream, &greeting));
  auto judge = JudgeTicket(talk, security, &greeting);
  CYLON_CO_ASSIGN_OR_RETURN(greeting.admission, co_await judge);
  co_return greeting;
}

Co<Greeting> GreetAsListener(Stream* stream, Executor* executor, const Security* security, TimePoint deadline,
                             std::string begun) {
  Conversation talk(stream, *executor, deadline);
  auto read = ReadGreeting(&talk, stream, security, std::move(begun));
  auto greeting = co_await read;
  if (!greeting.ok() && (greeting.status().IsInvalid() || IsError(greeting.status(), ErrorKind::kProtocol))) {
    auto refuse = talk.Refuse(greeting.status());
    auto told = co_await refuse;  // a stranger that does not listen changes nothing
    static_cast<void>(told);
  }
  CYLON_CO_RETURN_NOT_OK(greeting.status());
  auto accept = talk.Send(Verdict::kAccepted, "");
  CYLON_CO_RETURN_NOT_OK(co_await accept);
  co_return greeting;
}

Co<void> GreetAsDialler(Stream* stream, Executor* executor, Mode mode, std::string ticket, TimePoint deadline) {
  Conversation talk(stream, *executor, deadline);
  auto send = talk.SendRaw(Preamble(mode, ticket));
  CYLON_CO_RETURN_NOT_OK(co_await send);
  auto receive = talk.ReceiveVerdict();
  co_return (co_await receive).status();
}

/// What the dialler was refused for, in the words of what it has shown: a listener that does not know the secret of a
/// ticket has not signed it.
arrow::Status Explain(const arrow::Status& status, const Security& security, const std::string& peer) {
  if (security.ticket.empty() || !IsError(status, ErrorKind::kAuthentication)) {
    return status;
  }
  return AuthenticationError("the server at " + peer +
                             " does not know this process's ticket: it was issued with another operator's key, or was "
                             "changed, or another server answers there; ask the operator for a new one");
}

}  // namespace

Security SecurityOf(const Options& options, std::string secret) {
  Security security;
  security.secret = std::move(secret);
  security.plain_text = options.plain_text;
  security.tls_ca = options.tls_ca;
  security.tls_certificate = options.tls_certificate;
  security.tls_key = options.tls_key;
  return security;
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
  arrow::Result<OpenedStream> Done(Identity peer, std::string ticket = "") {
    if (opening_ != nullptr && opening_->closed_) {
      return arrow::Status::Cancelled("this side has given up the connection");
    }
    return OpenedStream{std::move(stream_), std::move(peer), std::move(ticket)};
  }

 private:
  std::shared_ptr<Opening> opening_;
  std::unique_ptr<Stream> stream_;
};

Co<OpenedStream> OpenAsDialler(std::unique_ptr<Stream> below, Executor& executor, Security security, Identity self,
                               std::string host, TimePoint deadline, std::shared_ptr<Opening> opening) {
  OpeningStream stream(std::move(opening), std::move(below));
  const Mode mode = stream.get()->is_loopback() || security.plain_text ? Mode::kPlain : Mode::kTls;
  const std::string listener = stream.get()->peer_name();
  auto greet = GreetAsDialler(stream.get(), &executor, mode, security.ticket, deadline);
  CYLON_CO_RETURN_NOT_OK(co_await greet);
  if (mode == Mode::kTls) {
    auto tls = TlsAsDialler(stream.Give(), executor, ForTls(security, std::move(host)), deadline);
    const auto encrypted = stream.Take(co_await tls);
    CYLON_CO_RETURN_NOT_OK(HasCertificates(security) ? encrypted : Explain(encrypted, security, listener));
  }
  auto prove = HandshakeAsDialler(stream.get(), executor, WithEncryption(std::move(self), security, mode),
                                  security.secret, deadline);
  auto peer = co_await prove;
  CYLON_CO_RETURN_NOT_OK(Explain(peer.status(), security, listener));
  co_return stream.Done(*std::move(peer));
}

Co<OpenedStream> OpenAsListener(std::unique_ptr<Stream> below, Executor& executor, Security security, Identity self,
                                TimePoint deadline, std::shared_ptr<Opening> opening, std::string begun) {
  OpeningStream stream(std::move(opening), std::move(below));
  auto greet = GreetAsListener(stream.get(), &executor, &security, deadline, std::move(begun));
  CYLON_CO_ASSIGN_OR_RETURN(Greeting greeting, co_await greet);
  security.secret = std::move(greeting.admission.secret);
  if (greeting.admission.admits) {
    self.admits = std::move(greeting.admission.admits);
  }
  if (greeting.mode == Mode::kTls) {
    auto tls = TlsAsListener(stream.Give(), executor, ForTls(security, ""), deadline);
    CYLON_CO_RETURN_NOT_OK(stream.Take(co_await tls));
  }
  auto prove = HandshakeAsListener(stream.get(), executor, WithEncryption(std::move(self), security, greeting.mode),
                                   security.secret, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(Identity peer, co_await prove);
  co_return stream.Done(std::move(peer), std::move(greeting.ticket));
}

}  // namespace cylon
