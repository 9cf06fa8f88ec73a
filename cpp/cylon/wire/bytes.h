/// Little-endian numbers and length-prefixed text, into and out of a run of bytes.
#pragma once

#include <arrow/result.h>

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

#include "cylon/base/error.h"

namespace cylon {

/// Appends to a string.
class ByteWriter {
 public:
  template <std::integral T>
  void Number(T value) {
    const auto bits = static_cast<uint64_t>(value);
    for (size_t i = 0; i < sizeof(T); ++i) {
      out_.push_back(static_cast<char>(bits >> (8 * i)));
    }
  }
  void Raw(std::string_view bytes) { out_.append(bytes); }
  /// Four bytes of length, then the text.
  void Text(std::string_view text) {
    Number(static_cast<uint32_t>(text.size()));
    Raw(text);
  }
  const std::string& bytes() const { return out_; }
  std::string Take() { return std::move(out_); }

 private:
  std::string out_;
};

/// Takes from a string_view. What is not there reads as zero or empty, and `ok` is false from then on.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}
  template <std::integral T>
  T Number() {
    const auto bytes = Raw(sizeof(T));
    uint64_t value = 0;
    for (size_t i = 0; i < bytes.size(); ++i) {
      value |= uint64_t{static_cast<uint8_t>(bytes[i])} << (8 * i);
    }
    return static_cast<T>(value);
  }
  std::string_view Raw(size_t count) {
    if (count > rest_.size()) {
      ok_ = false;
      rest_ = {};
      return {};
    }
    const auto bytes = rest_.substr(0, count);
    rest_.remove_prefix(count);
    return bytes;
  }
  std::string Text() {
    const auto size = Number<uint32_t>();
    return std::string(Raw(size));
  }
  std::string_view rest() const { return rest_; }
  bool ok() const { return ok_; }
  /// Everything was there, and nothing is left over.
  bool done() const { return ok_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace cylon
