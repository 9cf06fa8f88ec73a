// Bytes nobody can guess, and bytes as hexadecimal text.
#include "cylon/base/random.h"

#include <openssl/rand.h>

#include <limits>
#include <vector>

namespace cylon {

namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

int DigitValue(char c) {
  if (c >= '0' && c <= '9') {
    return c - '0';
  }
  if (c >= 'a' && c <= 'f') {
    return c - 'a' + 10;
  }
  if (c >= 'A' && c <= 'F') {
    return c - 'A' + 10;
  }
  return -1;
}

}  // namespace

arrow::Result<std::string> RandomBytes(size_t count) {
  if (count > static_cast<size_t>(std::numeric_limits<int>::max())) {
    return arrow::Status::Invalid("cannot draw ", count, " random bytes at once; the limit is 2147483647");
  }
  std::vector<unsigned char> bytes(count);
  if (count > 0 && RAND_bytes(bytes.data(), static_cast<int>(count)) != 1) {
    return arrow::Status::IOError("OpenSSL has no random bytes to give; check that the system has a source of entropy");
  }
  return std::string(bytes.begin(), bytes.end());
}

std::string HexEncode(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text.push_back(kDigits[byte >> 4]);
    text.push_back(kDigits[byte & 15]);
  }
  return text;
}

arrow::Result<std::string> HexDecode(std::string_view text) {
  if (text.size() % 2 != 0) {
    return arrow::Status::Invalid("hexadecimal text of ", text.size(), " digits; expected an even number");
  }
  std::string bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const int high = DigitValue(text[i]);
    const int low = DigitValue(text[i + 1]);
    if (high < 0 || low < 0) {
      return arrow::Status::Invalid("not a hexadecimal digit at position ", high < 0 ? i : i + 1,
                                    "; expected 0-9 and a-f only");
    }
    bytes.push_back(static_cast<char>(high * 16 + low));
  }
  return bytes;
}

}  // namespace cylon
