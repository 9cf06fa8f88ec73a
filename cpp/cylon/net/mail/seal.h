/// Sealing what passes through a server that is not trusted.
#pragma once

#include <arrow/result.h>
#include <openssl/evp.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cylon::internal {

/// What sealing adds to a text.
inline constexpr size_t kSealBytes = 16;

/// One direction between two ranks: AES-256-GCM. The key comes from the job's secret by HKDF-SHA256, with what tells
/// this direction of this run from all others; the nonce is the number of the text, so a number is sealed once.
class Seal {
 public:
  static arrow::Result<Seal> Make(const std::string& secret, const std::string& direction);

  /// Appends `parts`, one after another, to `out`, sealed: so many bytes and kSealBytes.
  arrow::Status Close(uint64_t number, const std::vector<std::span<const uint8_t>>& parts, std::string* out);
  /// What was sealed under `number`; nothing where `sealed` is not that.
  arrow::Result<std::string> Open(uint64_t number, std::string_view sealed);

 private:
  struct Free {
    void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
  };
  using Context = std::unique_ptr<EVP_CIPHER_CTX, Free>;
  Seal(Context closing, Context opening) : closing_(std::move(closing)), opening_(std::move(opening)) {}

  Context closing_;
  Context opening_;
};

}  // namespace cylon::internal
