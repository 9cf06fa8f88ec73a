/// Files that hold secrets: read only where nobody else can have read them.
#pragma once

#include <arrow/result.h>

#include <string>
#include <string_view>

#include "cylon/base/export.h"

namespace cylon {

/// The text of a file that only its owner may read, without the space at its end; at most `most` bytes.
/// AuthenticationError, which names it as "the `what` file", where others may read it or it is another user's, where it
/// is no regular file, and where it cannot be read, which ends with `hint`.
CYLON_EXPORT arrow::Result<std::string> ReadPrivateFile(const std::string& path, std::string_view what,
                                                        std::string_view hint, size_t most);

/// 32 bytes out of such a file, which holds 64 hexadecimal digits; else AuthenticationError.
CYLON_EXPORT arrow::Result<std::string> ReadKeyFile(const std::string& path, std::string_view what,
                                                    std::string_view hint);

}  // namespace cylon
