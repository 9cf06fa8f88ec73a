// Mutual authentication of the two ends of a fresh connection.
//
//   dialler                                                listener
//      | -- hello: version, role, identity, nonce ------------> |
//      | <------------ verdict, hello: version, role, identity, nonce
//      | -- HMAC-SHA256(secret, "dialler" + both hellos) -----> |
//      | <------------ verdict, HMAC-SHA256(secret, "listener" + both hellos)
//
// A message to the listener is a length (2 bytes) and its bytes; one to the dialler has a verdict (1 byte) before that,
// and where the verdict is a refusal its bytes are the reason. The dialler proves itself first, so that a listener
// tells strangers nothing that is keyed. Job, epoch and purpose are compared only after the proof.
#include "cylon/wire/handshake.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <array>

#include "cylon/base/random.h"
#include "cylon/wire/strangers.h"

namespace cylon {

namespace {

constexpr std::string_view kMagic = "CYHS";
constexpr uint16_t kVersion = 1;
constexpr size_t kNonceBytes = 32;
constexpr size_t kMacBytes = 32;
/// Hellos and reasons are short: a stranger makes nobody hold more.
constexpr size_t kMaxMessage = 4096;
/// After a refusal: this long, and this much, is read, as closing over unread bytes would reset the reason away.
constexpr auto kFarewell = std::chrono::seconds(1);
constexpr size_t kFarewellBytes = 32 << 10;

enum class Role : uint8_t { kDialler = 1, kListener = 2 };
enum class Verdict : uint8_t { kAccepted = 0, kAuthentication = 1, kProtocol = 2, kInvalid = 3 };

struct Hello {
  Identity identity;
  std::string nonce;
  std::string bytes;  // as sent
};

void PutText(std::string* out, std::string_view text) {
  out->push_back(static_cast<char>(text.size() & 0xff));
  out->push_back(static_cast<char>(text.size() >> 8));
  out->append(text);
}

arrow::Result<Hello> MakeHello(Role role, const Identity& identity) {
  if (identity.job.size() + identity.epoch.size() + identity.purpose.size() > kMaxMessage / 2) {
    return arrow::Status::Invalid("a job id of ", identity.job.size(), " bytes is too long; use at most ",
                                  kMaxMessage / 4);
  }
  Hello hello{identity, "", std::string(kMagic)};
  ARROW_ASSIGN_OR_RAISE(hello.nonce, RandomBytes(kNonceBytes));
  hello.bytes.push_back(static_cast<char>(kVersion & 0xff));
  hello.bytes.push_back(static_cast<char>(kVersion >> 8));
  hello.bytes.push_back(static_cast<char>(role));
  const auto rank = static_cast<uint32_t>(identity.rank);
  for (int shift = 0; shift < 32; shift += 8) {
    hello.bytes.push_back(static_cast<char>(rank >> shift));
  }
  PutText(&hello.bytes, identity.job);
  PutText(&hello.bytes, identity.epoch);
  PutText(&hello.bytes, identity.purpose);
  hello.bytes += hello.nonce;
  return hello;
}

/// Reads a hello piece by piece; nothing is read beyond its end.
class HelloReader {
 public:
  explicit HelloReader(std::string_view bytes) : rest_(bytes) {}

  bool Take(size_t count, std::string_view* out) {
    if (rest_.size() < count) {
      return false;
    }
    *out = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return true;
  }
  template <typename T>
  bool Number(T* out) {
    std::string_view bytes;
    if (!Take(sizeof(T), &bytes)) {
      return false;
    }
    uint64_t value = 0;
    for (size_t i = sizeof(T); i-- > 0;) {
      value = value << 8 | static_cast<uint8_t>(bytes[i]);
    }
    *out = static_cast<T>(value);
    return true;
  }
  bool Text(std::string* out) {
    uint16_t size = 0;
    std::string_view bytes;
    if (!Number(&size) || !Take(size, &bytes)) {
      return false;
    }
    *out = bytes;
    return true;
  }
  bool AtEnd() const { return rest_.empty(); }

