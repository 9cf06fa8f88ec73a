// Mutual authentication of the two ends of a fresh connection.
//
//   dialler                                                listener
//      | -- hello: version, role, identity, nonce ------------> |
//      | <------------ verdict, hello: version, role, identity, nonce
//      | -- HMAC-SHA256(secret, "dialler" + binding + both hellos) -----> |
//      | <------------ verdict, HMAC-SHA256(secret, "listener" + binding + both hellos)
//
// The messages are those of a Conversation. Both hellos have all of an identity: the MAC covers role, both ranks, the
// rank that is wanted, job, epoch, purpose and options; the binding (Stream::binding) ties it to the encrypted
// connection that it runs over, so that nobody in between can pass it on. The dialler proves itself first: a listener
// tells strangers nothing that is keyed. Identities are compared only after the proof.
#include "cylon/wire/handshake.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <map>

#include "cylon/base/random.h"
#include "cylon/wire/bytes.h"
#include "cylon/wire/conversation.h"

namespace cylon {

namespace {

using internal::Conversation;
using internal::kMaxConversationMessage;
using internal::PutShortText;
using internal::Verdict;

constexpr std::string_view kMagic = "CYHS";
constexpr size_t kNonceBytes = 32;
constexpr size_t kMacBytes = 32;

enum class Role : uint8_t { kDialler = 1, kListener = 2 };

struct Hello {
  Identity identity;
  std::string nonce;
  std::string bytes;  // as sent
};

arrow::Result<Hello> MakeHello(Role role, const Identity& identity) {
  if (identity.job.size() + identity.epoch.size() + identity.purpose.size() + identity.options.size() >
      kMaxConversationMessage / 2) {
    return arrow::Status::Invalid("a job id of ", identity.job.size(), " bytes is too long; use at most ",
                                  kMaxConversationMessage / 4);
  }
  Hello hello{identity, "", std::string(kMagic)};
  ARROW_ASSIGN_OR_RAISE(hello.nonce, RandomBytes(kNonceBytes));
  hello.bytes.push_back(static_cast<char>(kHandshakeVersion & 0xff));
  hello.bytes.push_back(static_cast<char>(kHandshakeVersion >> 8));
  hello.bytes.push_back(static_cast<char>(role));
  ByteWriter ranks;
  ranks.Number(static_cast<int32_t>(identity.rank));
  ranks.Number(static_cast<int32_t>(identity.wanted));
  hello.bytes += ranks.bytes();
  PutShortText(&hello.bytes, identity.job);
  PutShortText(&hello.bytes, identity.epoch);
  PutShortText(&hello.bytes, identity.purpose);
  PutShortText(&hello.bytes, identity.options);
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
  uint32_t wanted = 0;
  if (!reader.Take(kMagic.size(), &magic) || magic != kMagic) {
    return ProtocolError(peer + " does not speak Cylon's protocol; is it another program's port?");
  }
  if (!reader.Number(&version) || version != kHandshakeVersion) {
    return ProtocolError(peer + " speaks version " + std::to_string(version) + " of the protocol, this side version " +
                         std::to_string(kHandshakeVersion) + "; install the same Cylon everywhere");
  }
  Hello hello;
  std::string_view nonce;
  if (!reader.Number(&role) || !reader.Number(&rank) || !reader.Number(&wanted) || !reader.Text(&hello.identity.job) ||
      !reader.Text(&hello.identity.epoch) || !reader.Text(&hello.identity.purpose) ||
      !reader.Text(&hello.identity.options) || !reader.Take(kNonceBytes, &nonce) || !reader.AtEnd()) {
    return ProtocolError(peer + " sent a malformed greeting");
  }
  if (role != static_cast<uint8_t>(expected)) {
    return ProtocolError(peer + " greeted in the wrong role");
  }
  hello.identity.rank = static_cast<Rank>(rank);
  hello.identity.wanted = static_cast<Rank>(wanted);
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

/// Options as they are written: "piece_bytes=1048576;eager_bytes=65536".
std::map<std::string, std::string> ParseOptions(std::string_view text) {
  std::map<std::string, std::string> options;
  while (!text.empty()) {
    const auto entry = text.substr(0, text.find(';'));
    text.remove_prefix(std::min(text.size(), entry.size() + 1));
    const auto name = entry.substr(0, entry.find('='));
    options.emplace(name, entry.substr(std::min(entry.size(), name.size() + 1)));
  }
  return options;
}

arrow::Status CheckOptions(const Hello& own, const Hello& other, const std::string& peer) {
  const auto mine = ParseOptions(own.identity.options);
  auto theirs = ParseOptions(other.identity.options);
  for (const auto& [name, value] : mine) {
    const auto at = theirs.find(name);
    if (at == theirs.end() || at->second != value) {
      return arrow::Status::Invalid(peer, " has the option ", name, "=", at == theirs.end() ? "(none)" : at->second,
                                    ", this side ", name, "=", value, "; it has to be the same at all ranks");
    }
    theirs.erase(at);
  }
  if (!theirs.empty()) {
    return arrow::Status::Invalid(peer, " has the option ", theirs.begin()->first, "=", theirs.begin()->second,
                                  ", this side ", theirs.begin()->first, "=(none); it has to be the same at all ranks");
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
  if (own.identity.wanted >= 0 && own.identity.wanted != other.identity.rank) {
    return arrow::Status::Invalid(peer, " is rank ", other.identity.rank, ", not rank ", own.identity.wanted,
                                  "; check the address");
  }
  if (other.identity.wanted >= 0 && other.identity.wanted != own.identity.rank) {
    return arrow::Status::Invalid(peer, " wants rank ", other.identity.wanted, ", this is rank ", own.identity.rank,
                                  "; check the address");
  }
  return CheckOptions(own, other, peer);
}

std::string Mac(const std::string& secret, std::string_view role, const std::string& binding, const Hello& dialler,
                const Hello& listener) {
  std::string text(role);
  text.push_back('\0');
  PutShortText(&text, binding);
  PutShortText(&text, dialler.bytes);
  PutShortText(&text, listener.bytes);
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

/// Who a listener that serves several purposes or jobs is for `dialler`.
Identity AnswerTo(Identity self, const Identity& dialler) {
  if (std::find(self.also.begin(), self.also.end(), dialler.purpose) != self.also.end()) {
    self.purpose = dialler.purpose;
  }
  if (self.any_job) {
    self.job = dialler.job;
  }
  return self;
}

/// The listener's checks of the dialler; a status that is not OK is told to the dialler.
Co<Identity> Judge(Conversation* talk, const Identity* self, const std::string* secret, const std::string* binding) {
  auto receive = talk->Receive();
  CYLON_CO_ASSIGN_OR_RETURN(std::string bytes, co_await receive);
  CYLON_CO_ASSIGN_OR_RETURN(const Hello other, ParseHello(std::move(bytes), Role::kDialler, talk->peer()));
  CYLON_CO_ASSIGN_OR_RETURN(const Hello own, MakeHello(Role::kListener, AnswerTo(*self, other.identity)));
  auto greet = talk->Send(Verdict::kAccepted, own.bytes);
  CYLON_CO_RETURN_NOT_OK(co_await greet);
  auto receive_mac = talk->Receive();
  CYLON_CO_ASSIGN_OR_RETURN(const std::string mac, co_await receive_mac);
  if (!SameMac(mac, Mac(*secret, "dialler", *binding, other, own))) {
    co_return Stranger(talk->peer());
  }
  CYLON_CO_RETURN_NOT_OK(CheckIdentity(own, other, talk->peer()));
  if (self->admits) {
    CYLON_CO_RETURN_NOT_OK(self->admits(other.identity));
  }
  auto prove = talk->Send(Verdict::kAccepted, Mac(*secret, "listener", *binding, other, own));
  CYLON_CO_RETURN_NOT_OK(co_await prove);
  co_return other.identity;
}

}  // namespace

Co<Identity> HandshakeAsDialler(Stream* stream, Executor& executor, Identity self, std::string secret,
                                TimePoint deadline) {
  if (secret.empty()) {
    co_return AuthenticationError("this rank has no secret; set CYLON_SECRET or CYLON_SECRET_FILE");
  }
  const std::string binding = stream->binding();
  Conversation talk(stream, executor, deadline);
  CYLON_CO_ASSIGN_OR_RETURN(const Hello own, MakeHello(Role::kDialler, self));
  auto greet = talk.Send(std::nullopt, own.bytes);
  CYLON_CO_RETURN_NOT_OK(co_await greet);
  auto receive = talk.ReceiveVerdict();
  CYLON_CO_ASSIGN_OR_RETURN(std::string bytes, co_await receive);
  CYLON_CO_ASSIGN_OR_RETURN(const Hello other, ParseHello(std::move(bytes), Role::kListener, talk.peer()));
  CYLON_CO_RETURN_NOT_OK(CheckNonce(own, other, talk.peer()));
  auto prove = talk.Send(std::nullopt, Mac(secret, "dialler", binding, own, other));
  CYLON_CO_RETURN_NOT_OK(co_await prove);
  auto receive_mac = talk.ReceiveVerdict();
  CYLON_CO_ASSIGN_OR_RETURN(const std::string mac, co_await receive_mac);
  if (!SameMac(mac, Mac(secret, "listener", binding, own, other))) {
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
  const std::string binding = stream->binding();
  Conversation talk(stream, executor, deadline);
  auto judge = Judge(&talk, &self, &secret, &binding);
  auto identity = co_await judge;
  if (!identity.ok() && (identity.status().IsInvalid() || GetErrorDetail(identity.status()) != nullptr)) {
    auto refuse = talk.Refuse(identity.status());
    auto told = co_await refuse;  // a stranger that does not listen changes nothing
    static_cast<void>(told);
  }
  co_return identity;
}

}  // namespace cylon
