/// A rank's spill space: one unlinked file in which spilled chunks have their places.
#pragma once

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/result.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/base/free_ranges.h"
#include "cylon/base/resources.h"

namespace cylon {

/// One file for all chunks of a rank, since a table may have more chunks than a process may have open files. It has no
/// name, so nothing outlives a crash; it goes with its last chunk. Freed places are given back to the file system at
/// once (a hole) and are used again. Thread-safe.
class CYLON_EXPORT SpillFile {
 public:
  /// The spill file of this rank, made where there is none. IOError names the directory.
  static arrow::Result<std::shared_ptr<SpillFile>> Of(Resources& resources);
  ~SpillFile();
  SpillFile(const SpillFile&) = delete;
  SpillFile& operator=(const SpillFile&) = delete;

  /// Writes `parts`, each begun at a multiple of 64 bytes; returns where they begin. On IOError (a full disk: the
  /// message has the directory, the bytes and what to do) nothing is kept.
  arrow::Result<int64_t> Write(const std::vector<std::shared_ptr<arrow::Buffer>>& parts);
  /// Bytes [offset, offset + size), in memory of `pool`.
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t offset, int64_t size, arrow::MemoryPool* pool) const;
  /// Gives back what Write placed at `offset`.
  void Free(int64_t offset);

  /// Bytes that chunks occupy now.
  int64_t used_bytes() const;
  const std::string& directory() const { return directory_; }

 private:
  SpillFile(const Resources* owner, std::string directory, int descriptor);
  int64_t Place(int64_t size);
  arrow::Status Failure(const char* what, int64_t bytes, int error) const;

  const Resources* owner_;
  const std::string directory_;
  const int descriptor_;
  mutable std::mutex mutex_;
  std::map<int64_t, int64_t> taken_;  // offset to length
  FreeRanges free_;
  int64_t used_ = 0;
};

}  // namespace cylon