 private:
  std::string_view rest_;
};

arrow::Result<Hello> ParseHello(std::string bytes, Role expected, const std::string& peer) {
  HelloReader reader(bytes);
  std::string_view magic;
  uint16_t version = 0;
  uint8_t role = 0;
  uint32_t rank = 0;
  if (!reader.Take(kMagic.size(), &magic) || magic != kMagic) {
    return ProtocolError(peer + " does not speak Cylon's protocol; is it another program's port?");
  }
  if (!reader.Number(&version) || version != kVersion) {
    return ProtocolError(peer + " speaks version " + std::to_string(version) + " of the protocol, this side version " +
                         std::to_string(kVersion) + "; install the same Cylon everywhere");
  }
  Hello hello;
  std::string_view nonce;
  if (!reader.Number(&role) || !reader.Number(&rank) || !reader.Text(&hello.identity.job) ||
      !reader.Text(&hello.identity.epoch) || !reader.Text(&hello.identity.purpose) ||
      !reader.Take(kNonceBytes, &nonce) || !reader.AtEnd()) {
    return ProtocolError(peer + " sent a malformed greeting");
  }
  if (role != static_cast<uint8_t>(expected)) {
    return ProtocolError(peer + " greeted in the wrong role");
  }
  hello.identity.rank = static_cast<Rank>(rank);
  hello.nonce = nonce;
  hello.bytes = std::move(bytes);
  return hello;
}

arrow::Status CheckNonce(const Hello& own, const Hello& other, const std::string& peer) {
  if (CRYPTO_memcmp(own.nonce.data(), other.nonce.data(), kNonceBytes) == 0) {
    return ProtocolError(peer + " repeated this side's own nonce");
  }
  return arrow::Status::OK();
}

/// Only for a peer that has proven itself.
arrow::Status CheckIdentity(const Hello& own, const Hello& other, const std::string& peer) {
  if (own.identity.purpose != other.identity.purpose) {
    return ProtocolError(peer + " wants a connection for '" + other.identity.purpose + "', this is one for '" +
                         own.identity.purpose + "'; check the address");
  }
  if (own.identity.job != other.identity.job) {
    return arrow::Status::Invalid(peer, " belongs to job '", other.identity.job, "', this side to job '",
                                  own.identity.job, "'; check CYLON_JOB and the address");
  }
  if (own.identity.epoch != other.identity.epoch) {
    return arrow::Status::Invalid(peer, " belongs to another run (epoch '", other.identity.epoch, "', not '",
                                  own.identity.epoch, "') of job '", own.identity.job,
                                  "'; processes of an earlier run may still be there");
  }
  return arrow::Status::OK();
}

std::string Mac(const std::string& secret, std::string_view role, const Hello& dialler, const Hello& listener) {
  std::string text(role);
  text.push_back('\0');
  PutText(&text, dialler.bytes);
  PutText(&text, listener.bytes);
  std::string mac(kMacBytes, '\0');
  unsigned int size = 0;
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), reinterpret_cast<unsigned char*>(mac.data()),
       &size);
  return mac;
}

bool SameMac(const std::string& left, const std::string& right) {
  return left.size() == kMacBytes && right.size() == kMacBytes &&
         CRYPTO_memcmp(left.data(), right.data(), kMacBytes) == 0;
}

arrow::Status Stranger(const std::string& who) {
  return AuthenticationError(who +
                             " does not know the job's secret; start all ranks with the same CYLON_SECRET or "
                             "CYLON_SECRET_FILE");
}

Verdict VerdictOf(const arrow::Status& status) {
  return IsError(status, ErrorKind::kAuthentication) ? Verdict::kAuthentication
         : status.IsInvalid()                        ? Verdict::kInvalid
                                                     : Verdict::kProtocol;
}

