/// Parquet files before their rows: schemas, and which row groups belong to which rank.
#pragma once

#include <arrow/result.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/export.h"
#include "cylon/io/shared_files.h"

namespace cylon::parquet_io {

/// What a file's footer says of a row group.
struct GroupSize {
  int64_t rows = 0;
  int64_t bytes = 0;  ///< in memory at once while the wanted columns are read
  bool operator==(const GroupSize&) const = default;
};

/// A row group, by the index of its file and its own there.
struct RowGroup {
  int64_t file = 0;
  int group = 0;
  GroupSize size;
  bool operator==(const RowGroup&) const = default;
};

/// The row groups of `rank`. All groups, in the order of the files, are cut into contiguous runs; a group belongs to
/// the rank into whose even share of all rows its middle row falls. Groups without rows belong to nobody. Pure.
CYLON_EXPORT std::vector<RowGroup> PlanRowGroups(const std::vector<std::vector<GroupSize>>& sizes_by_file, int rank,
                                                 int world_size);

/// OutOfMemory for the first of `groups` that alone takes more than `limit` bytes to read, with the path of its file.
CYLON_EXPORT arrow::Status CheckGroupsFit(const std::vector<RowGroup>& groups, const std::vector<io::FileSize>& files,
                                          int64_t limit);

/// The columns to read, in order: `columns` of the first file's schema, or all. Fields are nullable and without
/// metadata, so that files that differ only there can be read together. KeyError lists the columns there are; Invalid
/// for a name that two columns have.
CYLON_EXPORT arrow::Result<std::shared_ptr<arrow::Schema>> PlanSchema(const arrow::Schema& first,
                                                                      const std::string& path,
                                                                      const std::vector<std::string>& columns);

/// Invalid where `schema` of file `path` has not the same columns, in any order, as `first` of `first_path`.
CYLON_EXPORT arrow::Status CheckSameColumns(const arrow::Schema& first, const std::string& first_path,
                                            const arrow::Schema& schema, const std::string& path);

}  // namespace cylon::parquet_io
