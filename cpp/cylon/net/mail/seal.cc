// AES-256-GCM by OpenSSL, and its keys by HKDF.
#include "cylon/net/mail/seal.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#include <array>
#include <utility>

namespace cylon::internal {

namespace {

constexpr size_t kSealKeyBytes = 32;
constexpr size_t kSealNonceBytes = 12;

arrow::Status NoCipher(const char* what) {
  return arrow::Status::IOError("cannot ", what, " by AES-256-GCM; check this machine's OpenSSL and its configuration");
}

/// Four zero bytes, then the number.
std::array<uint8_t, kSealNonceBytes> SealNonce(uint64_t number) {
  std::array<uint8_t, kSealNonceBytes> nonce{};
  for (size_t i = 0; i < sizeof(number); ++i) {
    nonce[nonce.size() - sizeof(number) + i] = static_cast<uint8_t>(number >> (8 * i));
  }
  return nonce;
}

uint8_t* Bytes(std::string* text, size_t at) {
  void* bytes = text->data() + at;
  return static_cast<uint8_t*>(bytes);
}

arrow::Result<std::array<uint8_t, kSealKeyBytes>> DeriveSealKey(std::string secret, std::string direction) {
  struct FreeKdf {
    void operator()(EVP_KDF* kdf) const { EVP_KDF_free(kdf); }
    void operator()(EVP_KDF_CTX* context) const { EVP_KDF_CTX_free(context); }
  };
  const std::unique_ptr<EVP_KDF, FreeKdf> hkdf(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const std::unique_ptr<EVP_KDF_CTX, FreeKdf> context(EVP_KDF_CTX_new(hkdf.get()));
  std::string hash = "SHA256";
  const std::array<OSSL_PARAM, 4> parameters = {
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, hash.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, secret.data(), secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, direction.data(), direction.size()),
      OSSL_PARAM_construct_end()};
  std::array<uint8_t, kSealKeyBytes> key{};
  const bool made = context != nullptr && EVP_KDF_derive(context.get(), key.data(), key.size(), parameters.data()) == 1;
  OPENSSL_cleanse(secret.data(), secret.size());
  if (!made) {
    return NoCipher("derive a key");
  }
  return key;
}

}  // namespace

arrow::Result<Seal> Seal::Make(const std::string& secret, const std::string& direction) {
  ARROW_ASSIGN_OR_RAISE(auto key, DeriveSealKey(secret, direction));
  Context closing(EVP_CIPHER_CTX_new());
  Context opening(EVP_CIPHER_CTX_new());
  const bool set = closing && opening &&
                   EVP_EncryptInit_ex(closing.get(), EVP_aes_256_gcm(), nullptr, key.data(), nullptr) == 1 &&
                   EVP_DecryptInit_ex(opening.get(), EVP_aes_256_gcm(), nullptr, key.data(), nullptr) == 1;
  OPENSSL_cleanse(key.data(), key.size());
  if (!set) {
    return NoCipher("seal");
  }
  return Seal(std::move(closing), std::move(opening));
}

arrow::Status Seal::Close(uint64_t number, const std::vector<std::span<const uint8_t>>& parts, std::string* out) {
  size_t total = kSealBytes;
  for (const auto& part : parts) {
    total += part.size();
  }
  size_t at = out->size();
  out->resize(at + total);
  const auto nonce = SealNonce(number);
  if (EVP_EncryptInit_ex(closing_.get(), nullptr, nullptr, nullptr, nonce.data()) != 1) {
    return NoCipher("seal");
  }
  int wrote = 0;
  for (const auto& part : parts) {
    if (EVP_EncryptUpdate(closing_.get(), Bytes(out, at), &wrote, part.data(), static_cast<int>(part.size())) != 1) {
      return NoCipher("seal");
    }
    at += static_cast<size_t>(wrote);
  }
  if (EVP_EncryptFinal_ex(closing_.get(), Bytes(out, at), &wrote) != 1 ||
      EVP_CIPHER_CTX_ctrl(closing_.get(), EVP_CTRL_GCM_GET_TAG, static_cast<int>(kSealBytes), Bytes(out, at)) != 1) {
    return NoCipher("seal");
  }
  return arrow::Status::OK();
}

arrow::Result<std::string> Seal::Open(uint64_t number, std::string_view sealed) {
  if (sealed.size() < kSealBytes) {
    return arrow::Status::Invalid("it has ", sealed.size(), " bytes, less than a seal");
  }
  std::string tag(sealed.substr(sealed.size() - kSealBytes));
  sealed.remove_suffix(kSealBytes);
  std::string text(sealed.size(), '\0');
  const auto nonce = SealNonce(number);
  const void* from = sealed.data();
  int wrote = 0;
  if (EVP_DecryptInit_ex(opening_.get(), nullptr, nullptr, nullptr, nonce.data()) != 1 ||
      EVP_DecryptUpdate(opening_.get(), Bytes(&text, 0), &wrote, static_cast<const uint8_t*>(from),
                        static_cast<int>(sealed.size())) != 1 ||
      EVP_CIPHER_CTX_ctrl(opening_.get(), EVP_CTRL_GCM_SET_TAG, static_cast<int>(kSealBytes), tag.data()) != 1) {
    return NoCipher("open what was sealed");
  }
  if (EVP_DecryptFinal_ex(opening_.get(), Bytes(&text, text.size()), &wrote) != 1) {
    return arrow::Status::Invalid("its seal is not that of this job");
  }
  return text;
}

}  // namespace cylon::internal
