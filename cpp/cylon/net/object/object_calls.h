/// Single calls on a file system, and what their errors mean.
#pragma once

#include <arrow/buffer.h>

#include <memory>
#include <string>

#include "cylon/net/object/object_place.h"

namespace cylon::internal {

arrow::Status PutObject(arrow::fs::FileSystem& file_system, const std::string& path, const std::string& bytes);
/// KeyError where there is none.
arrow::Result<std::shared_ptr<arrow::Buffer>> GetObject(arrow::fs::FileSystem& file_system, const std::string& path,
                                                        int64_t most);
/// OK where there is none.
arrow::Status DeleteObject(arrow::fs::FileSystem& file_system, const std::string& path);

/// What another attempt cannot change: `advice` is what can be done. Empty where it may.
std::string AdviceOnLasting(const arrow::Status& status);

}  // namespace cylon::internal
