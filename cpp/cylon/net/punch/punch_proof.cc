// How the two ends of a connection between gateways find out that it is the one that they meant.
#include "cylon/net/punch/punch_proof.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "cylon/wire/bytes.h"

namespace cylon::internal {

namespace {

constexpr std::string_view kPunchMagic = "CYPH";
constexpr uint8_t kPunchVersion = 1;

std::string Hmac(const std::string& key, const std::string& text) {
  std::string mac(kPunchProofBytes, '\0');
  const void* in = text.data();
  void* out = mac.data();
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), static_cast<const unsigned char*>(in), text.size(),
       static_cast<unsigned char*>(out), &size);
  return mac;
}

}  // namespace

std::string PunchTag(const std::string& attempt) {
  return Hmac(attempt, "cylon: which attempt").substr(0, kPunchTagBytes);
}

std::string EncodePunchHello(const PunchHello& hello) {
  ByteWriter out;
  out.Raw(kPunchMagic);
  out.Number(kPunchVersion);
  out.Number(static_cast<uint8_t>(hello.role));
  out.Number(uint16_t{0});
  out.Raw(hello.tag);
  out.Raw(hello.nonce);
  return out.Take();
}

arrow::Result<PunchHello> DecodePunchHello(std::string_view bytes) {
  ByteReader in(bytes);
  const bool known = in.Raw(kPunchMagic.size()) == kPunchMagic && in.Number<uint8_t>() == kPunchVersion;
  const auto role = in.Number<uint8_t>();
  const auto zero = in.Number<uint16_t>();
  PunchHello hello;
  hello.role = static_cast<PunchRole>(role);
  hello.tag = in.Raw(kPunchTagBytes);
  hello.nonce = in.Raw(kPunchNonceBytes);
  if (!known || !in.done() || zero != 0 || (hello.role != PunchRole::kCaller && hello.role != PunchRole::kCalled)) {
    return arrow::Status::Invalid("it does not greet as a process of this version does; is it another program?");
  }
  return hello;
}

arrow::Status CheckPunchHello(const PunchHello& own, const PunchHello& theirs) {
  if (!SameProof(own.tag, theirs.tag)) {
    return arrow::Status::Invalid("it means another attempt");
  }
  if (own.role == theirs.role || SameProof(own.nonce, theirs.nonce)) {
    return arrow::Status::Invalid("it says what this side said: the connection has met itself, or comes back");
  }
  return arrow::Status::OK();
}

std::string PunchProof(const std::string& attempt, const PunchHello& prover, const PunchHello& other) {
  const bool by_caller = prover.role == PunchRole::kCaller;
  ByteWriter text;
  text.Text("cylon: punched");
  text.Number(static_cast<uint8_t>(prover.role));
  text.Raw(by_caller ? prover.nonce : other.nonce);
  text.Raw(by_caller ? other.nonce : prover.nonce);
  return Hmac(attempt, text.bytes());
}

bool SameProof(std::string_view left, std::string_view right) {
  return left.size() == right.size() && CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

}  // namespace cylon::internal
