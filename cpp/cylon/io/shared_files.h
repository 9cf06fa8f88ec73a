/// The files that all ranks are about to read.
#pragma once

#include <arrow/result.h>

#include <cstdint>
#include <string>
#include <vector>

#include "cylon/comm/context.h"

namespace cylon::io {

struct FileSize {
  std::string path;
  int64_t bytes = 0;
};

/// ExpandPaths, with sizes; Invalid where one is no regular file.
arrow::Result<std::vector<FileSize>> FindFiles(const std::vector<std::string>& paths, std::string_view extension);

/// FindFiles at every rank, and all have found the same: Invalid names two ranks that did not (folders that are not
/// shared). `signature` says what is about to be read; `status` is what this rank has found wrong already. Collective.
arrow::Result<std::vector<FileSize>> AgreeOnFiles(Context& context, std::string signature, arrow::Status status,
                                                  const std::vector<std::string>& paths, std::string_view extension);

/// A number that differs where the text does.
int64_t Fingerprint(std::string_view text);

}  // namespace cylon::io
