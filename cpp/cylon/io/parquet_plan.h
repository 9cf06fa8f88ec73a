/// Parquet files before their rows: schemas, and which row groups belong to which rank.
#pragma once

#include <arrow/result.h>
#include <arrow/type.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cylon/base/export.h"

namespace cylon::parquet_io {

/// A row group, by the index of its file and its own there.
struct RowGroup {
  int64_t file = 0;
  int group = 0;
  int64_t rows = 0;
  bool operator==(const RowGroup&) const = default;
};

/// The row groups of `rank`. All groups, in the order of the files, are cut into contiguous runs; a group belongs to
/// the rank into whose even share of all rows its middle row falls. Groups without rows belong to nobody. Pure.
CYLON_EXPORT std::vector<RowGroup> PlanRowGroups(const std::vector<std::vector<int64_t>>& rows_by_file, int rank,
                                                 int world_size);

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
