/// Where objects lie: a file system of Arrow's, and a folder of it.
#pragma once

#include <arrow/filesystem/filesystem.h>
#include <arrow/result.h>

#include <memory>
#include <string>

#include "cylon/base/export.h"

namespace cylon {

struct ObjectPlace {
  std::shared_ptr<arrow::fs::FileSystem> file_system;
  std::string folder;  ///< "bucket/prefix", "/shared/directory"
  std::string name;    ///< "s3://bucket/prefix", for messages
};

/// By a URI of Arrow's: "s3://bucket/prefix?region=…&endpoint_override=host:port&scheme=http" or
/// "file:///shared/directory". S3 needs the module of Arrow's that has it, which is loaded when it is first named, and
/// takes credentials from where AWS' own tools do. Nothing is asked of the store yet. Invalid for any other.
CYLON_EXPORT arrow::Result<ObjectPlace> OpenObjectPlace(const std::string& uri);

/// `uri` as messages may show it: without keys, passwords and settings.
CYLON_EXPORT std::string ReadableObjectStore(const std::string& uri);

}  // namespace cylon
