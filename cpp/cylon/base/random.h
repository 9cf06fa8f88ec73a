/// Bytes nobody can guess, and bytes as hexadecimal text.
#pragma once

#include <arrow/result.h>

#include <string>
#include <string_view>

#include "cylon/base/export.h"

namespace cylon {

/// `count` bytes of OpenSSL's cryptographic generator. IOError where the system has no entropy to give.
CYLON_EXPORT arrow::Result<std::string> RandomBytes(size_t count);

/// `bytes` as lower-case hexadecimal digits, two per byte.
CYLON_EXPORT std::string HexEncode(std::string_view bytes);

/// The bytes behind hexadecimal digits of either case. Invalid for anything else; the text is not repeated in the
/// message, since it may be a secret.
CYLON_EXPORT arrow::Result<std::string> HexDecode(std::string_view text);

}  // namespace cylon