arrow::Status StatusOf(Verdict verdict, const std::string& reason) {
  switch (verdict) {
    case Verdict::kAuthentication:
      return AuthenticationError(reason);
    case Verdict::kInvalid:
      return arrow::Status::Invalid(reason);
    default:
      return ProtocolError(reason);
  }
}

/// One handshake's side of the stream: length-framed messages, all within one deadline.
class Conversation {
 public:
  Conversation(Stream* stream, Executor& executor, TimePoint deadline) : stream_(stream), executor_(executor) {
    timer_ = executor.PostAt(std::min(deadline, executor.Now() + kStrangerPatience), [this] {
      late_ = true;
      stream_->Close();
    });
  }
  ~Conversation() { timer_->Cancel(); }
  Conversation(const Conversation&) = delete;
  Conversation& operator=(const Conversation&) = delete;

  std::string peer() const { return stream_->peer_name(); }

  Co<void> Send(std::optional<Verdict> verdict, std::string bytes) {
    std::string message;
    if (verdict) {
      message.push_back(static_cast<char>(*verdict));
    }
    PutText(&message, std::string_view(bytes).substr(0, kMaxMessage));
    std::vector<std::span<const uint8_t>> parts;
    parts.emplace_back(reinterpret_cast<const uint8_t*>(message.data()), message.size());
    auto write = stream_->Write(std::move(parts));
    auto status = co_await write;
    co_return Explain(std::move(status));
  }

  Co<std::string> Receive() {
    std::array<uint8_t, 2> length;
    auto read_length = stream_->Read(length);
    auto status = co_await read_length;
    CYLON_CO_RETURN_NOT_OK(Explain(std::move(status)));
    const size_t size = static_cast<size_t>(length[0] | length[1] << 8);
    if (size > kMaxMessage) {
      co_return ProtocolError(peer() + " announced a greeting of " + std::to_string(size) + " bytes; at most " +
                              std::to_string(kMaxMessage) + " are read from a stranger");
    }
    std::string bytes(size, '\0');
    auto read = stream_->Read({reinterpret_cast<uint8_t*>(bytes.data()), size});
    status = co_await read;
    CYLON_CO_RETURN_NOT_OK(Explain(std::move(status)));
    co_return bytes;
  }

  /// The listener's word: its bytes, or its refusal as an error.
  Co<std::string> ReceiveVerdict() {
    std::array<uint8_t, 1> verdict;
    auto read = stream_->Read(verdict);
    auto status = co_await read;
    CYLON_CO_RETURN_NOT_OK(Explain(std::move(status)));
    auto receive = Receive();
    CYLON_CO_ASSIGN_OR_RETURN(std::string bytes, co_await receive);
    if (verdict[0] != static_cast<uint8_t>(Verdict::kAccepted)) {
      co_return StatusOf(static_cast<Verdict>(verdict[0]), peer() + " refused the connection: " + bytes);
    }
    co_return bytes;
  }

  /// Reads what a refused peer still sends, until it closes or the farewell is over.
  Co<void> Drain() {
    timer_->Cancel();
    timer_ = executor_.PostAt(executor_.Now() + kFarewell, [this] { stream_->Close(); });
    std::vector<uint8_t> buffer(kMaxMessage);
    size_t total = 0;
    while (total < kFarewellBytes) {
      auto read = stream_->ReadSome(buffer);
      auto got = co_await read;
      if (!got.ok() || *got == 0) {
        break;
      }
      total += static_cast<size_t>(*got);
    }
    co_return arrow::Status::OK();
  }

 private:
  arrow::Status Explain(arrow::Status status) const {
    if (late_) {
      return DeadlineError(peer() + " did not finish the handshake in time");
    }
    if (!status.ok()) {
      return status.WithMessage(peer(), " ended the handshake: ", status.message());
    }
    return status;
  }

  Stream* stream_;
  Executor& executor_;
  bool late_ = false;
  std::shared_ptr<Timer> timer_;
};

/// The listener's checks of the dialler; a status that is not OK is told to the dialler.
Co<Identity> Judge(Conversation* talk, const Hello* own, const std::string* secret) {
  auto receive = talk->Receive();
  CYLON_CO_ASSIGN_OR_RETURN(std::string bytes, co_await receive);
  CYLON_CO_ASSIGN_OR_RETURN(const Hello other, ParseHello(std::move(bytes), Role::kDialler, talk->peer()));
  CYLON_CO_RETURN_NOT_OK(CheckNonce(*own, other, talk->peer()));
  auto greet = talk->Send(Verdict::kAccepted, own->bytes);
  CYLON_CO_RETURN_NOT_OK(co_await greet);
  auto receive_mac = talk->Receive();
  CYLON_CO_ASSIGN_OR_RETURN(const std::string mac, co_await receive_mac);
  if (!SameMac(mac, Mac(*secret, "dialler", other, *own))) {
    co_return Stranger(talk->peer());
  }
  CYLON_CO_RETURN_NOT_OK(CheckIdentity(*own, other, talk->peer()));
  auto prove = talk->Send(Verdict::kAccepted, Mac(*secret, "listener", other, *own));
  CYLON_CO_RETURN_NOT_OK(co_await prove);
  co_return other.identity;
}

}  // namespace

Co<Identity> HandshakeAsDialler(Stream* stream, Executor& executor, Identity self, std::string secret,
                                TimePoint deadline) {
  if (secret.empty()) {
    co_return AuthenticationError("this rank has no secret; set CYLON_SECRET or CYLON_SECRET_FILE");
  }
  Conversation talk(stream, executor, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(const Hello own, MakeHello(Role::kDialler, self));
  auto greet = talk.Send(std::nullopt, own.bytes);
  CYLON_CO_RETURN_NOT_OK(co_await greet);
  auto receive = talk.ReceiveVerdict();
  CYLON_CO_ASSIGN_OR_RETURN(std::string bytes, co_await receive);
  CYLON_CO_ASSIGN_OR_RETURN(const Hello other, ParseHello(std::move(bytes), Role::kListener, talk.peer()));
  CYLON_CO_RETURN_NOT_OK(CheckNonce(own, other, talk.peer()));
  auto prove = talk.Send(std::nullopt, Mac(secret, "dialler", own, other));
  CYLON_CO_RETURN_NOT_OK(co_await prove);
  auto receive_mac = talk.ReceiveVerdict();
  CYLON_CO_ASSIGN_OR_RETURN(const std::string mac, co_await receive_mac);
  if (!SameMac(mac, Mac(secret, "listener", own, other))) {
    co_return Stranger(talk.peer());
  }
  CYLON_CO_RETURN_NOT_OK(CheckIdentity(own, other, talk.peer()));
  co_return other.identity;
}

Co<Identity> HandshakeAsListener(Stream* stream, Executor& executor, Identity self, std::string secret,
                                 TimePoint deadline) {
  if (secret.empty()) {
    co_return AuthenticationError("this side has no secret; set CYLON_SECRET or CYLON_SECRET_FILE");
  }
  Conversation talk(stream, executor, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(const Hello own, MakeHello(Role::kListener, self));
  auto judge = Judge(&talk, &own, &secret);
  auto identity = co_await judge;
  if (!identity.ok() && (identity.status().IsInvalid() || GetErrorDetail(identity.status()) != nullptr)) {
    auto refuse = talk.Send(VerdictOf(identity.status()), identity.status().message());
    auto told = co_await refuse;  // a stranger that does not listen changes nothing
    static_cast<void>(told);
    auto drain = talk.Drain();
    auto drained = co_await drain;
    static_cast<void>(drained);
  }
  co_return identity;
}

}  // namespace cylon
